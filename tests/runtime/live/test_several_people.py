"""Of several people the nearest is dressed; of the others, and of the room, no pixel changes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spgvton.live.tryon import LiveTryOn
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
FARTHER = 0.72  # of the nearer one's size


def room(person: UInt8, *, nearer_left: bool) -> tuple[UInt8, int]:
    """The person twice in one room: once near, once farther off, standing higher in the picture. And where the halves meet."""
    h, w = person.shape[:2]
    small = np.asarray(cv2.resize(person[:, ::-1], None, fx=FARTHER, fy=FARTHER, interpolation=cv2.INTER_AREA))
    far = np.empty((h, w, 3), np.uint8)
    far[:] = person[2, 2]  # the wall
    top, left = (h - small.shape[0]) // 2, (w - small.shape[1]) // 2
    far[top : top + small.shape[0], left : left + small.shape[1]] = small
    halves = [person, far] if nearer_left else [far, person]
    return np.ascontiguousarray(np.hstack(halves)), w


@pytest.mark.parametrize("nearer_left", [True, False], ids=["near on the left", "near on the right"])
def test_the_nearest_is_dressed_and_the_other_stays_as_the_camera_sees_her(
    live: LiveTryOn, person: UInt8, nearer_left: bool
) -> None:
    both, middle = room(person, nearer_left=nearer_left)
    changed = (live(both) != both).any(axis=2)
    near, far = (
        (changed[:, :middle], changed[:, middle:]) if nearer_left else (changed[:, middle:], changed[:, :middle])
    )
    assert near.mean() > 0.05 and not far.any()
