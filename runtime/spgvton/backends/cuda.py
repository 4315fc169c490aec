"""The GPU through PyCUDA: primary context, one stream, memory; and CUDA graphs, which PyCUDA lacks, by the driver itself.

The only module that imports pycuda. Every error is a CudaError of one line. Sources: PyCUDA 2026.1 (src/cpp/cuda.hpp for
contexts and lifetimes), CUDA driver API 12 and 13.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ctypes import byref, c_char_p, c_int, c_ulonglong, c_void_p
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError

THREAD_LOCAL: Final = 1  # CU_STREAM_CAPTURE_MODE: other threads (cameras, encoders) may go on using the GPU
# CU_STREAM_NON_BLOCKING. While a blocking stream is captured, whatever touches the legacy stream in any thread (another
# session, an engine being built or loaded) fails with error 906 and spoils the capture, in every capture mode.
NON_BLOCKING: Final = 1
SIGNATURES: Final[dict[str, tuple[Any, ...]]] = {
    "cuStreamBeginCapture_v2": (c_void_p, c_int),
    "cuStreamEndCapture": (c_void_p, c_void_p),
    "cuGraphInstantiateWithFlags": (c_void_p, c_void_p, c_ulonglong),
    "cuGraphLaunch": (c_void_p, c_void_p),
    "cuGraphExecDestroy": (c_void_p,),
    "cuGraphDestroy": (c_void_p,),
    "cuCtxPopCurrent_v2": (c_void_p,),
    "cuGetErrorString": (c_int, c_void_p),
}


class CudaError(SpgvtonError):
    """A call of the CUDA driver failed; the message names it."""


def import_driver() -> Any:
    """The module pycuda.driver. Raises SpgvtonError that says what to install."""
    try:
        return importlib.import_module("pycuda.driver")
    except ModuleNotFoundError as e:
        raise SpgvtonError(
            f"{e.name} is missing: pip install 'spgvton[cuda]' (PyCUDA is compiled then: nvcc and a C++ compiler are needed)"
        ) from e
    except (ImportError, OSError) as e:
        reason = str(e).splitlines()[0]
        raise SpgvtonError(
            f"pycuda is installed but cannot be loaded ({reason}): install the NVIDIA driver, or pip install "
            "--force-reinstall --no-binary :all: pycuda for the CUDA that is here"
        ) from e


def load_libcuda() -> Any:
    """The driver's own library, with argument types. Raises SpgvtonError where it is missing or too old."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
        for name, types in SIGNATURES.items():
            getattr(library, name).argtypes = types
    except (OSError, AttributeError) as e:
        raise SpgvtonError(f"the NVIDIA driver is missing or older than CUDA 11.4 ({e}): install a newer one") from e
    return library


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection inside the block: it may close another, forgotten session, and to free memory while this thread
    captures is forbidden, and spoils the capture."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Cuda:
    """CUDA device 0. Calls are made inside `with cuda.current():`, in any one thread at a time.

    The primary context is the one that TensorRT's own CUDA runtime uses. What is allocated here lives until close().
    """

    def __init__(self) -> None:
        self._driver = import_driver()
        self._library = load_libcuda()
        self._buffers: list[Any] = []
        self._pinned: list[Any] = []
        self._stream: Any = None
        self._call(self._driver.init)
        self._context: Any = self._call(self._call(self._driver.Device, 0).retain_primary_context)
        try:
            with self.current():
                self._stream = self._call(self._driver.Stream, NON_BLOCKING)
        except BaseException:
            self.close()
            raise

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._driver.Error as e:
            del function, arguments  # or the traceback keeps the stream, which close() could then not free
            raise CudaError(f"CUDA: {e}") from e

    def _check(self, name: str, *arguments: Any) -> None:
        """Call function NAME of libcuda; raise CudaError unless it returns CUDA_SUCCESS."""
        status = getattr(self._library, name)(*arguments)
        if status:
            text = c_char_p()
            self._library.cuGetErrorString(status, byref(text))
            raise CudaError(f"CUDA: {name} failed: {(text.value or b'unknown error').decode()} ({status})")

    @contextmanager
    def current(self) -> Iterator[None]:
        """The context is this thread's inside the block. PyCUDA aborts the process if a thread ends with one pushed."""
        self._call(self._context.push)
        try:
            yield
        finally:
            self._call(self._context.pop)

    # ----- memory and copies ------------------------------------------------------------------------------------------

    def allocate(self, nbytes: int) -> int:
        """Device memory, until close(); its address."""
        allocation = self._call(self._driver.mem_alloc, nbytes)
        self._buffers.append(allocation)
        return int(allocation)

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Page-locked host memory, which the GPU copies from and to without the CPU. Invalid after close()."""
        array: NDArray[Any] = self._call(self._driver.pagelocked_empty, shape, dtype)
        self._pinned.append(array.base)
        return array

    def to_device(self, address: int, source: NDArray[Any]) -> None:
        """Enqueue a copy of SOURCE, a pinned array that must not change until synchronize()."""
        self._call(self._driver.memcpy_htod_async, address, source, self._stream)

    def to_host(self, target: NDArray[Any], address: int) -> None:
        """Enqueue a copy into TARGET, a pinned array that is not to be read before synchronize()."""
        self._call(self._driver.memcpy_dtoh_async, target, address, self._stream)

    # ----- the stream -------------------------------------------------------------------------------------------------

    @property
    def stream(self) -> int:
        """Handle of the stream."""
        return int(self._stream.handle)

    def synchronize(self) -> None:
        """Wait for everything enqueued; raises CudaError for what failed on the way."""
        self._call(self._stream.synchronize)

    def capture(self, work: Callable[[], None]) -> c_void_p:
        """An executable CUDA graph of what WORK enqueues; nothing runs. The stream leaves capture mode, whatever happens."""
        with _no_collection():
            return self._captured(work)

    def _captured(self, work: Callable[[], None]) -> c_void_p:
        self._check("cuStreamBeginCapture_v2", self.stream, THREAD_LOCAL)
        graph, executable = c_void_p(), c_void_p()
        try:
            work()
        except BaseException:
            # Its status tells less than the error that is under way.
            self._library.cuStreamEndCapture(self.stream, byref(graph))
            if graph:
                self._library.cuGraphDestroy(graph)
            raise
        self._check("cuStreamEndCapture", self.stream, byref(graph))
        try:
            self._check("cuGraphInstantiateWithFlags", byref(executable), graph, 0)
        finally:
            self._library.cuGraphDestroy(graph)  # the executable graph does not refer to it
        return executable

    def launch(self, graph: c_void_p) -> None:
        """Enqueue everything in GRAPH."""
        self._check("cuGraphLaunch", graph, self.stream)

    def destroy(self, graph: c_void_p) -> None:
        """Free GRAPH. Never raises: after an error that the context does not survive there is nothing left to free."""
        self._library.cuGraphExecDestroy(graph)

    def close(self) -> None:
        """Free all memory, the stream and the context, in any thread. Calling it again does nothing."""
        context, self._context = self._context, None
        if context is None:
            return
        self._call(context.push)  # PyCUDA frees only what belongs to the thread's current context
        for allocation in (*self._buffers, *self._pinned):
            with suppress(self._driver.Error):  # the rest must be freed too
                allocation.free()
        self._buffers.clear()
        self._pinned.clear()
        self._stream = None
        context.detach()  # releases the primary context, and leaves it on this thread's stack in the driver
        self._library.cuCtxPopCurrent_v2(byref(c_void_p()))
