"""Pictures for pages: of a size that a browser wants, as JPEG, with a mask drawn into them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import image
from spgvton.errors import SpgvtonError
from spgvton.live.garment import MAX_SIDE
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]

MASK_TINT: Final = (0, 170, 140)


def smaller(picture: UInt8, side: int = MAX_SIDE) -> UInt8:
    """PICTURE with at most SIDE pixels on the long side; never under 16 on the short one."""
    h, w = picture.shape[:2]
    scale = side / max(h, w)
    if scale >= 1:
        return picture
    size = (max(image.MIN_SIDE, round(w * scale)), max(image.MIN_SIDE, round(h * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def overlay(picture: UInt8, mask: UInt8) -> UInt8:
    """PICTURE (H, W, 3) as people judge a mask (H, W): the garment as it is, the rest dark, a line along the edge."""
    out = np.where(mask[..., None] > 127, picture, picture // 5 + np.uint8(24))
    contours, _ = cv2.findContours((mask > 127).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(out, contours, -1, MASK_TINT, max(2, round(max(mask.shape) / 250)))  # type: ignore[return-value]


def jpeg(picture: UInt8, quality: int = 85) -> bytes:
    """PICTURE, RGB (H, W, 3), as JPEG. Raises SpgvtonError."""
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise SpgvtonError(f"cannot encode a picture of shape {picture.shape} as JPEG")
    return data.tobytes()
