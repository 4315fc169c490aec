"""Hooks of hangers that a garment's mask still has: thin, of another colour, above all of it, and in touch with it at one end.

A strap touches it at both ends, or has its colour.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.video import cv2

UInt8 = NDArray[np.uint8]

THIN: Final = 0.012  # of the long side: half the width of what is thin
LONG: Final = 2.5  # times THIN: shorter tips are corners
NEAR: Final = 5  # times THIN: the garment's colour is taken so far round a piece
UNLIKE: Final = 22.0  # of CIELAB's units (OpenCV's, 8 bit), between the colours of a piece and the garment


def without_hooks(rgb: UInt8, inside: UInt8) -> UInt8:
    """INSIDE, 0 or 1 (h, w), the garment of RGB (h, w, 3), without the hooks in it."""
    radius = max(1, round(THIN * max(inside.shape)))
    core = cv2.morphologyEx(inside, cv2.MORPH_OPEN, _disc(radius))
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(inside & (1 - core), connectivity=8)
    _, top, _, _ = cv2.boundingRect(core)
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(np.float32)
    out = inside.copy()
    for i in range(1, count):
        size = max(stats[i, cv2.CC_STAT_WIDTH], stats[i, cv2.CC_STAT_HEIGHT])
        if size < LONG * radius or stats[i, cv2.CC_STAT_TOP] > top - radius:
            continue
        piece = (pieces == i).astype(np.uint8)
        if _is_hook(lab, piece, np.asarray(core, np.uint8), radius):
            out[piece > 0] = 0
    return out


def _is_hook(lab: NDArray[np.float32], piece: UInt8, core: UInt8, radius: int) -> bool:
    """Whether a thin PIECE (h, w) has one end at the garment's CORE, and another colour than what of it is near."""
    ends, _ = cv2.connectedComponents(cv2.dilate(piece, np.ones((3, 3), np.uint8)) & core, connectivity=8)
    near = (cv2.dilate(piece, _disc(NEAR * radius)) & core) > 0
    if ends - 1 > 1 or not near.any():
        return False
    difference = np.median(lab[piece > 0], axis=0) - np.median(lab[near], axis=0)
    return bool(np.linalg.norm(difference) > UNLIKE)


def _disc(radius: int) -> UInt8:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)
