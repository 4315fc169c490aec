"""Scores of a garment exchange in one pose, against a picture of the same person, pose and light in the new garment.

Two kinds. Of a whole picture of any size, beside the camera frame and the truth: `picture_scores`. Of what the network
said, in its own frame: `answer_scores`. Shares of pixels come as (hits, pixels), to be summed over a data set: a picture
with three such pixels must not count as much as one with a thousand.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton import labels as lb
from spgvton import ssim
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Mask = NDArray[np.bool_]
Share = tuple[int, int]

ARMS: Final = (lb.LEFT_ARM, lb.RIGHT_ARM)
DISTINCT: Final = 30.0  # levels (Euclidean, RGB): a pixel whose old and true colour are closer cannot tell
NEAR: Final = 2  # pixels of a picture 256 high around the clothes that change with them
FAR: Final = 6  # beyond so many nothing may change at all


def grow(mask: Mask, pixels: int) -> Mask:
    """MASK (h, w) dilated by PIXELS of a picture 256 high, in a square."""
    side = 2 * round(pixels * mask.shape[0] / 256) + 1
    return cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0


def clothes(labels: UInt8, label_set: str = "cihp") -> Mask:
    return np.isin(labels, lb.clothes(label_set))


class Truth(NamedTuple):
    """What a picture is held against. All of the camera's size (h, w); labels are true, of the frame and of the truth."""

    frame: UInt8  # (h, w, 3): the camera picture, in the old clothes
    labels: UInt8
    picture: UInt8  # (h, w, 3): the same in the new garment
    new_labels: UInt8


def picture_scores(picture: UInt8, truth: Truth) -> dict[str, float | Share]:
    """`ssim`, `ssim_changed` (old or new clothes, dilated by NEAR) and `leakage` of PICTURE (h, w, 3)."""
    old, new = clothes(truth.labels), clothes(truth.new_labels)
    values = ssim.ssim_map(picture, truth.picture)
    return {
        "ssim": float(values.mean()),
        "ssim_changed": ssim.inside(values, grow(old | new, NEAR)),
        "leakage": leakage(picture, truth),
    }


def leakage(picture: UInt8, truth: Truth) -> Share:
    """Of the pixels that were old clothes and are no clothes in the truth: those nearer to the frame than to the truth.

    Pixels whose colour in frame and truth differs by less than DISTINCT are left out.
    """

    def distance(a: UInt8, b: UInt8) -> Float:
        return np.linalg.norm(a.astype(np.float32) - b, axis=2)

    bared = clothes(truth.labels) & ~clothes(truth.new_labels)
    bared &= distance(truth.frame, truth.picture) >= DISTINCT
    stayed = distance(picture, truth.frame) < distance(picture, truth.picture)
    return int((stayed & bared).sum()), int(bared.sum())


def untouched(picture: UInt8, truth: Truth, worn: Mask) -> Share:
    """Of the pixels farther than FAR from all clothes, old, true and WORN (h, w), those that are the frame's, bit for bit."""
    outside = ~grow(clothes(truth.labels) | clothes(truth.new_labels) | worn, FAR)
    same = (picture == truth.frame).all(2)
    return int((same & outside).sum()), int(outside.sum())


def answer_scores(
    worn: Mask, old_labels: UInt8, new_labels: UInt8, positions: Float, flow: Float | None
) -> dict[str, float | Share]:
    """Scores of the network's answer, all in its frame (H, W).

    worn: where it puts the new clothes. old_labels, new_labels: true. positions: (H, W, 2), the pixel (x, y) of the garment
    picture, at network size, that each pixel shows. flow: (H, W, 2), the true ones, NaN where no garment is; None where
    nobody knows.
    """
    old, new = clothes(old_labels), clothes(new_labels)
    bare_before, bare_after = np.isin(old_labels, ARMS), np.isin(new_labels, ARMS)
    sleeve_comes, sleeve_goes = bare_before & new, old & bare_after
    return {
        "hem_error_px": hem_error(worn, new),
        "warp_error_px": warp_error(positions, flow),
        "clothes_iou": float((worn & new).sum() / max(1, (worn | new).sum())),
        "sleeve_on": (int((worn & sleeve_comes).sum()), int(sleeve_comes.sum())),
        "sleeve_off": (int((~worn & sleeve_goes).sum()), int(sleeve_goes.sum())),
    }


def hem_error(worn: Mask, new: Mask) -> float:
    """Median distance, in rows of a picture 256 high, of the lower edges of two masks (H, W), over columns of both."""
    both = worn.any(0) & new.any(0)
    if not both.any():
        return float("nan")
    edges = [mask.shape[0] - 1 - mask[::-1].argmax(0)[both] for mask in (worn, new)]
    return float(np.median(np.abs(edges[0] - edges[1]))) * 256 / worn.shape[0]


def warp_error(positions: Float, flow: Float | None) -> float:
    """Mean distance of POSITIONS and FLOW (H, W, 2) in pixels, where FLOW is not NaN; NaN where that is nowhere."""
    if flow is None:
        return float("nan")
    known = np.isfinite(flow).all(2)
    return float(np.linalg.norm(positions[known] - flow[known], axis=1).mean()) if known.any() else float("nan")
