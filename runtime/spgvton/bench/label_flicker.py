"""Flicker and lag of a stream's labels: how many change although nothing moves, and how far they stay behind somebody who does.

Both are measured in the network's frame, along the dense optical flow of bench.flicker: a pixel counts as still where the camera saw it
move by less than STILL pixels. The lag is the shift between the customer's outline in the stream and in its last frame looked at
alone (phase correlation), along the person's shoulders' and hips' own motion, in frames in which these moved by MOVING pixels or more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.bench.flicker import TORSO, Motion
from spgvton.perception.parse import Parse
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

STILL: Final = 0.25  # pixels of the network's frame, from one frame to the next
MOVING: Final = 1.0
NEAR: Final = 9  # pixels round the customer that are looked at, too


@dataclass
class LabelFlicker:
    """Sums up a stream. add() each frame; as_dict() has the means, NaN where there was nothing to measure."""

    _motion: Motion = field(default_factory=Motion)
    _before: tuple[UInt8, UInt8, Float] | None = None
    _changed: list[float] = field(default_factory=list)
    _lag: list[float] = field(default_factory=list)
    frames: int = 0

    def add(self, picture: UInt8, stream: Parse, alone: Parse, keypoints: Float) -> None:
        """One frame: PICTURE RGB uint8 (H, W, 3) in the network's frame, what the STREAM says of it and what is said of it ALONE.

        keypoints: (18, 3) in its pixels. Frames in one framing; cut() between two framings.
        """
        self.frames += 1
        if self._before is not None:
            seen, labels, points = self._before
            self._add_changes(seen, picture, labels, stream.labels)
            self._add_lag(points, keypoints, stream.labels, alone.labels)
        self._before = picture, stream.labels, keypoints

    def cut(self) -> None:
        """The next frame is not compared with the last."""
        self._before = None

    def _add_changes(self, before: UInt8, now: UInt8, labels_before: UInt8, labels: UInt8) -> None:
        where, believed = self._motion.between(before, now)
        rows, columns = np.indices(labels.shape)
        moved = np.hypot(where[..., 0] - columns, where[..., 1] - rows)
        person = cv2.dilate(((labels > 0) | (labels_before > 0)).astype(np.uint8), np.ones((NEAR, NEAR), np.uint8)) > 0
        still = believed & (moved < STILL) & person
        if still.sum() > 0.05 * person.sum():
            self._changed.append(float((labels != labels_before)[still].mean()))

    def _add_lag(self, before: Float, now: Float, stream: UInt8, alone: UInt8) -> None:
        seen = [i for i in TORSO if before[i, 2] > 0 and now[i, 2] > 0]
        if len(seen) < 3:
            return
        way = (now[seen, :2] - before[seen, :2]).mean(axis=0)
        step = float(np.linalg.norm(way))
        if step < MOVING:
            return
        outlines = [cv2.GaussianBlur((x > 0).astype(np.float32), (0, 0), 2.0) for x in (alone, stream)]
        (dx, dy), _ = cv2.phaseCorrelate(outlines[0], outlines[1])
        self._lag.append(-float(dx * way[0] + dy * way[1]) / step)

    def as_dict(self) -> dict[str, float | int]:
        """changed: share of still pixels that change label. lag_px: mean lag in pixels of the network's frame, of lag_frames frames."""
        mean = [float(np.mean(x)) if x else float("nan") for x in (self._changed, self._lag)]
        return {
            "frames": self.frames, "changed": round(mean[0], 5), "lag_px": round(mean[1], 3),
            "still_frames": len(self._changed), "lag_frames": len(self._lag),
        }  # fmt: skip
