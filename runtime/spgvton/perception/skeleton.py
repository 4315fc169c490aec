"""Where the parts of a person lie, as the keypoints tell: for every pixel how far each part's bones are."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton.errors import SpgvtonError
from spgvton.video import cv2

Float = NDArray[np.float32]
Segment = tuple[Float, Float]

PARTS: Final = ("left-arm", "right-arm", "left-leg", "right-leg", "torso", "head")
LEFT_ARM, RIGHT_ARM, LEFT_LEG, RIGHT_LEG, TORSO, HEAD = range(len(PARTS))
ARMS: Final = ((kp.L_SHOULDER, kp.L_ELBOW, kp.L_WRIST), (kp.R_SHOULDER, kp.R_ELBOW, kp.R_WRIST))
LEGS: Final = ((kp.L_HIP, kp.L_KNEE, kp.L_ANKLE), (kp.R_HIP, kp.R_KNEE, kp.R_ANKLE))
HAND: Final = 0.45  # of the forearm: how far the hand reaches beyond the wrist
FOOT: Final = 0.25  # of the torso, below the ankle
HEAD_TOP: Final = 0.45  # of the torso, above the nose
THIGH: Final = 0.8  # of the torso, where no knee is seen
FAR: Final = 1e4


@dataclass(frozen=True)
class Skeleton:
    """One person's frame at the size of a map; lengths in its pixels.

    distance: float32 (6, H, W), from every pixel to the bones of each of PARTS; FAR where a part is not seen.
    along: float32 (H, W), position along the torso: 0 at the neck, 1 at the hips. across: its distance from the torso's axis.
    torso: length. seen: which of PARTS have bones. keypoints: (18, 3).
    """

    distance: Float
    along: Float
    across: Float
    torso: float
    keypoints: Float

    @staticmethod
    def of(keypoints: Float, size: tuple[int, int]) -> Skeleton:
        """From KEYPOINTS (18, 3) in pixels of a map of SIZE (height, width). Raises SpgvtonError without shoulders."""
        k = kp.check_keypoints(keypoints)
        torso = kp.torso_length(k)
        if torso <= 0:
            raise SpgvtonError("no person at the keypoints: both shoulders must be seen")
        neck, hips = k[kp.NECK, :2], middle_of_hips(k)
        axis = (hips - neck) / max(float(np.linalg.norm(hips - neck)), 1e-3)
        h, w = size
        x, y = np.arange(w, dtype=np.float32)[None] - neck[0], np.arange(h, dtype=np.float32)[:, None] - neck[1]
        along = (x * axis[0] + y * axis[1]) / torso
        across = (x * -axis[1] + y * axis[0]) / torso
        distance = np.stack([_distance(part, size) for part in bones(k, torso)])
        return Skeleton(distance, along.astype(np.float32), across.astype(np.float32), torso, k)


def middle_of_hips(k: Float) -> Float:
    """The middle between the hips (2,); where none is seen, a torso below the neck, at right angles to the shoulders."""
    seen = [i for i in (kp.R_HIP, kp.L_HIP) if k[i, 2] > 0]
    if seen:
        return np.asarray(k[seen, :2].mean(axis=0), np.float32)
    shoulders = k[kp.L_SHOULDER, :2] - k[kp.R_SHOULDER, :2]
    down = np.array([-shoulders[1], shoulders[0]]) / max(float(np.linalg.norm(shoulders)), 1e-3)
    down = -down if down[1] < 0 else down
    return np.asarray(k[kp.NECK, :2] + down * kp.torso_length(k), np.float32)


def bones(k: Float, torso: float) -> list[list[Segment]]:
    """The segments of each of PARTS."""
    neck, hips = k[kp.NECK, :2], middle_of_hips(k)
    axis = (hips - neck) / max(float(np.linalg.norm(hips - neck)), 1e-3)
    parts: list[list[Segment]] = []
    for shoulder, elbow, wrist in ARMS:
        arm = _chain(k, (shoulder, elbow, wrist))
        if k[elbow, 2] > 0 and k[wrist, 2] > 0:
            arm.append((k[wrist, :2], k[wrist, :2] + HAND * (k[wrist, :2] - k[elbow, :2])))
        parts.append(arm)
    for hip, knee, ankle in LEGS:
        leg = _chain(k, (hip, knee, ankle))
        if k[hip, 2] > 0 and k[knee, 2] <= 0:
            leg.append((k[hip, :2], k[hip, :2] + axis * THIGH * torso))
        if k[ankle, 2] > 0:
            leg.append((k[ankle, :2], k[ankle, :2] + axis * FOOT * torso))
        parts.append(leg)
    shoulders = [k[kp.R_SHOULDER, :2], k[kp.L_SHOULDER, :2]]
    hip_points = [k[i, :2] for i in (kp.R_HIP, kp.L_HIP) if k[i, 2] > 0] or [hips]
    parts.append(
        [(neck, hips), (shoulders[0], shoulders[1]), (shoulders[0], hip_points[0]), (shoulders[1], hip_points[-1])]
    )
    head = [i for i in (kp.NOSE, kp.R_EYE, kp.L_EYE, kp.R_EAR, kp.L_EAR) if k[i, 2] > 0]
    middle = k[head, :2].mean(axis=0) if head else neck - axis * 0.5 * torso
    up = middle - neck
    up = up / max(float(np.linalg.norm(up)), 1e-3)
    parts.append([(neck + 0.2 * (middle - neck), middle), (middle, middle + up * 0.5 * HEAD_TOP * torso)])
    return parts


def _chain(k: Float, joints: tuple[int, ...]) -> list[Segment]:
    """The bones between those of JOINTS that are both seen."""
    return [(k[a, :2], k[b, :2]) for a, b in pairwise(joints) if k[a, 2] > 0 and k[b, 2] > 0]


def draw(segments: list[Segment], size: tuple[int, int], thickness: int = 1) -> NDArray[np.uint8]:
    """SEGMENTS as lines of ones on a map of SIZE (height, width)."""
    out = np.zeros(size, np.uint8)
    for a, b in segments:
        start, end = (tuple(int(v) for v in np.clip(np.rint(p), -FAR, FAR)) for p in (a, b))
        cv2.line(out, start, end, (1,), thickness)
    return out


def _distance(segments: list[Segment], size: tuple[int, int]) -> Float:
    lines = draw(segments, size)
    if not lines.any():  # none, or all of them outside the map
        return np.full(size, FAR, np.float32)
    return np.asarray(cv2.distanceTransform(1 - lines, cv2.DIST_L2, 3), np.float32)
