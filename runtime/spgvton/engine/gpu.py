"""The NVIDIA GPU of this machine, asked from the driver alone: no PyCUDA, no nvidia-smi (Jetson has none)."""

from __future__ import annotations

import ctypes
import hashlib
from dataclasses import dataclass

# CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, _COMPUTE_CAPABILITY_MAJOR and _MINOR
MULTIPROCESSORS, MAJOR, MINOR = 16, 75, 76


@dataclass(frozen=True)
class Gpu:
    """Name as NVIDIA writes it, compute capability as in "86", memory in bytes, multiprocessors that are switched on."""

    name: str
    sm: str
    memory: int
    multiprocessors: int

    @property
    def identity(self) -> str:
        """What an engine is tuned for. All Jetson Orin modules are called "Orin", and power modes switch parts of one off.

        Memory in whole GiB: what the system keeps for itself changes with its updates.
        """
        return f"{self.name}, {self.multiprocessors} SM, {self.memory / 2**30:.0f} GiB"

    @property
    def slug(self) -> str:
        """The identity in the name of a file: "sm87-1f0c2a9b"."""
        return f"sm{self.sm}-{hashlib.sha256(self.identity.encode()).hexdigest()[:8]}"


def first_gpu() -> Gpu | None:
    """CUDA device 0, or None without a driver or a GPU."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, count, major, minor = (ctypes.c_int() for _ in range(4))
    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t()
    calls = (
        lambda: cuda.cuInit(0),
        lambda: cuda.cuDeviceGet(ctypes.byref(device), 0),
        lambda: cuda.cuDeviceGetName(name, len(name), device),
        lambda: cuda.cuDeviceGetAttribute(ctypes.byref(count), MULTIPROCESSORS, device),
        lambda: cuda.cuDeviceGetAttribute(ctypes.byref(major), MAJOR, device),
        lambda: cuda.cuDeviceGetAttribute(ctypes.byref(minor), MINOR, device),
        lambda: cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device),
    )
    if any(call() != 0 for call in calls):
        return None
    return Gpu(name.value.decode(), f"{major.value}{minor.value}", memory.value, count.value)


def free_memory() -> int | None:
    """Bytes of CUDA device 0 that nobody uses, or None where they cannot be read.

    Asked in the primary context, which a session has made; without one it is made and given up again.
    """
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
    if cuda.cuInit(0) or cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0):
        return None
    try:
        if cuda.cuCtxPushCurrent_v2(context):
            return None
        status = cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
        cuda.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
        return None if status else free.value
    finally:
        cuda.cuDevicePrimaryCtxRelease_v2(0)
