"""The body's geometry for the composed parse: its frame, and for every pixel how far each body part is and which is nearest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton.perception import blazepose as bp
from spgvton.perception.blazepose import Body33
from spgvton.perception.pose import seen_from_behind
from spgvton.video import cv2

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

# BlazePose ids of the left side; the right side's are one higher.
SHOULDER, ELBOW, WRIST, PINKY, INDEX, HIP, KNEE, ANKLE, HEEL, TOE = 11, 13, 15, 17, 19, 23, 25, 27, 29, 31

LIMB_PARTS: Final = ("upper-arm", "forearm", "hand", "thigh", "shin", "foot")
PARTS: Final = (*(f"{side}-{part}" for side in ("left", "right") for part in LIMB_PARTS), "torso", "head", "neck")
ARM_PARTS: Final = tuple(p for p in PARTS if p.endswith(("arm", "hand")))
NO_PART: Final = 255
# Half widths as fractions of the torso's length: distances are divided by them, so 1 is about the part's outline.
HALF_WIDTH: Final = {"upper-arm": 0.135, "forearm": 0.11, "hand": 0.12, "thigh": 0.21, "shin": 0.15, "foot": 0.11}
MIN_HIP_SCORE: Final = 0.4
TORSO_MARGIN, HEAD_WIDTH, NECK_WIDTH = 0.12, 0.27, 0.13


@dataclass(frozen=True)
class Body:
    """One picture at working size and the person's frame in it; lengths in pixels."""

    rgb: NDArray[np.uint8]  # (H, W, 3)
    lab: Float  # (H, W, 3), OpenCV's 8-bit Lab, noise smoothed away
    person: Mask  # (H, W)
    points: Float  # (33, 2) BlazePose landmarks
    visible: Float  # (33,)
    from_behind: bool
    hips_seen: bool
    x: Float  # (H, W) pixel coordinates
    y: Float
    shoulders: Float  # (2,) their middle
    hips: Float
    up: Float  # (2,) unit vector from hips to shoulders
    torso: float  # distance from hips to shoulders

    @staticmethod
    def build(rgb: NDArray[np.uint8], body: Body33, keypoints: Float) -> Body:
        """BODY seen by BlazePose in RGB (H, W, 3), with what only MoveNet's KEYPOINTS (18, 3) tell reliably."""
        h, w = rgb.shape[:2]
        y, x = np.mgrid[:h, :w].astype(np.float32)
        lab = cv2.cvtColor(cv2.bilateralFilter(rgb, 5, 30, 5), cv2.COLOR_RGB2LAB).astype(np.float32)
        points = body.landmarks
        shoulders = (points[bp.L_SHOULDER] + points[bp.R_SHOULDER]) / 2
        hips = (points[bp.L_HIP] + points[bp.R_HIP]) / 2
        torso = max(float(np.linalg.norm(shoulders - hips)), 1.0)
        up = (shoulders - hips) / torso
        person = body.mask > 0.5
        # BlazePose draws hips also where the picture ends above them.
        hips_seen = bool(keypoints[[kp.R_HIP, kp.L_HIP], 2].max() > MIN_HIP_SCORE)
        behind = seen_from_behind(keypoints)
        return Body(rgb, lab, person, points, body.visible, behind, hips_seen, x, y, shoulders, hips, up, torso)

    @property
    def frontal(self) -> bool:
        """False for a profile: the shoulders nearly cover each other."""
        width = float(np.linalg.norm(self.points[bp.L_SHOULDER] - self.points[bp.R_SHOULDER]))
        return width > 0.4 * self.torso

    @property
    def height(self) -> Float:
        """Height of each pixel along the torso: 0 at the hips, 1 at the shoulders."""
        return ((self.x - self.hips[0]) * self.up[0] + (self.y - self.hips[1]) * self.up[1]) / self.torso

    def segment(self, a: Float, b: Float) -> tuple[Float, Float]:
        """Distance of each pixel to the segment from A to B, and its position along it (0 at A, 1 at B; beyond outside)."""
        d = b - a
        t = ((self.x - a[0]) * d[0] + (self.y - a[1]) * d[1]) / (float(d @ d) + 1e-6)
        c = np.clip(t, 0, 1)
        return np.hypot(self.x - a[0] - c * d[0], self.y - a[1] - c * d[1]), t


@dataclass(frozen=True)
class PartMap:
    """distance: part -> (H, W) in half widths of the part. nearest: (H, W) index into PARTS, NO_PART off the person.
    along: limb part -> position (H, W) along it. closest: (H, W) the smallest distance."""

    distance: dict[str, Float]
    nearest: NDArray[np.uint8]
    along: dict[str, Float]
    closest: Float

    def of(self, *parts: str) -> Mask:
        """Pixels whose nearest part is one of PARTS."""
        return np.isin(self.nearest, [PARTS.index(p) for p in parts])


def limb_segments(points: Float, side: int) -> dict[str, list[tuple[Float, Float]]]:
    """The segments of one side's limb parts (SIDE 0 left, 1 right)."""
    p = points[side:]
    knuckles = (p[PINKY] + p[INDEX]) / 2
    fingertips = knuckles + 0.35 * (knuckles - p[WRIST])
    return {
        "upper-arm": [(p[SHOULDER], p[ELBOW])],
        "forearm": [(p[ELBOW], p[WRIST])],
        "hand": [(p[WRIST], fingertips)],
        "thigh": [(p[HIP], p[KNEE])],
        "shin": [(p[KNEE], p[ANKLE])],
        "foot": [(p[ANKLE], p[TOE]), (p[HEEL], p[TOE])],
    }


def part_map(body: Body, chin: Float) -> PartMap:
    """Which part of the body each pixel of the person belongs to. CHIN (2,): pixel position."""
    distance: dict[str, Float] = {}
    along: dict[str, Float] = {}
    for index, side in enumerate(("left", "right")):
        for part, segments in limb_segments(body.points, index).items():
            measured = [body.segment(a, b) for a, b in segments]
            name = f"{side}-{part}"
            distance[name] = np.minimum.reduce([d for d, _ in measured]) / (HALF_WIDTH[part] * body.torso)
            along[name] = measured[0][1]
    p = body.points
    quad = np.zeros(body.person.shape, np.uint8)
    corners = np.stack(
        [p[bp.L_SHOULDER], p[bp.R_SHOULDER], p[bp.R_HIP], p[bp.L_HIP], body.shoulders + 0.05 * body.up * body.torso]
    )
    cv2.fillConvexPoly(quad, cv2.convexHull(np.rint(corners).astype(np.int32)), 1)
    distance["torso"] = cv2.distanceTransform(1 - quad, cv2.DIST_L2, 5) / np.float32(TORSO_MARGIN * body.torso)
    ears = (p[bp.L_EAR] + p[bp.R_EAR]) / 2
    rise = (ears - body.shoulders) / max(float(np.linalg.norm(ears - body.shoulders)), 1.0)
    distance["head"] = body.segment(ears, ears + rise * 0.12 * body.torso)[0] / (HEAD_WIDTH * body.torso)
    distance["neck"] = body.segment(chin, body.shoulders)[0] / (NECK_WIDTH * body.torso)

    stack = np.stack([distance[part] for part in PARTS])
    for part in ARM_PARTS:  # an arm in front of the torso wins over it
        stack[PARTS.index(part)] -= 0.25 * ((distance[part] < 0.8) & (distance["torso"] < 0.3))
    nearest = np.where(body.person, stack.argmin(axis=0), NO_PART).astype(np.uint8)
    return PartMap(distance, nearest, along, stack.min(axis=0))
