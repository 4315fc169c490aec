"""A calmer try-on: keypoints that keep still while they only tremble, and two pictures made one where they agree.

Both were chosen by their figures (docs/economy.md): most flicker comes from keypoints that tremble by less than a pixel.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

SLACK: Final = 0.5  # network pixels at height 256
WEIGHT: Final = 0.5  # of the picture before, where both agree
AGREE: Final = 16.0  # levels of 255 at which its weight has fallen to 1/e
PATCH: Final = 5  # pixels over which agreement is judged
_WEIGHTS: Final = (WEIGHT * np.exp(-np.square(np.arange(256) / AGREE))).astype(np.float32)


class DeadBand:
    """Each keypoint is drawn along on a slack thread: it stays while the measured one moves by less than SLACK pixels
    around it, and follows at that distance when it moves on. So no motion is ever behind by more than SLACK.
    """

    def __init__(self, slack: float) -> None:
        self._slack = slack
        self._held: Float | None = None

    def reset(self) -> None:
        """Forget the keypoints."""
        self._held = None

    def __call__(self, keypoints: Float) -> Float:
        """Keypoints (18, 3) in network pixels, as float32; one that was missing before is taken as it is."""
        out = keypoints.astype(np.float32, copy=True)
        if self._held is not None:
            known = (keypoints[:, 2] > 0) & (self._held[:, 2] > 0)
            way = keypoints[known, :2] - self._held[known, :2]
            length = np.linalg.norm(way, axis=1, keepdims=True)
            follow = np.maximum(0, 1 - self._slack / np.maximum(length, 1e-9))
            out[known, :2] = self._held[known, :2] + way * follow
        self._held = out
        return out.copy()


class Blend:
    """The mean of a picture and the one before where they differ by a few levels; the new one where something moved.

    The one before is the network's own, not an earlier mean, so nothing trails for longer than one picture.
    """

    def __init__(self) -> None:
        self._before: UInt8 | None = None

    def reset(self) -> None:
        """Forget the picture before."""
        self._before = None

    def __call__(self, picture: UInt8) -> UInt8:
        """RGB uint8 (H, W, 3), of one size until reset(). PICTURE is kept, and must not be changed."""
        before, self._before = self._before, picture
        if before is None:
            return picture
        difference = cv2.cvtColor(cv2.absdiff(before, picture), cv2.COLOR_RGB2GRAY)
        weight = cv2.LUT(cv2.blur(difference, (PATCH, PATCH)), _WEIGHTS)
        return cv2.blendLinear(before, picture, weight, 1 - weight)  # type: ignore[return-value]
