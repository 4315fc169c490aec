"""What is sewn onto a garment: ribs, seams, collars, plackets with buttons, pockets, cuffs, belts. Drawn into the print.

The print is worn and shown, so a trim is in the photo and in the in-shop picture at the same place of the cloth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.video import cv2
from spgvton_training.synthetic.assets import Float
from spgvton_training.synthetic.cuts import COLLARED, Distances
from spgvton_training.synthetic.garment_spec import GarmentSpec
from spgvton_training.synthetic.outline import SHOULDER_SLOPE, WAIST_X, Outline

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


def finish(
    spec: GarmentSpec, print_: UInt8, plane: Plane, outline: Outline, distances: Distances, *, front: bool
) -> UInt8:  # fmt: skip
    """PRINT_ (H, W, 3) with all trims of one side; DISTANCES are (H, W)."""
    hole, hem, sleeve = distances.hole, distances.hem, distances.sleeve
    out, shade = print_.copy(), np.full(print_.shape[:2], 255, np.uint8)
    if spec.kind in COLLARED:
        if front:
            _placket(spec, out, shade, plane, outline)
        _collar(spec, out, shade, plane, outline, front=front)
    else:
        _rib(spec, out, hole, np.abs(plane.x), plane.scale)
    seams = np.ones(print_.shape[:2], np.float32)
    for distance, width in ((hem, 0.16), (sleeve, 0.16)):
        seams *= 1 - 0.20 * np.clip(1 - np.abs(distance - width) / 0.035, 0, 1)
    if spec.cuff > 0:
        # a darker line where the cuff begins, and the cuff itself a little darker
        seams *= 1 - 0.30 * np.clip(1 - np.abs(sleeve - spec.cuff) / 0.045, 0, 1)
        seams *= 1 - 0.08 * np.clip((spec.cuff - sleeve) * plane.scale, 0, 1)
    if outline.waist is not None:
        _waist(spec, out, seams, plane, outline.waist)
    if front and spec.pocket:
        _pocket(shade, plane, outline)
    weave = np.random.default_rng([spec.design.seed, 3]).standard_normal(seams.shape, dtype=np.float32)
    level = seams * (shade * np.float32(1 / 255)) * (1 + 0.03 * weave)
    return np.clip(out * level[..., None], 0, 255).astype(np.uint8)


def trim_colour(spec: GarmentSpec) -> Float:
    """Colour (3,) of ribs, collars and cuffs."""
    base, other, _ = spec.design.colours
    if spec.contrast:
        return other
    return base * 0.86 if spec.kind not in COLLARED else base * 0.95 + 6


def _rib(spec: GarmentSpec, out: UInt8, hole: Float, x: Float, scale: float) -> None:
    width = spec.rib
    share = np.clip((width - hole) * scale + 0.5, 0, 1) * (x < spec.neck_width + width)
    line = np.clip(1 - np.abs(hole - width) / 0.035, 0, 1) * (x < spec.neck_width + width)
    rows = share + line > 0
    share, line = share[rows][:, None], line[rows][:, None]
    colour = out[rows] * np.float32(0.82) if spec.design.pattern == "photo" else trim_colour(spec)
    out[rows] = np.clip((out[rows] + (colour - out[rows]) * share) * (1 - 0.25 * line), 0, 255).astype(np.uint8)


def _placket(spec: GarmentSpec, out: UInt8, shade: UInt8, plane: Plane, outline: Outline) -> None:
    """The overlapping strip in the middle with its buttons: to the chest on a polo, to the hem on a shirt."""
    top = outline.neck_at(spec.neck_width) - spec.neck_depth
    half, high = 0.15, top + 0.5
    low = top - 1.15 if spec.kind == "polo" else spec.hem - 1
    if spec.contrast:
        strip = plane.area((-half, high), (half, high), (half, low), (-half, low)) > 127
        out[strip] = trim_colour(spec).astype(np.uint8)
    plane.line(shade, 175, 0.025, (half, high), (half, low))
    plane.line(shade, 205, 0.02, (-half, high), (-half, low))
    if spec.kind == "polo":
        plane.line(shade, 175, 0.025, (-half, low), (half, low))
    button = spec.design.colours[0] * 0.35 + (165 if spec.design.colours[0].mean() < 110 else 25)
    step = 0.42 if spec.kind == "polo" else 0.78
    for i in range(2 if spec.kind == "polo" else 9):
        at = (0.0, top - 0.25 - step * i)
        if at[1] < max(low, spec.hem) + 0.2:
            break
        plane.dot(shade, 140, 0.085, (0.012, at[1] - 0.02))
        plane.dot(shade, 255, 0.065, at)
        plane.dot(out, tuple(float(c) for c in button), 0.065, at)


def _collar(spec: GarmentSpec, out: UInt8, shade: UInt8, plane: Plane, outline: Outline, *, front: bool) -> None:
    """Two leaves that frame the opening; from behind a band."""
    width, top = spec.neck_width, outline.neck_at(spec.neck_width)
    bottom, colour = top - spec.neck_depth, trim_colour(spec).astype(np.uint8)
    fall = 0.50  # height of the leaf on the shoulder
    for sign in (-1, 1):
        if front:
            end = (sign * (0.40 + 0.12 * width), bottom - spec.collar)
            outer = (sign * (width + fall * 0.75), top - fall * 0.75 * SHOULDER_SLOPE - 0.06)
            leaf = [
                (sign * (width - 0.3), top + 0.5),
                (sign * (width + 0.1), top + 0.4),
                outer,
                end,
                (sign * 0.03, bottom),
            ]
            edge = [outer, end, (sign * 0.03, bottom)]
        else:
            edge = [(sign * (width + 0.42), top - 0.28), (sign * 0.5, top - 0.40), (0.0, top - 0.42)]
            leaf = [(0.0, top + 1), (sign * (width + 0.42), top + 1), *edge]
        inside = plane.area(*leaf)
        # the leaf's shadow on the cloth below it
        soft = cv2.GaussianBlur(inside, (0, 0), 0.07 * plane.scale)
        moved = np.roll(soft, round(0.06 * plane.scale), 0)
        np.minimum(shade, 255 - (moved * np.float32(0.36)).astype(np.uint8), out=shade)
        shade[inside > 127] = 255
        if spec.plain_collar:
            out[inside > 127] = colour
        plane.line(shade, 165, 0.03, *edge)


def _waist(spec: GarmentSpec, out: UInt8, seams: Float, plane: Plane, waist: float) -> None:
    """The seam between bodice and skirt, or a belt over it."""
    bodice = np.abs(plane.x) < WAIST_X + 0.2  # not the sleeves
    if spec.belt:
        belt = (np.abs(plane.y - waist) < 0.22) & bodice
        out[belt] = np.clip(spec.design.colours[1] * 0.8, 0, 255).astype(np.uint8)
        seams *= 1 - 0.2 * (1 - np.cos((plane.y - waist) / 0.22)) * belt
    else:
        seams *= 1 - 0.25 * np.clip(1 - np.abs(plane.y - waist) / 0.04, 0, 1) * bodice


def _pocket(shade: UInt8, plane: Plane, outline: Outline) -> None:
    """A breast pocket on the wearer's left."""
    x, y, half, height = 0.98, outline.neck - 2.15, 0.42, 1.0
    corners = [
        (x - half, y),
        (x + half, y),
        (x + half, y - height * 0.85),
        (x, y - height),
        (x - half, y - height * 0.85),
    ]
    plane.line(shade, 190, 0.03, *corners, closed=True)
    plane.line(shade, 200, 0.03, (x - half, y - 0.16), (x + half, y - 0.16))
