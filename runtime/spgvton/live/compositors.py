"""Who does live mode's work at the camera's resolution, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from spgvton.errors import UsageError
from spgvton.live.compositor import Compositor, OnCpu

COMPOSITORS: Final = ("cpu", "cuda")  # the first is the default


def open_compositor(name: str = COMPOSITORS[0], library: Path | None = None) -> Compositor:
    """The compositor NAME, one of COMPOSITORS; never another one in its place. library: of "cuda", see CudaCompositor.

    Raises UsageError for an unknown NAME, or a library for "cpu", SpgvtonError where something that "cuda" needs is missing.
    """
    if name == "cuda":
        from spgvton.live.compositor_cuda import CudaCompositor

        return CudaCompositor(library)
    if name not in COMPOSITORS:
        raise UsageError(f"compositor '{name}' is unknown: use {' or '.join(COMPOSITORS)}")
    if library is not None:
        raise UsageError("--compositor-library is for --compositor cuda")
    return OnCpu()
