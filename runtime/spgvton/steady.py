"""A calmer try-on: two successive pictures made one where they agree. Chosen by its figures: docs/economy.md."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.video import cv2

UInt8 = NDArray[np.uint8]

WEIGHT: Final = 0.5  # of the picture before, where both agree
AGREE: Final = 16.0  # levels of 255 at which its weight has fallen to 1/e
PATCH: Final = 5  # pixels over which agreement is judged
_WEIGHTS: Final = (WEIGHT * np.exp(-np.square(np.arange(256) / AGREE))).astype(np.float32)


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
