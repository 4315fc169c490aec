"""What a live stream need not compute again. Every rule is off unless it is asked for; docs/economy.md has what each costs.

The try-on is a function of person, garment and pose in network pixels alone. While these stay, so does the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import UsageError

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

STILL, OVERLOAD = "still", "overload"  # why a frame shows the last picture again
MAX_STILL: Final = 8.0  # pixels; twice the radius of a keypoint's disc is no longer the same pose


@dataclass(frozen=True)
class Economy:
    """The rules' settings; the default is none.

    still_threshold: network pixels by which a keypoint may move before a new picture is made, 0 = any pose is a new one.
    max_age_s: seconds after its capture that a frame may wait for synthesis; an older one shows the last picture again.
    None = no bound. steady: less flicker (spgvton.steady); it saves nothing. Raises UsageError for values that make no sense.

    Examples:
        >>> Economy(still_threshold=0.5, max_age_s=0.2)
        Economy(still_threshold=0.5, max_age_s=0.2, steady=False)
    """

    still_threshold: float = 0.0
    max_age_s: float | None = None
    steady: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.still_threshold <= MAX_STILL:
            raise UsageError(f"a still threshold of {self.still_threshold:g} pixels: give from 0 to {MAX_STILL:g}")
        if self.max_age_s is not None and not 0 < self.max_age_s <= 60:
            raise UsageError(f"a largest age of {1e3 * self.max_age_s:g} ms: give from 1 to 60000")


def largest_move(before: Float, now: Float) -> float:
    """The farthest, in pixels, that a keypoint of NOW (18, 3) lies from where it was BEFORE; infinity where one came or went."""
    seen = now[:, 2] > 0
    if not np.array_equal(seen, before[:, 2] > 0):
        return float("inf")
    return float(np.linalg.norm((now - before)[seen, :2], axis=1).max(initial=0.0))


Made = TypeVar("Made")


class StillRule(Generic[Made]):
    """Remembers the last picture (in live mode: the network's answer) that was made, and the pose that it shows.

    A pose is compared with that one, never with the last one shown: slow drift adds up until a picture is made.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._made: tuple[Float, Made] | None = None

    def reset(self) -> None:
        """Forget the picture: person, garment or framing changed."""
        self._made = None

    def same(self, keypoints: Float) -> Made | None:
        """The very picture last made, if it does for KEYPOINTS (18, 3) in network pixels; else None."""
        if self._made is None or not self._threshold:
            return None
        pose, picture = self._made
        return picture if largest_move(pose, keypoints) <= self._threshold else None

    def made(self, keypoints: Float, picture: Made) -> None:
        """PICTURE shows KEYPOINTS."""
        if self._threshold:
            self._made = keypoints, picture


class EarlyExit:
    """Whether a frame that reaches synthesis too old is passed over, so that the next one finds synthesis free.

    Never two in a row: a machine that is always too slow must still get new pictures.
    """

    def __init__(self, max_age_s: float | None) -> None:
        self._max_age_s = max_age_s
        self._passed_over = False

    def __call__(self, age_s: float) -> bool:
        """AGE_S: seconds since the frame's capture."""
        late = self._max_age_s is not None and age_s > self._max_age_s
        self._passed_over = late and not self._passed_over
        return self._passed_over
