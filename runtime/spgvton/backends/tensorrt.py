"""The try-on network on an NVIDIA GPU, by TensorRT or TensorRT-RTX.

All memory is allocated once, for the engine's largest batch. A person or garment is copied to the device when it is set
and stays there; a frame copies keypoints in (216 bytes) and a picture out (uint8, made by the engine), both through
pinned memory on one stream, and the three steps are one CUDA graph from the second frame on (see replay.py). The only
memory that a frame allocates is the picture that the caller gets.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spgvton.backends.contract import IMAGE, KEYPOINTS, Array, RunsPoses, check_all_set, check_static_name
from spgvton.backends.cuda import Cuda, import_driver
from spgvton.backends.execution import Execution
from spgvton.backends.plan import plan_buffers
from spgvton.backends.replay import Bindings, GraphReplay
from spgvton.bundle import Bundle
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


def build_engine(name: str, bundle: Bundle, warp: str | None, plugin: Path | None) -> Built:
    """The engine of BUNDLE's joint graph, from the cache or built now. Raises SpgvtonError."""
    try:
        from spgvton.engine.build import Options, build
    except ModuleNotFoundError as e:  # onnx
        raise SpgvtonError(f"{e.name} is missing: pip install 'spgvton[{name}]'") from e
    return build(bundle, Options(precision=bundle.precision, backend=name, warp=warp, plugin=plugin))


def open_tensorrt(
    name: str, bundle: Bundle, *, warp: str | None = None, plugin: Path | None = None, say: Callable[[str], None]
) -> TensorRtBackend:
    """The back end NAME on BUNDLE's engine. Raises SpgvtonError; see open_backend."""
    gpu = require_gpu(name)
    built = build_engine(name, bundle, warp, plugin)
    for line in (f"engine {built.engine.name}: {built.cache}", *built.advice):
        say(line)
    return TensorRtBackend(bundle, built, gpu, say=say)


class TensorRtBackend(RunsPoses):
    """See Backend. cuda_graph=False enqueues every frame plainly, with either TensorRT."""

    def __init__(
        self, bundle: Bundle, built: Built, gpu: Gpu, *, cuda_graph: bool = True, say: Callable[[str], None]
    ) -> None:
        self._built, self._gpu = built, gpu
        self._trt = flavour.load(built.backend)
        self._cuda = Cuda()
        parts = ExitStack()
        # Also runs when the object is forgotten, and at exit; the second call of a finalizer does nothing.
        self._close = weakref.finalize(self, _close, self._cuda, parts)
        try:
            with self._cuda.current():
                self._open(bundle, parts, cuda_graph, say)
        except BaseException:
            self.close()
            raise
        self._batches: dict[str, int] = {}  # of the static inputs that are set
        self._bindings: Bindings | None = None
        self._lost: str | None = None

    def _open(self, bundle: Bundle, parts: ExitStack, cuda_graph: bool, say: Callable[[str], None]) -> None:
        built, is_rtx = self._built, self._trt.is_rtx
        loaded = LoadedEngine(self._trt, built.engine, built.plugin)
        parts.callback(loaded.close)
        kernels = built.engine.with_suffix(f".{self._gpu.slug}.kernels")
        self._execution = Execution(loaded, kernels, say, cuda_graph=cuda_graph)
        parts.callback(self._execution.close)
        self._plan = plan_buffers(self._execution.tensors(), bundle.size, str(built.engine))
        self._host, self._address = {}, {}
        for name, buffer in self._plan.all.items():
            self._host[name] = self._cuda.pinned(buffer.shape(buffer.max_batch), buffer.dtype)
            self._address[name] = self._cuda.allocate(buffer.nbytes)
            self._execution.bind(name, self._address[name])
        off = "disabled" if not cuda_graph else "captured by TensorRT-RTX" if is_rtx else None
        self._replay = GraphReplay(self._cuda, say, off=off)
        parts.callback(self._replay.drop)

    def set_static(self, name: str, value: Float) -> None:
        check_static_name(name)
        self._check_open()
        buffer = self._plan.static.get(name)
        if buffer is None:  # a network without `align_source` does not take the source keypoints
            return
        batch = len(value)
        if not 1 <= batch <= buffer.max_batch or value.shape != buffer.shape(batch):
            raise ValueError(f"{name}: expected {buffer.shape(buffer.max_batch)} or a smaller batch, got {value.shape}")
        self._batches.pop(name, None)  # should the copy fail, it is not set
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
        keypoints = frame[KEYPOINTS]
        batch, largest = len(keypoints), self._plan.max_batch
        if not 1 <= batch <= largest or keypoints.shape != (batch, 18, 3):
            raise ValueError(f"expected keypoints (N, 18, 3) of N = 1 to {largest}, got {keypoints.shape}")
        check_all_set(set(self._plan.static) - set(self._batches))
        for name, other in self._batches.items():
            if other != batch:
                raise ValueError(f"{batch} poses, but {name} is set for {other}")
        with self._cuda.current():
            try:
                self._host[KEYPOINTS][:batch] = keypoints
                bindings, is_new = self._bind(batch)
                replayed = self._replay.launch(bindings)
                if not replayed:
                    self._enqueue()
                self._cuda.synchronize()
            except BaseException:
                self._recover()
                raise
            image: NDArray[np.uint8] = self._host[IMAGE][:batch].copy()
            if is_new:
                self._execution.ran()
            if not replayed:
                self._replay.prepare(bindings, self._enqueue)
        return {IMAGE: image}

    def _bind(self, batch: int) -> tuple[Bindings, bool]:
        """Shapes and addresses for BATCH, and whether they are new to TensorRT."""
        if self._bindings is not None and self._bindings.batch == batch:
            return self._bindings, False
        self._bindings = None
        self._execution.set_shapes({name: b.shape(batch) for name, b in self._plan.inputs.items()})
        self._bindings = Bindings(batch, tuple(self._address.items()))
        return self._bindings, True

    def _enqueue(self) -> None:
        """One frame's work; what a CUDA graph captures."""
        assert self._bindings is not None
        batch = self._bindings.batch
        self._cuda.to_device(self._address[KEYPOINTS], self._host[KEYPOINTS][:batch])
        self._execution.enqueue(self._cuda.stream)
        self._cuda.to_host(self._host[IMAGE][:batch], self._address[IMAGE])

    def _recover(self) -> None:
        """After an error mid-way: no graph, nothing in flight. An error that the context does not survive is kept."""
        self._replay.drop()
        self._bindings = None
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
