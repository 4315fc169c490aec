"""A similarity between two sets of keypoints."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spgvton import keypoints as kp
from spgvton.live.timewarp import similarity


def person() -> np.ndarray:
    k = np.zeros((18, 3), np.float32)
    for joint, x, y in (
        (kp.R_SHOULDER, 300, 300),
        (kp.L_SHOULDER, 420, 305),
        (kp.R_HIP, 320, 520),
        (kp.L_HIP, 400, 522),
    ):
        k[joint] = x, y, 1
    return k


@given(turn=st.floats(-0.5, 0.5), zoom=st.floats(0.8, 1.25), x=st.floats(-200, 200), y=st.floats(-200, 200))
@settings(max_examples=50, deadline=None)
def test_it_finds_the_motion_that_was_made(turn: float, zoom: float, x: float, y: float) -> None:
    before, now = person(), person()
    matrix = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    now[:, :2] = before[:, :2] @ matrix.T + (x, y)
    found = similarity(before, now)
    assert found is not None
    np.testing.assert_allclose(found, np.hstack([matrix, [[x], [y]]]), atol=2e-2)


def test_no_motion_is_the_identity() -> None:
    found = similarity(person(), person())
    assert found is not None
    np.testing.assert_allclose(found, [[1, 0, 0], [0, 1, 0]], atol=1e-6)


@pytest.mark.parametrize("seen", [[], [kp.R_HIP]])
def test_one_point_is_not_enough(seen: list[int]) -> None:
    now = person()
    now[[i for i in range(18) if i not in seen], 2] = 0
    assert similarity(person(), now) is None


def test_nobody_grows_threefold_between_two_frames() -> None:
    now = person()
    now[:, :2] *= 3
    assert similarity(person(), now) is None
