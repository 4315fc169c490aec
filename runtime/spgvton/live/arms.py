"""What must not tell the networks how long the old sleeves were: bare arms, down to the wrist.

In live mode the source stands in the target's pose. Bare arms, left in S'_s and I_s, would tell G1 and G2 where the
old sleeves ended, and the new ones would end there, too. So they are forgotten as the clothes are. Hands stay: no
sleeve covers them, and nothing else could say what they look like.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton import labels as lb

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

# Label of an arm; its shoulder, elbow and wrist.
ARMS: Final = (
    (lb.RIGHT_ARM, (kp.R_SHOULDER, kp.R_ELBOW, kp.R_WRIST)),
    (lb.LEFT_ARM, (kp.L_SHOULDER, kp.L_ELBOW, kp.L_WRIST)),
)
_HAND: Final = 0.8  # length of a hand, in forearms (0.72 of them, and fingers that the pose does not see)
_MARGIN: Final = 0.08  # of the forearm, before the wrist, that counts as hand: keypoints are not exact
_FORESHORTENED: Final = (
    0.75  # of the upper arm: a forearm that looks shorter points at the camera, its hand does not shrink
)


def forget_arms(labels: UInt8, keypoints: Float) -> UInt8:
    """LABELS (H, W) with the arms down to the wrists as UPPER_CLOTHES, where a sleeve may come.

    keypoints: (18, 3) in pixels of LABELS. Hands stay arms: what lies beyond the wrist along the forearm, up to a hand's
    length from it. Where the wrist is missing, only the upper arm is forgotten; where the elbow or the shoulder is,
    nothing. LABELS is not changed.
    """
    out = labels.copy()
    for label, points in ARMS:
        shoulder, elbow, wrist = keypoints[list(points)]
        if min(shoulder[2], elbow[2]) <= 0:
            continue
        rows, columns = np.nonzero(labels == label)
        pixels = np.stack([columns, rows], 1).astype(np.float32)
        forgotten = ~_hand(pixels, shoulder, elbow, wrist) if wrist[2] > 0 else _before(pixels, shoulder, elbow)
        out[rows[forgotten], columns[forgotten]] = lb.UPPER_CLOTHES
    return out


def _hand(pixels: Float, shoulder: Float, elbow: Float, wrist: Float) -> NDArray[np.bool_]:
    """Which PIXELS (N, 2) belong to the hand rather than to the two bones of the arm."""
    upper, fore = elbow[:2] - shoulder[:2], wrist[:2] - elbow[:2]
    length = float(np.linalg.norm(fore))
    if length < 1:  # the forearm points at the camera: the hand hides it
        return np.linalg.norm(pixels - wrist[:2], axis=1) <= _HAND * _FORESHORTENED * np.linalg.norm(upper)
    direction = fore / length
    reach = max(length, _FORESHORTENED * float(np.linalg.norm(upper)))
    beyond = (pixels - wrist[:2]) @ direction
    tip = wrist[:2] + 0.5 * _HAND * reach * direction
    near = np.linalg.norm(pixels - wrist[:2], axis=1) <= _HAND * reach
    # A raised hand beside its own shoulder: the upper arm lies beyond the wrist as well.
    closer = _distance(pixels, wrist[:2], tip) <= _distance(pixels, shoulder[:2], elbow[:2])
    return (beyond >= -_MARGIN * length) & near & closer


def _before(pixels: Float, start: Float, end: Float) -> NDArray[np.bool_]:
    """Which PIXELS (N, 2) lie before END along the bone from START."""
    bone = end[:2] - start[:2]
    return (pixels - end[:2]) @ bone <= 0


def _distance(pixels: Float, start: Float, end: Float) -> Float:
    """Distance (N,) of PIXELS (N, 2) from the segment between the points START and END (2,)."""
    bone = end - start
    along = np.clip((pixels - start) @ bone / max(float(bone @ bone), 1e-6), 0, 1)
    distance: Float = np.linalg.norm(pixels - (start + along[:, None] * bone), axis=1)
    return distance
