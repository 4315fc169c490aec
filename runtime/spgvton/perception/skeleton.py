"""Where the parts of a person lie, as the keypoints tell: for every pixel, how far it is from each part."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton.errors import SpgvtonError
from spgvton.video import cv2

Float = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

(L_UPPER_ARM, L_FOREARM, R_UPPER_ARM, R_FOREARM, L_THIGH, L_SHIN, R_THIGH, R_SHIN, TORSO, NECK, HEAD) = range(11)
NUM_PARTS: Final = 11
LEFT_ARM, RIGHT_ARM = (L_UPPER_ARM, L_FOREARM), (R_UPPER_ARM, R_FOREARM)
LEFT_LEG, RIGHT_LEG = (L_THIGH, L_SHIN), (R_THIGH, R_SHIN)
FOREARMS: Final = [L_FOREARM, R_FOREARM]
ARMS, LEGS = (LEFT_ARM, RIGHT_ARM), (LEFT_LEG, RIGHT_LEG)
JOINTS: Final = {
    L_UPPER_ARM: (kp.L_SHOULDER, kp.L_ELBOW), L_FOREARM: (kp.L_ELBOW, kp.L_WRIST),
    R_UPPER_ARM: (kp.R_SHOULDER, kp.R_ELBOW), R_FOREARM: (kp.R_ELBOW, kp.R_WRIST),
    L_THIGH: (kp.L_HIP, kp.L_KNEE), L_SHIN: (kp.L_KNEE, kp.L_ANKLE),
    R_THIGH: (kp.R_HIP, kp.R_KNEE), R_SHIN: (kp.R_KNEE, kp.R_ANKLE),
}  # fmt: skip
# Half widths as fractions of the torso's length; distances are divided by them, so that 1 is about the part's outline.
HALF_WIDTH: Final = np.array([0.13, 0.11, 0.13, 0.11, 0.20, 0.14, 0.20, 0.14, 0.12, 0.13, 0.28], np.float32)
HAND: Final = 0.45  # of the forearm: how far the hand reaches beyond the wrist
FOOT: Final = 0.2  # of the torso: how far the foot reaches below the ankle
STRAIGHT: Final = 0.5  # of the torso: how far the knees of somebody who stands are below the hips
COARSE: Final = 32.0  # pixels of torso on the map that distances are measured on
FAR: Final = 1e3  # the distance, in half widths, of a part that is not seen


@dataclass(frozen=True)
class Skeleton:
    """One person on a map (H, W).

    distance: float32 (NUM_PARTS, H, W), from every pixel to each part in half widths of that part; FAR for a part that is
    not seen. along: float32 (H, W), position along the torso, 0 at the neck and 1 at the hips. across: float32 (H, W),
    distance from the torso's axis in torso lengths, positive on the side of the left shoulder. torso: its length in pixels.
    axis: its direction (2,). lines: of each part, see outline().
    """

    distance: Float
    along: Float
    across: Float
    torso: float
    axis: Float
    keypoints: Float
    lines: tuple[list[Float], ...]

    @staticmethod
    def of(keypoints: Float, size: tuple[int, int]) -> Skeleton:
        """From KEYPOINTS (18, 3) in pixels of a map of SIZE (height, width). Raises SpgvtonError without shoulders."""
        k = _plausible(kp.check_keypoints(keypoints))
        torso = kp.torso_length(k)
        if torso < 1:
            raise SpgvtonError("no person at the keypoints: both shoulders must be seen")
        neck, axis = k[kp.NECK, :2], torso_axis(k)
        h, w = size
        x, y = np.arange(w, dtype=np.float32)[None] - neck[0], np.arange(h, dtype=np.float32)[:, None] - neck[1]
        along = ((x * axis[0] + y * axis[1]) / torso).astype(np.float32)
        across = ((x * axis[1] - y * axis[0]) / torso).astype(np.float32)
        left = k[kp.L_SHOULDER, :2] - neck
        if left[0] * axis[1] - left[1] * axis[0] < 0:  # seen from behind
            across = -across
        lines = tuple(outline(part, k, torso) for part in range(NUM_PARTS))
        return Skeleton(_distances(lines, torso, size), along, across, torso, axis, k, lines)

    def nearest(self, *parts: int) -> Float:
        """Distance (H, W) to the nearest of PARTS."""
        return np.asarray(reduce(np.minimum, [self.distance[part] for part in parts]), np.float32)

    @property
    def hips_seen(self) -> bool:
        """Whether one of the hips is seen, so that the torso's length is more than a guess."""
        return bool((self.keypoints[[kp.R_HIP, kp.L_HIP], 2] > 0).any())

    def sees(self, part: int) -> bool:
        """Whether both joints of a limb's PART are seen."""
        return all(self.keypoints[j, 2] > 0 for j in JOINTS[part])

    def samples(self, part: int, values: UInt8, start: float = 0.0, end: float = 1.0) -> UInt8:
        """VALUES (H, W) at twenty points along the bone of a limb's PART, from START to END of its length; those outside the map
        are left out. Empty where the part is not seen."""
        if not self.lines[part]:
            return np.empty(0, np.uint8)
        a, b = self.lines[part][0][:2]
        if part in (L_FOREARM, R_FOREARM):
            b = self.keypoints[JOINTS[part][1], :2]  # without the hand
        points = np.rint(a + np.linspace(start, end, 20)[:, None] * (b - a)).astype(int)
        h, w = values.shape
        points = points[(points >= 0).all(axis=1) & (points < (w, h)).all(axis=1)]
        return values[points[:, 1], points[:, 0]]

    def bent(self, thigh: int) -> bool:
        """Whether a THIGH is lifted: its knee is hardly lower than its hip, or not along the torso."""
        hip, knee = (self.keypoints[j, :2] for j in JOINTS[thigh])
        return self.sees(thigh) and float((knee - hip) @ self.axis) < STRAIGHT * self.torso


def _plausible(k: Float) -> Float:
    """KEYPOINTS (18, 3) without knees that hang on no hip and ankles that hang on no knee: they are imagined."""
    k = k.copy()
    for hip, knee, ankle in ((kp.L_HIP, kp.L_KNEE, kp.L_ANKLE), (kp.R_HIP, kp.R_KNEE, kp.R_ANKLE)):
        if k[hip, 2] <= 0:
            k[knee] = 0
        if k[knee, 2] <= 0:
            k[ankle] = 0
    return k


def torso_axis(k: Float) -> Float:
    """Unit vector (2,) from the neck to the hips; without hips at right angles to the shoulders."""
    seen = [i for i in (kp.R_HIP, kp.L_HIP) if k[i, 2] > 0]
    if len(seen) == 2:
        axis = k[seen, :2].mean(axis=0) - k[kp.NECK, :2]
    else:
        shoulders = k[kp.L_SHOULDER, :2] - k[kp.R_SHOULDER, :2]
        axis = np.array([-shoulders[1], shoulders[0]])
        axis = axis if axis[1] >= 0 else -axis
    length = float(np.linalg.norm(axis))
    return np.asarray(axis / length if length > 1e-3 else (0, 1), np.float32)


def outline(part: int, k: Float, torso: float) -> list[Float]:
    """The lines, each (n, 2), that PART of a person with KEYPOINTS (18, 3) consists of; none where it is not seen."""
    axis = torso_axis(k)
    if part in JOINTS:
        return _limb(part, k, axis * torso)
    neck = k[kp.NECK, :2]
    if part == TORSO:
        right, left = k[kp.R_SHOULDER, :2], k[kp.L_SHOULDER, :2]
        hips = [
            k[hip, :2] if k[hip, 2] > 0 else neck + axis * torso + 0.6 * (shoulder - neck)
            for hip, shoulder in ((kp.L_HIP, left), (kp.R_HIP, right))
        ]
        return [np.stack([right, left, *hips])]
    middle = middle_of_head(k, torso)
    if part == NECK:
        return [np.stack([neck + axis * 0.15 * torso, neck, neck + 0.5 * (middle - neck)])]
    up = (middle - neck) / max(float(np.linalg.norm(middle - neck)), 1e-3)
    return [np.stack([middle - up * 0.1 * torso, middle + up * 0.2 * torso])]


def middle_of_head(k: Float, torso: float) -> Float:
    """The middle (2,) of what is seen of nose, eyes and ears; where nothing is, where the head should be."""
    seen = [i for i in (kp.NOSE, kp.R_EYE, kp.L_EYE, kp.R_EAR, kp.L_EAR) if k[i, 2] > 0]
    return np.asarray(k[seen, :2].mean(axis=0) if seen else k[kp.NECK, :2] - torso_axis(k) * 0.5 * torso, np.float32)


def _limb(part: int, k: Float, torso: Float) -> list[Float]:
    """The bone of a limb's PART, a forearm's with the hand and a shin's with the foot. TORSO (2,): from neck to hips."""
    a, b = JOINTS[part]
    start, end = k[a, :2], k[b, :2]
    if part in (L_THIGH, R_THIGH) and k[a, 2] > 0 and k[b, 2] <= 0:
        return [np.stack([start, start + 0.8 * torso])]  # the knee is not in the picture, the thigh may be
    if k[a, 2] <= 0 or k[b, 2] <= 0:
        return []
    if part in (L_FOREARM, R_FOREARM):
        return [np.stack([start, end + HAND * (end - start)])]
    if part in (L_SHIN, R_SHIN):
        return [np.stack([start, end, end + FOOT * torso])]
    return [np.stack([start, end])]


def draw(lines: list[Float], size: tuple[int, int], thickness: int = 1, filled: bool = False) -> UInt8:
    """LINES as ones on a map of SIZE (height, width)."""
    out = np.zeros(size, np.uint8)
    for line in lines:
        points = np.rint(np.clip(line, -1e4, 1e4)).astype(np.int32)
        if filled and len(points) > 3:
            cv2.fillConvexPoly(out, cv2.convexHull(points), (1,))
        cv2.polylines(out, [points], len(points) > 3, (1,), thickness)
    return out


def _distances(lines: tuple[list[Float], ...], torso: float, size: tuple[int, int]) -> Float:
    """Distance (NUM_PARTS, H, W) in half widths to each part's LINES, measured on a coarser map for a large person."""
    step = max(1.0, torso / COARSE)
    coarse = (max(1, round(size[0] / step)), max(1, round(size[1] / step)))
    scale = np.array([coarse[1] / size[1], coarse[0] / size[0]])
    out = np.empty((NUM_PARTS, *size), np.float32)
    for part, width in enumerate(HALF_WIDTH):
        drawn = draw([(line + 0.5) * scale - 0.5 for line in lines[part]], coarse, filled=True)
        if not drawn.any():  # not seen, or not within the map
            out[part] = FAR
            continue
        distance = cv2.distanceTransform(1 - drawn, cv2.DIST_L2, 3)
        distance *= float(1 / (scale[0] * width * torso))
        if coarse == size:
            out[part] = distance
        else:
            cv2.resize(distance, size[::-1], dst=out[part], interpolation=cv2.INTER_LINEAR)
    return out
