"""spgvton.backends.cuda on an emulated CUDA driver (tests/cpp/cuda_driver_host.cpp), through real ctypes and real PyCUDA."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_gpu
import pytest

from spgvton.backends import cuda
from spgvton.backends.plan import DTYPES
from spgvton.errors import SpgvtonError

HERE = Path(__file__).parent
EMULATOR = HERE.parent / "cpp" / "cuda_driver_host.cpp"
NO_PYCUDA = "PyCUDA is not installed (pip builds it, with nvcc, in minutes)"


@pytest.fixture(scope="session")
def emulated_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """libcuda.so.1 that works on the host's memory."""
    if not shutil.which("g++"):
        pytest.skip("no C++ compiler")
    library = tmp_path_factory.mktemp("driver") / "libcuda.so.1"
    options = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
    subprocess.run(["g++", *options, str(EMULATOR), "-o", str(library)], check=True)
    return library


def run(driver: Path, *arguments: str, **environment: str) -> str:
    """What emulated_gpu.py prints."""
    path = os.pathsep.join([str(HERE), *(p for p in sys.path if p)])
    done = subprocess.run(
        [sys.executable, str(HERE / "emulated_gpu.py"), *arguments], check=False, capture_output=True, text=True,
        env=os.environ | {"LD_PRELOAD": str(driver), "PYTHONPATH": path, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "PyCUDA" not in done.stderr, done.stderr  # its warnings of what could not be cleaned up
    return done.stdout


def freed(line: str) -> bool:
    """Whether the driver holds nothing any more."""
    names = ("contexts", "streams", "pinned", "device", "graphs", "executables")
    return all(f"'{name}': 0" in line for name in names)


def test_graphs_by_the_drivers_own_calls(emulated_driver: Path) -> None:
    """Capture, replay, and each call failing in turn: see graphs() there."""
    assert freed(run(emulated_driver, "graphs"))


@pytest.mark.skipif(importlib.util.find_spec("pycuda") is None, reason=NO_PYCUDA)
def test_the_session_on_real_pycuda(emulated_driver: Path, tmp_path: Path) -> None:
    lines = run(emulated_driver, "session", str(tmp_path)).splitlines()
    assert lines[0] == "CUDA: cuMemAlloc failed: invalid argument"
    assert freed(lines[1]) and "'retained': 0" in lines[1]
    run(emulated_driver, "session", str(tmp_path), "leave open")


def test_an_old_driver_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        cuStreamBeginCapture_v2 = cuStreamEndCapture = lambda: 0

    monkeypatch.setattr(cuda.ctypes, "CDLL", lambda name: Old)
    with pytest.raises(SpgvtonError, match=r"older than CUDA 11\.4 .*cuGraphInstantiateWithFlags.*install a newer one"):
        cuda.load_libcuda()


# ----- what the stand-ins offer, the real packages have ---------------------------------------------------------------


def documented(function: Any) -> list[int]:
    """How many parameters each overload of a pybind11 function takes, self included."""
    signatures = re.findall(r"^(?:\d+\. )?\w+\((self.*)\) ->", function.__doc__ or "", re.MULTILINE)
    return [len(re.findall(r"(?:^|, )\w+: ", s)) for s in signatures]


@pytest.mark.parametrize("kind", [v for v in vars(fake_gpu).values() if hasattr(v, "REAL")], ids=lambda kind: kind.REAL)
def test_tensorrt_has_what_the_stand_in_offers(kind: Any) -> None:
    """Our code can call nothing that the stand-in lacks; so it calls nothing that TensorRT-RTX lacks."""
    trt = pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx-cu13")
    real = getattr(trt, kind.REAL)
    offered = [name for name in {**vars(kind), **getattr(kind, "__annotations__", {})} if not name.startswith("_")]
    methods = 0
    for name in offered:
        if name == "REAL":
            continue
        assert hasattr(real, name), f"{kind.REAL} has no {name}"
        function = getattr(kind, name)
        if inspect.isfunction(function):
            methods += 1
            assert len(inspect.signature(function).parameters) in documented(getattr(real, name)), name
    assert methods


def test_tensorrt_has_the_names_that_are_used() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx-cu13")
    offered = vars(fake_gpu.FakeGpu(fake_gpu.EngineSpec([], lambda inputs: inputs["x"])).trt)
    for name, value in offered.items():
        assert hasattr(trt, name)
        for member in vars(value) if isinstance(value, SimpleNamespace) else ():
            assert hasattr(getattr(trt, name), member), f"{name}.{member}"
    assert [str(t).rsplit(".", 1)[-1] for t in (trt.DataType.FLOAT, trt.DataType.UINT8, trt.DataType.HALF)] == list(
        DTYPES
    )
    assert trt.IRuntimeConfig.cuda_graph_strategy.fset and trt.TensorIOMode.INPUT != trt.TensorIOMode.OUTPUT


@pytest.mark.skipif(importlib.util.find_spec("pycuda") is None, reason=NO_PYCUDA)
def test_pycuda_has_what_the_stand_in_offers(emulated_driver: Path) -> None:
    kinds = {"Device": fake_gpu.Device, "Context": fake_gpu.Context, "Stream": fake_gpu.Stream,
             "DeviceAllocation": fake_gpu.DeviceAllocation, "PagelockedHostAllocation": fake_gpu.Pinned}  # fmt: skip
    offered = {name: [m for m in vars(kind) if not m.startswith("_")] for name, kind in kinds.items()}
    module = list(vars(fake_gpu.FakeGpu(fake_gpu.EngineSpec([], lambda inputs: inputs["x"])).driver))
    code = (
        "import os, sys; sys.setdlopenflags(os.RTLD_LAZY); import pycuda.driver as d\n"
        f"missing = [n for n in {module} if not hasattr(d, n)]\n"
        f"missing += [(k, m) for k, ms in {offered}.items() for m in ms if not hasattr(getattr(d, k), m)]\n"
        "sys.exit(str(missing) if missing else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True,
        env=os.environ | {"LD_PRELOAD": str(emulated_driver), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
