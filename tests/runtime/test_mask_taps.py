"""Corrections of a mask by taps, on a drawn picture."""

from __future__ import annotations

import numpy as np
import pytest

from spgvton.errors import SpgvtonError
from spgvton.perception.mask_taps import Tap, corrected
from spgvton.video import cv2

SIZE = (400, 300)


@pytest.fixture
def scene():
    """A blue garment with a yellow pocket beside a red bag, on grey with noise: picture, garment, bag, pocket."""
    rng = np.random.default_rng(0)
    picture = np.full((*SIZE, 3), 190, np.uint8)
    parts = []
    for box, colour in (
        ((60, 80, 190, 330), (40, 70, 150)), ((200, 150, 280, 260), (170, 40, 40)), ((90, 200, 130, 240), (220, 200, 60)),
    ):  # fmt: skip
        part = np.zeros(SIZE, bool)
        part[box[1] : box[3], box[0] : box[2]] = True
        picture[part] = colour
        parts.append(part)
    noisy = np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(noisy, (0, 0), 0.8)), *parts


def at(part, add):
    y, x = (float(np.mean(n)) for n in np.nonzero(part))
    return Tap((x + 0.5) / SIZE[1], (y + 0.5) / SIZE[0], add)


def iou(mask, truth):
    return ((mask > 127) & truth).sum() / ((mask > 127) | truth).sum()


def test_a_tap_takes_away_what_is_no_garment(scene):
    picture, garment, bag, _ = scene
    before = ((garment | bag) * 255).astype(np.uint8)
    after = corrected(picture, before, at(bag, add=False))
    assert iou(after, garment) > 0.97
    np.testing.assert_array_equal(after[:, :180], before[:, :180])  # far from the tap nothing changes


def test_a_tap_adds_what_was_missed(scene):
    picture, garment, _, pocket = scene
    before = ((garment & ~pocket) * 255).astype(np.uint8)
    after = corrected(picture, before, at(pocket, add=True))
    assert iou(after, garment) > 0.97


def test_a_mask_can_be_begun_with_a_tap(scene):
    picture, garment, _, pocket = scene
    first = corrected(picture, np.zeros(SIZE, np.uint8), Tap(0.42, 0.75, True))
    after = corrected(picture, first, Tap(0.42, 0.3, True))  # a tap reaches 0.3 of the picture
    assert iou(first, garment & ~pocket) < 0.8
    assert iou(after, garment & ~pocket) > 0.93


def test_a_tap_never_does_the_opposite(scene):
    picture, garment, bag, _ = scene
    before = (garment * 255).astype(np.uint8)
    added = corrected(picture, before, at(bag, add=True))
    assert ((added > 127) | ~(before > 127)).all() and iou(added, garment | bag) > 0.95
    removed = corrected(picture, before, at(bag, add=False))
    assert not ((removed > 127) & ~(before > 127)).any()


@pytest.mark.parametrize("size", [(16, 16), (20, 900), (1200, 40)])
def test_any_size(size):
    picture = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    mask = np.zeros(size, np.uint8)
    mask[size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 2] = 255
    for add in (True, False):
        after = corrected(picture, mask, Tap(0.5, 0.3, add))
        assert after.shape == size and after.dtype == np.uint8


def test_a_tap_beside_the_picture_is_refused(scene):
    with pytest.raises(SpgvtonError, match="a tap must lie in the picture"):
        corrected(scene[0], np.zeros(SIZE, np.uint8), Tap(1.2, 0.5, True))
