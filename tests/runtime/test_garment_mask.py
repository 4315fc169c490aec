"""The garment mask, on drawn garments whose mask is known."""

from __future__ import annotations

import numpy as np
import pytest

from spgvton.errors import SpgvtonError
from spgvton.perception import garment_mask as garment_mask_module
from spgvton.perception.garment_mask import garment_mask
from spgvton.video import cv2

SIZE = (400, 300)


def shirt_mask(shift=(0, 0)):
    """A T-shirt's outline, uint8 (400, 300) of 0 and 1."""
    outline = [(90, 60), (125, 75), (175, 75), (210, 60), (280, 130), (245, 165), (222, 145), (225, 350), (75, 350), (78, 145),
               (55, 165), (20, 130)]  # fmt: skip
    mask = np.zeros(SIZE, np.uint8)
    cv2.fillPoly(mask, [np.array(outline, np.int32) + shift], 1)
    return mask


def photograph(mask, colour, background, *, noise=1.5, rim=0.0, seed=0):
    """MASK filled with COLOUR with folds, darker by RIM at its edge, on BACKGROUND that darkens downwards; RGB uint8."""
    rng = np.random.default_rng(seed)
    h, w = mask.shape
    y, x = np.mgrid[:h, :w]
    folds = 1 + 0.05 * np.sin(x / 17 + y / 40)
    edge = np.exp(-cv2.distanceTransform(mask, cv2.DIST_L2, 5) / 4)
    cloth = np.array(colour, float) * folds[..., None] - rim * edge[..., None]
    paper = np.array(background, float) - 8 * (y / h)[..., None]
    picture = cv2.GaussianBlur(np.where(mask[..., None] > 0, cloth, paper), (0, 0), 0.8)
    return np.clip(picture + rng.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)


def iou(mask, truth):
    assert mask.dtype == np.uint8 and mask.shape == truth.shape
    return ((mask > 127) & (truth > 0)).sum() / ((mask > 127) | (truth > 0)).sum()


@pytest.mark.parametrize(
    ("colour", "background"),
    [
        ((180, 40, 50), (250, 250, 250)),
        ((25, 25, 30), (200, 200, 205)),
        ((230, 225, 215), (120, 140, 160)),
        ((60, 90, 160), (240, 235, 220)),
    ],
)
def test_coloured_garment_on_plain_background(colour, background):
    truth = shirt_mask()
    assert iou(garment_mask(photograph(truth, colour, background)), truth) > 0.97


@pytest.mark.parametrize(("base", "rim", "least"), [(232, 12, 0.97), (242, 12, 0.85), (246, 15, 0.85)])
def test_white_garment_on_white(base, rim, least):
    """The paler two have folds as bright as the paper: only their seams, with gaps, tell them from it."""
    truth = shirt_mask()
    picture = photograph(truth, (base,) * 3, (252, 252, 252), noise=1.0, rim=rim)
    assert iou(garment_mask(picture), truth) > least


def test_a_print_is_not_taken_for_the_garment():
    truth = shirt_mask()
    picture = photograph(truth, (242,) * 3, (252,) * 3, noise=1.0, rim=12)
    picture[160:220, 120:180] = (20, 30, 150)
    assert iou(garment_mask(picture), truth) > 0.85


def test_a_print_in_the_colour_of_the_background_stays_garment():
    truth = shirt_mask()
    picture = photograph(truth, (180, 40, 50), (250, 250, 250))
    picture[160:220, 120:180] = 248
    assert iou(garment_mask(picture), truth) > 0.97


def test_specks_are_dropped_and_the_size_of_the_picture_is_kept():
    truth = shirt_mask()
    picture = photograph(truth, (40, 120, 60), (245, 245, 245))
    picture[380:386, 10:16] = 0
    large = cv2.resize(picture, (1500, 2000), interpolation=cv2.INTER_CUBIC)
    mask = garment_mask(large)
    assert mask[1900:1930, 50:80].max() == 0
    assert iou(mask, cv2.resize(truth, (1500, 2000), interpolation=cv2.INTER_NEAREST)) > 0.97


def test_a_garment_may_touch_the_border():
    truth = shirt_mask(shift=(0, 50))
    assert truth[-1].any()
    assert iou(garment_mask(photograph(truth, (40, 60, 120), (245, 245, 245))), truth) > 0.97


def test_alpha_is_taken_as_it_is():
    truth = shirt_mask()
    truth[200:260, 120:180] = 0  # a hole that the picture alone would not show
    picture = np.full((*SIZE, 4), 255, np.uint8)
    picture[..., 3] = truth * 255
    picture[5:8, 5:8, 3] = 255  # a speck
    assert iou(garment_mask(picture), truth) == 1


def test_alpha_that_leaves_nothing_is_refused():
    picture = photograph(shirt_mask(), (180, 40, 50), (250, 250, 250))
    with pytest.raises(SpgvtonError, match="wholly transparent: save it without its alpha channel"):
        garment_mask(np.dstack([picture, np.zeros(SIZE, np.uint8)]))


def test_alpha_that_says_nothing_is_ignored():
    truth = shirt_mask()
    picture = photograph(truth, (180, 40, 50), (250, 250, 250))
    assert iou(garment_mask(np.dstack([picture, np.full(SIZE, 255, np.uint8)])), truth) > 0.97


def test_the_same_picture_gives_the_same_mask():
    picture = photograph(shirt_mask(), (120, 40, 90), (235, 235, 235))
    np.testing.assert_array_equal(garment_mask(picture), garment_mask(picture))


@pytest.mark.parametrize("kind", ["blank", "noise", "patchwork", "paper"])
def test_pictures_without_a_garment_are_refused(kind):
    rng = np.random.default_rng(1)
    picture = {
        "blank": np.full((*SIZE, 3), 250, np.uint8),
        "noise": rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8),
        "patchwork": cv2.resize(rng.integers(0, 256, (20, 15, 3), dtype=np.uint8), SIZE[::-1]),
        "paper": photograph(np.zeros(SIZE, np.uint8), (0, 0, 0), (245, 245, 245), noise=2),
    }[kind]
    with pytest.raises(SpgvtonError, match=r"no garment found: photograph one garment .* give --garment-mask"):
        garment_mask(picture)


@pytest.mark.parametrize(
    "picture", [np.zeros((50, 50), np.uint8), np.zeros((50, 50, 3)), np.zeros((50, 50, 2), np.uint8)]
)
def test_other_arrays_are_refused(picture):
    with pytest.raises(SpgvtonError, match="RGB or RGBA uint8"):
        garment_mask(picture)


@pytest.mark.parametrize(("certain", "says"), [(True, False), (False, True)])
def test_doubt_is_told(monkeypatch, certain, says):
    truth = shirt_mask()
    share = cv2.resize(truth.astype(np.float32), (192, 256), interpolation=cv2.INTER_AREA)
    kinds = np.full(len(garment_mask_module.KINDS), 0.02 if certain else 0.1, np.float32)
    kinds[0] = 0.9 if certain else 0.2
    seen = garment_mask_module.Seen(share, kinds, np.array([1, 0, 0], np.float32))
    monkeypatch.setattr(garment_mask_module, "shipped", lambda: lambda _: seen)
    monkeypatch.setattr(garment_mask_module, "worn_garment", lambda _: None)
    found = garment_mask_module.cut_out(photograph(truth, (180, 40, 50), (250, 250, 250)))
    assert (found.confidence < garment_mask_module.DOUBTFUL) is says
    assert [note.startswith("unsure whether this is a garment") for note in found.notes] == [True] * says
