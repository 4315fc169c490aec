"""Sleeves turned about their armholes: what stays, what moves, and where it comes to lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spgvton.live import spread as sp
from spgvton.perception.garment_sleeves import Sleeve
from spgvton.video import cv2

SHOULDER, ARMPIT = np.array([70.0, 40.0], np.float32), np.array([66.0, 80.0], np.float32)


def limb(degrees, length=120.0, width=30.0):
    """A sleeve that hangs from the armhole, DEGREES outwards from straight down."""
    a = np.radians(degrees)
    middle, along = (SHOULDER + ARMPIT) / 2 - (10, 0), np.array([-np.sin(a), np.cos(a)])
    across = np.array([along[1], -along[0]]) * width / 2
    corners = [SHOULDER, ARMPIT, middle + along * length + across, middle + along * length - across]
    return cv2.convexHull(np.rint(corners).astype(np.int32))


def shirt(degrees=4.0):
    """A red body and a blue sleeve on the picture's left, (240, 240)."""
    picture, mask, cloth = (
        np.full((240, 240, 3), 255, np.uint8),
        np.zeros((240, 240), np.uint8),
        np.zeros((240, 240), np.uint8),
    )
    cv2.fillConvexPoly(mask, np.array([[66, 36], [180, 36], [184, 200], [64, 200]], np.int32), 255)
    picture[mask > 0] = (200, 30, 30)
    cv2.fillConvexPoly(cloth, limb(degrees), 255)
    cloth[:, 70:] = 0  # beside the armhole it is the body
    mask[cloth > 0] = 255
    picture[cloth > 0] = (30, 30, 200)
    return picture, mask, Sleeve(cloth, SHOULDER, ARMPIT, left=True)


def blue(made):
    return (made.mask >= 128) & (made.picture[..., 2].astype(int) > made.picture[..., 0].astype(int) + 60)


def test_the_armhole_stays_where_it_is():
    x, y = sp.turned_map((240, 240), SHOULDER, ARMPIT, 25.0)
    for share in (0.0, 0.3, 0.5, 1.0):
        px, py = np.rint(SHOULDER + share * (ARMPIT - SHOULDER)).astype(int)
        assert abs(x[py, px] - px) < 1.5 and abs(y[py, px] - py) < 1.5


def test_far_from_the_armhole_it_is_a_rotation():
    degrees = 25.0
    x, y = sp.turned_map((240, 240), SHOULDER, ARMPIT, degrees)
    middle, a = (SHOULDER + ARMPIT) / 2, np.radians(degrees)
    far = np.array([40.0, 190.0])
    back = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) @ (far - middle) + middle
    assert np.hypot(x[190, 40] - back[0], y[190, 40] - back[1]) < 0.1


@settings(deadline=None, max_examples=25)
@given(st.floats(-35, 45), st.floats(0, 240), st.floats(0, 240))
def test_forth_and_back_is_where_it_was(degrees, px, py):
    """The map of one turn, put into that of the opposite one, is the identity."""
    x, y = sp.turned_map((241, 241), SHOULDER, ARMPIT, degrees)
    back_x, back_y = sp.turned_map((241, 241), SHOULDER, ARMPIT, -degrees)
    at = np.array([[px]], np.float32), np.array([[py]], np.float32)
    sx, sy = (float(cv2.remap(m, *at, cv2.INTER_LINEAR)[0, 0]) for m in (x, y))
    if not (0 <= sx < 240 and 0 <= sy < 240):
        return
    again = np.array([[sx]], np.float32), np.array([[sy]], np.float32)
    tx, ty = (float(cv2.remap(m, *again, cv2.INTER_LINEAR)[0, 0]) for m in (back_x, back_y))
    # exact along the armhole and far from it; between, cloth gives way differently in both directions
    assert np.hypot(tx - px, ty - py) < 0.35 * abs(degrees) + 1


@pytest.mark.parametrize("left", [True, False])
def test_a_hanging_sleeve_is_turned_outwards(left):
    picture, mask, sleeve = shirt(4.0)
    if not left:
        flip = np.array([239, 0]), np.array([-1, 1])
        picture, mask = np.ascontiguousarray(picture[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
        shoulder, armpit = ((flip[0] + flip[1] * p).astype(np.float32) for p in (sleeve.shoulder, sleeve.armpit))
        sleeve = Sleeve(np.ascontiguousarray(sleeve.cloth[:, ::-1]), shoulder, armpit, left=False)
    now = sp.angle(sleeve)
    assert now < sp.NARROW
    made = sp.spread(picture, mask, [sleeve])
    found = blue(made)
    shoulder, armpit = ((p + made.begin).astype(np.float32) for p in (sleeve.shoulder, sleeve.armpit))
    turned = Sleeve(np.where(found, 255, 0).astype(np.uint8), shoulder, armpit, left)
    assert abs(sp.angle(turned) - sp.AT_NARROW) < 3
    assert 0.9 < found.sum() / blue(sp.Spread(picture, mask)).sum() < 1.1
    # the body is where it was
    (x, y), (h, w) = made.begin, mask.shape
    inside = cv2.erode(((mask >= 128) & (sleeve.cloth == 0)).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert (made.mask[y : y + h, x : x + w][inside] == 255).all()
    assert (made.picture[y : y + h, x : x + w][inside] == picture[inside]).all()


def test_what_a_folded_sleeve_hid_becomes_body():
    picture, mask, _ = shirt(4.0)
    cloth = np.zeros_like(mask)
    cv2.fillConvexPoly(cloth, limb(-25.0), 255)  # over the body
    cloth[:75, 70:] = 0
    picture[cloth > 0], mask[cloth > 0] = (30, 30, 200), 255
    made = sp.spread(picture, mask, [Sleeve(cloth, SHOULDER, ARMPIT, left=True)])
    x, y = made.begin
    for px, py in ((90, 130), (110, 150), (80, 100)):
        assert made.mask[y + py, x + px] == 255
        assert made.picture[y + py, x + px, 0] > 150 > made.picture[y + py, x + px, 2]


@pytest.mark.parametrize("degrees", [28.0, 35.0, 42.0])
def test_a_sleeve_that_lies_well_is_left_alone(degrees):
    picture, mask, sleeve = shirt(degrees)
    made = sp.spread(picture, mask, [sleeve])
    assert made.picture is picture and made.mask is mask and made.begin == (0, 0)


def test_a_short_or_broken_sleeve_is_left_alone():
    _, _, sleeve = shirt(4.0)
    short = sleeve.cloth.copy()
    short[100:] = 0
    assert sp.turn_wanted(sleeve._replace(cloth=short)) == 0
    thin = np.zeros_like(short)
    thin[60:180, 50:53] = 255
    assert sp.turn_wanted(sleeve._replace(cloth=thin)) == 0


def test_one_that_is_straight_out_comes_down():
    _, _, sleeve = shirt(85.0)
    assert sp.turn_wanted(sleeve) == pytest.approx(sp.AT_WIDE - sp.angle(sleeve))


def test_an_open_jacket_keeps_both_its_halves():
    """Its mask may have a gap from neck to hem; the half with the sleeve is then the smaller piece."""
    picture, mask, sleeve = shirt(4.0)
    mask[:, 120:126] = 0
    made = sp.spread(picture, mask, [sleeve])
    assert made.picture is not picture
    x, y = made.begin
    worn = made.mask[y : y + 240, x : x + 240] >= 128
    half = (mask > 0) & (sleeve.cloth == 0)
    assert worn[half].mean() > 0.97


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("along", [0.35, 0.6, 0.9])
def test_points_move_with_the_cloth(along, left):
    """A dot on the sleeve is found where Turn.points says, and one on the body where it was."""
    picture, mask, sleeve = shirt(4.0)
    y, x = np.nonzero(sleeve.cloth)
    row = round(float(np.quantile(y, along)))
    dots = np.array([[np.median(x[y == row]), row], [130.0, 120.0]], np.float32)
    for px, py in dots:
        cv2.circle(picture, (int(px), int(py)), 3, (255, 255, 0), -1)
    if not left:
        picture, mask = np.ascontiguousarray(picture[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
        mirror = np.array([239, 0], np.float32), np.array([-1, 1], np.float32)
        shoulder, armpit, dots = (mirror[0] + mirror[1] * p for p in (sleeve.shoulder, sleeve.armpit, dots))
        sleeve = Sleeve(np.ascontiguousarray(sleeve.cloth[:, ::-1]), shoulder, armpit, left=False)
    made = sp.spread(picture, mask, [sleeve])
    (turn,) = made.turns
    for i, (px, py) in enumerate(turn.points(dots)):
        near = (abs(made.picture.astype(int) - (255, 255, 0)).sum(2) < 90).astype(np.uint8)
        _, _, _, centres = cv2.connectedComponentsWithStats(near)
        assert np.hypot(*(centres[1:] - (px, py)).T).min() < 1.5, (i, px, py, centres)
    assert np.allclose(turn.points(dots)[1], dots[1] + made.begin, atol=0.01)
