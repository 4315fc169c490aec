"""The shipped parser on real photographs, and its faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spgvton import image as im
from spgvton import labels as lb
from spgvton import person
from spgvton.perception.multiclass import MulticlassParser
from spgvton.perception.parse import SOFT, Parse, framed
from spgvton.perception.pose import PoseEstimator

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def parser() -> MulticlassParser:
    return MulticlassParser()


@pytest.fixture(scope="module")
def front() -> tuple[np.ndarray, np.ndarray]:
    picture = im.read(DATA / "person_front.jpg")
    return picture, PoseEstimator(smooth=False)(picture)


def test_framed_gives_the_network_frame(parser: MulticlassParser, front: tuple[np.ndarray, np.ndarray]) -> None:
    picture, keypoints = front
    box = person.framing(keypoints, picture.shape[:2])
    parse = framed(parser, picture, keypoints, box)
    assert parse.labels.shape == box.target and parse.labels.dtype == np.uint8
    assert parse.soft.shape == (len(SOFT), *box.target) and parse.soft.dtype == np.uint8
    whole = Parse.of(np.asarray(box.apply(parser(picture, keypoints), border=0, nearest=True), np.uint8))
    for soft, hard in zip(parse.soft, whole.soft):
        both, either = ((soft > 127) & (hard > 127)).sum(), ((soft > 127) | (hard > 127)).sum()
        assert both / either > 0.8


def test_a_man_in_a_shirt_and_jeans(parser: MulticlassParser, front: tuple[np.ndarray, np.ndarray]) -> None:
    picture, keypoints = front
    labels = parser(picture, keypoints)
    assert labels.shape == picture.shape[:2]
    found = {i: int((labels == i).sum()) for i in range(lb.NUM_LABELS)}
    for label in (lb.HAIR, lb.FACE, lb.UPPER_CLOTHES, lb.PANTS, lb.LEFT_ARM, lb.RIGHT_ARM, lb.TORSO_SKIN):
        assert found[label] > 200, lb.LABEL_SETS["cihp"][label]
