"""A short run of parsers.py for each target: coverage-guided, same seed every time."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().with_name("parsers.py")
RUNS = {"image": 400, "uri": 1500, "config": 200, "bundle": 400}


@pytest.mark.parametrize("target", RUNS)
def test_only_our_own_errors_come_out(target: str, tmp_path: Path) -> None:
    if not importlib.util.find_spec("atheris") and not os.environ.get("CI"):
        pytest.skip("no atheris: pip install -e '.[dev]' (Linux on x86-64 only)")
    command = [sys.executable, str(SCRIPT), target, str(tmp_path / "corpus"), f"-runs={RUNS[target]}", "-seed=1",
               "-timeout=30", "-rss_limit_mb=2048", "-max_len=4096"]  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = re.search(r"DONE\s+cov: (\d+)", done.stderr)
    assert found and int(found[1]) > 10, done.stderr[-2000:]  # the instrumentation is on
    assert not list(tmp_path.glob("crash-*"))
