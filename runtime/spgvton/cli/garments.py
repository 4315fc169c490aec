"""Garments as `run` and `try` are given them: picture files, each with a mask of its own, an alpha channel, or neither."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton import image
from spgvton.errors import SpgvtonError, UsageError
from spgvton.mask import read_mask
from spgvton.perception.garment_mask import cut_out
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
MASK: Final = "_mask"  # as in a kiosk's folder
CARD_SIDE: Final = 640  # pixels of what is kept of a garment's picture for people to see


class ShopPicture(NamedTuple):
    """picture: RGB uint8 (h, w, 3). mask: (h, w), 255 = garment. card: RGB or RGBA of at most CARD_SIDE pixels. notes: what of a worn
    garment cannot be seen, a few words each. kind: one of cutout.GARMENTS; "" where the mask was given."""

    path: Path
    picture: UInt8
    mask: UInt8
    card: UInt8
    notes: tuple[str, ...] = ()
    kind: str = ""


def read(path: str | Path, mask_path: str | Path | None, note: Callable[[str], None]) -> ShopPicture:
    """The garment's picture; its mask is MASK_PATH, else the alpha channel, else found on the picture. Raises SpgvtonError."""
    picture = image.read_colour(path, keep_alpha=mask_path is None)
    notes: tuple[str, ...] = ()
    kind = ""
    if mask_path is not None:
        mask = read_mask(mask_path, (picture.shape[0], picture.shape[1]))
    else:
        if picture.shape[2] == 3:
            note(f"{path}: no mask is given, it is found on the picture itself")
        try:
            found = cut_out(picture)
        except SpgvtonError as e:
            raise SpgvtonError(f"{path}: {e}") from e
        mask, notes, kind = found.mask, found.notes, found.kind
    scale = min(1.0, CARD_SIDE / max(picture.shape[:2]))
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    card = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return ShopPicture(
        Path(path), np.ascontiguousarray(picture[..., :3]), np.ascontiguousarray(mask), card, notes, kind
    )


def pair_masks(garments: list[str], masks: list[str] | None) -> list[tuple[str, str | None]]:
    """Each garment with its mask: one of MASKS, or the file NAME_mask.png beside it.

    Raises UsageError where there are more or fewer masks than garments.
    """
    if not masks:
        return [(path, _beside(Path(path))) for path in garments]
    if len(masks) != len(garments):
        raise UsageError(
            f"{len(garments)} garments and {len(masks)} masks: give one mask per garment, in the same order, or none"
        )
    return list(zip(garments, masks))


def _beside(picture: Path) -> str | None:
    mask = picture.with_name(f"{picture.stem}{MASK}.png")
    return str(mask) if picture.is_file() and mask.is_file() else None
