"""What changes, on a drawn customer: a grey body, a shirt, arms hanging down."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.live.fill import fill_uncovered, match_skin, spread
from spgvton.live.light import relit, shading
from spgvton.live.regions import Regions, decide
from spgvton.live.sleeves import SleeveLength, along_arm, cut_sleeves, sleeve_end

H, W = 256, 192
UInt8 = NDArray[np.uint8]


def keypoints() -> NDArray[np.float32]:
    k = np.zeros((18, 3), np.float32)
    for joint, x, y in (
        (kp.NOSE, 96, 50), (kp.NECK, 96, 80), (kp.R_SHOULDER, 70, 84), (kp.L_SHOULDER, 122, 84), (kp.R_ELBOW, 58, 130),
        (kp.L_ELBOW, 134, 130), (kp.R_WRIST, 54, 170), (kp.L_WRIST, 138, 170), (kp.R_HIP, 80, 172), (kp.L_HIP, 112, 172),
    ):  # fmt: skip
        k[joint] = x, y, 1
    return k


def labels(sleeve: int = 104) -> UInt8:
    """A shirt with sleeves to row SLEEVE, bare arms below, trousers from row 172 on."""
    out = np.zeros((H, W), np.uint8)
    out[30:78, 82:110] = lb.FACE
    out[82:172, 72:120] = lb.UPPER_CLOTHES
    out[172:250, 74:118] = lb.PANTS
    for label, columns in ((lb.RIGHT_ARM, slice(50, 66)), (lb.LEFT_ARM, slice(126, 142))):
        out[90:185, columns] = label
        out[90:sleeve, columns] = lb.UPPER_CLOTHES
    return out


def decided(new: UInt8, sleeve: int = 104, semantic: UInt8 | None = None) -> tuple[UInt8, Regions]:
    old = labels(sleeve)
    return old, decide(old, old if semantic is None else semantic, new >= 128, keypoints())


def worn(sleeve: int, hem: int = 172, grow: int = 0) -> UInt8:
    out = np.zeros((H, W), np.uint8)
    out[82:hem, 72 - grow : 120 + grow] = 255
    out[90:sleeve, 50 - grow : 66] = 255
    out[90:sleeve, 126 : 142 + grow] = 255
    return out


def test_an_outline_a_little_inside_the_old_one_is_the_old_one() -> None:
    old, regions = decided(worn(104, grow=-2))
    shirt = old == lb.UPPER_CLOTHES
    assert (regions.garment == shirt).mean() > 0.995
    assert regions.uncovered.sum() < 20


def test_a_wider_garment_is_wider() -> None:
    old, regions = decided(worn(104, grow=3))
    wider = regions.garment & (old != lb.UPPER_CLOTHES)
    assert wider.sum() > 100 and not regions.uncovered.any()


def test_a_hole_in_the_garment_is_closed_and_an_arm_beside_it_is_not() -> None:
    new = worn(104)
    new[100:112, 90:100] = 0
    semantic = labels(104)
    semantic[100:112, 90:100] = lb.LEFT_ARM
    _, regions = decided(new, semantic=semantic)
    assert regions.garment[100:112, 90:100].all()


def test_a_long_sleeve_that_goes_leaves_an_arm_to_be_filled() -> None:
    semantic = labels(104)
    old, regions = decided(worn(104), sleeve=168, semantic=semantic)
    forearms = (old == lb.UPPER_CLOTHES) & (semantic != lb.UPPER_CLOTHES)
    assert regions.uncovered[forearms].mean() > 0.85
    assert not (regions.uncovered & regions.garment).any()


def test_a_sleeve_that_comes_ends_square_on_both_arms_and_spares_the_hands() -> None:
    new = worn(140)
    new[140:150, 50:58] = 255  # a rag on one side
    new[166:200, 126:142] = 255  # and a hand that the network lost
    old, regions = decided(new)
    for columns in (slice(50, 66), slice(126, 142)):
        rows = np.flatnonzero(regions.garment[:, columns].any(axis=1))
        assert 132 <= rows.max() <= 150
    assert not regions.garment[175:185].any() or not (regions.garment[175:185] & np.isin(old[175:185], (14, 15))).any()


@pytest.mark.parametrize(
    ("rows", "columns"), [((104, 112), (50, 66)), ((104, 150), (63, 66)), ((120, 135), (126, 142))]
)
def test_a_gap_in_a_sleeve_that_comes_is_not_its_end(rows: tuple[int, int], columns: tuple[int, int]) -> None:
    """Of one arm, below the old sleeve, along the arm or across it: the sleeves reach the wrists all the same."""
    new = worn(168)
    new[slice(*rows), slice(*columns)] = 0
    old, regions = decided(new)
    bare = np.isin(old, (lb.LEFT_ARM, lb.RIGHT_ARM))
    bare[165:] = False
    assert regions.garment[bare].mean() > 0.97
    end = sleeve_end(new >= 128, old, keypoints())
    assert end is not None and 1.7 <= end <= 1.95


def test_old_sleeves_go_where_the_map_has_arms() -> None:
    """G2's mask often holds on to them; the map is believed, and on bare arms the mask."""
    semantic = labels(104)
    old, regions = decided(worn(168), sleeve=168, semantic=semantic)
    forearms = (old == lb.UPPER_CLOTHES) & np.isin(semantic, (lb.LEFT_ARM, lb.RIGHT_ARM))
    assert regions.uncovered[forearms].mean() > 0.85
    old, regions = decided(worn(168), semantic=semantic)
    assert regions.garment[110:160, 50:66].mean() > 0.97


def test_deep_inside_the_customer_there_is_no_hole() -> None:
    new, semantic = worn(104), labels()
    new[120:150, 85:105] = 0
    semantic[120:150, 85:105] = lb.BACKGROUND
    _, regions = decided(new, semantic=semantic)
    assert regions.garment[120:150, 85:105].all()


def test_the_face_is_never_covered() -> None:
    new = worn(104)
    new[30:100, 80:112] = 255
    old, regions = decided(new)
    assert not regions.garment[old == lb.FACE].any()


def test_the_lining_gives_way_to_skin() -> None:
    lining = np.zeros((H, W), bool)
    lining[82:96, 86:106] = True
    old = labels()
    regions = decide(old, old, worn(104) >= 128, keypoints(), lining)
    assert regions.neck[84:94, 88:104].all() and not regions.garment[84:94, 88:104].any()
    picture = np.full((H, W, 3), 120, np.uint8)
    picture[old == lb.FACE] = (210, 160, 140)
    filled = fill_uncovered(picture, picture, old, old, regions, None)
    assert np.abs(filled[86:92, 90:102] - (210, 160, 140)).max() < 12


@given(x=st.floats(20, 170), y=st.floats(60, 200))
@settings(max_examples=50, deadline=None)
def test_along_an_arm_positions_grow_from_shoulder_to_hand(x: float, y: float) -> None:
    shoulder, elbow, wrist = (keypoints()[i, :2] for i in (kp.R_SHOULDER, kp.R_ELBOW, kp.R_WRIST))
    ends = along_arm(np.stack([shoulder, elbow, wrist]), shoulder, elbow, wrist)
    np.testing.assert_allclose(ends, [0, 1, 2], atol=1e-3)
    assert np.isfinite(along_arm(np.array([[x, y]], np.float32), shoulder, elbow, wrist)).all()


def test_without_arms_nothing_is_cut() -> None:
    garment = worn(140) > 0
    nothing = np.zeros((18, 3), np.float32)
    assert sleeve_end(garment, labels(), nothing) is None
    assert np.array_equal(cut_sleeves(garment, labels(), nothing, None), garment)


def test_sleeves_are_as_long_as_they_mostly_were() -> None:
    length = SleeveLength()
    assert length(None) is None
    assert [length(end) for end in (1.0, 1.0, 1.1, 1.9, None, 1.0)][-1] == 1.0
    length.reset()
    assert length(1.9) == 1.9


def test_spread_keeps_what_is_known_and_fills_with_what_is_near() -> None:
    picture = np.zeros((64, 64, 3), np.float32)
    picture[:, :32], picture[:, 32:] = (200, 0, 0), (0, 0, 200)
    known = np.ones((64, 64), bool)
    known[20:40, 10:20] = known[20:40, 44:54] = False
    out = spread(np.where(known[..., None], picture, 77).astype(np.float32), known)
    np.testing.assert_allclose(out[known], picture[known], atol=1e-3)
    assert out[30, 15, 0] > 150 and out[30, 15, 2] < 50 and out[30, 49, 2] > 150


def test_folds_of_a_plain_shirt_are_taken_over_and_its_print_is_not() -> None:
    old, regions = decided(worn(104))
    folds = np.full((H, W, 3), 150, np.uint8)
    folds[:, 88:92] = 120
    factor = shading(folds, old, regions)
    assert factor[130, 90] < factor[130, 100] - 0.08
    printed = np.full((H, W, 3), 150, np.uint8)
    printed[110:140, 85:107] = (230, 30, 30)
    factor = shading(printed, old, regions)
    assert abs(factor[125, 96] - factor[125, 78]) < 0.05


def test_sleeves_that_end_close_to_the_old_ones_end_there() -> None:
    for old_end, covered in ((116, True), (168, False)):
        semantic = labels(104)
        old, regions = decided(worn(104), sleeve=old_end, semantic=semantic)
        between = (old == lb.UPPER_CLOTHES) & np.isin(semantic, (lb.LEFT_ARM, lb.RIGHT_ARM))
        assert (regions.garment[between].mean() > 0.9) == covered


def test_guessed_skin_has_the_customers_colour_and_keeps_its_light() -> None:
    picture = np.full((40, 40, 3), (190, 140, 110), np.float32)
    picture += np.random.default_rng(0).normal(0, 6, (40, 40, 1)).astype(np.float32)
    rendered = np.full((40, 40, 3), (250, 140, 40), np.float32)
    rendered[:, :20] *= 0.9
    sample = np.zeros((40, 40), bool)
    sample[:20] = True
    made = match_skin(rendered, picture, sample, ~sample)
    assert np.abs(made[~sample].mean(0) - (190, 140, 110)).max() < 12
    assert made[30, 30].sum() > made[30, 5].sum(), "lighter stays lighter"


def test_the_networks_light_is_half_of_the_garments() -> None:
    cloth, where = np.full((H, W, 3), 120, np.uint8), np.zeros((H, W), bool)
    where[60:200, 40:150] = True
    shade = relit(np.ones((H, W), np.float32), (cloth * 0.75).astype(np.uint8), cloth, where)
    assert abs(shade[130, 95] - 0.88) < 0.02 and shade[10, 10] == 1
