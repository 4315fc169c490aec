"""Histograms and the ranges that the methods choose from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from spgvton_calibration.histogram import BINS, METHODS, PERCENTILE, Histogram
from spgvton_calibration.qdq import LEVELS

FINITE = st.floats(-1e6, 1e6, width=32)


def of(*batches: np.ndarray) -> Histogram:
    h = Histogram()
    for batch in batches:
        h.add(batch)
    return h


@settings(max_examples=25, deadline=None)
@given(st.lists(hnp.arrays(np.float32, st.integers(1, 40), elements=FINITE), min_size=1, max_size=5))
def test_nothing_is_lost_in_any_order(batches: list[np.ndarray]) -> None:
    h, back = of(*batches), of(*batches[::-1])
    every = np.abs(np.concatenate(batches))
    assert h.counts.sum() == back.counts.sum() == every.size
    assert h.peak == back.peak == every.max() and np.array_equal(h.counts, back.counts)
    assert h.peak <= h.width or h.peak == 0
    for method in METHODS:
        assert 0 <= h.amax(method) <= h.peak


def test_counts_are_numpys() -> None:
    rng = np.random.default_rng(0)
    small, large = rng.normal(0, 1, 5000).astype(np.float32), rng.normal(0, 5, 5000).astype(np.float32)
    h = of(small, large)
    expected, _ = np.histogram(np.abs(np.concatenate([small, large])), BINS, (0, h.width))
    assert np.abs(h.counts - expected).sum() <= 4, "float32 rounding at the edges of bins alone"


def test_methods_on_a_known_distribution() -> None:
    """A normal distribution with one far outlier: minmax keeps it, the others give it up for resolution."""
    rng = np.random.default_rng(1)
    h = of(rng.normal(0, 1, 200_000), np.array([60.0]))
    found = {method: h.amax(method) for method in METHODS}
    assert found["minmax"] == 60
    assert found["percentile"] == pytest.approx(3.9, abs=0.15), f"{PERCENTILE} % of |N(0, 1)| lie below 3.89"
    assert 2 < found["entropy"] < 6


def test_mse_has_the_least_error() -> None:
    values = np.random.default_rng(2).laplace(0, 1, 100_000)
    h = of(values)

    def error(amax: float) -> float:
        rounded = np.rint(values / amax * LEVELS).clip(-LEVELS, LEVELS) * amax / LEVELS
        return float(np.square(values - rounded).mean())

    errors = {method: error(h.amax(method)) for method in METHODS}
    assert errors["mse"] <= 1.01 * min(errors.values()) and errors["mse"] < 0.8 * errors["minmax"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(bad: float) -> None:
    with pytest.raises(FloatingPointError):
        of(np.array([1.0, bad]))


def test_zeros_alone() -> None:
    h = of(np.zeros(10))
    assert [h.amax(m) for m in METHODS] == [0, 0, 0, 0]
    h.add(np.array([2.0]))
    assert h.peak == 2 and h.counts.sum() == 11
