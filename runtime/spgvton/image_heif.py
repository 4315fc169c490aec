"""HEIC pictures, which iPhones take: read where pillow-heif is installed, and named where it is not."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError

MISSING = (
    "{name} is a HEIC picture: pip install pillow-heif to have it read, or save it as JPEG (an iPhone takes JPEGs with "
    "Settings, Camera, Formats, Most Compatible)"
)


def decode_heif(data: bytes, name: str, max_pixels: int) -> NDArray[np.uint8]:
    """RGB (H, W, 3) or RGBA (H, W, 4), upright. Raises SpgvtonError without pillow-heif, for damage, and when too large."""
    try:
        import pillow_heif  # type: ignore[import-not-found,unused-ignore]
    except ImportError as e:
        raise SpgvtonError(MISSING.format(name=name)) from e
    try:
        file: Any = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
        width, height = file.size
        if width * height > max_pixels:
            raise SpgvtonError(f"{name} has {width}x{height} pixels; at most {max_pixels // 10**6} megapixels are read")
        picture = np.asarray(file)
    except (ValueError, OSError, EOFError, RuntimeError, SyntaxError) as e:
        raise SpgvtonError(f"{name} is a HEIC picture that cannot be decoded ({e}): save it as JPEG") from e
    if picture.ndim != 3 or picture.shape[2] not in (3, 4) or picture.dtype != np.uint8:
        raise SpgvtonError(f"{name} is a HEIC picture of {picture.dtype} {picture.shape}: save it as JPEG")
    return np.ascontiguousarray(picture)
