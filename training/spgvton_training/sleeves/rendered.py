"""Rendered in-shop garments whose two sleeves are known exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.perception.garment_sleeves import Sleeve
from spgvton.video import cv2
from spgvton_training.synthetic.clothes.fabric import Fabrics
from spgvton_training.synthetic.clothes.garment import SUPERSAMPLING, Garment, make_garment
from spgvton_training.synthetic.clothes.wardrobe import sample_dress, sample_garment
from spgvton_training.synthetic.drawing.arrays import Float

UInt8 = NDArray[np.uint8]

SIZE: Final = (176, 132)
DRESSES: Final = 1 / 6


@dataclass(frozen=True, eq=False)
class Flat:
    """A garment laid flat: picture uint8 (h, w, 3) on white, mask uint8 (h, w), and its sleeves, none or two."""

    picture: UInt8
    mask: UInt8
    sleeves: list[Sleeve]
    long: bool


def make_flat(rng: np.random.Generator, fabrics: Fabrics | None = None) -> Flat:
    """A random garment; with FABRICS one in two is made of photographed cloth."""
    spec = sample_dress(rng) if rng.random() < DRESSES else sample_garment(rng)
    if fabrics is not None and rng.random() < 0.5:
        spec = replace(spec, design=spec.design.of(fabrics.sample(rng)))
    spec = replace(spec, shop=replace(spec.shop, fold=None))  # samples.py folds them itself
    garment = make_garment(spec, SIZE)
    sleeves = [sleeve_of(garment, left=left) for left in (True, False)] if spec.sleeve > 0 else []
    return Flat(garment.picture, garment.mask, sleeves, spec.long)


def sleeve_of(garment: Garment, *, left: bool) -> Sleeve:
    """The sleeve of GARMENT on the picture's LEFT or right: what lies beyond the line from its shoulder to its armpit."""
    flat, sign = garment.canvas, -1 if left else 1
    outline, (height, width) = flat.layout.outline, flat.size

    def in_picture(point: tuple[float, float]) -> Float:
        uv = (width / 2 + sign * point[0] * flat.scale, height / 2 - (point[1] - flat.layout.centre) * flat.scale)
        return np.asarray(garment.picture_coordinates(np.array([uv], np.float32))[0])

    y, x = np.mgrid[: garment.mask.shape[0], : garment.mask.shape[1]].astype(np.float32)
    back = cv2.invertAffineTransform(garment.place)
    uv = (np.stack([x, y], -1) + 0.5) * SUPERSAMPLING @ back[:, :2].T + back[:, 2]
    flat_x = sign * (uv[..., 0] - width / 2) / flat.scale
    flat_y = flat.layout.centre - (uv[..., 1] - height / 2) / flat.scale
    (sx, sy), (ax, ay) = outline.shoulder, outline.armpit
    beyond = (flat_x - sx) * (sy - ay) - (flat_y - sy) * (sx - ax) > 0  # the armhole runs down, a little outwards
    cloth = (garment.mask >= 128) & beyond & (flat_x > 0) & (outline.below_sleeve(flat_x, flat_y) < 0.02)
    return Sleeve(np.where(cloth, 255, 0).astype(np.uint8), in_picture((sx, sy)), in_picture((ax, ay)), left)
