"""The hanger that a garment is photographed on: hook and stem above its neck, the bar before the inside of its back. Never in a mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from spgvton.video import cv2
from spgvton_training.synthetic.clothes.outline import SHOULDER_SLOPE
from spgvton_training.synthetic.drawing.arrays import Float
from spgvton_training.synthetic.drawing.plane import Plane, UInt8

_KINDS: Final = ("wood", "plastic", "wire")


@dataclass(frozen=True)
class Hanger:
    """A hanger; decimetres, colours in [0, 255]."""

    colour: tuple[float, float, float]
    thick: float  # of its bar
    hook: float  # height of stem and hook
    low: float  # of its middle below the shoulder line


def sample_hanger(rng: np.random.Generator) -> Hanger:
    """Of wood, plastic or wire."""
    kind, tone = str(rng.choice(_KINDS)), rng.uniform(25, 235)
    wood = (tone, 0.75 * tone, 0.55 * tone)
    thick = {"wood": rng.uniform(0.16, 0.30), "plastic": rng.uniform(0.10, 0.18), "wire": 0.05}[kind]
    return Hanger(wood if kind == "wood" else (tone,) * 3, thick, rng.uniform(0.9, 1.4), rng.uniform(0.0, 0.2))


def draw_hanger(hanger: Hanger, plane: Plane, top: float) -> tuple[Float, Float]:
    """Colours (H, W, 3) and share (H, W) of HANGER below a shoulder line that begins at flat y TOP."""
    bar: UInt8 = np.zeros((len(plane.y), plane.x.shape[1]), np.uint8)
    middle = top - hanger.low
    ends = [(sign * 2.0, middle - 2.0 * SHOULDER_SLOPE * 0.8) for sign in (-1, 1)]
    plane.line(bar, 255, hanger.thick, ends[0], (0.0, middle), ends[1])
    metal: UInt8 = np.zeros_like(bar)
    radius = 0.26 * hanger.hook
    centre = middle + hanger.hook - radius
    turn = np.linspace(-0.5 * np.pi, 0.95 * np.pi, 24)
    arc = [(float(radius * np.cos(t)), float(centre + radius * np.sin(t))) for t in turn]
    plane.line(metal, 255, 0.06, (0.0, middle), *arc)
    colours = np.empty((*bar.shape, 3), np.float32)
    colours[:] = 168
    round_ = cv2.GaussianBlur(bar, (0, 0), 0.3 * hanger.thick * plane.scale).astype(np.float32) / 255
    colours[bar > 0] = (np.array(hanger.colour, np.float32) * (0.55 + 0.5 * round_)[..., None])[bar > 0]
    return colours, np.maximum(bar, metal).astype(np.float32) / 255
