"""Which part of a picture shows a person, and what a parser may be asked about."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton.errors import SpgvtonError
from spgvton.image import Letterbox
from spgvton.perception.pose import Region

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

FEATHER: Final = 0.08  # of a crop: over which it passes into the other one
UPPER_BODY: Final = tuple(i for i in range(kp.NUM_KEYPOINTS) if i not in (kp.R_KNEE, kp.R_ANKLE, kp.L_KNEE, kp.L_ANKLE))


def check_picture(picture: UInt8) -> UInt8:
    """PICTURE as it is. Raises SpgvtonError where it is not RGB uint8 (H, W, 3)."""
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise SpgvtonError(f"a picture to parse must be RGB uint8 (H, W, 3), got {picture.dtype} {picture.shape}")
    return picture


def check_person(keypoints: Float) -> Float:
    """KEYPOINTS (18, 3) as float32. Raises SpgvtonError where they hold NaN, or no torso of a pixel or more."""
    k = kp.check_keypoints(keypoints)
    if kp.torso_length(k) < 1:
        raise SpgvtonError("no person at the keypoints: both shoulders must be seen")
    return k


def whole_person(size: tuple[int, int], k: Float) -> tuple[Float, Float]:
    """Two corners (x, y) round what a picture of SIZE (height, width) shows of the person of KEYPOINTS (18, 3)."""
    torso, seen = kp.torso_length(k), k[k[:, 2] > 0, :2]
    head, feet = np.array([0.5, 0.7]) * torso, np.array([0.5, 0.4]) * torso
    low = np.maximum(seen.min(axis=0) - head, -0.5)
    high = np.minimum(seen.max(axis=0) + feet, (size[1] - 0.5, size[0] - 0.5))
    if not (k[[kp.R_KNEE, kp.L_KNEE, kp.R_ANKLE, kp.L_ANKLE], 2] > 0).any():
        high[1] = size[0] - 0.5  # the picture ends above the knees
    return low, high


def head_to_hips(k: Float) -> tuple[Float, Float]:
    """Two corners (x, y) from above the head of the person of KEYPOINTS (18, 3) to below the hips, with the arms."""
    torso, seen = kp.torso_length(k), [i for i in UPPER_BODY if k[i, 2] > 0]
    low = k[seen, :2].min(axis=0) - np.array([0.35, 0.7]) * torso
    high = k[seen, :2].max(axis=0) + np.array([0.35, 0.5]) * torso
    return low, high


def square(corners: tuple[Float, Float]) -> Region:
    """The smallest square round two CORNERS."""
    low, high = corners
    x, y = (low + high) / 2
    return Region(float(x), float(y), float((high - low).max()))


def feathered(origin: tuple[float, float], size: tuple[float, float], box: Letterbox) -> Float:
    """Weight (H, W) of a crop in BOX's frame: 1 inside, falling to 0 at its edge, but not at the picture's.

    origin: (left, top) of the crop, size: (width, height), both in pixels of the frame; edges, not pixel centres.
    """
    weights = []
    for start, extent, count in zip(origin[::-1], size[::-1], box.target):
        at = np.arange(count, dtype=np.float32) + 0.5
        weights.append(np.clip(np.minimum(at - start, start + extent - at) / (FEATHER * max(size)), 0, 1))
    return np.asarray(weights[0][:, None] * weights[1][None], np.float32)
