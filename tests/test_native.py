"""The C++ side: CMake builds it (the native_build fixture) and ctest runs its own tests."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path


def test_ctest(native_build: Path) -> None:
    """The operator's mathematics; and, where TensorRT's headers are, the plugin's protocol (see CMakeLists.txt)."""
    ctest = shutil.which("ctest", path=str(Path(sys.executable).parent)) or "ctest"
    command = [ctest, "--test-dir", str(native_build), "--output-on-failure", "--no-tests=error"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_host_library_refuses_wrong_arguments(native_build: Path) -> None:
    function = ctypes.CDLL(str(native_build / "libtps_host.so")).tps_grid_sample_f32
    one = (ctypes.c_float * 64)()
    good = {"n": 1, "c": 1, "h": 1, "w": 1, "grid": 2, "align_corners": 1, "padding": 0}
    assert function(one, one, one, *good.values()) == 0
    for wrong in ({"grid": 1}, {"grid": 6}, {"padding": 2}, {"h": 0}, {"w": -1}, {"n": -1}):
        assert function(one, one, one, *(good | wrong).values()) == 1
