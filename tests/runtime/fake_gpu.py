"""A GPU for tests: stand-ins for pycuda.driver, libcuda and tensorrt that keep their rules.

Rules that are checked: calls need a current context; copies and runs happen when the stream is waited for, not when they
are enqueued; while a stream is captured nothing runs; what is freed cannot be used or freed again. `calls` is the order
of calls, `fail` makes one of them fail. That the stand-ins offer nothing which the real packages lack is a test too.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Compute = Callable[[dict[str, Array]], Any]  # all inputs by name -> the picture, or all outputs by name
KINDS = {"FLOAT": np.float32, "UINT8": np.uint8, "HALF": np.float16}
INVALIDATED = 901  # CUDA_ERROR_STREAM_CAPTURE_INVALIDATED


class CudaFailure(Exception):
    """pycuda.driver.Error."""


@dataclass
class EngineSpec:
    """What the engine in a file is: (name, is input, type, shape with -1 for the batch) of each tensor."""

    tensors: list[tuple[str, bool, str, tuple[int, ...]]]
    compute: Compute
    max_batch: int = 1
    name: str = ""


class FakeGpu:
    """Everything that is alive on the GPU, what was called, and what shall fail.

    spec: what any engine file holds; plans: what those of this content hold instead.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec
        self.plans: dict[bytes, EngineSpec] = {}
        self.handle = 77  # of the stream
        self.calls: list[str] = []
        self.live: list[str] = []  # what was made and not freed, in order
        self.primary = 0  # how often the primary context is retained
        self.ran = 0  # how often a network really ran
        self.runs: list[str] = []  # names of the specs that did, in order
        self.lost = False  # an error that the context does not survive
        self.kernels_fit = True  # whether a stored runtime cache is for this GPU
        self.errors = ["[E] Cannot find plugin: of an earlier call"]  # what TensorRT has logged
        self._blocking = True  # whether the stream waits for the legacy stream
        self._failures: dict[str, list[Any]] = {}
        self._stacks = threading.local()
        self._queue: list[Callable[[], None]] = []
        self._capture: list[Callable[[], None]] | None = None
        self._capture_broken = False
        self._graphs: dict[int, list[Callable[[], None]]] = {}
        self._numbers = itertools.count(0x1000)
        self._memory: dict[int, Array] = {}
        self.driver = SimpleNamespace(
            Error=CudaFailure, init=lambda: self.call("init"), Device=self._bind(Device), Stream=self._bind(Stream),
            mem_alloc=self._bind(DeviceAllocation), pagelocked_empty=self._pagelocked_empty,
            memcpy_htod_async=self._htod, memcpy_dtoh_async=self._dtoh,
        )  # fmt: skip
        self.library = LibCuda(self)
        self.trt = self._tensorrt()

    # ----- faults and rules -------------------------------------------------------------------------------------------

    def fail(self, name: str, how: Any = None, *, after: int = 0) -> None:
        """The call NAME fails once, after AFTER good ones: raises HOW, or returns it."""
        self._failures[name] = [*[None] * after, CudaFailure(f"{name} failed: injected") if how is None else how]

    def call(self, name: str, *, needs_context: bool = False) -> Any:
        """Note the call; raise or return what it shall fail with, else None."""
        self.calls.append(name)
        if needs_context and not self.stack:
            raise CudaFailure(f"{name} failed: invalid device context")
        pending = self._failures.get(name, [])
        how = pending.pop(0) if pending else None
        if isinstance(how, BaseException):
            if self._capture is not None:
                self._capture_broken = True
            raise type(how)(*how.args)  # a new one, whose traceback nobody keeps
        if how is False:
            self.errors += ["[E] the reason\n  over two lines", "[E] what follows from it"]
        return how

    @property
    def stack(self) -> list[Any]:
        """Contexts that this thread has pushed."""
        if not hasattr(self._stacks, "contexts"):
            self._stacks.contexts = []
        contexts: list[Any] = self._stacks.contexts
        return contexts

    def made(self, what: str) -> None:
        self.live.append(what)

    def gone(self, what: str) -> None:
        self.live.remove(what)  # ValueError: freed twice, or never made

    def number(self) -> int:
        return next(self._numbers)

    def _bind(self, kind: Any) -> Any:
        return lambda *arguments: kind(self, *arguments)

    # ----- memory and the stream --------------------------------------------------------------------------------------

    def memory(self, address: int, nbytes: int) -> Array:
        """The device's bytes at ADDRESS; a freed or foreign one, or one that is too small, is an error."""
        block = self._memory[address]
        assert nbytes <= block.nbytes, f"{nbytes} bytes at a block of {block.nbytes}"
        return block[:nbytes]

    def legacy_stream(self) -> int:
        """Another thread uses the legacy stream. Returns CUresult: 906 while a blocking stream is captured."""
        if self._capture is None or not self._blocking:
            return 0
        self._capture_broken = True
        return 906

    def enqueue(self, work: Callable[[], None]) -> None:
        (self._queue if self._capture is None else self._capture).append(work)

    def _pagelocked_empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        self.call("pagelocked_empty", needs_context=True)
        return np.asarray(Pinned(self, shape, np.dtype(dtype)))

    def _htod(self, dest: int, src: Array, stream: Stream) -> None:
        self.call("memcpy_htod_async", needs_context=True)
        assert isinstance(src.base, (Pinned, np.ndarray)), "only pinned memory can be copied asynchronously"
        target, source = self.memory(dest, src.nbytes), src
        self.enqueue(lambda: np.copyto(target, source.reshape(-1).view(np.uint8)))

    def _dtoh(self, dest: Array, src: int, stream: Stream) -> None:
        self.call("memcpy_dtoh_async", needs_context=True)
        source, target = self.memory(src, dest.nbytes), dest
        self.enqueue(lambda: np.copyto(target.reshape(-1).view(np.uint8), source))

    def synchronize(self) -> None:
        assert self._capture is None, "waiting for a stream that is captured invalidates the capture"
        queue, self._queue = self._queue, []
        if self.lost:
            raise CudaFailure("cuStreamSynchronize failed: an illegal memory access was encountered")
        for work in queue:
            work()

    # ----- TensorRT ---------------------------------------------------------------------------------------------------

    def _tensorrt(self) -> SimpleNamespace:
        return SimpleNamespace(
            __version__="99.1", Runtime=self._bind(Runtime), ILogger=Logger,
            TensorIOMode=SimpleNamespace(INPUT="in", OUTPUT="out"),
            CudaGraphStrategy=SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole", DISABLED="disabled"),
            DynamicShapesKernelSpecializationStrategy=SimpleNamespace(EAGER="eager"),
        )  # fmt: skip


class Device:
    def __init__(self, gpu: FakeGpu, ordinal: int) -> None:
        self._gpu = gpu
        gpu.call("Device")

    def retain_primary_context(self) -> Context:
        self._gpu.call("retain_primary_context")
        self._gpu.primary += 1
        return Context(self._gpu)


class Context:
    """As PyCUDA's: detach() releases the primary context, and only where it is this thread's current one."""

    def __init__(self, gpu: FakeGpu) -> None:
        self._gpu = gpu

    def push(self) -> None:
        self._gpu.call("push")
        self._gpu.stack.append(self)

    def pop(self) -> None:
        self._gpu.calls.append("pop")
        assert self._gpu.stack.pop() is self

    def detach(self) -> None:
        self._gpu.call("detach")
        if self._gpu.stack and self._gpu.stack[-1] is self:
            self._gpu.primary -= 1


class Stream:
    def __init__(self, gpu: FakeGpu, flags: int = 0) -> None:
        self._gpu = gpu
        gpu._blocking = not flags & 1
        gpu.call("Stream", needs_context=True)
        gpu.made("stream")
        self.handle = gpu.handle

    def synchronize(self) -> None:
        self._gpu.call("synchronize", needs_context=True)
        self._gpu.synchronize()

    def __del__(self) -> None:
        if "stream" in self._gpu.live:
            self._gpu.calls.append("~Stream")
            self._gpu.gone("stream")


class DeviceAllocation:
    def __init__(self, gpu: FakeGpu, nbytes: int) -> None:
        self._gpu, self._address = gpu, gpu.number() << 32  # no two blocks touch
        gpu.call("mem_alloc", needs_context=True)
        gpu._memory[self._address] = np.full(nbytes, 0xCD, np.uint8)
        gpu.made(f"device {self._address}")

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        self._gpu.call("free", needs_context=True)
        self._gpu.gone(f"device {self._address}")
        del self._gpu._memory[self._address]


class Pinned:
    """numpy arrays made of it have it as their base."""

    def __init__(self, gpu: FakeGpu, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._gpu, self._memory, self._name = gpu, np.zeros(shape, dtype), f"pinned {gpu.number()}"
        self.__array_interface__ = self._memory.__array_interface__
        gpu.made(self._name)

    def free(self) -> None:
        self._gpu.call("free", needs_context=True)
        self._gpu.gone(self._name)


class LibCuda:
    """The functions that Cuda calls by ctypes; pointers come as byref()."""

    def __init__(self, gpu: FakeGpu) -> None:
        self._gpu = gpu

    def _status(self, name: str) -> int:
        try:
            return int(self._gpu.call(name, needs_context=True) or 0)
        except CudaFailure:
            return 1

    def cuStreamBeginCapture_v2(self, stream: int, mode: int) -> int:
        assert (stream, mode) == (self._gpu.handle, 1)
        status = self._status("cuStreamBeginCapture_v2")
        if status == 0:
            assert self._gpu._capture is None and not self._gpu._queue, "captured while work was in flight"
            self._gpu._capture, self._gpu._capture_broken = [], False
        return status

    def cuStreamEndCapture(self, stream: int, graph: Any) -> int:
        status = self._status("cuStreamEndCapture")
        work, self._gpu._capture = self._gpu._capture, None
        assert work is not None, "no capture to end"
        if status or self._gpu._capture_broken:
            return status or INVALIDATED
        number = graph._obj.value = self._gpu.number()
        self._gpu._graphs[number] = work
        self._gpu.made(f"graph {number}")
        return 0

    def cuGraphInstantiateWithFlags(self, executable: Any, graph: Any, flags: int) -> int:
        status = self._status("cuGraphInstantiateWithFlags")
        if status == 0:
            number = executable._obj.value = self._gpu.number()
            self._gpu._graphs[number] = self._gpu._graphs[graph.value]
            self._gpu.made(f"executable {number}")
        return status

    def cuGraphLaunch(self, executable: Any, stream: int) -> int:
        status = self._status("cuGraphLaunch")
        if status == 0:
            assert f"executable {executable.value}" in self._gpu.live
            self._gpu._queue += self._gpu._graphs[executable.value]
        return status

    def cuGraphDestroy(self, graph: Any) -> int:
        self._gpu.gone(f"graph {graph.value}")
        return self._status("cuGraphDestroy")

    def cuGraphExecDestroy(self, executable: Any) -> int:
        self._gpu.gone(f"executable {executable.value}")
        return self._status("cuGraphExecDestroy")

    def cuCtxPopCurrent_v2(self, context: Any) -> int:
        self._gpu.calls.append("cuCtxPopCurrent_v2")
        self._gpu.stack.pop()
        return 0

    def cuGetErrorString(self, status: int, text: Any) -> int:
        text._obj.value = (
            b"operation failed due to a previous error during capture" if status == INVALIDATED else b"bad"
        )
        return 0


class Logger:
    ERROR, INTERNAL_ERROR = "error", "internal error"


class Runtime:
    REAL: ClassVar = "Runtime"

    def __init__(self, gpu: FakeGpu, logger: Logger) -> None:
        self._gpu = gpu
        gpu.call("Runtime", needs_context=True)

    def get_plugin_registry(self) -> str:
        return "registry"

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Engine | None:
        how = self._gpu.call("deserialize_cuda_engine", needs_context=True)
        return None if how is False else Engine(self._gpu, self._gpu.plans.get(serialized_engine, self._gpu.spec))


class Engine:
    REAL: ClassVar = "ICudaEngine"

    def __init__(self, gpu: FakeGpu, spec: EngineSpec) -> None:
        self._gpu, self._spec = gpu, spec
        self._tensors = {name: (is_input, dtype, shape) for name, is_input, dtype, shape in spec.tensors}
        gpu.made("engine")

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if self._tensors[name][0] else "out"

    def get_tensor_dtype(self, name: str) -> str:
        return f"DataType.{self._tensors[name][1]}"

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name][2]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        rest = self._tensors[name][2][1:]
        return [(n, *rest) for n in (1, 1, self._spec.max_batch)]

    def create_runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig(self._gpu)

    def create_execution_context(self, runtime_config: RuntimeConfig | None = None) -> ExecutionContext | None:
        how = self._gpu.call("create_execution_context", needs_context=True)
        return None if how is False else ExecutionContext(self._gpu, self._spec, runtime_config)

    def __del__(self) -> None:
        self._gpu.calls.append("~Engine")
        self._gpu.gone("engine")


class RuntimeConfig:
    REAL: ClassVar = "IRuntimeConfig"
    cuda_graph_strategy: str = "disabled"
    dynamic_shapes_kernel_specialization_strategy: str = "lazy"

    def __init__(self, gpu: FakeGpu) -> None:
        self._gpu, self._cache = gpu, None

    def create_runtime_cache(self) -> RuntimeCache:
        return RuntimeCache(self._gpu)

    def set_runtime_cache(self, cache: RuntimeCache) -> bool:
        self._cache = cache  # type: ignore[assignment]
        return True


class RuntimeCache:
    REAL: ClassVar = "IRuntimeCache"

    def __init__(self, gpu: FakeGpu) -> None:
        self._gpu = gpu

    def deserialize(self, blob: bytes) -> bool:
        self._gpu.calls.append("cache.deserialize")
        return self._gpu.kernels_fit and "ran" in json.loads(blob)

    def serialize(self) -> bytes:
        self._gpu.calls.append("cache.serialize")
        return json.dumps({"ran": self._gpu.ran}).encode()


class ExecutionContext:
    REAL: ClassVar = "IExecutionContext"

    def __init__(self, gpu: FakeGpu, spec: EngineSpec, config: RuntimeConfig | None) -> None:
        self._gpu, self._spec, self._config = gpu, spec, config
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        gpu.made("execution context")

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return self._gpu.call("set_tensor_address") is not False

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        return self._gpu.call("set_input_shape") is not False

    def infer_shapes(self) -> list[str]:
        return self._gpu.call("infer_shapes") or []

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle == self._gpu.handle
        if self._gpu.call("execute_async_v3", needs_context=True) is False:
            if self._gpu._capture is not None:
                self._gpu._capture_broken = True
            return False
        gpu, spec, addresses, shapes = self._gpu, self._spec, dict(self._addresses), dict(self._shapes)
        tensors = {name: (is_input, dtype, shape) for name, is_input, dtype, shape in spec.tensors}
        batch = {shape[0] for shape in shapes.values()}
        assert len(batch) == 1 and set(addresses) == set(tensors)

        def view(name: str) -> Array:
            _, dtype, shape = tensors[name]
            size = (*batch, *shape[1:])
            kind = np.dtype(KINDS[dtype])
            return gpu.memory(addresses[name], int(np.prod(size)) * kind.itemsize).view(kind).reshape(size)

        def work() -> None:
            gpu.ran += 1
            gpu.runs.append(spec.name)
            made = spec.compute({name: view(name) for name in shapes})
            for name, value in (made if isinstance(made, dict) else {"image": made}).items():
                view(name)[...] = value

        gpu.enqueue(work)
        return True

    def __del__(self) -> None:
        self._gpu.calls.append("~ExecutionContext")
        self._gpu.gone("execution context")
