"""The shipped small parser on real photographs, and on pictures made to mislead it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spgvton import image as im
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton import person
from spgvton.errors import SpgvtonError
from spgvton.perception.parser_options import SMALL, ParserOptions
from spgvton.perception.pose import PoseEstimator
from spgvton.perception.small import SmallParser
from spgvton.video import cv2

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def parser() -> SmallParser:
    parser = ParserOptions().open(SMALL)
    assert isinstance(parser, SmallParser)
    return parser


def look(name: str) -> tuple[np.ndarray, np.ndarray]:
    picture = im.read(DATA / name)
    return picture, PoseEstimator(smooth=False)(picture)


@pytest.fixture(scope="module")
def front() -> tuple[np.ndarray, np.ndarray]:
    return look("person_front.jpg")


@pytest.fixture(scope="module")
def back() -> tuple[np.ndarray, np.ndarray]:
    return look("person_back.jpg")


def names(labels: np.ndarray, places: list[tuple[int, int]]) -> list[str]:
    return [lb.LABEL_SETS["cihp"][labels[y, x]] for x, y in places]


def test_a_man_from_the_front(parser: SmallParser, front: Any) -> None:
    labels = parser(*front)
    assert labels.shape == (512, 258) and labels.dtype == np.uint8
    places = {  # (x, y): label, marked by hand
        (116, 20): "hair", (116, 60): "face", (115, 160): "upper-clothes", (58, 145): "upper-clothes",
        (57, 220): "right-arm", (63, 285): "right-arm", (185, 220): "left-arm", (95, 310): "pants", (165, 420): "pants",
        (100, 475): "right-shoe", (182, 485): "left-shoe", (20, 300): "background", (137, 425): "background",
        (225, 100): "background",
    }  # fmt: skip
    assert names(labels, list(places)) == list(places.values())


def test_a_woman_from_behind(parser: SmallParser, back: Any) -> None:
    labels, k = parser(*back), back[1]
    assert (labels == lb.FACE).sum() < 100 and (labels == lb.HAIR).sum() > 2000
    x, hip = int(k[[kp.R_HIP, kp.L_HIP], 0].mean()), int(k[[kp.R_HIP, kp.L_HIP], 1].mean())
    assert names(labels, [(x, hip - 60), (x, hip + 25)]) == ["upper-clothes", "pants"]


def test_only_the_customer_of_two_people(parser: SmallParser, front: Any, back: Any) -> None:
    """Whose keypoints are given is the customer; neither of them stands where the room is free."""
    man, woman = front[0], back[0][:, 60:270]
    both = np.ascontiguousarray(np.hstack([man, woman]))
    k = back[1].copy()
    k[:, 0] = np.where(k[:, 2] > 0, k[:, 0] - 60 + man.shape[1], 0)
    for keypoints, mine in ((front[1], np.s_[:, : man.shape[1]]), (k, np.s_[:, man.shape[1] :])):
        labels = parser(both, keypoints)
        inside = int((labels[mine] > 0).sum())
        assert inside > 15_000 and (labels > 0).sum() - inside < 0.03 * inside
    parse = parser.framed(both, front[1], box := person.framing(front[1], both.shape[:2]))
    x, y = (box.matrix @ (man.shape[1] + 105, 200, 1)).astype(int)  # her shirt
    if 0 <= x < 192:
        assert parse.labels[y, x] == 0 and parse.free[y, x] == 0


def test_the_poster_of_a_person_behind_the_customer(parser: SmallParser, front: Any, back: Any) -> None:
    picture, k = front
    wall = np.full((512, 500, 3), (196, 190, 180), np.uint8)
    poster = cv2.resize(back[0], None, fx=0.55, fy=0.55, interpolation=cv2.INTER_AREA)
    wall[40 : 40 + poster.shape[0], 240 : 240 + poster.shape[1]] = poster
    shown = wall.copy()
    mine = cv2.erode((parser(picture, k) > 0).astype(np.uint8), np.ones((3, 3))) > 0
    shown[:, 60:318][mine] = picture[mine]
    moved = k.copy()
    moved[k[:, 2] > 0, 0] += 60
    labels = parser(shown, moved)
    person_there = (labels > 0) & ~np.pad(mine, ((0, 0), (60, 182)))
    assert person_there[:, 300:].sum() < 300 and (labels[:, 60:318][mine] > 0).mean() > 0.95


def test_pictures_without_a_person(parser: SmallParser, front: Any) -> None:
    """A lens that is covered, and a pose that was left over: nobody; noise gives some map of people's labels."""
    black = np.zeros_like(front[0])
    for call in (
        lambda: parser(black, front[1]),
        lambda: parser.framed(black, front[1], person.framing(front[1], (512, 258))),
    ):
        with pytest.raises(SpgvtonError, match="nobody is seen"):
            call()
    noise = np.random.default_rng(0).integers(0, 256, front[0].shape).astype(np.uint8)
    assert parser(noise, front[1]).max() < lb.NUM_LABELS


def test_a_mannequin_is_dressed_like_a_person(parser: SmallParser, front: Any) -> None:
    picture, k = front
    labels = parser(picture, k)
    plastic = picture.copy()
    plastic[np.isin(labels, (lb.FACE, lb.HAIR, lb.LEFT_ARM, lb.RIGHT_ARM, lb.TORSO_SKIN))] = (235, 228, 220)
    found = parser(plastic, k)
    shirt, there = found == lb.UPPER_CLOTHES, labels == lb.UPPER_CLOTHES
    assert (shirt & there).sum() / (shirt | there).sum() > 0.85


def test_both_shipped_forms_say_the_same(front: Any) -> None:
    from spgvton.bundle import PARSER, PARSER_INTEGER
    from spgvton.machine import has_vnni
    from spgvton.perception.onnx_session import shipped_model

    if not has_vnni():
        pytest.skip("the integer form saturates without VNNI, and is not used there")
    box = person.framing(front[1], (512, 258))
    maps = [
        SmallParser(shipped_model(f"{n}.onnx")).framed(front[0], front[1], box).labels for n in (PARSER, PARSER_INTEGER)
    ]
    assert (maps[0] == maps[1]).mean() > 0.99
