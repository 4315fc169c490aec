"""Corrections of a garment's mask by taps: what lies under a tap, and looks like it, becomes garment or background."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError
from spgvton.perception.garment_mask import clean, disc, grab_cut, soften
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]

SIDE: Final = 384  # pixels on the long side of what is worked on
FINGER: Final = 0.02  # of the long side: radius of what a tap surely means
ALIKE: Final = 7  # levels of Lab, from neighbour to neighbour, over which a region goes on
FAR: Final = 34  # levels of Lab from the tapped colour at which it ends in any case
REACH: Final = 0.3  # of the long side: how far from the tap anything may change


class Tap(NamedTuple):
    """x, y: place in the picture, 0...1 of its width and height. add: it is garment; else it is not."""

    x: float
    y: float
    add: bool


def corrected(picture: UInt8, mask: UInt8, tap: Tap) -> UInt8:
    """MASK, uint8 (H, W), of PICTURE, RGB uint8 (H, W, 3), after TAP. Raises SpgvtonError for a tap beside the picture."""
    if not (0 <= tap.x <= 1 and 0 <= tap.y <= 1):
        raise SpgvtonError(f"a tap must lie in the picture, from 0 to 1, got {tap.x:.3g}, {tap.y:.3g}")
    h, w = mask.shape
    scale = min(1.0, SIDE / max(h, w))
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    inside = (cv2.resize(mask, size, interpolation=cv2.INTER_AREA) > 127).astype(np.uint8)
    at = (min(size[0] - 1, int(tap.x * size[0])), min(size[1] - 1, int(tap.y * size[1])))
    sure, near = _region(small, inside, at, add=tap.add)
    garment, background = (cv2.GC_FGD, cv2.GC_BGD) if tap.add else (cv2.GC_BGD, cv2.GC_FGD)
    labels = np.where(inside > 0, cv2.GC_FGD, cv2.GC_BGD).astype(np.uint8)
    labels[near] = np.where(inside > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD)[near]
    labels[sure] = garment
    if not (labels == background).any():  # nothing is left that could be the other thing: no colours to go by
        after = np.where(sure, int(tap.add), inside).astype(np.uint8)
    else:
        after = grab_cut(small, labels)
    # a tap never does the opposite anywhere, and leaves no line of pixels between what it joins
    after = after | inside if tap.add else after & inside
    if tap.add:
        after = np.where(near, cv2.morphologyEx(after, cv2.MORPH_CLOSE, disc(3)), after).astype(np.uint8)
    after = clean(after)
    changed = cv2.dilate((after != inside).astype(np.uint8), disc(3))
    soft = soften(picture, small, after)
    return np.where(cv2.resize(changed, (w, h), interpolation=cv2.INTER_NEAREST) > 0, soft, mask).astype(np.uint8)


def _region(
    small: UInt8, inside: UInt8, at: tuple[int, int], *, add: bool
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:  # fmt: skip
    """What the tap AT (x, y) surely means, and the band round it in which GrabCut decides; (h, w) each."""
    long = max(inside.shape)
    lab = cv2.cvtColor(cv2.medianBlur(small, 5), cv2.COLOR_RGB2LAB)
    flood = np.zeros((inside.shape[0] + 2, inside.shape[1] + 2), np.uint8)
    cv2.floodFill(lab.copy(), flood, at, 0, (ALIKE,) * 3, (ALIKE,) * 3, 4 | (1 << 8) | cv2.FLOODFILL_MASK_ONLY)
    alike = flood[1:-1, 1:-1] > 0
    distance = np.abs(lab.astype(np.int32) - lab[at[1], at[0]].astype(np.int32)).max(axis=2)
    finger = np.zeros_like(inside)
    cv2.circle(finger, at, max(3, round(FINGER * long)), 1, -1)
    reach = np.zeros_like(inside)
    cv2.circle(reach, at, round(REACH * long), 1, -1)
    wrong = (inside == 0) if add else (inside > 0)  # what the tap can change at all
    sure = ((alike & (distance < FAR) & (reach > 0)) | (finger > 0)) & (wrong | (finger > 0))
    sure = cv2.morphologyEx(sure.astype(np.uint8), cv2.MORPH_OPEN, disc(1)) > 0
    sure |= finger > 0
    near = cv2.dilate(sure.astype(np.uint8), disc(max(4, round(0.02 * long)))) > 0
    return sure, near
