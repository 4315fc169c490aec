"""What `spgvton doctor` looks at for NVIDIA GPUs: TensorRT, PyCUDA, the driver, the compiler. Nothing here needs a GPU."""

from __future__ import annotations

import ctypes
import re
import shutil
import sys
from typing import Any

from spgvton import machine
from spgvton.doctor.check import Check, check_import, first_line
from spgvton.engine.flavour import JETSON


def check_tensorrt() -> Check:
    advice = "for NVIDIA GPUs, on the machine with the GPU: pip install 'spgvton[tensorrt]'"
    return check_import("tensorrt", f"on Jetson {JETSON}" if "Jetson" in (machine.gpu() or "") else advice)


def check_tensorrt_rtx() -> Check:
    return check_import("tensorrt_rtx", "for desktop RTX GPUs; builds without one: pip install 'spgvton[tensorrt-rtx]'")


def check_pycuda() -> Check:
    advice = "to run TensorRT's engines (not to build them): pip install 'spgvton[cuda]'; it is compiled: nvcc, g++, python3-dev"
    return check_import("pycuda.driver", advice)


def check_cuda_driver() -> Check:
    advice = "for NVIDIA GPUs only: install the NVIDIA driver; nvidia-smi must list the GPU"
    try:
        library = ctypes.CDLL("libcuda.so.1" if sys.platform == "linux" else "nvcuda.dll")
    except OSError:
        return Check("CUDA driver", "missing", "no libcuda", advice)
    status = library.cuInit(0)
    supports = "driver for CUDA {}.{}".format(*_driver_version(library))
    if status:
        return Check("CUDA driver", "problem", f"{supports}, but cuInit fails with error {status}", advice)
    return Check("CUDA driver", "ok", f"{supports}; {machine.gpu() or 'GPU not named by nvidia-smi'}")


def _driver_version(library: Any) -> tuple[int, int]:
    version = ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    return version.value // 1000, version.value % 1000 // 10


def check_nvcc() -> Check:
    """A toolkit of a newer major version than the driver's makes plugins that fail at their first launch (error 35)."""
    tool = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
    if not tool:
        advice = "only to build the TensorRT plugin and PyCUDA: install the CUDA toolkit"
        return Check("nvcc", "missing", "not on PATH", advice)
    line = first_line([tool, "--version"], "release")
    detail, release = f"{line} ({tool})", re.search(r"release (\d+)", line)
    try:
        driver = _driver_version(ctypes.CDLL("libcuda.so.1"))
    except OSError:
        return Check("nvcc", "ok", detail)
    if release and int(release.group(1)) > driver[0]:
        advice = f"what it compiles does not run here: use CUDA {driver[0]}'s nvcc for the plugin, or a newer driver"
        return Check("nvcc", "problem", f"{detail}, but the driver is for CUDA {driver[0]}.{driver[1]}", advice)
    return Check("nvcc", "ok", detail)
