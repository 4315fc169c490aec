"""Garments that are worn: labels and flow of every cut."""

from dataclasses import replace

import numpy as np
import pytest
from dressed import CORRELATION, DRESSES, GARMENTS, SIZE, area, garment_of, label_at, photo, somebody, spec_of

from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.video import cv2
from spgvton_training.synthetic.clothes.dress import FLARES
from spgvton_training.synthetic.clothes.garment import make_garment
from spgvton_training.synthetic.contact_sheet import warp_garment


@pytest.mark.parametrize(("kind", "sleeve", "flare"), [*GARMENTS, *DRESSES])
def test_flow_fetches_the_worn_colours(kind: str, sleeve: float, flare: float | None) -> None:
    garment = garment_of(kind, sleeve, flare)
    shown = photo(somebody(), garment)
    clothes = np.isin(shown.labels, lb.clothes())
    valid = np.isfinite(shown.flow).all(-1)
    assert clothes.mean() > 0.08
    assert not (valid & ~clothes).any()
    assert valid.sum() > 0.75 * clothes.sum()
    x, y = np.rint(shown.flow[valid]).astype(int).T
    assert (garment.mask[np.clip(y, 0, SIZE[0] - 1), np.clip(x, 0, SIZE[1] - 1)] > 0).mean() > 0.96
    # the check of red and blue: what the flow fetches is what is worn, up to light and folds
    inside = cv2.erode(valid.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    worn = shown.image[inside].astype(float)
    fetched = warp_garment(garment.picture, shown.flow)[inside].astype(float)
    hue, fetched_hue = (a[:, 0] - a[:, 2] for a in (worn, fetched))
    assert np.corrcoef(hue, fetched_hue)[0, 1] > CORRELATION
    shifted = warp_garment(garment.picture, shown.flow + np.float32(6))[inside].astype(float)
    assert np.corrcoef(hue, shifted[:, 0] - shifted[:, 2])[0, 1] < 0.6


@pytest.mark.parametrize("flare", FLARES)
def test_a_dress_has_its_label(flare: float) -> None:
    shown = photo(somebody(), garment_of("vneck", 0.8, flare), visible=1.06)
    assert area(shown, lb.DRESS) > 1500
    assert area(shown, lb.UPPER_CLOTHES, lb.SKIRT, lb.PANTS) == 0
    rows = np.nonzero(shown.labels == lb.DRESS)[0]
    hip, knee = shown.keypoints[kp.L_HIP, 1], shown.keypoints[kp.L_KNEE, 1]
    assert hip < rows.max()
    assert rows.max() < knee + (shown.keypoints[kp.L_ANKLE, 1] - knee)
    assert area(shown, lb.LEFT_LEG) > 50
    assert area(shown, lb.RIGHT_LEG) > 50
    # seen from the neck to the hem: the flow runs down the dress without a jump at the waist
    column = round(float(shown.keypoints[kp.NECK, 0]))
    v = shown.flow[:, column, 1]
    steps = np.diff(v[np.isfinite(v)])
    assert np.median(steps) > 0.5
    assert steps.min() > -1.5
    assert steps.max() < 5


def test_trousers_stay_on_below_a_dress() -> None:
    garment = garment_of("vneck", 0.8, FLARES[1])
    bare, layered = (photo(replace(somebody(), layered=kept), garment, visible=1.06) for kept in (False, True))
    assert area(bare, lb.PANTS) == 0 and area(layered, lb.LEFT_LEG, lb.RIGHT_LEG) < 80  # ankles
    assert area(layered, lb.PANTS) > 400
    assert area(layered, lb.DRESS) > 0.95 * area(bare, lb.DRESS)
    knee = layered.keypoints[kp.L_KNEE, 1]
    assert np.nonzero(layered.labels == lb.PANTS)[0].max() > knee + 20


def test_sleeves_reach_over_the_hands_as_far_as_they_are_told() -> None:
    hands = []
    for over in (0.0, 0.3, 0.7):
        shown = photo(somebody(False), make_garment(replace(spec_of("crew", 2.02), over=over), SIZE), visible=0.73)
        hands.append(area(shown, lb.LEFT_ARM, lb.RIGHT_ARM))
        valid = np.isfinite(shown.flow).all(-1)
        assert not (valid & (shown.labels != lb.UPPER_CLOTHES)).any()
    assert hands[0] > 1.15 * hands[1] > 1.15 * 1.15 * hands[2] > 0


def test_arms_are_the_persons_own() -> None:
    for identity in (somebody(True), somebody(False)):
        shown = photo(identity, garment_of("crew"), visible=0.73)
        assert label_at(shown, kp.L_WRIST) == lb.LEFT_ARM
        assert label_at(shown, kp.R_WRIST) == lb.RIGHT_ARM
        left, right = (np.nonzero(shown.labels == i)[1].mean() for i in (lb.LEFT_ARM, lb.RIGHT_ARM))
        assert left > right + 40
