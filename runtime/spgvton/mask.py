"""Garment masks that people give: white, or opaque, where the garment is. The one place where they are read and judged.

Programs write them as 0 and 255, as 0 and 1, as a palette, or as the alpha channel of a picture; all of these are understood.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spgvton import image
from spgvton.errors import SpgvtonError
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]

OPAQUE: Final = 250  # an alpha channel with nothing below says nothing
FULL: Final = 0.98  # of the picture
ASPECT_TOLERANCE: Final = 0.02
_WRITE: Final = "it should be white where the garment is and black around it"


def read_mask(path: str | Path, size: tuple[int, int] | None = None) -> UInt8:
    """Read a mask file; see decode_mask()."""
    return decode_mask(image.read_bytes(path), str(path), size)


def decode_mask(data: bytes, name: str, size: tuple[int, int] | None = None) -> UInt8:
    """The mask in a picture file held in memory: (H, W) uint8, 255 = garment. SIZE: (height, width) it must have.

    Raises SpgvtonError for what image.decode() refuses, another size, and a mask that is empty, full, or inverted.
    """
    picture = image.to_8_bits(_stretched(image.decode(data, name, flags=cv2.IMREAD_UNCHANGED)))
    if picture.ndim == 2:
        mask = picture
    elif picture.shape[2] == 4 and picture[..., 3].min() < OPAQUE:
        mask = picture[..., 3]
    else:
        mask = _stretched(picture[..., :3].max(axis=2))
    if size is not None and mask.shape != size:
        raise SpgvtonError(
            f"sizes differ: garment mask {name} has {mask.shape[1]}x{mask.shape[0]} pixels, its picture "
            f"{size[1]}x{size[0]}; give the mask of this very picture"
        )
    return check_mask(np.ascontiguousarray(mask), name)


def _stretched(values: NDArray[Any]) -> NDArray[Any]:
    """Where VALUES are 0 and one other: that one at its largest, be it written as 1 or as the colour of a palette."""
    top = values.max()
    if values.ndim == 2 and 0 < top < np.iinfo(values.dtype).max and np.isin(values, (0, top)).all():
        return np.where(values > 0, np.iinfo(values.dtype).max, 0).astype(values.dtype)
    return values


def check_mask(mask: UInt8, name: str) -> UInt8:
    """MASK (H, W), 255 = garment, as it is. Raises SpgvtonError where no garment can look so."""
    inside = mask >= 128
    covered = float(inside.mean())
    if covered == 0:
        raise SpgvtonError(f"garment mask empty: {name} shows no garment; {_WRITE}")
    if covered > FULL:
        raise SpgvtonError(f"garment mask full: {name} covers the whole picture; {_WRITE}")
    if is_inverted(inside):
        raise SpgvtonError(f"garment mask inverted: {name} is white around the garment; {_WRITE}, so invert it")
    return mask


def is_inverted(inside: NDArray[np.bool_]) -> bool:
    """Whether what is INSIDE (H, W) is the surroundings: all four corners and nearly all of the border are in it."""
    corners = inside[[0, 0, -1, -1], [0, -1, 0, -1]]
    border = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    return bool(corners.all() and border.mean() > 0.9)


def same_shape(mask: UInt8, size: tuple[int, int], name: str) -> UInt8:
    """MASK brought to SIZE (height, width). Raises SpgvtonError where the two differ in shape."""
    h, w = size
    if abs(mask.shape[1] / mask.shape[0] - w / h) > ASPECT_TOLERANCE * w / h:
        raise SpgvtonError(f"{name} has {mask.shape[1]}x{mask.shape[0]} pixels, its picture {w}x{h}")
    return np.asarray(cv2.resize(mask, (w, h), interpolation=cv2.INTER_LINEAR), np.uint8)
