"""A still of the customer: the newest picture in which she is dressed, held by reference, never stored."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]

FRESH_S: Final = 3.0  # an older one is not how she stands there now; a busy machine shows frames late


class Shown(NamedTuple):
    """What a dresser made last. garment: as it was set. picture: RGB uint8 (H, W, 3). captured: time.monotonic() of its frame."""

    garment: object
    picture: UInt8
    captured: float


class Still(NamedTuple):
    """picture: RGB uint8 (H, W, 3), as the camera sees her, not mirrored. garment: name of what she wears in it."""

    picture: UInt8
    garment: str


def still_of(shown: Shown | None, wanted: object, name: str | None, now: float) -> Still | None:
    """SHOWN as a still; None where it is not of the garment WANTED (called NAME), the networks lag behind, or it is old."""
    if shown is None or name is None or shown.garment is not wanted or now - shown.captured > FRESH_S:
        return None
    return Still(shown.picture, name)
