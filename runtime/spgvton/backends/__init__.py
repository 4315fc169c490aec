"""What runs a bundle's joint graph. A back end is chosen by name and never replaced silently by another."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from spgvton.bundle import Bundle
from spgvton.engine.flavour import MODULES
from spgvton.errors import UsageError


class Backend(Protocol):
    """Runs tryon.onnx. Static tensors are set once per person or garment; a frame brings only keypoints.

    Not thread-safe, but the thread may change between two calls.
    """

    def set_static(self, name: str, value: NDArray[np.float32]) -> None:
        """Set an input (with batch axis) that stays until it is set again."""

    def run(self, keypoints: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Target keypoints (N, 18, 3) in network pixels -> try-on images (N, H, W, 3), the caller's to keep."""

    def describe(self) -> dict[str, str]:
        """Name, version, device and settings: for reports."""

    def close(self) -> None:
        """Give everything back; calling it again does nothing. A closed back end cannot be used."""


BACKENDS: Final = ("onnxruntime", *MODULES)


def tell(words: str) -> None:
    """A line for people, on stderr."""
    print(words, file=sys.stderr)


def open_backend(
    name: str, bundle: Bundle, *, threads: int | None = None, warp: str | None = None, plugin: Path | None = None,
    say: Callable[[str], None] = tell,
) -> Backend:  # fmt: skip
    """The back end NAME, one of BACKENDS, for BUNDLE; the precision is the bundle's.

    threads: of onnxruntime. warp, plugin: of the engine, see `spgvton build`; the engine comes from the cache or is built
    now, which takes minutes. say: is told where the engine came from, and why CUDA graphs are not used where they are not.
    Raises UsageError for an unknown NAME, SpgvtonError when the graph cannot be loaded, or when there is no GPU, driver or
    package for NAME.
    """
    if name == "onnxruntime":
        if warp or plugin:
            raise UsageError(f"--warp and --plugin are for --backend {' and '.join(MODULES)}")
        from spgvton.backends.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(bundle, threads=threads)
    if name in MODULES:
        if threads is not None:
            raise UsageError("--threads is for --backend onnxruntime")
        from spgvton.backends.tensorrt import open_tensorrt

        return open_tensorrt(name, bundle, warp=warp, plugin=plugin, say=say)
    raise UsageError(f"back end '{name}' is unknown: use one of {', '.join(BACKENDS)}")
