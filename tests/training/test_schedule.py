"""The learning rate of every trainer."""

from __future__ import annotations

import doctest

import pytest

from spgvton_training import schedule
from spgvton_training.schedule import rate_factor


def test_rises_stays_and_falls() -> None:
    stage = [rate_factor(i, 100, warm_up=10, last=0.03, begin=0.5) for i in range(101)]
    assert stage[0] == pytest.approx(0.1) and stage[9:51] == [1.0] * 42
    assert stage[75] == pytest.approx(0.515) and stage[100] == pytest.approx(0.03)
    assert stage[51:] == sorted(set(stage[51:]), reverse=True)


def test_falls_from_the_start() -> None:
    assert rate_factor(50, 100, warm_up=10, last=0.02) == pytest.approx(0.51)
    assert rate_factor(4, 100, warm_up=10, last=0.02) < 0.5  # both at once
    assert rate_factor(100, 100, warm_up=10, last=0.02) == pytest.approx(0.02)


def test_without_cosine_or_warm_up() -> None:
    assert {rate_factor(i, 100, warm_up=0, last=0.03, begin=1.0) for i in range(101)} == {1.0}


def test_example() -> None:
    assert doctest.testmod(schedule).failed == 0
