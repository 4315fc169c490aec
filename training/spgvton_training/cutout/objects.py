"""Things that are no garment of the kinds wanted: swing tags, fingers; and trousers and shoes, to be refused.

Shapes are alpha masks (side, side) float32, 0...1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spgvton.video import cv2
from spgvton_training.synthetic.clothes.pattern import fold_shading
from spgvton_training.synthetic.drawing.arrays import Float
from spgvton_training.synthetic.drawing.texture import noise

UInt8 = NDArray[np.uint8]
_SHIFT = 4  # fractional bits of OpenCV's drawing


def blend(picture: UInt8, colour: Float | UInt8, alpha: Float) -> UInt8:
    """PICTURE (h, w, 3) with COLOUR, (3,) or (h, w, 3), over it by ALPHA (h, w)."""
    base = picture.astype(np.float32)
    return np.clip(base + (np.asarray(colour, np.float32) - base) * alpha[..., None], 0, 255).astype(np.uint8)


def fill(side: int, points: Float) -> Float:
    """A polygon (n, 2) of pixel coordinates x, y."""
    canvas = np.zeros((side, side), np.uint8)
    cv2.fillPoly(canvas, [np.rint(points * (1 << _SHIFT)).astype(np.int32)], 255, cv2.LINE_AA, _SHIFT)
    return canvas.astype(np.float32) / 255


def stroke(side: int, points: Float, width: float) -> Float:
    """A line through POINTS (n, 2)."""
    canvas = np.zeros((side, side), np.uint8)
    at = [np.rint(points * (1 << _SHIFT)).astype(np.int32)]
    cv2.polylines(canvas, at, False, 255, max(1, round(width)), cv2.LINE_AA, _SHIFT)
    return canvas.astype(np.float32) / 255


def tag(rng: np.random.Generator, picture: UInt8, mask: Float) -> tuple[UInt8, Float]:
    """PICTURE and MASK with a swing tag on the garment, which is no part of it."""
    rows, columns = np.nonzero(mask > 0.9)
    if not len(rows):
        return picture, mask
    side, i = len(mask), int(rng.integers(len(rows)))
    size = np.array([rng.uniform(0.025, 0.05), rng.uniform(0.05, 0.1)]) * side
    turn = rng.normal(0, 0.4)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size / 2
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    alpha = fill(side, corners @ matrix.T + [columns[i], rows[i]])
    colour = np.float32(rng.uniform(120, 255)) + rng.uniform(-30, 30, 3).astype(np.float32)
    shadow = np.roll(cv2.GaussianBlur(alpha, (0, 0), 1.5), (1, 2), (0, 1)) * np.float32(0.3)
    return blend(blend(picture, np.zeros(3, np.float32), shadow), colour, alpha), mask * (1 - alpha)


def fingers(rng: np.random.Generator, picture: UInt8, mask: Float) -> tuple[UInt8, Float]:
    """PICTURE and MASK with the fingers of a hand over the outline of the garment."""
    inside = (mask > 0.5).astype(np.uint8)
    outline = inside - cv2.erode(inside, np.ones((3, 3), np.uint8))
    rows, columns = np.nonzero(outline)
    if not len(rows):
        return picture, mask
    side, i = len(mask), int(rng.integers(len(rows)))
    at = np.array([columns[i], rows[i]], float)
    out = at - [side / 2, side / 2]
    out /= np.linalg.norm(out) + 1e-6
    across = np.array([-out[1], out[0]])
    wide = rng.uniform(0.03, 0.055) * side
    skin = np.array([1, rng.uniform(0.68, 0.85), rng.uniform(0.5, 0.75)], np.float32) * rng.uniform(80, 250)
    for k in range(int(rng.integers(1, 5))):
        start = at + across * wide * (k - 1.5) * 1.02
        tip = start - out * rng.uniform(0.02, 0.07) * side
        alpha = stroke(side, np.array([start + out * 0.5 * side, tip]), wide)
        shade = cv2.GaussianBlur(alpha, (0, 0), wide / 4)[..., None] * np.float32(0.35) + np.float32(0.65)
        picture, mask = blend(picture, skin * shade, alpha), mask * (1 - alpha)
    return picture, mask


def trousers(rng: np.random.Generator, side: int) -> Float:
    """Trousers or shorts laid flat, or folded along the crotch."""
    waist, hip = rng.uniform(0.12, 0.2), rng.uniform(0.17, 0.25)
    length, crotch = rng.choice([rng.uniform(0.32, 0.45), rng.uniform(0.7, 0.88)]), rng.uniform(0.2, 0.28)
    cuff, spread = rng.uniform(0.06, 0.15), rng.uniform(0.0, 0.14)
    right = [(waist, 0), (hip, crotch * 0.7), (hip + spread, length), (hip + spread - 2 * cuff, length + 0.01)]
    left = [(-x, y) for x, y in right[::-1]]
    points = np.array([*right, (0, crotch), *left])
    if rng.random() < 0.25:  # folded: one leg on the other
        points = np.array(
            [(0, 0), (waist * 1.6, 0), (hip * 1.5, crotch * 0.8), (cuff * 2, length), (0, length), (0.02, crotch)]
        )
    points = points + rng.normal(0, 0.006, points.shape)
    return fill(side, (points + np.array([0.5, 0.5 - length / 2])) * side)


def top(rng: np.random.Generator, side: int) -> tuple[Float, str, str]:
    """A top or a dress of a few straight lines, as in a drawing; with its kind and its sleeves (cutout.KINDS, cutout.SLEEVES)."""
    sleeve = str(rng.choice(["none", "short", "long"], p=[0.2, 0.5, 0.3]))
    dress = rng.random() < 0.2
    half, shoulder, length = (
        rng.uniform(0.16, 0.24),
        rng.uniform(0.8, 1.0),
        rng.uniform(0.75, 0.9) if dress else rng.uniform(0.45, 0.7),
    )
    neck, depth = half * rng.uniform(0.25, 0.55), rng.uniform(0, 0.08)
    down, wide = rng.uniform(-0.1, 1.3), rng.uniform(0.07, 0.13)  # of the sleeve: its angle and its width
    reach = {"none": 0.0, "short": rng.uniform(0.08, 0.17), "long": rng.uniform(0.36, 0.5)}[sleeve]
    along, across = np.array([np.cos(down), np.sin(down)]), np.array([-np.sin(down), np.cos(down)])
    start = np.array([half * shoulder, 0.02])
    arm = (
        [start, start + reach * along, start + reach * along + wide * across, [half, 0.02 + wide]]
        if reach
        else [start, [half, wide]]
    )
    hem = half * rng.uniform(1.0, 1.9) if dress else half * rng.uniform(0.9, 1.15)
    right = np.array([[0, depth], [neck, 0], *arm, [hem, length]], float)
    points = np.concatenate([right, right[::-1] * [-1, 1]])
    kind = "dress" if dress else "long sleeve" if sleeve == "long" else "t-shirt"
    return fill(side, (points + np.array([0.5, 0.5 - length / 2])) * side), kind, sleeve


def shoes(rng: np.random.Generator, side: int) -> Float:
    """A pair seen from above or from the side, or one shoe."""
    t = np.linspace(0, 2 * np.pi, 40)
    total = np.zeros((side, side), np.float32)
    length, wide = rng.uniform(0.3, 0.6), rng.uniform(0.1, 0.17)
    if rng.random() < 0.5:  # from above: soles
        for sign in (-1, 1):
            x = 0.5 + sign * (wide * 0.7 + rng.uniform(0, 0.05)) + wide / 2 * np.sin(t) * (1 + 0.25 * np.cos(t))
            y = 0.5 - length / 2 * np.cos(t)
            total = np.maximum(total, fill(side, np.stack([x, y], 1) * side))
        return total
    profile = np.array(
        [(0, 0), (0.02, -0.32), (0.24, -0.36), (0.42, -0.2), (0.85, -0.14), (1, -0.04), (1, 0.05), (0, 0.05)]
    )
    profile[1:3, 1] *= rng.uniform(0.7, 2.2)  # up to boots
    for k in range(int(rng.integers(1, 3))):
        at = np.array([0.5 - length / 2 + rng.uniform(-0.05, 0.05), 0.45 + 0.2 * k])
        total = np.maximum(total, fill(side, (profile * length + at) * side))
    return total


def cloth(rng: np.random.Generator, shape: Float, texture: UInt8 | None) -> UInt8:
    """Cloth or leather (side, side, 3) for SHAPE, with folds: of TEXTURE (side, side, 3), or of one colour."""
    side = len(shape)
    if texture is None:
        denim = rng.random() < 0.4
        base = (
            np.array([0.45, 0.6, 1.0]) * rng.uniform(70, 210)
            if denim
            else rng.uniform(10, 235) + rng.uniform(-25, 25, 3)
        )
        grain = 1 + np.float32(0.06) * noise(rng, side, side, 3, 1)[..., None]
        coloured = np.float32(base) * grain
    else:
        coloured = texture.astype(np.float32)
    gx, gy = fold_shading(int(rng.integers(1 << 30)), (side, side))
    light = 1 + np.float32(0.35) * np.tanh(gx - gy)
    rim = cv2.distanceTransform((shape > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    light *= 0.75 + 0.25 * np.clip(rim / (0.04 * side), 0, 1)
    return np.clip(coloured * light[..., None], 0, 255).astype(np.uint8)
