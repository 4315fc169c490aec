"""Files of the exact worn -> flat map: for each pixel of a photo, which pixel of the in-shop picture it shows.

A 16-bit RGB PNG of the photo's size. Red holds x and green y as round(64 * coordinate) + 1, blue is 65535; a pixel that
shows no garment (or its back) is 0, 0, 0. Coordinates are pixels of the in-shop picture, centres at integers. The step
is 1/64 pixel; coordinates reach up to 1023.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import image
from spgvton.errors import SpgvtonError
from spgvton.video import cv2

STEPS: Final = 64
_VALID: Final = 65535


def write_flow(path: str | Path, flow: NDArray[np.float32]) -> None:
    """Write FLOW float32 (H, W, 2) = (x, y), NaN where invalid. Raises SpgvtonError."""
    valid = np.isfinite(flow).all(-1)
    code = np.zeros((*flow.shape[:2], 3), np.uint16)
    steps = np.rint(np.clip(flow[valid], 0, None) * STEPS) + 1
    if steps.size and steps.max() > _VALID:
        raise SpgvtonError(f"{path}: flow reaches {flow[valid].max():.0f} pixels; the file format holds up to 1023")
    code[valid, :2] = steps
    code[valid, 2] = _VALID
    image.write(path, code)


def read_flow(path: str | Path) -> NDArray[np.float32]:
    """Read a flow file -> float32 (H, W, 2), NaN where invalid. Raises SpgvtonError."""
    code = image.read(path, flags=cv2.IMREAD_UNCHANGED)
    if code.dtype != np.uint16 or code.ndim != 3 or code.shape[2] != 3:
        raise SpgvtonError(f"{path} is not a flow file: 16-bit RGB PNG expected, got {code.dtype} {code.shape}")
    flow = (code[..., :2].astype(np.float32) - np.float32(1)) / np.float32(STEPS)
    flow[code[..., 2] == 0] = np.nan
    return flow
