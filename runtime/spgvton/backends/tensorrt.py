"""The try-on network on an NVIDIA GPU, by TensorRT or TensorRT-RTX.

All memory is allocated once, for the engine's largest batch. A person or garment is copied to the device when it is set
and stays there; a frame copies its inputs in and its outputs out through pinned memory on one stream, and these steps
are one CUDA graph from the second frame on (see replay.py): in pose mode keypoints (216 bytes) and a picture (uint8, made by
the engine), in live mode the framed picture, its labels and keypoints, and rendered picture, masks, labels and theta. The only
memory that a frame allocates is what the caller gets.

In live mode there are two engines (spgvton.engine.parts): one runs when the garment changes, at the next frame; what it
makes stays on the device, where the other one, of every frame, reads it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spgvton.backends.contract import (
    GARMENT,
    KEYPOINTS,
    LIVE,
    POSE,
    Array,
    Mode,
    RunsPoses,
    check_all_set,
    check_frame,
    check_static_name,
)
from spgvton.backends.cuda import Cuda, import_driver
from spgvton.backends.execution import Execution
from spgvton.backends.plan import Buffer, Tensor, plan_buffers
from spgvton.backends.replay import Bindings, GraphReplay
from spgvton.bundle import PAIRS, Bundle
from spgvton.engine import flavour
from spgvton.engine.gpu import Gpu, first_gpu
from spgvton.engine.load import LoadedEngine
from spgvton.errors import SpgvtonError

if TYPE_CHECKING:
    from spgvton.engine.build import Built

Float = NDArray[np.float32]


def require_gpu(name: str) -> Gpu:
    """Device 0 with everything that back end NAME needs installed, else SpgvtonError that says what is missing."""
    gpu = first_gpu()
    if gpu is None:
        raise SpgvtonError(
            f"back end {name} needs an NVIDIA GPU and its driver, and none answers (nvidia-smi must list it): "
            "install the driver, or use the CPU (back end onnxruntime)"
        )
    if flavour.load(name).is_rtx:
        flavour.check_rtx_sm(gpu.sm, f"{gpu.name} (SM {gpu.sm})")
    import_driver()
    return gpu


def build_engine(name: str, bundle: Bundle, warp: str | None, plugin: Path | None, graph: str = POSE.joint) -> Built:
    """The engine of BUNDLE's GRAPH, see spgvton.engine.build.Options, from the cache or built now. Raises SpgvtonError."""
    try:
        from spgvton.engine.build import Options, build
    except ModuleNotFoundError as e:  # onnx
        raise SpgvtonError(f"{e.name} is missing: pip install 'spgvton[{name}]'") from e
    return build(bundle, Options(bundle.precision, name, graph, warp, plugin))


def open_tensorrt(
    name: str, bundle: Bundle, *, mode: Mode = POSE, warp: str | None = None, plugin: Path | None = None,
    say: Callable[[str], None],
) -> TensorRtBackend:  # fmt: skip
    """The back end NAME on the engines of BUNDLE's MODE. Raises SpgvtonError; see open_backend."""
    gpu = require_gpu(name)
    graphs = PAIRS[LIVE.joint] if mode is LIVE else (mode.joint,)
    built = [build_engine(name, bundle, warp, plugin, graph) for graph in graphs]
    for each in built:
        say(f"engine {each.engine.name}: {each.cache}")
    for line in built[-1].advice:
        say(line)
    return TensorRtBackend(bundle, built[-1], gpu, mode=mode, garment=built[0] if built[1:] else None, say=say)


class _Engine:
    """One engine that is ready to run; inputs: those of its tensors."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.tensors: list[Tensor] = execution.tensors()
        self.inputs = [t.name for t in self.tensors if t.is_input]

    def bind(self, addresses: Mapping[str, int]) -> None:
        for tensor in self.tensors:
            self.execution.bind(tensor.name, addresses[tensor.name])

    def set_shapes(self, buffers: Mapping[str, Buffer], batch: int) -> None:
        self.execution.set_shapes({name: buffers[name].shape(batch) for name in self.inputs})


class TensorRtBackend(RunsPoses):
    """See Backend.

    built: the engine of every frame of MODE. garment: the one that runs before it when a static input has changed, see
    spgvton.engine.parts. cuda_graph=False enqueues every frame plainly, with either TensorRT.
    """

    def __init__(
        self, bundle: Bundle, built: Built, gpu: Gpu, *, mode: Mode = POSE, garment: Built | None = None,
        cuda_graph: bool = True, say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._mode, self._size, self._built, self._gpu = mode, bundle.size, built, gpu
        self._trt = flavour.load(built.backend)
        self._cuda = Cuda()
        parts = ExitStack()
        # Also runs when the object is forgotten, and at exit; the second call of a finalizer does nothing.
        self._close = weakref.finalize(self, _close, self._cuda, parts)
        try:
            with self._cuda.current():
                self._open(garment, parts, cuda_graph, say)
        except BaseException:
            self.close()
            raise
        self._batches: dict[str, int] = {}  # of the static inputs that are set
        self._bindings: Bindings | None = None
        self._prepared = False  # whether the garment's engine has seen all static inputs as they are
        self._lost: str | None = None

    def _open(self, garment: Built | None, parts: ExitStack, cuda_graph: bool, say: Callable[[str], None]) -> None:
        def ready(built: Built) -> _Engine:
            loaded = LoadedEngine(self._trt, built.engine, built.plugin)
            parts.callback(loaded.close)
            kernels = built.engine.with_suffix(f".{self._gpu.slug}.kernels")
            execution = Execution(loaded, kernels, say, cuda_graph=cuda_graph)
            parts.callback(execution.close)
            return _Engine(execution)

        self._garment = ready(garment) if garment else None
        self._frame = ready(self._built)
        prepared = self._garment.tensors if self._garment else ()
        self._plan = plan_buffers(self._frame.tensors, self._mode, self._size, str(self._built.engine), prepared)
        on_host = self._plan.on_host
        self._host = {name: self._cuda.pinned(b.shape(b.max_batch), b.dtype) for name, b in on_host.items()}
        self._address = {name: self._cuda.allocate(buffer.nbytes) for name, buffer in self._plan.all.items()}
        for engine in self._engines:
            engine.bind(self._address)
        off = "disabled" if not cuda_graph else "captured by TensorRT-RTX" if self._trt.is_rtx else None
        self._replay = GraphReplay(self._cuda, say, off=off)
        parts.callback(self._replay.drop)

    @property
    def _engines(self) -> list[_Engine]:
        return [self._garment, self._frame] if self._garment else [self._frame]

    def set_static(self, name: str, value: Float) -> None:
        check_static_name(name, self._mode)
        self._check_open()
        buffer = self._plan.static.get(name)
        if buffer is None:  # a network without `align_source` does not take the source keypoints
            return
        batch = len(value)
        if not 1 <= batch <= buffer.max_batch or value.shape != buffer.shape(batch):
            raise ValueError(f"{name}: expected {buffer.shape(buffer.max_batch)} or a smaller batch, got {value.shape}")
        self._batches.pop(name, None)  # should the copy fail, it is not set
        self._prepared = False
        with self._cuda.current():
            try:
                pinned = self._host[name][:batch]
                pinned[...] = value
                self._cuda.to_device(self._address[name], pinned)
                self._cuda.synchronize()
            except BaseException:
                self._recover()
                raise
        self._batches[name] = batch

    def infer(self, frame: Mapping[str, Array]) -> dict[str, Array]:
        self._check_open()
        batch, largest = len(frame[KEYPOINTS]), self._plan.max_batch
        if not 1 <= batch <= largest:
            raise ValueError(f"expected keypoints (N, 18, 3) of N = 1 to {largest}, got {frame[KEYPOINTS].shape}")
        given = check_frame(frame, self._mode, self._size, batch)
        check_all_set(set(self._plan.static) - set(self._batches))
        for name, other in self._batches.items():
            if other != batch:
                raise ValueError(f"{batch} poses, but {name} is set for {other}")
        with self._cuda.current():
            try:
                for name, value in given.items():
                    self._host[name][:batch] = value
                bindings, is_new = self._bind(batch)
                self._prepare()
                replayed = self._replay.launch(bindings)
                if not replayed:
                    self._enqueue()
                self._cuda.synchronize()
            except BaseException:
                self._recover()
                raise
            made: dict[str, Array] = {name: self._host[name][:batch].copy() for name in self._plan.outputs}
            if is_new:
                for engine in self._engines:
                    engine.execution.ran()
            if not replayed:
                self._replay.prepare(bindings, self._enqueue)
        return made

    def _bind(self, batch: int) -> tuple[Bindings, bool]:
        """Shapes and addresses for BATCH, and whether they are new to TensorRT."""
        if self._bindings is not None and self._bindings.batch == batch:
            return self._bindings, False
        self._bindings, self._prepared = None, False
        for engine in self._engines:
            engine.set_shapes(self._plan.all, batch)
        self._bindings = Bindings(batch, tuple(self._address.items()))
        return self._bindings, True

    def _prepare(self) -> None:
        """What depends on the garment alone, where it has changed: enqueued before the frame, on the same stream."""
        if self._garment and not self._prepared:
            self._garment.execution.enqueue(self._cuda.stream)
        self._prepared = True  # _recover() takes it back, should the work fail

    def _enqueue(self) -> None:
        """One frame's work; what a CUDA graph captures."""
        assert self._bindings is not None
        batch = self._bindings.batch
        for name in self._plan.frame:
            self._cuda.to_device(self._address[name], self._host[name][:batch])
        self._frame.execution.enqueue(self._cuda.stream)
        for name in self._plan.outputs:
            self._cuda.to_host(self._host[name][:batch], self._address[name])

    def forget(self) -> None:
        """Every buffer but the garment's is overwritten with zeros, pinned and on the device.

        What TensorRT's own working memory holds of the last frame is overwritten by a frame of nothing. Raises SpgvtonError where
        the GPU fails; pinned memory is overwritten then, too.
        """
        if not self._close.alive:
            return
        personal = [name for name in self._host if name not in GARMENT]
        for name in personal:
            self._host[name][...] = 0
            self._batches.pop(name, None)
        if self._lost:  # with the context, what was on the device cannot be reached
            return
        with self._cuda.current():
            try:
                self._copy(personal)
                if self._bindings is not None:  # else no frame has run since everything was dropped
                    self._prepare()
                    if not self._replay.launch(self._bindings):
                        self._enqueue()
                    self._cuda.synchronize()
                    for name in self._plan.outputs:
                        self._host[name][...] = 0
                    self._copy(list(self._plan.outputs))
            except BaseException:
                self._recover()
                raise

    def _copy(self, names: list[str]) -> None:
        """Pinned buffers to their twins on the device."""
        for name in names:
            self._cuda.to_device(self._address[name], self._host[name])
        self._cuda.synchronize()

    def _recover(self) -> None:
        """After an error mid-way: no graph, nothing in flight. An error that the context does not survive is kept."""
        self._replay.drop()
        self._bindings, self._prepared = None, False
        try:
            self._cuda.synchronize()
        except SpgvtonError as e:
            self._lost = str(e)

    def _check_open(self) -> None:
        if not self._close.alive:
            raise SpgvtonError("this GPU session is closed: open a new one")
        if self._lost:
            raise SpgvtonError(f"the GPU session was lost ({self._lost}): start the program again")

    def describe(self) -> dict[str, str]:
        return {
            "backend": self._built.backend, "version": self._trt.version, "device": f"{self._gpu.name} (SM {self._gpu.sm})",
            "precision": self._built.precision, "engine": self._built.engine.name, "cuda_graph": self._replay.state,
        }  # fmt: skip

    def close(self) -> None:
        self._close()


def _close(cuda: Cuda, parts: ExitStack) -> None:
    """Graph, execution context, engine, plugin, then memory, stream and context: each while what it needs is there."""
    try:
        with cuda.current():
            with suppress(SpgvtonError):  # an error of an earlier frame was told then
                cuda.synchronize()
            parts.close()
    finally:
        cuda.close()
