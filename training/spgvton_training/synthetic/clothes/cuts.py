"""How a garment is cut: signed distances in the flat plane to neck hole, hem and sleeve ends. > 0 is cloth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from spgvton_training.synthetic.clothes.garment_spec import GarmentSpec
from spgvton_training.synthetic.clothes.outline import LAST_ALONG, NECK_X, SHOULDER_SLOPE, Outline
from spgvton_training.synthetic.drawing.arrays import Float

COLLARED: Final = ("polo", "shirt")
SLEEVELESS: Final = ("tank", "strap")
_STRAP: Final = 0.22  # width of a thin one


@dataclass(frozen=True)
class Distances:
    """Signed distances of flat points to the edges of one side of a garment; all of one shape, in decimetres."""

    hole: Float  # neck hole
    hem: Float
    sleeve: Float  # sleeve end or armhole
    shoulder: Float  # the shoulder line beside the neck
    beside: Float  # the gap between the fronts of an open jacket

    def cut(self) -> Float:
        """Distance to the nearest edge."""
        return np.minimum.reduce([self.hole, self.hem, self.sleeve, self.shoulder, self.beside])


def distances(spec: GarmentSpec, outline: Outline, x: Float, y: Float, *, front: bool) -> Distances:
    """Distances at flat coordinates x, y of one shape."""
    x = np.abs(x)
    body = outline.below_sleeve(x, y) - 0.08  # > 0 beside and below the sleeve
    hole = _neck(spec, outline.neck_at(spec.neck_width) - y, x, front=front)
    shoulder = np.where(x < 1.5, outline.neck + 0.05 - SHOULDER_SLOPE * (x - NECK_X) - y, 9)
    hem = y - spec.hem - spec.hem_curve * (1 - np.minimum(x / 2.3, 1) ** 2)
    if spec.kind in SLEEVELESS:
        # an armhole: straight down beside the strap, then a quarter of an ellipse to the armpit
        half = 0.93 if spec.kind == "tank" else 2.35 - spec.neck_width - _STRAP
        aside, down = np.minimum(x - 2.35, 0) / half, np.minimum(y - outline.neck + 1.0, 0) / 1.62
        armhole = (np.hypot(aside, down) - 1) * half
        sleeve = np.minimum(armhole, np.maximum(1.35 - outline.along_sleeve(x, y), body))
    else:
        end = outline.length * spec.sleeve / LAST_ALONG
        sleeve = np.maximum(end - outline.along_sleeve(x, y), body)
    beside = spec.opening.beside(x, y) if front and spec.opening is not None else np.full_like(hole, 9)
    return Distances(*(np.asarray(d, np.float32) for d in (hole, hem, sleeve, shoulder, beside)))


def _neck(spec: GarmentSpec, below: Float, x: Float, *, front: bool) -> Float:
    """BELOW is the distance below the ends of the hole, on the shoulder line."""
    width, depth = spec.neck_width, spec.neck_depth
    if not front:
        depth = 0.10 if spec.kind in COLLARED else 0.24
    if front and spec.kind in ("vneck", *COLLARED):
        hole = (x / width + below / depth - 1) * min(width, depth) * 0.8
    elif front and spec.kind in ("square", "strap"):
        hole = np.maximum(x - width + 0.12 * below, below - depth)
    else:
        hole = (np.hypot(x / width, below / depth) - 1) * min(width, depth)
    hole = np.where(below > 0, hole, x - width)
    # round the corner on the shoulder: cloth there lies on the neck and does not stand up in a point
    return np.asarray(hole - 0.10 * np.exp(-((x - width) ** 2 + below**2) / 0.16**2))
