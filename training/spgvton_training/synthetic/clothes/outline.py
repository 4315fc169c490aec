"""The outline of a garment laid flat: smooth curves from neck to wrist and from wrist over the armpit to the hem.

Where front and back of the relaxed cloth meet, its edges run in a zigzag along the quads of the mesh. Those seam vertices
are moved onto the curves, and the cloth between them follows harmonically.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton_training.synthetic.clothes import cloth
from spgvton_training.synthetic.drawing.arrays import Float
from spgvton_training.synthetic.people import body
from spgvton_training.synthetic.people.assets import BONE, load

NECK_X: Final = 0.90  # half the width of the neck, where the shoulder line begins
SHOULDER_SLOPE: Final = 0.60
_SHOULDER_X: Final = 2.05
WAIST_X: Final = 1.88  # half the width of a dress there
_CHEST_X: Final = 2.30
LAST_ALONG: Final = 2.03  # `along_arm` of the end of the cloth mesh
_ARMPIT: Final = 2.55  # below the neck point
_WRIST: Final = 1.22  # width of a sleeve at its end
_SIDE_END: Final = -1.45


@dataclass(frozen=True)
class Outline:
    """Half an outline (x > 0; the other half mirrors it), in flat decimetres, y up."""

    neck: float  # y of the side of the neck, at x = NECK_X
    direction: tuple[float, float]  # unit vector along the sleeve
    length: float  # of the sleeve from shoulder to wrist
    waist: float | None  # y of a dress's waist; a top has straight sides

    @property
    def shoulder(self) -> tuple[float, float]:
        """Where the sleeve begins."""
        return _SHOULDER_X, self.neck - SHOULDER_SLOPE * (_SHOULDER_X - NECK_X)

    @property
    def armpit(self) -> tuple[float, float]:
        """Where the lower edge of the sleeve meets the side."""
        return _CHEST_X, self.neck - _ARMPIT

    def neck_at(self, width: float) -> float:
        """y of the shoulder line at x = WIDTH: where a neck hole of that half width ends."""
        return self.neck - SHOULDER_SLOPE * (width - NECK_X)

    def along_sleeve(self, x: Float, y: Float) -> Float:
        """Distance along the sleeve from the shoulder; x >= 0."""
        (sx, sy), (dx, dy) = self.shoulder, self.direction
        return np.asarray((x - sx) * dx + (y - sy) * dy, np.float32)

    def below_sleeve(self, x: Float, y: Float) -> Float:
        """Distance below the lower edge of the sleeve, < 0 on the sleeve and between the shoulders; x >= 0."""
        (ax, ay), (ix, iy) = self.armpit, self._wrist()[1]
        length = math.hypot(ix - ax, iy - ay)
        return np.asarray(((x - ax) * (iy - ay) - (y - ay) * (ix - ax)) / length, np.float32)

    def _wrist(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Outer and inner end of the sleeve, a little beyond the end of the mesh."""
        (sx, sy), (dx, dy) = self.shoulder, self.direction
        far = self.length + 0.6
        outer = (sx + dx * far, sy + dy * far)
        return outer, (outer[0] + dy * _WRIST, outer[1] - dx * _WRIST)

    def curves(self) -> tuple[Float, Float, Float]:
        """Upper edge, lower edge of the sleeve and side, each as points (n, 2) a hundredth apart."""
        armpit, (outer, inner) = self.armpit, self._wrist()
        upper = _round([(NECK_X - 0.12, self.neck + 0.12), self.shoulder, outer], 0.28)
        side = [armpit, (_CHEST_X + 0.12, _SIDE_END)]
        if self.waist is not None:
            side = [armpit, (WAIST_X, self.waist), (WAIST_X, _SIDE_END)]
        lower = _round([inner, *side], 0.10)
        split = round(math.dist(inner, armpit) * 100)
        return upper, lower[: split + 1], lower[split:]


def _round(corners: list[tuple[float, float]], radius: float) -> Float:
    """A polyline as points a hundredth apart, its corners rounded, its ends kept."""
    pieces = []
    for a, b in itertools.pairwise(corners):
        n = max(2, round(math.dist(a, b) * 100))
        pieces.append(np.linspace(a, b, n, endpoint=False))
    line = np.concatenate([*pieces, np.array(corners[-1:])])
    pad = round(radius * 300)
    kernel = np.exp(-0.5 * (np.arange(-pad, pad + 1) / (radius * 100)) ** 2)
    longer = np.concatenate([2 * line[0] - line[pad:0:-1], line, 2 * line[-1] - line[-2 : -pad - 2 : -1]])
    smooth = [np.convolve(column, kernel / kernel.sum(), "valid") for column in longer.T]
    return np.stack(smooth, 1).astype(np.float32)


def _edge_of(seam: NDArray[np.intp]) -> NDArray[np.intp]:
    """Which of Outline.curves() each SEAM vertex (n,) lies on: above the arm and shoulder, below the arm, side."""
    topo = cloth.topology()
    heads, _ = body.joints(load().vertices)
    shoulder, wrist = (heads[BONE[f"{bone}.L"]] for bone in ("upperarm01", "wrist"))
    x, y = np.abs(topo.rest[seam, 0]), topo.rest[seam, 1]
    axis = np.interp(x, (shoulder[0], wrist[0]), (shoulder[1], wrist[1]))
    below = np.where(topo.arm[seam] > 0.45, 1, 2)
    return np.where(y > axis, 0, below)


def straighten(xy: Float, seam: NDArray[np.bool_], outline: Outline) -> Float:
    """Relaxed tights (T, 2) with their SEAM vertices (T,) moved onto OUTLINE and the others after them."""
    side = np.where(xy[:, :1] < 0, np.float32(-1), np.float32(1))
    mirror = np.concatenate([side, np.ones_like(side)], 1)
    half = xy * mirror
    move, vertices = np.zeros_like(half), np.flatnonzero(seam)
    edges = _edge_of(vertices)
    for i, curve in enumerate(outline.curves()):
        rows = vertices[edges == i]
        nearest = ((half[rows, None] - curve[None]) ** 2).sum(-1).argmin(1)
        move[rows] = curve[nearest] - half[rows]
    half = half + cloth.smooth(move * mirror, 400, fixed=seam) * mirror
    # under the arm the net is folded over itself: let it lie smoothly
    near = np.linalg.norm(half - np.array(outline.armpit, np.float32), axis=1) < 0.9
    half = cloth.smooth(half, 40, fixed=seam | ~near)
    return _even_sleeves(half, outline) * mirror


def _even_sleeves(half: Float, outline: Outline) -> Float:
    """Towards the wrist, lengths along the sleeve become those along the arm: a straight cut is worn straight."""
    topo = cloth.topology()
    along = cloth.smooth(topo.along_arm[:, None], 3, fixed=topo.boundary)[:, 0]
    share = np.clip((along - 0.4) / 0.6, 0, 1) * (topo.arm > 0.5)
    now = outline.along_sleeve(half[:, 0], half[:, 1])
    step = share * (outline.length * along / LAST_ALONG - now)
    return np.asarray(half + step[:, None] * np.array(outline.direction), np.float32)
