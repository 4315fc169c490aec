"""A garment of one colour on wood, as a photograph, and a library of a few of them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from spgvton.perception.cutout import KINDS, SLEEVES
from spgvton.video import cv2
from spgvton_training.cutout import surfaces
from spgvton_training.cutout.photographs import Piece
from spgvton_training.cutout.scenes import Library


def make_piece(kind="t-shirt", sleeve="short", colour=(30, 60, 160), masked=True):
    outline = [(60, 60), (180, 60), (220, 120), (185, 140), (180, 290), (60, 290), (55, 140), (20, 120)]
    mask = np.zeros((320, 240), np.uint8)
    cv2.fillPoly(mask, [np.array(outline)], 255)
    picture = surfaces.draw(np.random.default_rng(3), 320)[:, :240].copy()
    picture[mask > 0] = colour
    return Piece(picture, mask if masked else None, KINDS.index(kind), SLEEVES.index(sleeve), "t-shirt/a.jpg")


@pytest.fixture(scope="session")
def piece():
    return make_piece


@pytest.fixture(scope="session")
def library():
    return Library(
        [make_piece(), make_piece("dress", "none", (200, 40, 40), masked=False)], [make_piece("shirt", "long")], []
    )
