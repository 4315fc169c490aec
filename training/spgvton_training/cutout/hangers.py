"""Hangers of wire, wood and plastic, with or without clips, their hooks and the rail: behind a garment, and before its neck.

Sizes go by the garment: HALF of its width at the shoulders, TOP of its neck in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.video import cv2
from spgvton_training.cutout.objects import blend, fill, stroke
from spgvton_training.synthetic.drawing.arrays import Float

UInt8 = NDArray[np.uint8]
KINDS: Final = ("wire", "wood", "plastic", "clips")
SHOULDERS: Final = 0.2  # of the garment's height, from its top: where its width is measured


@dataclass(frozen=True)
class Neck:
    """Where a hanger's stem goes in: pixels of the square. half: of the width at the shoulders; height: of the garment."""

    x: float
    y: float
    half: float
    height: float


def neck_of(mask: Float) -> Neck | None:
    """Where a garment of MASK (side, side) would hang; None where there is next to none."""
    rows = np.flatnonzero((mask > 0.5).any(axis=1))
    if len(rows) < 16:
        return None
    top, height = int(rows[0]), int(rows[-1] - rows[0] + 1)
    columns = np.flatnonzero((mask[top : top + max(2, round(SHOULDERS * height))] > 0.5).any(axis=0))
    if len(columns) < 8:
        return None
    x = (columns[0] + columns[-1]) / 2
    middle = mask[:, max(0, int(x) - 2) : int(x) + 3].max(axis=1) > 0.5
    return Neck(x, float(np.argmax(middle)), (columns[-1] - columns[0]) / 2, float(height))


def draw(rng: np.random.Generator, side: int, neck: Neck) -> tuple[Float, Float]:
    """Colours (side, side, 3) and alpha (side, side) of a hanger in NECK."""
    kind = str(rng.choice(KINDS, p=[0.25, 0.3, 0.35, 0.1]))
    size = rng.uniform(0.05, 0.11) * side  # of the hook
    y = neck.y + rng.uniform(-0.02, 0.04) * side
    reach, drop = neck.half * rng.uniform(0.55, 1.15), neck.half * rng.uniform(0.12, 0.5)
    width = {"wire": rng.uniform(1, 2.2), "wood": rng.uniform(4, 9), "plastic": rng.uniform(2.5, 6), "clips": 2.5}[kind]
    width *= side / 256
    bars = _bars(rng, kind, np.array([neck.x, y - 0.3 * size]), reach, drop)
    body = np.maximum.reduce([stroke(side, bar, width) for bar in bars])
    if kind == "clips":
        for sign in (-1, 1):
            at = bars[0][-1 if sign > 0 else 0] * [1, 1] - [sign * 0.15 * reach, 0]
            body = np.maximum(body, fill(side, at + np.array([[-4, -4], [4, -4], [4, 9], [-4, 9]]) * side / 256))
    metal = np.maximum(*_hook(rng, side, neck.x, y - 0.3 * size, size, max(1.0, 0.4 * width)))
    colours = np.broadcast_to(_colour(rng, kind), (side, side, 3)) * _round(body)[..., None]
    shiny = np.full(3, rng.uniform(90, 235), np.float32) if kind != "plastic" or rng.random() < 0.6 else colours
    only_metal = (metal * (1 - body))[..., None]
    return np.asarray(colours + only_metal * (shiny - colours), np.float32), np.maximum(body, metal)


def _bars(rng: np.random.Generator, kind: str, at: Float, reach: float, drop: float) -> list[Float]:
    """The lines of a hanger's body below AT, its stem's foot."""
    if kind == "clips":
        return [at + np.array([[-reach, drop / 2], [reach, drop / 2]]), at + np.array([[0, 0], [0, drop / 2]])]
    t = np.linspace(-1, 1, 25)
    bend = rng.uniform(1.0, 1.15) if kind == "wire" else rng.uniform(1.1, 1.9)  # 1: straight shoulders
    shoulders = at + np.stack([t * reach, np.abs(t) ** bend * drop], axis=1)
    below = at + np.array([[-reach, drop], [reach, drop]])
    return [shoulders, below] if kind == "wire" or rng.random() < 0.35 else [shoulders]


def _hook(rng: np.random.Generator, side: int, x: float, y: float, size: float, width: float) -> tuple[Float, Float]:
    """Stem and hook above (x, y); now and then the rail or nail that it hangs from."""
    sign = rng.choice([-1, 1])
    angle = np.linspace(np.pi * 1.1, -np.pi * 0.45, 16)
    arc = np.stack([x + sign * size * 0.5 * np.cos(angle), y - 1.2 * size - size * 0.5 * np.sin(angle)], axis=1)
    stem = np.array([[x, y], [x, y - 0.6 * size], arc[-1]])
    hook = np.maximum(stroke(side, arc, width), stroke(side, stem, width))
    rail = np.zeros_like(hook)
    if rng.random() < 0.25:
        level = y - 1.7 * size
        ends = np.array([[-9, level + rng.normal(0, 6)], [side + 9, level + rng.normal(0, 6)]])
        rail = stroke(side, ends, rng.uniform(2, 12) * side / 256)
    return hook, rail


def _colour(rng: np.random.Generator, kind: str) -> Float:
    if kind == "wood":
        return np.array([1, rng.uniform(0.6, 0.85), rng.uniform(0.3, 0.65)], np.float32) * np.float32(
            rng.uniform(60, 235)
        )
    grey = rng.choice([rng.uniform(8, 40), rng.uniform(40, 210), rng.uniform(215, 250)], p=[0.35, 0.3, 0.35])
    tint = rng.uniform(-1, 1, 3) * (rng.choice([4, 70]) if kind == "plastic" else 4)
    return np.clip(grey + tint, 0, 255).astype(np.float32)


def _round(body: Float) -> Float:
    """Light on a rod: brighter along its middle."""
    depth = cv2.distanceTransform((body > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(0.75 + 0.35 * np.clip(depth / 3, 0, 1), np.float32)


def behind(rng: np.random.Generator, picture: UInt8, mask: Float) -> UInt8:
    """PICTURE (side, side, 3) with a hanger behind the garment of MASK (side, side): hook and ends are seen."""
    neck = neck_of(mask)
    if neck is None:
        return picture
    colours, alpha = draw(rng, len(mask), neck)
    return blend(picture, colours, alpha * (1 - mask))


def in_neck(rng: np.random.Generator, picture: UInt8, mask: Float) -> tuple[UInt8, Float]:
    """PICTURE and MASK with a hanger that hides behind the garment but for its hook, its ends and what the neckline shows, where it
    lies before the inside of the back."""
    neck = neck_of(mask)
    if neck is None:
        return picture, mask
    colours, alpha = draw(rng, len(mask), neck)
    opening = np.zeros(mask.shape, np.uint8)
    axes = (round(neck.half * rng.uniform(0.18, 0.4)), round(neck.half * rng.uniform(0.12, 0.45)))
    cv2.ellipse(opening, (round(neck.x), round(neck.y)), axes, 0, 0, 360, (1,), -1)
    alpha = alpha * np.maximum(1 - mask, cv2.GaussianBlur(opening.astype(np.float32), (0, 0), 0.7))
    return blend(picture, colours, alpha), mask * (1 - alpha)
