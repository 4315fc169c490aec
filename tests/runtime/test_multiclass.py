"""The shipped parser on real photographs, and its faults."""

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
from spgvton.perception.multiclass import MulticlassParser
from spgvton.perception.parse import framed
from spgvton.perception.pose import PoseEstimator
from spgvton.video import cv2

DATA = Path(__file__).parents[1] / "data"
NOBODY = np.zeros((kp.NUM_KEYPOINTS, 3), np.float32)


@pytest.fixture(scope="module")
def parser() -> MulticlassParser:
    return MulticlassParser()


def look(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return picture, PoseEstimator(smooth=False)(picture)


@pytest.fixture(scope="module")
def front() -> tuple[np.ndarray, np.ndarray]:
    return look(im.read(DATA / "person_front.jpg"))


@pytest.fixture(scope="module")
def back() -> tuple[np.ndarray, np.ndarray]:
    return look(im.read(DATA / "person_back.jpg"))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def test_a_man_from_the_front(parser: MulticlassParser, front: Any) -> None:
    labels = parser(*front)
    assert labels.shape == (512, 258) and labels.dtype == np.uint8
    places = {  # (x, y): label, marked by hand
        (116, 20): lb.HAIR, (116, 60): lb.FACE, (115, 160): lb.UPPER_CLOTHES, (58, 145): lb.UPPER_CLOTHES,
        (115, 250): lb.UPPER_CLOTHES, (57, 220): lb.RIGHT_ARM, (63, 295): lb.RIGHT_ARM, (185, 220): lb.LEFT_ARM,
        (95, 300): lb.PANTS, (165, 420): lb.PANTS, (100, 475): lb.RIGHT_SHOE, (182, 485): lb.LEFT_SHOE,
        (20, 300): lb.BACKGROUND, (137, 420): lb.BACKGROUND, (225, 100): lb.BACKGROUND,
    }  # fmt: skip
    found = {place: lb.LABEL_SETS["cihp"][labels[place[1], place[0]]] for place in places}
    assert found == {place: lb.LABEL_SETS["cihp"][label] for place, label in places.items()}
    assert (labels[100:112, 110:122] == lb.TORSO_SKIN).mean() > 0.5  # the throat


def test_a_woman_from_behind(parser: MulticlassParser, back: Any) -> None:
    labels, k = parser(*back), back[1]
    assert not (labels == lb.FACE).any() and (labels == lb.HAIR).sum() > 2000
    right, left = ((k[i, :2] + k[j, :2]) / 2 for i, j in ((kp.R_ELBOW, kp.R_WRIST), (kp.L_ELBOW, kp.L_WRIST)))
    assert labels[int(right[1]), int(right[0])] == lb.RIGHT_ARM
    assert labels[int(left[1]), int(left[0])] == lb.LEFT_ARM
    x, hip = int(k[[kp.R_HIP, kp.L_HIP], 0].mean()), int(k[[kp.R_HIP, kp.L_HIP], 1].mean())
    assert labels[hip - 40, x] == lb.UPPER_CLOTHES and labels[hip + 20, x] == lb.PANTS  # white shirt, beige shorts


def test_framed_is_what_the_network_frame_shows(parser: MulticlassParser, front: Any) -> None:
    picture, keypoints = front
    box = person.framing(keypoints, picture.shape[:2])
    parse = framed(parser, picture, keypoints, box)
    assert parse.labels.shape == box.target and parse.labels.dtype == np.uint8
    whole = np.asarray(box.apply(parser(picture, keypoints), border=0, nearest=True), np.uint8)
    for ids in (range(1, lb.NUM_LABELS), lb.clothes(), (lb.HAIR,)):
        assert iou(np.isin(parse.labels, ids), np.isin(whole, ids)) > 0.75
    assert parse.free.shape == box.target and not parse.free[parse.labels > 0].any() and parse.free.mean() > 50


def test_large_and_cut_pictures(parser: MulticlassParser, front: Any) -> None:
    large, k = look(cv2.resize(front[0], None, fx=2.5, fy=2.5, interpolation=cv2.INTER_CUBIC))
    labels = parser(large, k)
    assert labels.shape == large.shape[:2] and labels[400, 288] == lb.UPPER_CLOTHES
    bust = look(np.ascontiguousarray(front[0][:230]))  # no hips: no trousers
    labels = parser(*bust)
    assert not (labels == lb.PANTS).any() and (labels == lb.UPPER_CLOTHES).mean() > 0.2


def test_a_person_at_the_edge_of_the_frame(parser: MulticlassParser, front: Any) -> None:
    half, k = front[0][:, 115:], front[1].copy()
    k[:, 0] -= 115
    k[k[:, 0] < 0] = 0
    k[kp.R_SHOULDER] = (-60, k[kp.L_SHOULDER, 1], 0.5)  # outside, as a tracker may still know it
    k[kp.NECK] = (0, k[kp.L_SHOULDER, 1], 0.5)
    half = np.ascontiguousarray(half)
    labels = parser(half, k)
    assert iou(labels == lb.UPPER_CLOTHES, parser(*front)[:, 115:] == lb.UPPER_CLOTHES) > 0.6
    parse = parser.framed(half, k, person.framing(k, half.shape[:2]))
    assert (parse.labels == lb.UPPER_CLOTHES).mean() > 0.05


def test_only_the_customer_of_two_people(parser: MulticlassParser, front: Any, back: Any) -> None:
    """They stand shoulder to shoulder; whose keypoints are given is the customer."""
    man, woman = front[0], back[0][:, 60:270]
    both = np.ascontiguousarray(np.hstack([man, woman]))
    k = back[1].copy()
    k[:, 0] = np.where(k[:, 2] > 0, k[:, 0] - 60 + man.shape[1], 0)
    for keypoints, mine in ((front[1], np.s_[:, : man.shape[1]]), (k, np.s_[:, man.shape[1] :])):
        labels = parser(both, keypoints)
        inside = int((labels[mine] > 0).sum())
        assert inside > 15_000 and (labels > 0).sum() - inside < 0.02 * inside
        box = person.framing(keypoints, both.shape[:2])
        person_mask = parser.framed(both, keypoints, box).labels > 0
        shown = np.zeros(both.shape[:2], np.uint8)
        shown[mine] = 1
        beside = np.asarray(box.apply(shown, border=0, nearest=True)) == 0
        assert person_mask[beside].sum() < 0.02 * person_mask.sum()


def test_small_people_are_found_and_specks_refused(parser: MulticlassParser, front: Any) -> None:
    canvas = np.full((1200, 1200, 3), 128, np.uint8)
    small = cv2.resize(front[0], None, fx=0.2, fy=0.2, interpolation=cv2.INTER_AREA)
    canvas[600 : 600 + small.shape[0], 500 : 500 + small.shape[1]] = small
    k = front[1].copy()
    k[:, :2] = np.where(k[:, 2:] > 0, k[:, :2] * 0.2 + (500, 600), 0)
    labels = parser(canvas, k)
    assert (labels == lb.UPPER_CLOTHES).sum() > 300
    k[:, :2] = np.where(k[:, 2:] > 0, (k[:, :2] - (500, 600)) * 0.01 + (100, 100), 0)  # a person two pixels high
    with pytest.raises(SpgvtonError, match=r"no person|nobody"):
        parser(canvas, k)


def test_nobody(parser: MulticlassParser, front: Any) -> None:
    picture, k = front
    box = person.framing(k, picture.shape[:2])
    grey = np.full_like(picture, 128)
    for call in (lambda: parser(picture, NOBODY), lambda: parser.framed(picture, NOBODY, box)):
        with pytest.raises(SpgvtonError, match="both shoulders must be seen"):
            call()
    for call in (lambda: parser(grey, k), lambda: parser.framed(grey, k, box)):
        with pytest.raises(SpgvtonError, match="nobody is seen"):
            call()
    with pytest.raises(SpgvtonError, match="RGB uint8"):
        parser(picture.astype(np.float32), k)  # type: ignore[arg-type]
    with pytest.raises(SpgvtonError, match="NaN"):
        parser(picture, np.full((18, 3), np.nan, np.float32))


class Broken:
    """The session, but its answer holds a NaN."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def run(self, names: Any, feed: Any) -> list[np.ndarray]:
        (logits,) = self.session.run(names, feed)
        logits[0, 2, 100, 100] = np.nan
        return [logits]


def test_nan_of_the_network_is_one_clear_line(front: Any) -> None:
    broken = MulticlassParser()
    broken._session = Broken(broken._session)
    box = person.framing(front[1], front[0].shape[:2])
    for call in (lambda: broken(*front), lambda: broken.framed(front[0], front[1], box)):
        with pytest.raises(SpgvtonError, match="gave NaN") as e:
            call()
        assert "\n" not in str(e.value)
