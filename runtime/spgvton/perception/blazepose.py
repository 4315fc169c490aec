"""BlazePose (lite): 33 body landmarks and the mask of the person, from one upright crop (Bazarevsky et al., 2020).

Slower than MoveNet (14 ms a pass instead of 10, two passes) and wanted for pictures only: it has hands and feet, a mouth, and
the mask. Landmark order: developers.google.com/mediapipe/solutions/vision/pose_landmarker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton.errors import SpgvtonError
from spgvton.perception.onnx_session import open_session, shipped_model
from spgvton.video import cv2

NUM_LANDMARKS: Final = 33
NOSE, L_EYE, R_EYE, L_EAR, R_EAR, L_MOUTH, R_MOUTH = 0, 2, 5, 7, 8, 9, 10
L_SHOULDER, R_SHOULDER, L_HIP, R_HIP = 11, 12, 23, 24
# Left and right exchanged: eyes 1-3 with 4-6, then pairs of neighbours.
MIRRORED: Final = (0, 4, 5, 6, 1, 2, 3, *(i + 1 if i % 2 else i - 1 for i in range(7, NUM_LANDMARKS)))
MIN_PRESENCE: Final = 0.5
BOX_SCALE: Final = 1.25  # MediaPipe's margin round the circle that holds the body


@dataclass(frozen=True)
class Body33:
    """What BlazePose sees: landmarks (33, 2) float32 in pixels, visible (33,) in [0, 1], mask (H, W) float32 in [0, 1]."""

    landmarks: NDArray[np.float32]
    visible: NDArray[np.float32]
    mask: NDArray[np.float32]


@dataclass(frozen=True)
class Box:
    """A rotated square of the picture: centre and side in pixels, angle of the body's axis to the vertical in radians."""

    x: float
    y: float
    side: float
    angle: float

    @staticmethod
    def around(centre: NDArray[np.floating], up: NDArray[np.floating], radius: float) -> Box:
        """The square round the circle of RADIUS about CENTRE, turned so that UP points up in it."""
        angle = float(np.arctan2(up[0], -up[1]))
        return Box(float(centre[0]), float(centre[1]), 2 * BOX_SCALE * radius, angle)

    def matrix(self, pixels: int) -> NDArray[np.float64]:
        """2x3 affine matrix from the crop of PIXELS x PIXELS to the picture."""
        k = self.side / pixels
        c, s, m = np.cos(self.angle) * k, np.sin(self.angle) * k, (pixels - 1) / 2
        return np.array([[c, -s, self.x - (c - s) * m], [s, c, self.y - (s + c) * m]])


def box_from_keypoints(k: NDArray[np.float32]) -> Box:
    """The first box, from the 18 keypoints: about the middle of the hips, wide enough for every point.

    Hips that are not seen are put below the shoulders. Raises SpgvtonError when the shoulders are missing.
    """
    if k[kp.NECK, 2] <= 0:
        raise SpgvtonError("no person with visible shoulders in the picture: choose one that shows the upper body")
    neck = k[kp.NECK, :2].astype(np.float64)
    hips = [i for i in (kp.R_HIP, kp.L_HIP) if k[i, 2] > 0]
    if hips:
        hip = k[hips, :2].mean(axis=0).astype(np.float64)
    else:
        across = (k[kp.L_SHOULDER, :2] - k[kp.R_SHOULDER, :2]).astype(np.float64)
        down = np.array([-across[1], across[0]])
        hip = neck + 1.4 * down * (1 if down[1] > 0 else -1)  # from behind, left stands left
    torso = max(float(np.linalg.norm(neck - hip)), 1.0)
    reach = float(np.linalg.norm(k[k[:, 2] > 0, :2] - hip, axis=1).max())
    return Box.around(hip, neck - hip, reach + 0.25 * torso)


class BlazePose:
    """Landmarks and mask of one person whose keypoints are known roughly. threads: ONNX Runtime threads."""

    def __init__(self, threads: int = 1) -> None:
        self._session = open_session(shipped_model("blazepose_lite.onnx"), threads)
        self._input = self._session.get_inputs()[0].name
        self._side = int(self._session.get_inputs()[0].shape[1])

    def __call__(self, image: NDArray[np.uint8], keypoints: NDArray[np.float32]) -> Body33:
        """Landmarks of the person at KEYPOINTS (18, 3) in IMAGE, RGB uint8 (H, W, 3).

        Two passes: the second in the box that the first one's alignment points give. Raises SpgvtonError when the network
        sees nobody there.
        """
        box = box_from_keypoints(keypoints)
        for last in (False, True):
            points, presence, mask, matrix = self._infer(image, box)
            if presence < MIN_PRESENCE:
                raise SpgvtonError(
                    "no person found in the picture: choose one that shows a person clearly and from the front"
                )
            if not last:
                centre, top = points[33, :2], points[34, :2]  # of the circle that holds the body
                box = Box.around(centre, top - centre, float(np.linalg.norm(top - centre)))
        visible = (1 / (1 + np.exp(-points[:NUM_LANDMARKS, 3]))).astype(np.float32)
        size = (image.shape[1], image.shape[0])
        return Body33(points[:NUM_LANDMARKS, :2].copy(), visible, cv2.warpAffine(mask, matrix, size))

    def _infer(
        self, image: NDArray[np.uint8], box: Box
    ) -> tuple[NDArray[np.float32], float, NDArray[np.float32], NDArray[np.float64]]:
        """Points (39, 5) with x and y in the picture's pixels, presence, mask of the crop, matrix crop -> picture."""
        matrix = box.matrix(self._side)
        crop = cv2.warpAffine(image, matrix, (self._side,) * 2, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        feed = {self._input: crop[None].astype(np.float32) / 255}
        raw, presence, mask = self._session.run(["landmarks", "presence", "mask"], feed)
        points = raw.reshape(39, 5).astype(np.float32)
        points[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        return points, float(presence.ravel()[0]), mask[0, :, :, 0], matrix
