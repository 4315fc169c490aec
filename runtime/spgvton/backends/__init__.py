"""What runs a bundle's joint graph. A back end is chosen by name and never replaced silently by another."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spgvton.bundle import Bundle
from spgvton.errors import UsageError


class Backend(Protocol):
    """Runs tryon.onnx. Static tensors are set once per person or garment; a frame brings only keypoints."""

    def set_static(self, name: str, value: NDArray[np.float32]) -> None:
        """Set an input (with batch axis) that stays until it is set again."""

    def run(self, keypoints: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Target keypoints (N, 18, 3) in network pixels -> try-on images (N, H, W, 3)."""

    def describe(self) -> dict[str, str]:
        """Name, version, device, threads: for reports."""


BACKENDS = ("onnxruntime",)


def open_backend(name: str, bundle: Bundle, *, threads: int | None = None) -> Backend:
    """Raises UsageError for an unknown NAME, SpgvtonError when the graph cannot be loaded."""
    if name == "onnxruntime":
        from spgvton.backends.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(bundle, threads=threads)
    raise UsageError(f"back end '{name}' is unknown: use one of {', '.join(BACKENDS)}")
