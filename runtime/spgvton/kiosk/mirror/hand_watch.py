"""A raised hand before consent: the one thing that is looked for in frames that nothing else may see.

Frames come from behind the closed shutter (mirror.py), one at a time, and are dropped at once. Of each one the pose
network's keypoints are made, of those how long a hand has been held up, and nothing else is told. What this holds between
two frames (where the body stood for half a second) is forgotten with reset(); the network is one of its own, so that
nothing from before the consent goes on after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from spgvton.kiosk.mirror.gesture import GestureReader
from spgvton.perception.pose import PoseEstimator
from spgvton.stream.frames import Frame

EVERY_S: Final = 0.06  # between two looks: a hand is slow, and the shop is open all day
GAP_S: Final = 1.0  # without a look, after which what was seen before counts for nothing


class HandWatch:
    """dwell_s: for how long a hand is held up. tell: called, in the camera's thread, with its share in [0, 1], as it changes;
    with None once no hand is up.
    """

    def __init__(self, dwell_s: float, tell: Callable[[float | None], None]) -> None:
        self._reader, self._pose, self._tell = GestureReader(dwell_s), PoseEstimator(), tell
        self._told: float | None = None
        self._looked = float("-inf")
        self._again = False

    def reset(self) -> None:
        """Forget who was seen. From any thread; holds from the next look on."""
        self._again = True

    def __call__(self, frame: Frame) -> None:
        """Look at FRAME. One thread at a time."""
        passed = frame.captured - self._looked
        if passed < EVERY_S:
            return
        self._looked = frame.captured
        if self._again or passed > GAP_S:
            self._again = False
            self._reader.reset()
            self._pose.reset()
        gesture = self._reader.step(self._pose(frame.image, frame.timestamp), frame.captured, choosable=True)
        held = None if gesture.hand is None else round(gesture.progress, 2)
        if held != self._told:
            self._told = held
            self._tell(held)
