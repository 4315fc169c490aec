"""Sleeves that lie over the body in the shop: turned in at the shoulder, bent at the elbow, on top of the front.

The cloth's vertices are moved, so where each point of the garment lies stays exactly known; what a sleeve covers is seen nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.video import cv2
from spgvton_training.synthetic.clothes.flat import Canvas
from spgvton_training.synthetic.clothes.outline import LAST_ALONG
from spgvton_training.synthetic.clothes.shop import Fold
from spgvton_training.synthetic.drawing.arrays import Float
from spgvton_training.synthetic.drawing.raster import interpolate, rasterise

_BEND: Final = 0.9  # decimetres beyond the armhole over which the cloth gives way
_HEIGHT: Final = 0.12  # decimetres from the outer edge of a sleeve to where its elbow turns
_CREASE: Final = 0.6  # decimetres of a sleeve that bend there
_MOVED: Final = 0.05  # share of the turn from which a triangle is part of the sleeve, not of the body
_SAME: Final = 0.20  # decimetres: nearer, it is the same point of the cloth


@dataclass(frozen=True, eq=False)
class Laid:
    """Where the cloth lies once its sleeves are folded. Pixels of the canvas (h, w), edges at integers."""

    uv: Float  # (N, 2) of the layout's vertices
    seen: Float  # (h, w, 2) point of the unfolded canvas that a pixel shows
    sleeve: NDArray[np.float32]  # (h, w) share of a sleeve on top
    still: NDArray[np.bool_]  # (h, w) of the unfolded canvas: it stays where it is


def lay_sleeves(field: Canvas, fold: Fold) -> Laid:
    """FIELD with its sleeves folded."""
    lay, (height, width) = field.layout, field.size
    xy, share = lay.xy.copy(), np.zeros(len(lay.xy), np.float32)
    for sign, shoulder, elbow in ((1, fold.shoulder[0], fold.elbow[0]), (-1, fold.shoulder[1], fold.elbow[1])):
        own = np.flatnonzero(lay.xy[:, 0] * sign > 0)
        half = lay.xy[own] * np.array([sign, 1], np.float32)
        half, share[own] = _turn(field, half, np.radians(shoulder), np.radians(elbow))
        xy[own] = half * np.array([sign, 1], np.float32)
    uv = field.uv + (xy - lay.xy) * np.array([field.scale, -field.scale], np.float32)

    faces = lay.triangles[lay.front & lay.shown]
    moved = share[faces].max(1) > _MOVED
    along = lay.outline.along_sleeve(np.abs(lay.xy[:, 0]), lay.xy[:, 1])
    over = np.where((lay.xy[:, 0] > 0) == fold.left_above, 20, 0)
    points = np.concatenate([uv, (share * 2 + along + over)[:, None].astype(np.float32)], 1)
    found = rasterise(points, faces[moved], field.size, cull=False)
    grid = np.mgrid[0:height, 0:width].astype(np.float32)
    seen = np.stack([grid[1], grid[0]], -1) + np.float32(0.5)
    seen.reshape(-1, 2)[found.pixel] = interpolate(field.uv, faces[moved][found.triangle], found.bary)
    sleeve = np.zeros(height * width, np.float32)
    sleeve[found.pixel] = 1
    still = np.ones(height * width, bool)
    still[field.front.pixel] = share[field.front.corners].max(1) <= _MOVED * 1.5
    # and the soft edge of a sleeve goes with it
    beside = cv2.dilate((~still).reshape(field.size).astype(np.uint8), np.ones((9, 9), np.uint8)).ravel() > 0
    beside[field.front.pixel] = False
    still &= ~beside
    return Laid(uv.astype(np.float32), seen, sleeve.reshape(field.size), still.reshape(field.size))


def _turn(field: Canvas, half: Float, shoulder: float, elbow: float) -> tuple[Float, Float]:
    """Flat points (n, 2), x > 0, turned inwards at ELBOW and SHOULDER by radians, and how far each follows the shoulder (n,)."""
    outline = field.layout.outline
    (sx, sy), (ax, ay), direction = outline.shoulder, outline.armpit, np.array(outline.direction)
    x, y = half.T
    beyond = ((x - sx) * (sy - ay) - (y - sy) * (sx - ax)) / np.hypot(sx - ax, sy - ay)
    on_sleeve = (outline.below_sleeve(x, y) < 0.02) & (beyond > 0)
    share = _smooth(beyond / _BEND) * on_sleeve
    at = outline.length / LAST_ALONG
    inwards = np.array([direction[1], -direction[0]])  # from the outer edge to the inner one
    middle = np.array([sx, sy]) + direction * at + inwards * _HEIGHT
    bent = _smooth((outline.along_sleeve(x, y) - at) / _CREASE + 0.5) * share
    half = _rotate(half, middle, -elbow * bent)
    pivot = 0.75 * np.array([sx, sy]) + 0.25 * np.array([ax, ay])
    return _rotate(half, pivot, -shoulder * share).astype(np.float32), share.astype(np.float32)


def _smooth(t: Float) -> Float:
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def _rotate(points: Float, pivot: NDArray[np.float64], angle: Float) -> Float:
    d, c, s = points - pivot, np.cos(angle), np.sin(angle)
    return np.stack([d[:, 0] * c - d[:, 1] * s, d[:, 0] * s + d[:, 1] * c], 1) + pivot


def fold_over(laid: Laid, lit: Float, share: Float, scale: float) -> tuple[Float, Float]:
    """The front's colours LIT (h, w, 3) and its SHARE (h, w) with the sleeves laid over it, where they cast a shadow."""
    u, v = (np.ascontiguousarray(laid.seen[..., i] - np.float32(0.5)) for i in (0, 1))
    sleeve = cv2.remap(share, u, v, cv2.INTER_LINEAR) * laid.sleeve
    below = share * laid.still
    shadow = cv2.GaussianBlur(sleeve, (0, 0), 0.09 * scale) * 0.55
    out = lit * (1 - shadow)[..., None]
    out += (cv2.remap(lit, u, v, cv2.INTER_LINEAR) - out) * sleeve[..., None]
    return out, np.maximum(below, sleeve)


def hidden(laid: Laid, where: Float, uv: Float, scale: float) -> NDArray[np.bool_]:
    """Whether the points WHERE (n, 2) on the folded canvas, UV (n, 2) on the unfolded one, lie below a sleeve."""
    height, width = laid.sleeve.shape
    column = np.clip(where[:, 0].astype(int), 0, width - 1)
    row = np.clip(where[:, 1].astype(int), 0, height - 1)
    return np.asarray(np.abs(laid.seen[row, column] - uv).max(1) > _SAME * scale)
