"""Fixtures that several folders of tests share."""

from __future__ import annotations

import os

# Read once, when torch is loaded. Two OpenMP threads on two hyper-threads of one core are far slower than one.
os.environ["OMP_NUM_THREADS"] = "1"

import ctypes
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
PADDINGS = {"zeros": 0, "border": 1}

# Where the dev environment has TensorRT's C++ headers: `pip install --no-deps kernel-lens==2.0.1` carries those of 10.14.
HEADERS_WHEEL = "kernel_lens"

TpsHost = Callable[..., NDArray[np.float32]]


@pytest.fixture(scope="session")
def tensorrt_headers() -> Path | None:
    """Folder that CMake searches for TensorRT's headers: $TensorRT_ROOT, or the wheel that carries them for tests."""
    given = os.environ.get("TensorRT_ROOT")  # noqa: SIM112 - CMake's spelling
    wheel = importlib.util.find_spec(HEADERS_WHEEL)
    if given or not wheel or not wheel.submodule_search_locations:
        return Path(given) if given else None
    return Path(wheel.submodule_search_locations[0], "include/tensorrt")


@pytest.fixture(scope="session")
def native_build(tmp_path_factory: pytest.TempPathFactory, tensorrt_headers: Path | None) -> Path:
    """The folder into which CMake built the C++ side."""
    if not (os.environ.get("CXX") or any(shutil.which(name) for name in ("c++", "g++", "clang++"))):
        if os.environ.get("CI"):
            pytest.fail("no C++ compiler, and CI must have one")
        pytest.skip("no C++ compiler: apt-get install g++")
    # The dev extra's cmake and ninja lie beside the interpreter, also where the environment is not activated.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    cmake = shutil.which("cmake", path=path)
    assert cmake, "no cmake: pip install -e '.[dev]'"
    build = tmp_path_factory.mktemp("native")
    generator = ["-G", "Ninja"] if shutil.which("ninja", path=path) else []
    strict = "ON" if os.environ.get("CI") else "OFF"
    options = [f"-DTensorRT_ROOT={tensorrt_headers}"] if tensorrt_headers else []
    environment = os.environ | {"PATH": path}
    for command in (
        [cmake, "-S", str(ROOT), "-B", str(build), f"-DCMAKE_COMPILE_WARNING_AS_ERROR={strict}", *options, *generator],
        [cmake, "--build", str(build), "--parallel", "2"],
    ):
        done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return build


@pytest.fixture(scope="session")
def plugin_library(native_build: Path) -> Path:
    """The TensorRT plugin; built where nvcc and TensorRT's headers are."""
    library = native_build / "libspgvton_plugin.so"
    if not library.exists():
        pytest.skip(
            f"no nvcc or no TensorRT headers: set TensorRT_ROOT or pip install --no-deps {HEADERS_WHEEL}==2.0.1"
        )
    return library


@pytest.fixture(scope="session")
def tps_host(native_build: Path) -> TpsHost:
    """TpsGridSample as the CUDA kernel computes it, on the host: f(image, theta, grid_size, align_corners, padding)."""
    function = ctypes.CDLL(str(native_build / "libtps_host.so")).tps_grid_sample_f32
    pointer = ctypes.POINTER(ctypes.c_float)
    function.argtypes = [pointer, pointer, pointer, *[ctypes.c_int] * 7]

    def call(
        image: NDArray[np.float32],
        theta: NDArray[np.float32],
        grid_size: int = 5,
        align_corners: bool = True,
        padding: str = "border",
    ) -> NDArray[np.float32]:
        assert theta.shape == (len(image), 2, grid_size**2)
        arrays = [np.ascontiguousarray(a, np.float32) for a in (image, theta, np.full_like(image, np.nan))]
        pointers = [a.ctypes.data_as(pointer) for a in arrays]
        assert function(*pointers, *image.shape, grid_size, int(align_corners), PADDINGS[padding]) == 0
        return arrays[2]

    return call
