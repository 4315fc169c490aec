"""The network's own picture, at its own size: live mode takes light from it, and a guess of what old clothes hid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spgvton.live.network import LiveOutput
from spgvton.person import Garment
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]


def warped(positions: Float, garment: Garment) -> UInt8:
    """C_w, uint8 (H, W, 3): GARMENT as POSITIONS (H, W, 2), the spline's, put it on; at network size."""
    flat = (np.moveaxis(garment.image, 0, -1) + 1) * 127.5
    return cv2.remap(  # type: ignore[return-value]
        np.clip(flat, 0, 255).astype(np.uint8), positions, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def network_picture(output: LiveOutput, cloth: UInt8) -> UInt8:
    """C_w * M + I_r * (1 - M), Eq. 10, uint8 (H, W, 3): what the network alone would show. CLOTH: see warped()."""
    share = output.composition.astype(np.float32) / 255
    return cv2.blendLinear(cloth, output.rendered, share, 1 - share)  # type: ignore[return-value]
