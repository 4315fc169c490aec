"""Rendered in-shop garments with exact masks, made once and kept in a folder as PNG files with an alpha channel."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from tqdm import tqdm

from spgvton import image
from spgvton.files import make_folder
from spgvton.perception.cutout import KINDS, SLEEVES
from spgvton.video import cv2
from spgvton_training.cutout.photographs import UNKNOWN, Piece
from spgvton_training.synthetic.clothes.cuts import SLEEVELESS
from spgvton_training.synthetic.clothes.garment import make_garment
from spgvton_training.synthetic.clothes.garment_spec import GarmentSpec
from spgvton_training.synthetic.clothes.wardrobe import sample_dress, sample_garment

SIZE: Final = (320, 240)
MARGIN: Final = 12  # pixels


def kind_of(spec: GarmentSpec) -> str:
    """The kind (one of KINDS) of a rendered garment; "" for a polo, which the photographs' folders do not tell apart."""
    if spec.dress is not None:
        return "dress"
    if spec.opening is not None:
        return "outerwear"
    if spec.kind in ("polo", "shirt"):
        return "shirt" if spec.kind == "shirt" else ""
    return "long sleeve" if spec.long else "t-shirt"


def sleeve_of(spec: GarmentSpec) -> str:
    """One of SLEEVES."""
    return "long" if spec.long else "none" if spec.kind in SLEEVELESS else "short"


def load(folder: Path, count: int, seed: int) -> list[Piece]:
    """COUNT rendered garments, those that FOLDER lacks made first. Raises SpgvtonError where it cannot be written."""
    make_folder(folder)
    pieces = []
    for i in tqdm(range(count), desc="rendered garments", unit="garment", disable=None, leave=False):
        rng = np.random.default_rng([seed, i])
        spec = sample_dress(rng) if i % 4 == 3 else sample_garment(rng)
        file = folder / f"{seed}_{i:05d}.png"
        if not file.is_file():
            garment = make_garment(spec, SIZE)
            image.write(file, np.dstack([garment.picture, garment.mask]))
        rgba = np.asarray(image.read_colour(file, keep_alpha=True))
        left, top, w, h = cv2.boundingRect((rgba[..., 3] > 0).astype(np.uint8))
        rgba = rgba[max(0, top - MARGIN) : top + h + MARGIN, max(0, left - MARGIN) : left + w + MARGIN]
        kind = kind_of(spec)
        pieces.append(
            Piece(
                np.ascontiguousarray(rgba[..., :3]),
                np.ascontiguousarray(rgba[..., 3]),
                KINDS.index(kind) if kind else UNKNOWN,
                SLEEVES.index(sleeve_of(spec)),
                file.name,
            )
        )
    return pieces
