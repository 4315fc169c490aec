"""What every back end agrees on about the joint graph: names of its tensors, and the errors of wrong use."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from spgvton.errors import SpgvtonError

PERSON_AND_GARMENT: Final = ("reference_map", "head", "body", "source_keypoints", "cloth", "cloth_mask")
KEYPOINTS: Final = "keypoints"  # the one input that every frame brings
IMAGE: Final = "image"


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
