"""Runs openvino_cases.py in a process of its own.

In a worker that had run the tests of the other native libraries (torch, TensorRT-RTX, the plugin) OpenVINO's tests ended the
interpreter without a word, in three runs of CI and never alone. No user's process loads all of these.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_openvino_cases(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    cases = Path(__file__).with_name("openvino_cases.py")
    options = ["-q", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "cases")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # xdist's
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(cases)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
    assert " passed" in done.stdout
