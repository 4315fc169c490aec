"""What every back end agrees on: what it does, names of the joint graph's tensors, and the errors of wrong use."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError

PERSON_AND_GARMENT: Final = ("reference_map", "head", "body", "source_keypoints", "cloth", "cloth_mask")
KEYPOINTS: Final = "keypoints"  # the one input that every frame brings
IMAGE: Final = "image"


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


def check_inputs(inputs: Collection[str], what: str) -> None:
    """Raise SpgvtonError unless INPUTS are those of a joint graph; one without `align_source` has no source keypoints."""
    if KEYPOINTS not in inputs or set(inputs) - {*PERSON_AND_GARMENT, KEYPOINTS}:
        raise SpgvtonError(f"{what} is not an spgvton joint graph (inputs {', '.join(inputs)})")


def check_static_name(name: str) -> None:
    """Raise ValueError unless NAME is a tensor of the person or the garment."""
    if name not in PERSON_AND_GARMENT:
        raise ValueError(f"{name} is not one of {PERSON_AND_GARMENT}")


def check_all_set(missing: Collection[str]) -> None:
    """Raise SpgvtonError when inputs are MISSING because no person or no garment was set."""
    if missing:
        who = "person" if "body" in missing else "garment"
        raise SpgvtonError(f"no {who} is set yet ({', '.join(sorted(missing))})")
