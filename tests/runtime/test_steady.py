"""Dead band and blend: what trembles comes to rest, what moves is neither late by more than the slack nor smeared."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spgvton.demo_assets import DemoAssets
from spgvton.economy import Economy
from spgvton.session import TryOn
from spgvton.steady import AGREE, Blend, DeadBand

track = st.lists(st.tuples(st.floats(-50, 50, width=32), st.floats(-50, 50, width=32)), min_size=1, max_size=40)


def pose(x: float, y: float, score: float = 1.0) -> np.ndarray:
    return np.tile(np.array([[x, y, score]], np.float32), (18, 1))


@settings(max_examples=60, deadline=None)
@given(track, st.floats(0.1, 3.0))
def test_no_point_is_ever_further_behind_than_the_slack(points: list[tuple[float, float]], slack: float) -> None:
    band = DeadBand(slack)
    for x, y in points:
        found = band(pose(x, y))
        assert found.dtype == np.float32
        assert np.hypot(*(found[0, :2] - (x, y))) <= slack + 1e-4
        assert (found[:, 2] == 1).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-0.24, 0.24), st.floats(-0.24, 0.24)), min_size=2, max_size=40))
def test_a_point_that_trembles_within_the_slack_rests(tremble: list[tuple[float, float]]) -> None:
    band = DeadBand(0.7)  # more than the largest distance between two of them
    found = [band(pose(100 + dx, 50 + dy))[0, :2] for dx, dy in tremble]
    assert (np.array(found) == found[0]).all()


def test_a_steady_motion_is_followed_at_its_own_speed() -> None:
    band = DeadBand(0.5)
    found = np.array([band(pose(float(2 * i), 10.0))[0, :2] for i in range(20)])
    np.testing.assert_allclose(np.diff(found[1:], axis=0), [[2, 0]] * 18, atol=1e-4)
    np.testing.assert_allclose(found[5:], [[2 * i - 0.5, 10] for i in range(5, 20)], atol=1e-4)


def test_a_point_that_was_missing_is_taken_as_it_is() -> None:
    band = DeadBand(5.0)
    band(pose(10, 10))
    assert (band(pose(0, 0, score=0.0))[:, :2] == 0).all()
    assert (band(pose(12, 10))[:, 0] == 12).all()
    band.reset()
    assert (band(pose(13, 10))[:, 0] == 13).all()


def textured(seed: int, low: int = 40, high: int = 200) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (64, 48, 3), np.uint8)


def test_flicker_of_a_few_levels_is_halved() -> None:
    picture = textured(0)
    blend = Blend()
    out = [blend(picture + np.uint8(4 * (i % 2))) for i in range(10)]
    before, after = 4.0, np.mean([np.abs(a.astype(int) - b).mean() for a, b in itertools.pairwise(out[1:])])
    assert after < 0.2 * before  # the mean of two that take turns


def test_what_changed_is_shown_at_once_and_nothing_trails() -> None:
    blend, before, after = Blend(), textured(1, 0, 60), textured(2, 190, 250)
    blend(before)
    first = blend(after)
    assert np.abs(first.astype(int) - after).max() <= 1  # far above AGREE
    assert (blend(after) == after).all()
    edge = before.copy()
    edge[:, 24:] = after[:, 24:]
    blend.reset()
    blend(before)
    shown = blend(edge).astype(int)
    assert np.abs(shown[:, 28:] - edge[:, 28:]).max() <= 1  # PATCH / 2 away from what stayed
    assert AGREE < 100


def test_one_picture_after_a_small_change_all_of_it_is_there() -> None:
    picture = textured(3)
    blend = Blend()
    blend(picture)
    blend(picture + np.uint8(8))
    assert (blend(picture + np.uint8(8)) == picture + 8).all()


def test_a_steady_session_forgets_with_the_person_and_the_garment(tiny_bundle: Path) -> None:
    assets = DemoAssets.open()
    person, labels = assets.person()
    keypoints = assets.keypoints()
    plain, steady = TryOn(tiny_bundle, threads=1), TryOn(tiny_bundle, threads=1, economy=Economy(steady=True))
    for session in (plain, steady):
        session.set_person(person, keypoints=keypoints[0], labels=labels)
        session.set_garment(assets.garment(1).picture, mask=assets.garment(1).mask)
    frame = (512, 384)
    assert (plain(keypoints[0], frame) == steady(keypoints[0], frame)).all()
    trembling = keypoints[0].copy()
    trembling[:, 0] += 0.8  # 0.4 pixels of the network
    assert (steady(trembling, frame) == plain(keypoints[0], frame)).all()
    for session in (plain, steady):
        session.set_garment(assets.garment(2).picture, mask=assets.garment(2).mask)
        session.set_person(person, keypoints=keypoints[0], labels=labels)
    assert (steady(trembling, frame) == plain(trembling, frame)).all()  # neither held keypoints nor the old picture
