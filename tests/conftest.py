"""Fixtures that several folders of tests share."""

from __future__ import annotations

import os

# Read once, when torch is loaded. Two OpenMP threads on two hyper-threads of one core are far slower than one.
os.environ["OMP_NUM_THREADS"] = "1"

import ctypes
import faulthandler
import fcntl
import importlib
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
PADDINGS = {"zeros": 0, "border": 1}

# Where the dev environment has TensorRT's C++ headers: `pip install --no-deps kernel-lens==2.0.1` carries those of 10.14.
HEADERS_WHEEL = "kernel_lens"

TpsHost = Callable[..., NDArray[np.float32]]

CRASHES = ROOT / ".pytest_cache" / "crashes"  # what xdist's workers print when they die: their stderr reaches nobody


# With --dist loadfile whoever gets a long file last keeps everybody waiting, so these come first, the longest before.
LONG = (
    "calibration/test_calibrate.py", "export/fp16/test_fp16.py", "training/test_train.py", "runtime/test_engine.py",
    "export/polygraphy/test_polygraphy.py",
    "runtime/test_openvino.py", "export/test_rewrites.py", "runtime/kiosk/web/test_kiosk_web.py", "training/test_qat.py",
    "runtime/kiosk/web/test_kiosk_browser.py", "runtime/kiosk/service/test_kiosk_process.py", "test_plugin.py",
)  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    assert not [path for path in LONG if not (ROOT / "tests" / path).exists()], "LONG names a file that has moved"
    config.option.loadscopereorder = False  # xdist's own order: files of many tests first, however quick they are


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(ROOT / "tests").as_posix()
        return LONG.index(path) if path in LONG else len(LONG)

    items.sort(key=place)


def pytest_sessionstart() -> None:
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        CRASHES.mkdir(parents=True, exist_ok=True)
        faulthandler.enable((CRASHES / worker).open("w"))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """In the main process: a worker that was killed by a signal says where each of its threads was."""
    if error:
        print(f"\n{node.gateway.id}:\n{(CRASHES / node.gateway.id).read_text()}", file=sys.__stderr__)


def lacking(what: str) -> NoReturn:
    """Skip because this machine lacks WHAT; in CI fail, where .ci/run installs it."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}; CI must have it")
    pytest.skip(what)


Make = Callable[[Path], None]


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Make], Path]:
    """f(name, make): folder NAME of this run, which MAKE(folder) fills once for all of xdist's workers."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    shared.mkdir(exist_ok=True)

    def get(name: str, make: Make) -> Path:
        folder = shared / name
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one makes it, the others wait; closing the file gives it back
            if not (shared / f"{name}.made").exists():
                shutil.rmtree(folder, ignore_errors=True)  # half made by one that failed
                folder.mkdir()
                make(folder)
                (shared / f"{name}.made").touch()
        return folder

    return get


@pytest.fixture(scope="session")
def tensorrt_headers() -> Path | None:
    """Folder that CMake searches for TensorRT's headers: $TensorRT_ROOT, or the wheel that carries them for tests."""
    given = os.environ.get("TensorRT_ROOT")  # noqa: SIM112 - CMake's spelling
    wheel = importlib.util.find_spec(HEADERS_WHEEL)
    if given or not wheel or not wheel.submodule_search_locations:
        return Path(given) if given else None
    return Path(wheel.submodule_search_locations[0], "include/tensorrt")


@pytest.fixture(scope="session")
def native_build(shared_folder: Callable[[str, Make], Path], tensorrt_headers: Path | None) -> Path:
    """The folder into which CMake built the C++ side."""
    if not (os.environ.get("CXX") or any(shutil.which(name) for name in ("c++", "g++", "clang++"))):
        lacking("no C++ compiler: apt-get install g++")
    # The dev extra's cmake and ninja lie beside the interpreter, also where the environment is not activated.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    cmake = shutil.which("cmake", path=path)
    assert cmake, "no cmake: pip install -e '.[dev]'"
    strict = "ON" if os.environ.get("CI") else "OFF"
    options = [f"-DCMAKE_COMPILE_WARNING_AS_ERROR={strict}"]
    options += [f"-DTensorRT_ROOT={tensorrt_headers}"] if tensorrt_headers else []
    options += ["-G", "Ninja"] if shutil.which("ninja", path=path) else []

    def build(folder: Path) -> None:
        for command in (
            [cmake, "-S", str(ROOT), "-B", str(folder), *options],
            [cmake, "--build", str(folder), "--parallel", "2"],
        ):
            environment = os.environ | {"PATH": path}
            done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"

    return shared_folder("native", build)


@pytest.fixture(scope="session")
def cmake_cache(native_build: Path) -> dict[str, str]:
    """What CMake found: variables by name."""
    return dict(re.findall(r"^(\w+):\w+=(.*)$", (native_build / "CMakeCache.txt").read_text(), re.MULTILINE))


@pytest.fixture(scope="session")
def nvcc(cmake_cache: dict[str, str]) -> str:
    """The CUDA compiler that CMake found."""
    found = cmake_cache.get("CMAKE_CUDA_COMPILER", "")
    if "/" not in found:
        lacking("no nvcc: install the CUDA toolkit, or its wheels as .ci/run does")
    return found


@pytest.fixture(scope="session")
def plugin_library(native_build: Path, nvcc: str) -> Path:
    """The TensorRT plugin; built where nvcc and TensorRT's headers are."""
    library = native_build / "libspgvton_plugin.so"
    if not library.exists():
        lacking(f"no TensorRT headers: set TensorRT_ROOT or pip install --no-deps {HEADERS_WHEEL}==2.0.1")
    return library


@pytest.fixture(scope="session")
def rtx() -> ModuleType:
    """The module tensorrt_rtx."""
    if not importlib.util.find_spec("tensorrt_rtx"):
        lacking("no TensorRT-RTX: pip install tensorrt-rtx-cu13 (its builder needs no GPU)")
    return importlib.import_module("tensorrt_rtx")


@pytest.fixture(scope="session")
def rtx_short_name(rtx: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with libtensorrt_rtx.so, the name without version that TensorRT-RTX's parser opens for plugins.

    pip installs libtensorrt_rtx.so.1 alone; an empty library of the short name that depends on it makes the name resolve.
    """
    libraries = Path(importlib.import_module("tensorrt_rtx_libs").__path__[0])
    shim = tmp_path_factory.mktemp("shim") / "libtensorrt_rtx.so"
    link = [f"-Wl,-rpath,{libraries}", f"-L{libraries}", "-l:libtensorrt_rtx.so.1"]
    options = ["-shared", "-x", "c++", "/dev/null", f"-Wl,-soname,{shim.name}", "-Wl,--no-as-needed"]
    subprocess.run(["g++", *options, *link, "-o", str(shim)], check=True)
    return shim.parent


@pytest.fixture(scope="session")
def plugin(plugin_library: Path, rtx_short_name: Path) -> Path:
    """The plugin, in a process where TensorRT-RTX can load it."""
    ctypes.CDLL(str(rtx_short_name / "libtensorrt_rtx.so"))
    return plugin_library


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
