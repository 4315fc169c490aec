"""Open coats and jackets: two fronts that do not meet, and the inner garment between them.

The inner garment belongs to the jacket, as in a shop's photograph of an open jacket: both are in the picture, in its mask and in
the flow, and both are put on together. Worn, the jacket has the label coat and what shows between its fronts upper clothes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from spgvton_training.synthetic.drawing.arrays import Float

JACKETS: Final = ("bomber", "overshirt", "blazer")
BELOW: Final = 0.30  # decimetres that the inner garment reaches on below the fronts
_TOP: Final = 6.3  # flat y of the opening's upper end
SHADOW: Final = 0.22  # decimetres over which a front shades what it lies on


@dataclass(frozen=True)
class Opening:
    """The gap between the two fronts: half its width in decimetres, at the neck and at the hem; flat y of the hem."""

    top: float
    low: float
    hem: float
    bow: float = 1.0  # > 1: narrow down to the waist, then wide
    zip: bool = False  # its teeth are seen along both edges
    lapel: float = 0.0  # how far down the edges are turned over, in decimetres; 0: not

    def beside(self, x: Float, y: Float) -> Float:
        """Distance of flat points from the gap, > 0 on the fronts, < 0 between them."""
        down = np.clip((_TOP - y) / (_TOP - self.hem), 0, 1) ** self.bow
        return np.asarray(np.abs(x) - (self.top + (self.low - self.top) * down), np.float32)

    def half(self, y: float) -> float:
        """Half the gap at flat Y."""
        return float(-self.beside(np.zeros(1, np.float32), np.full(1, y, np.float32))[0])


def sample_opening(rng: np.random.Generator, kind: str, hem: float) -> Opening:
    """A random gap of a garment of KIND that ends at HEM."""
    top = rng.uniform(0.30, 0.62)
    return Opening(
        top=top,
        low=top + rng.uniform(-0.1, 0.8),
        hem=hem,
        bow=rng.uniform(0.7, 2.2),
        zip=kind in ("hoodie", "bomber") and bool(rng.random() < 0.85),
        lapel={"blazer": rng.uniform(2.2, 3.6), "overshirt": rng.uniform(1.1, 1.6)}.get(kind, 0.0),
    )


def shadow_of_fronts(beside: Float) -> Float:
    """Brightness of the inner garment at distance BESIDE (< 0) from the fronts that stand off it."""
    return np.asarray(1 - 0.5 * np.exp(-((np.minimum(beside, 0) / SHADOW) ** 2)), np.float32)
