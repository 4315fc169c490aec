"""A calmer garment: warp and masks of two successive answers are blended while the customer stands still; colours never are."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.live.layers import Answer
from spgvton.video import cv2

Float = NDArray[np.float32]

WEIGHT: Final = 0.65  # of what was before, while nobody moves
STILL: Final = 1.5  # pixels of the network's frame, at which that weight has fallen to 1/e


class Steady:
    """Answer -> Answer."""

    def __init__(self) -> None:
        self._before: Answer | None = None

    def reset(self) -> None:
        """Another customer or garment."""
        self._before = None

    def __call__(self, answer: Answer) -> Answer:
        before, now = self._before, answer
        if before is not None and before.box == answer.box and before.garment is answer.garment:
            weight = WEIGHT * float(np.exp(-((_move(before, answer) / STILL) ** 2)))
            if weight > 0.02:
                old, new = before.output, answer.output
                now = replace(
                    answer,
                    output=new._replace(
                        theta=weight * old.theta + (1 - weight) * new.theta,
                        residual=_blended(old.residual, new.residual, weight),
                        clothes_mask=cv2.addWeighted(old.clothes_mask, weight, new.clothes_mask, 1 - weight, 0),
                    ),
                )
        self._before = now
        return now


def _blended(old: Float | None, new: Float | None, weight: float) -> Float | None:
    return new if old is None or new is None else np.asarray(weight * old + (1 - weight) * new, np.float32)


def _move(before: Answer, now: Answer) -> float:
    """Mean distance, in pixels of the network's frame, between the keypoints of both answers."""
    seen = (before.keypoints[:, 2] > 0) & (now.keypoints[:, 2] > 0)
    if not seen.any():
        return float("inf")
    return now.box.scale * float(np.linalg.norm((now.keypoints - before.keypoints)[seen, :2], axis=1).mean())
