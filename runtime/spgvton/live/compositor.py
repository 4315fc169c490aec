"""The camera's frame with the new garment in it: everything else stays the camera's, bit for bit."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.live.garment import LiveGarment
from spgvton.live.layers import FINE, SHADE_ONE, Answer, Layers
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Matrix = NDArray[np.float64]

WINDOW: Final = 9  # pixels of the fine masks that an edge is looked for in
EPSILON: Final = 40.0  # variance of the guide below which nothing counts as an edge, levels^2
STEEP: Final = 3.5  # contrast of the masks' edges
RIM: Final = 0.12  # how much farther the garment reaches on the old outline, whose pixels have some of the old colour
FAINT: Final = 0.04  # what is less is nothing


def guided(guide: Float, mask: Float) -> Float:
    """MASK with its edges moved to those of GUIDE, both (h, w) [He, Sun, Tang 2013, guided image filtering]."""

    def mean(x: Float) -> Float:
        return cv2.blur(x, (WINDOW, WINDOW))  # type: ignore[return-value]

    mean_guide, mean_mask = mean(guide), mean(mask)
    slope = (mean(guide * mask) - mean_guide * mean_mask) / (mean(guide * guide) - mean_guide**2 + EPSILON)
    return mean(slope) * guide + mean(mean_mask - slope * mean_guide)


def steepen(mask: Float) -> Float:
    out = np.clip((mask - 0.5) * STEEP + 0.5, 0, 1)
    return np.where(out < FAINT, 0, out).astype(np.float32)


def composite(frame: UInt8, answer: Answer, moved: Matrix | None = None) -> UInt8:
    """FRAME, RGB uint8 (h, w, 3), a new array, with the garment worn as ANSWER says.

    moved: 2x3 affine matrix from the pixels of the answer's frame to those of FRAME; None = the same frame.
    """
    out = frame.copy()
    if answer.layers is not None:
        to_camera = np.linalg.inv(np.vstack([answer.box.matrix, [0, 0, 1]]))
        if moved is not None:
            to_camera = np.vstack([moved, [0, 0, 1]]) @ to_camera
        _paint(out, answer.layers, answer.garment, to_camera)
    return out


def _paint(out: UInt8, layers: Layers, garment: LiveGarment, to_camera: Matrix) -> None:
    """Change OUT in place. to_camera: 3x3, network pixels -> pixels of OUT."""
    left, top, right, bottom = layers.bounds
    corners = np.array([[left, top, 1], [right, top, 1], [left, bottom, 1], [right, bottom, 1.0]]) @ to_camera[:2].T
    x0, y0 = np.maximum(np.floor(corners.min(0)), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(corners.max(0)) + 1, out.shape[1::-1]).astype(int)
    if x1 <= x0 or y1 <= y0:
        return
    part = out[y0:y1, x0:x1]
    size = (int(x1 - x0), int(y1 - y0))
    shift = np.array([[1.0, 0, -x0], [0, 1, -y0], [0, 0, 1]])
    here = shift @ to_camera  # network pixels -> pixels of PART
    cut = np.array([[1.0, 0, left], [0, 1, top], [0, 0, 1]])
    half = (FINE - 1) / (2 * FINE)
    fine = np.array([[1 / FINE, 0, left - half], [0, 1 / FINE, top - half], [0, 0, 1]])  # fine pixels -> network pixels

    def up(x: NDArray[np.generic], matrix: Matrix) -> NDArray[np.generic]:
        return cv2.warpAffine(x, (here @ matrix)[:2], size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    height, width = layers.garment.shape
    small = cv2.warpAffine(
        part,
        (here @ fine)[:2],
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    guide = cv2.transform(small, layers.guide).astype(np.float32)
    worn = layers.snap * guided(guide, layers.garment) + (1 - layers.snap) * layers.garment
    worn = steepen(worn + RIM * layers.snap * (layers.garment > 0)) * layers.allowed
    if layers.cover is not None and layers.fill is not None:
        cover = steepen(np.maximum(guided(guide, layers.cover), layers.cover)) * layers.allowed
        weight = up(cover, fine)
        part[:] = cv2.blendLinear(up(layers.fill, cut), part, weight, 1 - weight)
    positions = up(layers.positions, cut)
    cloth = cv2.remap(garment.texture, positions, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    shade = cv2.cvtColor(up(layers.shade, cut), cv2.COLOR_GRAY2RGB)
    cloth = cv2.multiply(cloth, shade, scale=1 / SHADE_ONE)
    weight = up(worn, fine)
    part[:] = cv2.blendLinear(cloth, part, weight, 1 - weight)
