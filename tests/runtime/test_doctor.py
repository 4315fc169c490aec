"""`spgvton doctor`: says what is there, and never falls over what is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import spgvton
from spgvton.cli import doctor, main
from spgvton.doctor import gpu_checks
from spgvton.doctor.check import Check, check_import

RUNTIME = Path(spgvton.__file__).parents[1]
CHECKS = {
    "python", "numpy", "onnxruntime", "opencv", "perception models", "model bundle", "disk", "window", "cameras",
    "gst-launch-1.0", "CUDA driver", "nvcc", "tensorrt", "tensorrt_rtx", "pycuda.driver", "torch", "openvino",
}  # fmt: skip


def test_this_machine_runs_the_cpu_path(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--json"])
    stdout, stderr = capsys.readouterr()
    data = json.loads(stdout)
    checks = {c["name"]: c for c in data["checks"]}
    assert set(checks) == CHECKS
    assert {c["status"] for c in checks.values()} <= {"ok", "missing", "problem"}
    assert code == 0, stdout
    assert data["ok"]
    assert "one try-on takes" in checks["model bundle"]["detail"]
    assert all(c["advice"] for c in checks.values() if c["status"] != "ok")
    assert "works" in stderr


def test_a_damaged_bundle_is_a_problem_and_exit_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--bundle", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "problem  model bundle" in out
    assert "does not work" in out


@pytest.mark.parametrize("missing", ["cv2", "onnxruntime", "tqdm"])
def test_survives_without_its_dependencies(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None\nfrom spgvton.cli import main\nsys.exit(main(['doctor', '--json']))"
    environment = os.environ | {"PYTHONPATH": str(RUNTIME)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert "Traceback" not in done.stderr
    checks = {c["name"]: c for c in json.loads(done.stdout)["checks"]}
    assert set(checks) == CHECKS
    broken = [c for c in checks.values() if c["status"] == "problem"]
    assert done.returncode == 1
    assert any(missing in c["detail"] or "OpenCV" in c["detail"] for c in broken)


def test_broken_native_packages_are_told_apart_from_missing_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvinfer.so.10: cannot open shared object file')")
    (tmp_path / "tensorrt_rtx.py").write_text("import os; os.abort()")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    broken = gpu_checks.check_tensorrt()
    assert broken.status == "problem"
    assert "libnvinfer" in broken.detail
    assert gpu_checks.check_tensorrt_rtx().status == "problem"  # aborts its own process, not this one
    assert check_import("no_such_module", "install it").status == "missing"


@pytest.mark.parametrize(
    ("release", "driver", "status"), [("13.5", 13000, "ok"), ("12.8", 13000, "ok"), ("13.0", 12080, "problem")]
)
def test_nvcc_that_is_newer_than_the_driver(
    release: str, driver: int, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it compiles fails at its first launch with error 35; minor versions of one major work on each other."""
    nvcc = tmp_path / "nvcc"
    nvcc.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release {release}, V{release}.1'\n")
    nvcc.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    class Driver:
        def cuDriverGetVersion(self, version: Any) -> int:
            version._obj.value = driver
            return 0

    monkeypatch.setattr(gpu_checks.ctypes, "CDLL", lambda name: Driver())
    found = gpu_checks.check_nvcc()
    assert found.status == status
    assert (f"driver is for CUDA {driver // 1000}.8" in found.detail) == (status == "problem")


def test_a_check_that_hangs_or_raises() -> None:
    import time

    assert doctor._in_time(lambda: time.sleep(2), 0.05) is None

    def explode() -> Check:
        raise RuntimeError("boom\nsecond line")

    found = doctor.guarded("x", explode, required=True)
    assert (found.status, found.detail, found.required) == ("problem", "RuntimeError: boom", True)
    assert found.advice


def test_table_puts_the_advice_under_its_line() -> None:
    text = doctor.table([Check("a", "ok", "fine"), Check("b", "missing", "gone", "get it")])
    assert text.splitlines()[-1].strip() == "-> get it"
