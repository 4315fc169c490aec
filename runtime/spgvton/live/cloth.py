"""Which point of the garment's picture each pixel shows: the spline's, and beyond the garment's edge its reflection."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.live.garment import LiveGarment
from spgvton.live.regions import Mask, disc, shrink
from spgvton.video import cv2

Float = NDArray[np.float32]

INSIDE: Final = 0.6  # of the garment's mask
MIN_PIXELS: Final = 50
STRETCH: Final = 0.35  # how fast a reflection runs back: stretched, a hem's last stripe stays the last
APART: Final = 14.0  # pixels between sleeve and body, at most
DEEP: Final = 9  # pixels inside the torso, from where on no sleeve lies beside it
CREASE: Final = 1.0  # pixels over which it grows dark between them
DARK: Final = 0.6  # how dark, of the light
SEAM: Final = (5, 5)  # pixels over which reflections from two sides are joined


def worn_lining(positions: Float, garment: LiveGarment) -> Mask | None:
    """Where the spline's POSITIONS (H, W, 2) would put the inside of GARMENT's back; None where its picture shows none."""
    if garment.lining is None:
        return None
    lining = garment.lining.astype(np.float32)
    return cv2.remap(lining, positions, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT) > 0.5


def texture_positions(positions: Float, garment: LiveGarment, worn: Mask) -> Float:
    """For each pixel of the network's frame (x, y) in GARMENT's texture: float32 (H, W, 2).

    positions (H, W, 2): the spline's, in the network's cloth picture. It is never exact: where the garment is WORN (H, W) but the
    spline looks beside its picture, the picture is reflected at its own edge, as if there were more of the same cloth.
    """
    inside = shrink(_on_garment(positions, garment), 1)
    if (inside & worn).sum() >= MIN_PIXELS:
        positions = np.where((worn & ~inside)[..., None], _reflected(positions, inside), positions)
    h, w = worn.shape
    return np.asarray(garment.box.points_back(positions.reshape(-1, 2)), np.float32).reshape(h, w, 2)


def creases(positions: Float, garment: LiveGarment, worn: Mask, torso: Mask) -> Float:
    """Factor (H, W) for the light, 1 and less: where a sleeve lies against the body it is dark between the two.

    There the spline's POSITIONS (H, W, 2) look beside GARMENT though it is WORN (H, W), and find it on both sides. Not in the
    middle of the TORSO (H, W) nor above it, where it is a hole of the garment's picture: hair that hid a part.
    """
    shown = (_on_garment(positions, garment) & worn).astype(np.uint8)
    middle = cv2.erode(torso.astype(np.uint8), np.ones((1, 2 * DEEP + 1), np.uint8)) > 0
    middle = np.maximum.accumulate(middle[::-1], axis=0)[::-1]  # and what is above it
    between = (cv2.morphologyEx(shown, cv2.MORPH_CLOSE, disc(APART / 2)) > shown) & worn & ~middle
    depth = cv2.distanceTransform(between.astype(np.uint8), cv2.DIST_L2, 3)
    dark = cv2.GaussianBlur(1 - np.exp(-depth / np.float32(CREASE)), (0, 0), CREASE)
    return np.asarray(1 - DARK * dark, np.float32)


def _on_garment(positions: Float, garment: LiveGarment) -> Mask:
    """Where POSITIONS (H, W, 2) show GARMENT and not what lies beside it in its picture."""
    mask = garment.network.mask[0]
    return cv2.remap(mask, positions, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT) > INSIDE


def _reflected(positions: Float, inside: Mask) -> Float:
    """POSITIONS (H, W, 2), each taken from the other side of the nearest edge of INSIDE."""
    _, nearest = cv2.distanceTransformWithLabels(
        (~inside).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    rows, columns = np.nonzero(inside)
    where = np.zeros((int(nearest.max()) + 1, 2), np.int32)
    where[nearest[rows, columns]] = np.stack([rows, columns], 1)
    edge = where[nearest]
    h, w = inside.shape
    here = np.moveaxis(np.mgrid[:h, :w], 0, -1)
    mirror = np.clip(edge + np.rint(STRETCH * (edge - here)).astype(int), 0, (h - 1, w - 1))
    usable = inside[mirror[..., 0], mirror[..., 1]]
    source = np.where(usable[..., None], mirror, edge)
    return cv2.blur(positions[source[..., 0], source[..., 1]], SEAM)  # type: ignore[return-value]
