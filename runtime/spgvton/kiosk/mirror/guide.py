"""What a customer is told before her picture is taken, and how good a frame is for that.

The first hint that applies is shown.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton.hints import Hint
from spgvton.perception.pose import FACE, frontality, person_present
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

TURNED_AWAY: Final = 0.2  # frontality below which no face is to be shown
FRONTAL: Final = 0.45  # and above which a picture serves as source
TORSO: Final = (0.12, 0.55)  # of the frame's height: too far, too near
TILT: Final = 0.2  # rad, of shoulders or spine
ARM: Final = 0.1  # of the shoulder width: how far outside the hips the wrists should be
_SHARPNESS_WIDTH: Final = 160
DARK: Final = 16  # brightest value of a frame that shows nothing


def is_dark(picture: UInt8) -> bool:
    """True where PICTURE (H, W, 3) shows nothing: a covered lens, a camera that sends black frames, a room without light."""
    return int(np.percentile(picture[::16, ::16], 99)) < DARK


def face_hint(k: Float) -> Hint | None:
    """Why the face of KEYPOINTS (18, 3) cannot be shown; None where it is turned to the camera."""
    if frontality(k) < TURNED_AWAY or not (k[list(FACE), 2] > 0).any():
        return Hint.TURN
    return None


def place_hint(k: Float, size: tuple[int, int], *, hips: bool = True) -> Hint | None:
    """What a person at KEYPOINTS (18, 3) of a frame of SIZE (height, width) must do to be seen well; None if nothing.

    hips: they must be seen, too.
    """
    h, w = size
    if not person_present(k):
        return Hint.STEP_IN_FRONT
    if k[kp.NECK, 2] <= 0 or (hips and (k[[kp.R_HIP, kp.L_HIP], 2] <= 0).all()):
        return Hint.STEP_BACK
    share = kp.torso_length(k) / h
    if share > TORSO[1]:
        return Hint.STEP_BACK
    if share < TORSO[0]:
        return Hint.COME_CLOSER
    shoulders = k[[kp.R_SHOULDER, kp.L_SHOULDER], 0]
    if shoulders.min() < 0.02 * w or shoulders.max() > 0.98 * w:
        return Hint.STEP_TO_THE_MIDDLE
    if hips and (k[[kp.R_HIP, kp.L_HIP], 2] <= 0).any():
        return Hint.STEP_TO_THE_MIDDLE
    return face_hint(k)


def pose_hint(k: Float) -> Hint | None:
    """What a person who is seen well should do for a good source picture; None if nothing."""
    if frontality(k) < FRONTAL or (k[list(FACE), 2] <= 0).any():
        return Hint.FACE
    across = k[kp.L_SHOULDER, :2] - k[kp.R_SHOULDER, :2]
    spine = k[[kp.R_HIP, kp.L_HIP], :2].mean(axis=0) - k[kp.NECK, :2]
    if abs(np.arctan2(across[1], across[0])) > TILT or abs(np.arctan2(spine[0], spine[1])) > TILT:
        return Hint.STAND_STRAIGHT
    reach = ARM * float(np.linalg.norm(across))
    for wrist, hip, elbow, outwards in (
        (kp.R_WRIST, kp.R_HIP, kp.R_ELBOW, -1), (kp.L_WRIST, kp.L_HIP, kp.L_ELBOW, 1),
    ):  # fmt: skip
        if k[wrist, 2] > 0 and k[elbow, 2] > 0:
            if k[wrist, 1] < k[elbow, 1]:
                return Hint.ARMS_HANG
            if (k[wrist, 0] - k[hip, 0]) * outwards < reach:
                return Hint.ARMS_AWAY
    return None


def source_quality(picture: UInt8, k: Float) -> float:
    """How well PICTURE with KEYPOINTS serves as source: sharpness of head and torso, times how frontal she stands.

    Sharpness is the variance of the Laplacian (Pech-Pacheco et al., 2000) at a fixed width, so that frames compare.
    """
    seen = k[[kp.NOSE, kp.R_SHOULDER, kp.L_SHOULDER, kp.R_HIP, kp.L_HIP]]
    seen = seen[seen[:, 2] > 0, :2]
    margin = 0.3 * kp.torso_length(k)
    h, w = picture.shape[:2]
    x0, y0 = np.clip(seen.min(axis=0) - margin, 0, (w - 1, h - 1)).astype(int)
    x1, y1 = np.clip(seen.max(axis=0) + margin, 1, (w, h)).astype(int)
    part = cv2.cvtColor(np.ascontiguousarray(picture[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]), cv2.COLOR_RGB2GRAY)
    scale = _SHARPNESS_WIDTH / part.shape[1]
    small = cv2.resize(part, (_SHARPNESS_WIDTH, max(1, round(part.shape[0] * scale))), interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(small, cv2.CV_32F).var()) * min(1.0, max(0.0, frontality(k)))
