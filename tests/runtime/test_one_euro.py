"""The One-Euro filter: properties that hold for any track."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spgvton.errors import SpgvtonError
from spgvton.perception.one_euro import OneEuroFilter

coordinate = st.floats(-2000, 2000, allow_nan=False, width=32)
step = st.floats(1e-3, 2.0, allow_nan=False)
track = st.lists(st.tuples(coordinate, coordinate, step), min_size=1, max_size=30)
parameter = st.floats(0.01, 50.0)


def run(samples, min_cutoff=1.0, beta=1.0, scale=100.0):
    """Filter one point's TRACK; returns inputs and outputs, each (N, 2)."""
    f, t, out = OneEuroFilter(min_cutoff, beta), 0.0, []
    for x, y, dt in samples:
        t += dt
        out.append(f(np.array([[x, y]]), np.array([True]), t, scale)[0])
    return np.array([s[:2] for s in samples]), np.array(out)


@settings(max_examples=50, deadline=None)
@given(coordinate, coordinate, st.lists(step, min_size=1, max_size=20), parameter, parameter)
def test_a_point_at_rest_stays(x, y, steps, min_cutoff, beta):
    _, out = run([(x, y, dt) for dt in steps], min_cutoff, beta)
    np.testing.assert_allclose(out, [[x, y]] * len(steps), rtol=0, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(track, parameter, parameter)
def test_output_stays_within_the_hull_of_the_inputs(samples, min_cutoff, beta):
    given_, out = run(samples, min_cutoff, beta)
    low = np.minimum.accumulate(given_, axis=0)
    high = np.maximum.accumulate(given_, axis=0)
    assert (out >= low - 1e-6).all() and (out <= high + 1e-6).all()


@settings(max_examples=50, deadline=None)
@given(track, coordinate)
def test_filtering_does_not_depend_on_the_origin(samples, shift):
    _, out = run(samples)
    _, moved = run([(x + shift, y + shift, dt) for x, y, dt in samples])
    np.testing.assert_allclose(moved - shift, out, rtol=0, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.floats(-10, 10, allow_nan=False), st.floats(-5, 0, allow_nan=False))
def test_time_must_increase(start, dt):
    f = OneEuroFilter()
    f(np.zeros((1, 2)), np.array([True]), start)
    with pytest.raises(SpgvtonError, match="time stamps must increase"):
        f(np.zeros((1, 2)), np.array([True]), start + dt)


def test_nan_as_time_is_refused():
    f = OneEuroFilter()
    f(np.zeros((1, 2)), np.array([True]), 0.0)
    with pytest.raises(SpgvtonError, match="time stamps"):
        f(np.zeros((1, 2)), np.array([True]), float("nan"))


def test_points_are_independent_and_a_missing_one_starts_anew():
    f = OneEuroFilter(min_cutoff=0.1, beta=0)
    both = np.array([True, True])
    f(np.array([[0.0, 0], [0, 0]]), both, 0.0)
    out = f(np.array([[100.0, 0], [0, 0]]), both, 0.03)
    assert 0 < out[0, 0] < 10  # heavily smoothed
    assert out[1, 0] == 0
    f(np.array([[0.0, 0], [0, 0]]), np.array([False, True]), 0.06)
    out = f(np.array([[100.0, 0], [0, 0]]), both, 0.09)
    assert out[0, 0] == 100  # no memory of where it was before it went missing


def test_reset_forgets():
    f = OneEuroFilter(min_cutoff=0.1, beta=0)
    f(np.zeros((1, 2)), np.array([True]), 5.0)
    f.reset()
    assert f(np.full((1, 2), 7.0), np.array([True]), 1.0)[0, 0] == 7.0


def test_less_jitter_at_rest_and_little_lag_in_motion():
    rng = np.random.default_rng(0)
    f, noise, out = OneEuroFilter(1.5, 4.0), rng.normal(0, 1, (200, 1, 2)), []
    for i in range(200):
        out.append(f(100 + noise[i], np.array([True]), i / 30, scale=100))
    assert np.std(np.diff(out, axis=0)) < 0.4 * np.std(np.diff(noise, axis=0))
    f.reset()
    for i in range(60):  # a wrist that crosses two torso lengths per second
        x = np.array([[200.0 * i / 30, 0.0]])
        y = f(x, np.array([True]), i / 30, scale=100)
    assert abs(y[0, 0] - x[0, 0]) < 6  # percent of a torso length


@pytest.mark.parametrize("arguments", [(0.0, 1.0), (-1.0, 1.0), (1.0, -0.1)])
def test_bad_parameters(arguments):
    with pytest.raises(ValueError):
        OneEuroFilter(*arguments)
