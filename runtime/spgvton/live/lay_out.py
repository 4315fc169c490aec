"""An in-shop picture as live mode takes it: sleeves away from the body, and cropped to a garment that is small in it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton.live.spread import Turn, spread
from spgvton.perception import garment_sleeves
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

FILLS, MARGIN = 0.7, 0.08  # share of a picture that a garment fills as it is; of its longer side, else left around it


class Moves(NamedTuple):
    """What became of a picture's pixels. turns: of sleeves, in turn. corner: (x, y) at which the picture was cropped then."""

    turns: tuple[Turn, ...]
    corner: tuple[int, int]

    def points(self, points: Float) -> Float:
        """Pixels (n, 2), (x, y), of the picture as it was -> where they lie now, float32 (n, 2)."""
        for turn in self.turns:
            points = turn.points(points)
        return (points - np.array(self.corner)).astype(np.float32)

    @property
    def begin(self) -> tuple[int, int]:
        """Where the first pixel of the picture as it was lies now, (x, y), but for what was turned."""
        x, y = (sum(turn.pad[i] for turn in self.turns) - self.corner[i] for i in (0, 1))
        return x, y


class LaidOut(NamedTuple):
    """picture uint8 (h, w, 3) and mask uint8 (h, w), and where their pixels came from."""

    picture: UInt8
    mask: UInt8
    moves: Moves


def lay_out(picture: UInt8, mask: UInt8) -> LaidOut:
    """PICTURE RGB (h, w, 3) with its MASK (h, w), 255 = garment. Training lays out in the same way what live mode will be shown.

    Raises SpgvtonError where the sleeves' model file is damaged.
    """
    made = spread(picture, mask, garment_sleeves.shipped()(picture, mask))
    rows, columns = _close(made.mask)
    moves = Moves(made.turns, (columns.start, rows.start))
    return LaidOut(made.picture[rows, columns], made.mask[rows, columns], moves)


def _close(mask: UInt8) -> tuple[slice, slice]:
    """Rows and columns of MASK (h, w) to which a garment that is small in its picture is cropped; else all of them.

    The networks know garments that fill their picture.
    """
    x, y, w, h = cv2.boundingRect((mask > 0).astype(np.uint8))
    height, width = mask.shape
    if max(h / height, w / width) >= FILLS:
        return slice(0, height), slice(0, width)
    margin = round(MARGIN * max(w, h))
    return slice(max(0, y - margin), y + h + margin), slice(max(0, x - margin), x + w + margin)
