"""The blend: a few levels of flicker are evened out, and what moves is neither smeared nor trails."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from spgvton.demo_assets import DemoAssets
from spgvton.economy import Economy
from spgvton.session import TryOn
from spgvton.steady import AGREE, WEIGHT, Blend


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


@given(hnp.arrays(np.uint8, (12, 9, 3)), hnp.arrays(np.uint8, (12, 9, 3)))
@settings(max_examples=50, deadline=None)
def test_every_value_lies_between_the_two_and_no_nearer_to_the_old_one(old: np.ndarray, new: np.ndarray) -> None:
    blend = Blend()
    blend(old)
    found, a, b = (x.astype(float) for x in (blend(new), old, new))
    assert (found >= np.minimum(a, b)).all() and (found <= np.maximum(a, b)).all()
    assert (np.abs(found - b) <= WEIGHT * np.abs(a - b) + 0.51).all()


def test_a_steady_session_forgets_with_the_person_and_the_garment(tiny_bundle: Path) -> None:
    assets = DemoAssets.open()
    person, labels = assets.person()
    first, second = assets.keypoints()[[0, 16]]
    plain, steady = TryOn(tiny_bundle, threads=1), TryOn(tiny_bundle, threads=1, economy=Economy(steady=True))
    frame = labels.shape

    def dress(number: int) -> None:
        garment = assets.garment(number)
        for session in (plain, steady):
            session.set_person(person, keypoints=first, labels=labels)
            session.set_garment(garment.picture, mask=garment.mask)

    dress(1)
    old, new = plain(first, frame), plain(second, frame)
    assert (steady(first, frame) == old).all()
    blended = steady(second, frame)
    assert (blended != new).any(), "these poses differ by less than AGREE"
    dress(1)
    assert (steady(second, frame) == new).all(), "nothing is left of the picture before"
