"""The inside of a garment's back, which its picture shows through the neckline: nobody wears it in front of their neck."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.live.regions import Mask, disc, grow
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

HEIGHT: Final = 256  # pixels of the garment when it is looked at
WINDOW: Final = (0.38, 0.30)  # of its height from the top, of its width to each side: where a neckline may be
SEED: Final = 0.05  # of the width, to each side of the middle
ALIKE: Final = (9.0, 6.0, 4.0, 2.5)  # Lab units within which cloth is the same as the seed; the first that tells
DARKER, OTHER = 3.0, 10.0  # Lab units: by how much the inside is darker than the front, or just another colour
WIDTH: Final = (0.10, 0.50)  # of the garment's: what a neckline may have
DEPTH: Final = (0.02, 0.36)  # of its height
SOLID: Final = 0.75  # area over that of the convex hull
EVEN: Final = 0.06  # of the width, by which its middle may be off


def find_lining(picture: UInt8, mask: UInt8) -> UInt8:
    """255 where PICTURE, RGB (h, w, 3), shows the inside of its back above the front's neckline; MASK (h, w), 255 = garment.

    Found as one even piece of cloth at the top of the middle that is darker than, or of another colour than, what lies round it.
    All zeros where there is none, or where that cannot be told (stripes and prints that run on).
    """
    out = np.zeros_like(mask)
    x, y, w, h = cv2.boundingRect((mask >= 128).astype(np.uint8))
    if min(w, h) < 32:
        return out
    scale = HEIGHT / h
    size = (max(1, round(w * scale)), HEIGHT)
    small = cv2.resize(picture[y : y + h, x : x + w], size, interpolation=cv2.INTER_AREA)
    inside = np.asarray(cv2.resize(mask[y : y + h, x : x + w], size, interpolation=cv2.INTER_AREA)) >= 200
    lab = cv2.cvtColor(cv2.bilateralFilter(small, 5, 20, 3).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    for alike in ALIKE:
        found = _piece(np.asarray(lab, np.float32), inside, alike)
        if found is None or not _is_neckline(found, np.asarray(lab, np.float32), inside):
            continue
        piece = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_CLOSE, disc(4)) & inside
        out[y : y + h, x : x + w] = cv2.resize(
            grow(piece > 0, 1) * np.uint8(255), (w, h), interpolation=cv2.INTER_LINEAR
        )
        out[mask < 128] = 0
        break
    return out


def _piece(lab: Float, inside: Mask, alike: float) -> Mask | None:
    """What hangs together with the top of the middle and is within ALIKE of its colour."""
    h, w = inside.shape
    middle, half = w // 2, max(2, round(SEED * w))
    columns = slice(middle - half, middle + half + 1)
    if not inside[:, columns].any():
        return None
    top = int(np.argmax(inside[:, columns].any(axis=1)))
    seed = np.zeros_like(inside)
    seed[top + 2 : top + 7, columns] = True
    seed &= inside
    if not seed.any():
        return None
    same = (np.linalg.norm(lab - np.median(lab[seed], axis=0), axis=2) < alike) & inside
    window = np.zeros_like(inside)
    reach = round(WINDOW[1] * w)
    window[: top + round(WINDOW[0] * h), middle - reach : middle + reach] = True
    _, pieces = cv2.connectedComponents((same & window).astype(np.uint8), connectivity=4)
    own = pieces[seed & same]
    return pieces == np.bincount(own).argmax() if own.size and own.any() else None


def _is_neckline(piece: Mask, lab: Float, inside: Mask) -> bool:
    h, w = inside.shape
    rows, columns = np.nonzero(piece)
    if not len(rows):
        return False
    width, depth = np.ptp(columns) + 1, np.ptp(rows) + 1
    if not (WIDTH[0] * w < width < WIDTH[1] * w and DEPTH[0] * h < depth < DEPTH[1] * h):
        return False
    if abs((columns.min() + columns.max()) / 2 - w / 2) > EVEN * w:
        return False
    hull = cv2.contourArea(cv2.convexHull(np.stack([columns, rows], 1).astype(np.int32)))
    if len(rows) < SOLID * hull:
        return False
    front = grow(piece, 10) & ~grow(piece, 4) & inside
    front[: rows.min() + 2] = False
    if not front.any():
        return False
    behind, before = np.median(lab[piece], axis=0), np.median(lab[front], axis=0)
    return bool(before[0] - behind[0] > DARKER or np.linalg.norm(before - behind) > OTHER)
