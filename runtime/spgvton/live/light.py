"""The light that falls on the customer, taken from what they wear: folds and shadows for the new garment."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.live.regions import ARMS, Mask, Regions, grow, shrink
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

FOLD: Final = 1.2  # pixels of the network's frame: what is smaller is weave or print
WIDE: Final = 14.0  # what is larger is the light of the room
NEAR: Final = 6.0  # how far light is carried to where nothing is known of it
RANGE: Final = (0.5, 1.3)
MIN_PIXELS: Final = 50
COARSE: Final = 4  # wide blurs are made at so much less resolution


def _blur(x: Float, sigma: float) -> Float:
    if sigma < COARSE:
        return cv2.GaussianBlur(x, (0, 0), sigma)  # type: ignore[return-value]
    h, w = x.shape
    small = cv2.resize(x, (-(-w // COARSE), -(-h // COARSE)), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / COARSE), (w, h), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


def _within(x: Float, mask: Float, sigma: float) -> Float:
    """Mean of X (H, W) over the part of MASK within SIGMA pixels."""
    return _blur(x * mask, sigma) / np.maximum(_blur(mask, sigma), np.float32(1e-3))


def plainness(lab: UInt8, old: Mask) -> float:
    """How far the OLD clothes are of one colour, so that what varies in them is light: 0 (a print) to 1.

    lab: uint8 (H, W, 3) as OpenCV has it.
    """
    inside = lab[old].astype(np.float32)
    if len(inside) < MIN_PIXELS:
        return 0.0
    light, *chroma = np.abs(inside - np.median(inside, 0)).mean(0) * (100 / 255, 1, 1)
    return float(np.exp(-((sum(chroma) / 14.0) ** 2)) * np.exp(-((max(0.0, light - 8.0) / 10.0) ** 2)))


def shading(picture: UInt8, labels: UInt8, regions: Regions) -> Float:
    """Factor (H, W), about 1, by which the new garment's colours are multiplied; PICTURE is uint8 (H, W, 3), framed.

    It is the old clothes' brightness relative to their own level: with the folds where they are plain, otherwise little more than
    the slow part. Where the garment covers bare arms it is the arms' own. Elsewhere that of what is near.
    """
    lab = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2LAB))
    light = lab[..., 0] * np.float32(100 / 255) + 1
    total, weight = np.zeros_like(light), np.zeros_like(light)
    arms = np.isin(labels, ARMS) & grow(regions.garment, 2)
    for mask, plain in ((regions.old, plainness(lab, regions.old)), (arms, 0.6)):
        solid = shrink(mask, 1)
        if solid.sum() < MIN_PIXELS:
            continue
        level = float(np.percentile(light[solid], 60))
        inside = solid.astype(np.float32)
        wide = np.maximum(_within(light, inside, WIDE), 1)
        factor = (wide / level) ** (0.2 + 0.6 * plain) * (_within(light, inside, FOLD) / wide) ** (1.1 * plain)
        total += factor * inside
        weight += inside
    reached = _blur(weight, NEAR)
    near = np.where(reached > 0.02, _blur(total, NEAR) / np.maximum(reached, 1e-3), 1.0)
    around = _blur(weight, FOLD)
    known = np.minimum(around, 1.0)
    sharp = _blur(total, FOLD) / np.maximum(around, 1e-3)
    return np.clip(sharp * known + near * (1 - known), *RANGE).astype(np.float32)
