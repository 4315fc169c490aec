"""One execution context of an engine: TensorRT's and TensorRT-RTX's differences end here.

TensorRT-RTX compiles its kernels when an engine first runs; they are kept in a file beside the engine (its runtime cache).
It captures CUDA graphs itself (CudaGraphStrategy.WHOLE_GRAPH_CAPTURE), so ours are not used with it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from spgvton.backends.plan import Tensor
from spgvton.engine.load import LoadedEngine
from spgvton.errors import SpgvtonError
from spgvton.files import write_bytes


class Execution:
    """Runs a loaded engine. The CUDA context must be current.

    runtime_cache: file of TensorRT-RTX's compiled kernels. say: told when it cannot be used. cuda_graph: whether
    TensorRT-RTX captures one.
    """

    def __init__(
        self, loaded: LoadedEngine, runtime_cache: Path, say: Callable[[str], None], *, cuda_graph: bool = True
    ) -> None:
        self._loaded, self._cache_file, self._say = loaded, runtime_cache, say
        self._attempt = loaded.trt.attempt
        self._cache: Any = None
        config = self._rtx_config(cuda_graph) if loaded.trt.is_rtx else None
        engine = loaded.engine
        self._context: Any = (
            self._attempt(engine.create_execution_context)
            if config is None
            else self._attempt(engine.create_execution_context, config)
        )
        if self._context is None:
            raise SpgvtonError(f"no execution context for {loaded.path}: {self._reason('not enough GPU memory?')}")

    def _reason(self, otherwise: str) -> str:
        return self._loaded.trt.first_error(otherwise)

    def _rtx_config(self, cuda_graph: bool) -> Any:
        trt = self._loaded.trt.trt
        config = self._loaded.engine.create_runtime_config()
        strategies = trt.CudaGraphStrategy
        config.cuda_graph_strategy = strategies.WHOLE_GRAPH_CAPTURE if cuda_graph else strategies.DISABLED
        # All kernels at the first frame of a batch size, instead of better ones some frames later.
        config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        self._cache = config.create_runtime_cache()
        try:
            stored = self._cache_file.read_bytes()
        except OSError:
            stored = b""  # the first time
        if stored and not self._cache.deserialize(stored):
            self._say(
                f"{self._cache_file.name} is not for this GPU, driver and TensorRT-RTX: kernels are compiled anew"
            )
        config.set_runtime_cache(self._cache)
        return config

    def tensors(self) -> list[Tensor]:
        """The engine's inputs and outputs."""
        engine, trt = self._loaded.engine, self._loaded.trt.trt
        out = []
        for i in range(engine.num_io_tensors):
            name = engine.get_tensor_name(i)
            is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            dtype = str(engine.get_tensor_dtype(name)).rsplit(".", 1)[-1]
            largest = tuple(engine.get_tensor_profile_shape(name, 0)[2]) if is_input else (0,)
            out.append(Tensor(name, is_input, dtype, tuple(engine.get_tensor_shape(name)), largest[0]))
        return out

    def bind(self, name: str, address: int) -> None:
        """Tell where tensor NAME lies on the device."""
        if not self._attempt(self._context.set_tensor_address, name, address):
            raise SpgvtonError(f"TensorRT refuses the address of {name}: {self._reason('no reason given')}")

    def set_shapes(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """The inputs' shapes for the runs to come."""
        for name, shape in shapes.items():
            if not self._attempt(self._context.set_input_shape, name, shape):
                raise SpgvtonError(f"TensorRT refuses {name} as {shape}: {self._reason('no reason given')}")
        unknown = self._context.infer_shapes()
        if unknown:
            raise SpgvtonError(f"{self._loaded.path} cannot run: the shape of {', '.join(unknown)} is not known")

    def enqueue(self, stream: int) -> None:
        """Enqueue one run."""
        if not self._attempt(self._context.execute_async_v3, stream):
            raise SpgvtonError(f"TensorRT cannot run {self._loaded.path}: {self._reason('no reason given')}")

    def ran(self) -> None:
        """After the first run of a batch size: keep the kernels that TensorRT-RTX compiled. A full disk costs only that."""
        if self._cache is None:
            return
        try:
            write_bytes(self._cache_file, bytes(self._cache.serialize()))
        except SpgvtonError as e:
            self._say(f"compiled kernels are not kept: {e}")

    def close(self) -> None:
        """Free the context, then its cache. The engine stays open."""
        self._context = None
        self._cache = None
