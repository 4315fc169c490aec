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
CHROMA: Final = 10.0  # levels of colour that are still the same cloth
LIGHT: Final = 22.0  # levels of brightness that folds make
TRUSTED: Final = 0.7  # share of plain pixels from which folds are taken over whole
SHARE: Final = 0.5  # of the network's light in the garment's; it is smooth, and knows no fold of today's
SMOOTH: Final = 2.0  # pixels over which the network's light is taken
COARSE: Final = 4  # wide blurs are made at so much less resolution


def _blur(x: Float, sigma: float) -> Float:
    if sigma < COARSE:
        return cv2.GaussianBlur(x, (0, 0), sigma)  # type: ignore[return-value]
    h, w = x.shape
    small = cv2.resize(x, (-(-w // COARSE), -(-h // COARSE)), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / COARSE), (w, h), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


def _within(x: Float, mask: Float, sigma: float) -> Float:
    """Mean of X (H, W) over the part of MASK within SIGMA pixels."""
    return np.asarray(_blur(x * mask, sigma) / np.maximum(_blur(mask, sigma), 1e-3), np.float32)


def plainness(lab: UInt8, mask: Mask) -> Float:
    """How far each pixel (H, W) of MASK has the main colour of what is worn there, so that it differs by its light alone: 0 to 1.

    lab: uint8 (H, W, 3) as OpenCV has it. A print, a button or a stripe is none of it.
    """
    level = np.median(lab[mask], 0)
    light, a, b = cv2.split(np.abs(lab.astype(np.float32) - level.astype(np.float32)))
    return np.exp(-(((a + b) / CHROMA) ** 2) - np.maximum(light - LIGHT, 0) ** 2 / LIGHT**2) * mask  # type: ignore[no-any-return]


def relit(shade: Float, picture: UInt8, cloth: UInt8, where: Mask) -> Float:
    """SHADE (H, W) with its SHARE of the light that the network gave the garment.

    That is its PICTURE over the warped CLOTH, both uint8 (H, W, 3), WHERE (H, W) it is worn.
    """
    known = shrink(where, 1).astype(np.float32)
    if known.sum() < MIN_PIXELS:
        return shade
    seen, flat = (cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float32) + 4 for p in (picture, cloth))
    factor = (_blur(seen * known, SMOOTH) + 0.5) / (_blur(flat * known, SMOOTH) + 0.5)
    share = SHARE * np.minimum(2 * _blur(known, SMOOTH), 1)
    return np.asarray(shade * (1 - share) + np.clip(factor, *RANGE) * share, np.float32)


def shading(picture: UInt8, labels: UInt8, regions: Regions) -> Float:
    """Factor (H, W), about 1, by which the new garment's colours are multiplied; PICTURE is uint8 (H, W, 3), framed.

    It is the old clothes' brightness relative to their own level: with the folds where they are of one colour, otherwise little
    more than the slow part. Where the garment covers bare arms it is the arms' own. Elsewhere that of what is near.
    """
    lab = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2LAB))
    light = lab[..., 0].astype(np.float32) + 2
    total, weight = np.zeros_like(light), np.zeros_like(light)
    arms = np.isin(labels, ARMS) & grow(regions.garment, 2)
    for mask in (regions.old, arms):
        solid = shrink(mask, 1)
        if solid.sum() < MIN_PIXELS:
            continue
        plain = plainness(lab, solid)
        trust = min(1.0, float(plain.sum() / solid.sum()) / TRUSTED) ** 2
        level = float(np.percentile(light[solid], 60))
        wide = np.maximum(_within(light, plain + 1e-3 * solid, WIDE), 1)
        factor = (wide / level) ** (0.2 + 0.5 * trust) * (_within(light, plain + 1e-2 * solid, FOLD) / wide) ** trust
        total += factor * plain
        weight += plain
    reached = _blur(weight, NEAR)
    near = np.where(reached > 0.02, _blur(total, NEAR) / np.maximum(reached, 1e-3), 1.0)
    around = _blur(weight, FOLD)
    known = np.minimum(around, 1.0)
    sharp = _blur(total, FOLD) / np.maximum(around, 1e-3)
    return np.clip(sharp * known + near * (1 - known), *RANGE).astype(np.float32)
