"""Parse: soft masks from labels alone, and parsers that cannot frame by themselves."""

from __future__ import annotations

import numpy as np
import pytest

from spgvton import labels as lb
from spgvton.errors import SpgvtonError
from spgvton.image import Letterbox
from spgvton.perception.parse import SOFT, Parse, framed


def drawn() -> np.ndarray:
    labels = np.zeros((256, 192), np.uint8)
    labels[20:60, 80:112] = lb.HAIR
    labels[30:60, 85:107] = lb.FACE
    labels[70:150, 60:132] = lb.COAT
    labels[70:150, 90:102] = lb.UPPER_CLOTHES
    labels[150:240, 70:122] = lb.PANTS
    labels[70:150, 40:60] = lb.RIGHT_ARM
    return labels


def test_soft_masks_of_hard_labels() -> None:
    labels = drawn()
    parse = Parse.of(labels)
    truth = {
        "person": labels > 0,
        "clothes": np.isin(labels, (lb.UPPER_CLOTHES, lb.COAT, lb.DRESS)),
        "skin": np.isin(labels, (lb.FACE, lb.RIGHT_ARM)),
        "hair": labels == lb.HAIR,
    }
    for mask, name in zip(parse.soft, SOFT):
        assert ((mask > 127) == truth[name]).mean() > 0.999, name
    assert parse.soft[1, 110, 96] == 255 and parse.soft[1, 200, 96] == 0
    assert 0 < parse.soft[1, 149, 96] < 255  # lightly smoothed


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
    assert parse.soft[1, 128, 96] == 255 and parse.soft[1, 4, 96] == 0
