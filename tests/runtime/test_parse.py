"""Parse: what is free by labels alone, and parsers that cannot frame by themselves."""

from __future__ import annotations

import numpy as np
import pytest

from spgvton import labels as lb
from spgvton.errors import SpgvtonError
from spgvton.image import Letterbox
from spgvton.perception.parse import Parse, framed, most_likely


def test_background_is_free() -> None:
    labels = np.zeros((64, 48), np.uint8)
    labels[20:60, 10:30] = lb.COAT
    parse = Parse.of(labels)
    assert (parse.labels == labels).all() and ((parse.free == 255) == (labels == 0)).all()


def test_most_likely_is_argmax() -> None:
    scores = np.random.default_rng(0).integers(0, 9, (21, 40, 30)).astype(np.uint8)  # with ties
    assert (most_likely(scores) == scores.argmax(0)).all()


def test_labels_that_are_none_are_refused() -> None:
    with pytest.raises(SpgvtonError, match="label id 20"):
        Parse.of(np.full((8, 8), 20, np.uint8))


def test_any_parser_can_be_framed() -> None:
    class Plain:
        label_set = "cihp"

        def __call__(self, image: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
            return np.full(image.shape[:2], lb.DRESS, np.uint8)

    box = Letterbox.fit((100, 100), (256, 192))  # a square picture: borders above and below
    parse = framed(Plain(), np.zeros((100, 100, 3), np.uint8), np.zeros((18, 3), np.float32), box)
    assert parse.labels.shape == (256, 192) and parse.labels[128, 96] == lb.DRESS and parse.labels[4, 96] == 0
    assert parse.free[4, 96] == 255 and parse.free[128, 96] == 0
