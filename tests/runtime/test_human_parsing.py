"""Labels from drawn classes: a stick figure in clothes of plain colours, as the network would see it."""

from __future__ import annotations

import numpy as np
import pytest

from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.errors import SpgvtonError
from spgvton.perception import human_parsing as hp
from spgvton.video import cv2

SKIN, BLUE, RED, GREY, WHITE = (205, 160, 135), (40, 60, 160), (190, 30, 40), (120, 120, 120), (240, 240, 240)


def standing() -> np.ndarray:
    """Keypoints of somebody who stands in a map of 256x192: torso 70 pixels, legs apart."""
    k = np.zeros((kp.NUM_KEYPOINTS, 3), np.float32)
    places = {
        kp.NOSE: (96, 38), kp.NECK: (96, 62), kp.R_SHOULDER: (72, 62), kp.L_SHOULDER: (120, 62), kp.R_ELBOW: (62, 95),
        kp.L_ELBOW: (130, 95), kp.R_WRIST: (56, 126), kp.L_WRIST: (136, 126), kp.R_HIP: (84, 132), kp.L_HIP: (108, 132),
        kp.R_KNEE: (76, 185), kp.L_KNEE: (116, 185), kp.R_ANKLE: (70, 235), kp.L_ANKLE: (122, 235), kp.R_EYE: (91, 33),
        kp.L_EYE: (101, 33), kp.R_EAR: (85, 36), kp.L_EAR: (107, 36),
    }  # fmt: skip
    for i, (x, y) in places.items():
        k[i] = (x, y, 0.9)
    return k


class Figure:
    """Classes and picture, drawn part by part."""

    def __init__(self, k: np.ndarray | None = None) -> None:
        self.k = standing() if k is None else k
        self.classes = np.zeros((256, 192), np.uint8)
        self.picture = np.full((256, 192, 3), 90, np.uint8)

    def line(self, joints: tuple[int, ...], width: int, kind: int, colour: tuple[int, int, int]) -> Figure:
        points = np.rint(self.k[list(joints), :2]).astype(np.int32)
        return self.shape(points, kind, colour, width)

    def shape(self, points: object, kind: int, colour: tuple[int, int, int], width: int = 0) -> Figure:
        p = np.asarray(points, np.int32)
        for canvas, value in ((self.classes, (kind,)), (self.picture, colour)):
            if width:
                cv2.polylines(canvas, [p], False, value, width)
            else:
                cv2.fillPoly(canvas, [p], value)
        return self

    def bare(self) -> Figure:
        """Head, neck, arms, legs."""
        for joints in ((kp.R_SHOULDER, kp.R_ELBOW, kp.R_WRIST), (kp.L_SHOULDER, kp.L_ELBOW, kp.L_WRIST)):
            self.line(joints, 14, hp.BODY_SKIN, SKIN)
        for joints in ((kp.R_HIP, kp.R_KNEE, kp.R_ANKLE), (kp.L_HIP, kp.L_KNEE, kp.L_ANKLE)):
            self.line(joints, 20, hp.BODY_SKIN, SKIN)
        self.line((kp.NOSE, kp.NECK), 14, hp.BODY_SKIN, SKIN)
        for canvas, hair, face in (
            (self.classes, (hp.HAIR,), (hp.FACE_SKIN,)),
            (self.picture, (40, 30, 20), SKIN),
        ):
            cv2.ellipse(canvas, (96, 32), (17, 20), 0, 0, 360, hair, -1)
            cv2.ellipse(canvas, (96, 38), (12, 15), 0, 0, 360, face, -1)
        return self

    def shirt(self, colour: tuple[int, int, int], bottom: int = 136) -> Figure:
        return self.shape([(72, 58), (120, 58), (118, bottom), (74, bottom)], hp.CLOTHES, colour)

    def trousers(self, colour: tuple[int, int, int], knee_only: bool = False) -> Figure:
        for side in ((kp.R_HIP, kp.R_KNEE, kp.R_ANKLE), (kp.L_HIP, kp.L_KNEE, kp.L_ANKLE)):
            self.line(side[:2] if knee_only else side, 24, hp.CLOTHES, colour)
        return self.shape([(74, 130), (118, 130), (116, 150), (76, 150)], hp.CLOTHES, colour)

    def labels(self) -> np.ndarray:
        return hp.parse(self.logits(), self.picture, self.k).labels

    def logits(self) -> np.ndarray:
        return np.where(np.arange(6)[:, None, None] == self.classes, 4, -2).astype(np.float32)


def where(labels: np.ndarray, *points: tuple[int, int]) -> list[str]:
    return [lb.LABEL_SETS["cihp"][labels[y, x]] for x, y in points]


def test_limbs_are_the_persons_own_left_and_right() -> None:
    labels = Figure().bare().trousers(BLUE, knee_only=True).shirt(RED).labels()
    assert where(labels, (62, 95), (130, 95), (72, 215), (120, 215)) == [
        "right-arm",
        "left-arm",
        "right-leg",
        "left-leg",
    ]
    assert where(labels, (96, 38), (96, 14), (96, 55), (96, 100)) == ["face", "hair", "torso-skin", "upper-clothes"]
    assert where(labels, (84, 170), (108, 170), (10, 10)) == ["pants", "pants", "background"]


@pytest.mark.parametrize("bottom", [110, 128, 145])
def test_the_waist_is_where_the_colour_changes(bottom: int) -> None:
    figure = Figure().bare().trousers(BLUE)
    figure.shape([(74, 100), (118, 100), (118, 140), (74, 140)], hp.CLOTHES, BLUE)  # trousers that reach high
    labels = figure.shirt(WHITE, bottom).labels()
    column = labels[:, 96]
    assert abs(int(np.flatnonzero(column == lb.UPPER_CLOTHES).max()) - bottom) <= 3
    assert column[bottom + 4] == lb.PANTS


def test_without_a_change_of_colour_the_hem_throws_a_shadow() -> None:
    figure = Figure().bare().trousers(WHITE).shirt(WHITE, 142)
    figure.picture[140:143, 74:119] = 200
    labels = figure.labels()
    assert abs(int(np.flatnonzero(labels[:, 96] == lb.UPPER_CLOTHES).max()) - 141) <= 3


def test_skirt_and_dress_hang_between_the_legs() -> None:
    flare = [(76, 130), (116, 130), (136, 205), (56, 205)]
    skirt = Figure().bare().shape(flare, hp.CLOTHES, BLUE).shirt(RED).labels()
    assert where(skirt, (96, 100), (96, 180), (72, 220)) == ["upper-clothes", "skirt", "right-leg"]
    dress = Figure().bare().shape(flare, hp.CLOTHES, RED).shirt(RED).labels()
    assert where(dress, (96, 100), (96, 180)) == ["dress", "dress"]
    trousers = Figure().bare().trousers(BLUE).shirt(RED).labels()
    assert where(trousers, (96, 180), (78, 180)) == ["background", "pants"]


def test_an_open_coat_and_stripes() -> None:
    def jacket(chest: tuple[int, int, int]) -> Figure:
        figure = Figure().bare().trousers(BLUE).shirt(GREY)
        for joints in ((kp.R_SHOULDER, kp.R_ELBOW, kp.R_WRIST), (kp.L_SHOULDER, kp.L_ELBOW, kp.L_WRIST)):
            figure.line(joints, 16, hp.CLOTHES, GREY)
        return figure.shape([(89, 60), (103, 60), (103, 136), (89, 136)], hp.CLOTHES, chest)

    labels = jacket(WHITE).labels()
    assert where(labels, (96, 100), (80, 100), (112, 100), (62, 95)) == ["upper-clothes", "coat", "coat", "coat"]
    striped = jacket(GREY)
    for y in range(60, 136, 12):
        striped.shape([(74, y), (118, y), (118, y + 5), (74, y + 5)], hp.CLOTHES, WHITE)
    assert not (striped.labels() == lb.COAT).any()


def test_hat_glasses_and_shoes() -> None:
    figure = Figure().bare().trousers(BLUE).shirt(RED)
    figure.shape([(78, 8), (114, 8), (114, 26), (78, 26)], hp.OTHERS, (20, 90, 30))
    figure.shape([(88, 31), (104, 31), (104, 35), (88, 35)], hp.OTHERS, (10, 10, 10))
    for x in (70, 122):
        figure.shape([(x - 12, 234), (x + 12, 234), (x + 12, 246), (x - 12, 246)], hp.OTHERS, (10, 10, 10))
    assert where(figure.labels(), (96, 15), (96, 33), (70, 241), (122, 241)) == [
        "hat", "sunglasses", "right-shoe", "left-shoe",
    ]  # fmt: skip


def test_a_hand_before_the_trousers_is_an_arm() -> None:
    k = standing()
    k[kp.R_WRIST, :2] = (80, 135)
    figure = Figure(k).bare().trousers(BLUE).shirt(RED)
    figure.shape([(78, 140), (88, 140), (88, 152), (78, 152)], hp.BODY_SKIN, SKIN)
    assert where(figure.labels(), (83, 146)) == ["right-arm"]


def test_clothes_of_another_colour_than_the_face_are_no_skin() -> None:
    figure = Figure().bare().trousers(BLUE)
    figure.shape([(72, 58), (120, 58), (118, 136), (74, 136)], hp.BODY_SKIN, (60, 40, 30))  # a brown shirt, misread
    assert where(figure.labels(), (96, 110), (62, 100)) == ["upper-clothes", "right-arm"]


@pytest.mark.parametrize("light", [0.7, 1.2])
def test_limbs_in_another_light_are_skin_all_the_same(light: float) -> None:
    figure = Figure().bare().trousers(BLUE, knee_only=True).shirt(RED)
    lit = tuple(min(255, round(c * light)) for c in SKIN)
    for joints in ((kp.R_KNEE, kp.R_ANKLE), (kp.L_KNEE, kp.L_ANKLE), (kp.R_ELBOW, kp.R_WRIST)):
        figure.line(joints, 18, hp.BODY_SKIN, (lit[0], lit[1], lit[2]))
    for joints in ((kp.R_KNEE, kp.R_ANKLE), (kp.L_KNEE, kp.L_ANKLE)):  # lamps hang above
        figure.line(joints, 18, hp.BODY_SKIN, (100, 78, 66) if light < 1 else (lit[0], lit[1], lit[2]))
    assert where(figure.labels(), (72, 215), (120, 215), (58, 115)) == ["right-leg", "left-leg", "right-arm"]


def test_wide_shorts_are_no_skirt() -> None:
    figure = Figure().bare().shirt(RED)
    figure.shape([(74, 130), (118, 130), (126, 176), (100, 176), (96, 166), (92, 176), (66, 176)], hp.CLOTHES, BLUE)
    assert where(figure.labels(), (96, 160), (80, 170), (96, 174)) == ["pants", "pants", "background"]


def test_a_stranger_in_touch_is_background() -> None:
    figure = Figure().bare().trousers(BLUE).shirt(RED)
    figure.shape([(134, 60), (185, 60), (185, 250), (134, 250)], hp.CLOTHES, GREY)  # his body, behind the left arm
    figure.shape([(150, 22), (172, 22), (172, 60), (150, 60)], hp.FACE_SKIN, SKIN)
    parse = hp.parse(figure.logits(), figure.picture, figure.k)
    assert where(parse.labels, (161, 40), (175, 150), (96, 100)) == ["background", "background", "upper-clothes"]
    assert not parse.free[30:50, 152:170].any()  # somebody stands there
    assert parse.crowded  # and what is near the left arm may be his


def test_a_strangers_head_close_to_the_customers_is_his() -> None:
    """Nearer than long hair may hang, but with a face of its own."""
    figure = Figure().bare().trousers(BLUE).shirt(RED)
    alone = hp.parse(figure.logits(), figure.picture, figure.k)
    assert not alone.crowded
    figure.shape([(134, 60), (185, 60), (185, 250), (134, 250)], hp.CLOTHES, GREY)
    figure.shape([(116, 16), (116, 60), (124, 60), (124, 16)], hp.HAIR, SKIN)
    figure.shape([(124, 16), (124, 60), (150, 60), (150, 16)], hp.FACE_SKIN, SKIN)
    parse = hp.parse(figure.logits(), figure.picture, figure.k)
    assert parse.crowded and where(parse.labels, (137, 40)) == ["background"]


def test_nobody_at_the_keypoints() -> None:
    figure = Figure()
    with pytest.raises(SpgvtonError, match="nobody is seen"):
        figure.labels()
    figure.classes[2:6, 2:60] = hp.CLOTHES  # something else in a corner
    with pytest.raises(SpgvtonError, match="nobody is seen"):
        figure.labels()


@pytest.mark.parametrize("step", [1, 2])
def test_thin_people_do_not_break_anything(step: int) -> None:
    figure = Figure()
    for a, b in kp.SKELETON:
        figure.line((a, b), step, hp.CLOTHES, RED)
    labels = figure.labels()
    assert 0 < (labels > 0).sum() <= (figure.classes > 0).sum()
