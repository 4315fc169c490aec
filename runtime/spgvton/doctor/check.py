"""One line of `spgvton doctor`, and how tools and packages are asked."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from typing import Final, Literal

Status = Literal["ok", "missing", "problem"]
TIMEOUT_S: Final = 30.0


@dataclass
class Check:
    """One line of the table. required: the CPU path does not work without it."""

    name: str
    status: Status
    detail: str
    advice: str = ""
    required: bool = False


def first_line(command: list[str], pattern: str = "") -> str:
    """The first line of a tool's output that holds PATTERN; "" when the tool fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return next((line.strip() for line in done.stdout.splitlines() if pattern in line and line.strip()), "")


def version(distribution: str) -> str | None:
    """Of an installed DISTRIBUTION; None where there is none."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_import(module: str, advice: str) -> Check:
    """Import a native package in a process of its own: a broken one may abort it."""
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        return Check(module, "missing", "not installed", advice)
    code = f"import {module} as m, sys; v = getattr(m, '__version__', None) or getattr(m, 'VERSION_TEXT', ''); print(v)"
    if module == "pycuda.driver":
        code = "import pycuda, pycuda.driver; print(pycuda.VERSION_TEXT)"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.SubprocessError:
        return Check(module, "problem", f"import takes more than {TIMEOUT_S:.0f} s", "reinstall it")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return Check(
            module,
            "problem",
            f"installed, but its import fails: {last[:160]}",
            "install the NVIDIA driver and libraries it names",
        )
    return Check(module, "ok", done.stdout.strip())
