"""The flat plane as a canvas to draw on: points in decimetres, lines, areas and dots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.video import cv2
from spgvton_training.synthetic.drawing.arrays import Float

_SHIFT: Final = 4  # binary digits of a pixel in OpenCV's drawing functions
UInt8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Plane:
    """The flat plane on a canvas."""

    x: Float  # (1, W) decimetres
    y: Float  # (H, 1)
    scale: float  # pixels per decimetre

    def pixels(self, *points: tuple[float, float]) -> NDArray[np.int32]:
        """Flat points -> fixed-point pixels (n, 2)."""
        xy = np.array(points)
        px = (xy[:, 0] - self.x[0, 0]) * self.scale
        py = (self.y[0, 0] - xy[:, 1]) * self.scale
        return np.rint(np.stack([px, py], 1) * 2**_SHIFT).astype(np.int32)

    def area(self, *points: tuple[float, float]) -> UInt8:
        """A filled polygon (H, W), 255 inside."""
        out = np.zeros((len(self.y), self.x.shape[1]), np.uint8)
        cv2.fillPoly(out, [self.pixels(*points)], 255, cv2.LINE_AA, _SHIFT)
        return out

    def line(self, out: UInt8, level: float, width: float, *points: tuple[float, float], closed: bool = False) -> None:
        """A line of LEVEL (255 leaves the cloth as it is) and WIDTH decimetres on the shade OUT (H, W)."""
        thick = max(1, round(width * self.scale))
        cv2.polylines(out, [self.pixels(*points)], closed, level, thick, cv2.LINE_AA, _SHIFT)

    def dot(self, out: UInt8, colour: tuple[float, ...] | float, radius: float, at: tuple[float, float]) -> None:
        """A filled circle."""
        centre = self.pixels(at)[0].tolist()
        cv2.circle(out, centre, max(2**_SHIFT, round(radius * self.scale * 2**_SHIFT)), colour, -1, cv2.LINE_AA, _SHIFT)
