"""What is sewn onto a garment: ribs, seams, collars, lapels, zips, plackets with buttons, pockets, cuffs, belts, cords. Drawn into the
print.

The print is worn and shown, so a trim is in the photo and in the in-shop picture at the same place of the cloth.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from spgvton.video import cv2
from spgvton_training.synthetic.clothes.cuts import COLLARED, Distances
from spgvton_training.synthetic.clothes.garment_spec import GarmentSpec
from spgvton_training.synthetic.clothes.jacket import Opening
from spgvton_training.synthetic.clothes.outline import SHOULDER_SLOPE, WAIST_X, Outline
from spgvton_training.synthetic.drawing.arrays import Float
from spgvton_training.synthetic.drawing.plane import Plane, UInt8

_BANDS: Final = 0.11  # decimetres from rib to rib


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
    elif spec.kind not in ("blazer", "overshirt"):
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
    if spec.band > 0:
        seams *= 1 - 0.30 * np.clip(1 - np.abs(hem - spec.band) / 0.045, 0, 1)
        ribs = 1 - 0.10 * (np.sin(plane.x * (2 * np.pi / _BANDS)) > 0.2)
        seams *= np.where((hem < spec.band) & (np.abs(plane.x) < 2.5), ribs, 1)
    if front and spec.pocket:
        (_pouch if spec.hood is not None else _pocket)(spec, shade, plane, outline)
    if front and spec.opening is not None:
        _edges(spec, spec.opening, out, shade, plane, outline)
    if front and spec.hood is not None and spec.hood.cords > 0:
        _cords(spec, out, shade, plane, outline)
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


def _pouch(spec: GarmentSpec, shade: UInt8, plane: Plane, outline: Outline) -> None:
    """The pocket before the belly of a hoodie; an open one has half of it on each front."""
    low = spec.hem + spec.band + 0.12
    for sign in (-1, 1):
        corners = [
            (0.0, low + 1.75),
            (sign * 0.85, low + 1.75),
            (sign * 1.45, low + 0.75),
            (sign * 1.45, low),
            (0.0, low),
        ]
        plane.line(shade, 170, 0.035, *corners)
        plane.line(shade, 205, 0.025, (sign * 0.75, low + 1.70), (sign * 1.33, low + 0.72))


def _edges(spec: GarmentSpec, opening: Opening, out: UInt8, shade: UInt8, plane: Plane, outline: Outline) -> None:
    """Along both edges of an open front: lapels or a seam, and a zip; buttons down one of them; a pocket in each front."""
    beside = opening.beside(plane.x, plane.y)
    lapel_end = outline.neck - opening.lapel
    if opening.zip:
        tape = (beside < 0.13) & (beside > -0.05)
        out[tape] = (out[tape] * 0.55).astype(np.uint8)
        teeth = (beside < 0.06) & (beside > -0.05) & ((plane.y % 0.09) < 0.055)
        out[teeth] = 190 if spec.design.colours[0].mean() < 140 else 90
    line = np.clip(1 - np.abs(beside - 0.17) * plane.scale / 1.5, 0, 1) * (plane.y < lapel_end)
    shade[:] = np.minimum(shade, (255 - 70 * line).astype(np.uint8))
    for sign in (-1, 1):
        x, y = sign * 1.15, spec.hem + (1.1 if opening.lapel else 0.9 + spec.band)
        slant = 0.0 if spec.kind == "blazer" else 0.45
        if not spec.pocket:
            plane.line(shade, 150, 0.05, (x - 0.45, y + sign * slant), (x + 0.45, y - sign * slant))
        if opening.lapel:
            _lapel(spec, opening, out, shade, plane, outline, sign)
    if not opening.zip:
        button = spec.design.colours[0] * 0.4 + (150 if spec.design.colours[0].mean() < 90 else 20)
        for i in range(2 if spec.kind == "blazer" else 6):
            y = lapel_end - 0.15 - i * (1.0 if spec.kind == "blazer" else 0.8)
            if y > spec.hem + 0.4:
                plane.dot(out, tuple(float(c) for c in button), 0.075, (opening.half(y) + 0.28, y))


def _lapel(
    spec: GarmentSpec, opening: Opening, out: UInt8, shade: UInt8, plane: Plane, outline: Outline, sign: int
) -> None:  # fmt: skip
    """The edge of one front, turned over from the neck down to where the opening's lapel ends."""
    top, neck = outline.neck_at(spec.neck_width), spec.neck_width
    end, peak = outline.neck - opening.lapel, outline.neck - 0.45 * opening.lapel - 0.35
    wide = 0.62 if spec.kind == "blazer" else 0.48
    edge = [
        (neck + 0.30, top - 0.10),
        (opening.half(peak) + wide + 0.12, peak + 0.22),
        (opening.half(peak) + wide + 0.2, peak),
    ]
    leaf = [(neck - 0.4, top + 0.5), (neck + 0.12, top + 0.4), *edge, (opening.half(end), end), (0.0, end), (0.0, top)]
    inside = plane.area(*((sign * x, y) for x, y in leaf))
    soft = np.roll(cv2.GaussianBlur(inside, (0, 0), 0.08 * plane.scale), round(0.07 * plane.scale), 0)
    np.minimum(shade, 255 - (soft * np.float32(0.40)).astype(np.uint8), out=shade)
    shade[inside > 127] = 255
    if spec.plain_collar:
        out[inside > 127] = trim_colour(spec).astype(np.uint8)
    outer = [(sign * x, y) for x, y in [*edge, (opening.half(end), end)]]
    plane.line(shade, 120, 0.035, *outer)
    if spec.kind == "blazer":  # the notch between collar and lapel
        plane.line(
            shade, 120, 0.035, (sign * (opening.half(peak) + wide + 0.12), peak + 0.22), (sign * 0.55, peak + 0.42)
        )


def _cords(spec: GarmentSpec, out: UInt8, shade: UInt8, plane: Plane, outline: Outline) -> None:
    """The drawstrings of a hood, hanging from its ends, with knots."""
    assert spec.hood is not None
    top = outline.neck_at(spec.neck_width) - spec.neck_depth - 0.10
    rng = np.random.default_rng([spec.design.seed, 6])
    for sign in (-1, 1):
        x = sign * (0.34 if spec.opening is None else spec.opening.half(top) + 0.22)
        if spec.opening is not None:
            top = outline.neck_at(spec.neck_width) - 0.35 * spec.neck_depth
        low = top - spec.hood.cords * rng.uniform(0.85, 1.1)
        lean = x + sign * rng.uniform(-0.05, 0.18)
        plane.dot(shade, 90, 0.07, (x, top))
        plane.line(shade, 150, 0.10, (x + 0.03, top - 0.03), (lean + 0.03, low - 0.03))
        cord = np.zeros(out.shape[:2], np.uint8)
        plane.line(cord, 255, 0.07, (x, top), (0.5 * (x + lean) + 0.03, 0.5 * (top + low)), (lean, low))
        plane.dot(cord, 255, 0.07, (lean, low))
        out[cord > 127] = round(spec.hood.tone)
        shade[cord > 127] = 255


def _pocket(spec: GarmentSpec, shade: UInt8, plane: Plane, outline: Outline) -> None:
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
