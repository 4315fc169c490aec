"""Garments that somebody wears: the mask, and what is said of it; on a real photograph and on drawn label maps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_parser import figure

from spgvton import image as im
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.errors import SpgvtonError
from spgvton.perception.worn_garment import Worn, find_wearer, worn_garment

DATA = Path(__file__).parents[1] / "data"
PICTURE = np.zeros((256, 192, 3), np.uint8)


class Drawn:
    """Says what was drawn."""

    label_set = "cihp"

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels

    def __call__(self, image: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
        return self.labels


def worn(change: Callable[[np.ndarray, np.ndarray], None]) -> Worn:
    labels, k = figure()
    change(labels, k)
    found = worn_garment(PICTURE, k, Drawn(labels))
    assert found is not None
    assert set(np.unique(found.mask)) <= {0, 255} and found.mask.shape == (256, 192)
    return found


def test_on_a_photograph() -> None:
    picture = im.read(DATA / "person_front.jpg")
    found = worn_garment(picture)
    assert found is not None and (found.kind, found.sleeve) == ("top", "short")
    inside, outside = [(115, 160), (58, 145), (115, 250)], [(116, 60), (57, 220), (95, 300), (20, 300), (165, 420)]
    assert all(found.mask[y, x] == 255 for x, y in inside) and not any(found.mask[y, x] for x, y in outside)
    assert "it is seen from behind" not in found.notes
    assert find_wearer(np.full((200, 200, 3), 128, np.uint8)) is None and find_wearer(PICTURE[:20, :20]) is None
    assert worn_garment(np.full((200, 200, 3), 128, np.uint8)) is None


def test_nothing_to_say() -> None:
    def plain(labels: np.ndarray, k: np.ndarray) -> None:
        pass

    found = worn(plain)
    assert found.notes == () and found.kind == "top" and found.sleeve == "none"
    assert (found.mask > 0).sum() == (figure()[0] == lb.UPPER_CLOTHES).sum()


def arm(labels: np.ndarray, k: np.ndarray) -> None:
    labels[100:120, 70:120] = lb.RIGHT_ARM


def both_arms(labels: np.ndarray, k: np.ndarray) -> None:
    labels[100:112, 70:120], labels[114:126, 70:120] = lb.RIGHT_ARM, lb.LEFT_ARM


def hair(labels: np.ndarray, k: np.ndarray) -> None:
    labels[72:110, 66:80] = lb.HAIR


def bag(labels: np.ndarray, k: np.ndarray) -> None:
    labels[100:130, 80:110] = lb.BACKGROUND


def cut(labels: np.ndarray, k: np.ndarray) -> None:
    labels[120:, 64:128] = lb.UPPER_CLOTHES


def turned(labels: np.ndarray, k: np.ndarray) -> None:
    k[:, 0] = np.where(k[:, 2] > 0, 191 - k[:, 0], 0)


def bent(labels: np.ndarray, k: np.ndarray) -> None:
    labels[labels == lb.LEFT_ARM] = lb.UPPER_CLOTHES
    k[kp.L_WRIST, :2] = (120, 84)


def coat(labels: np.ndarray, k: np.ndarray) -> None:
    labels[72:148, 84:108][labels[72:148, 84:108] == lb.UPPER_CLOTHES] = lb.COAT


@pytest.mark.parametrize(
    "change, note",
    [
        (arm, "the right arm hides part of it"), (both_arms, "both arms hide part of it"), (hair, "hair hides part of it"),
        (bag, "something before it, such as a bag, hides part of it"), (cut, "the picture cuts it: bottom"),
        (turned, "it is seen from behind"), (bent, "the left sleeve is bent"),
        (coat, "the coat or jacket worn with it is left out"),
    ],
)  # fmt: skip
def test_what_is_hidden_is_said(change: Callable[[np.ndarray, np.ndarray], None], note: str) -> None:
    assert note in worn(change).notes


def test_sleeves_are_as_long_as_they_are_seen() -> None:
    assert worn(bent).sleeve == "long" and worn(coat).sleeve == "none"


def test_what_hides_it_is_not_in_the_mask() -> None:
    assert not worn(arm).mask[102:118, 72:118].any() and not worn(bag).mask[102:128, 82:108].any()


def test_a_hanger_is_no_wearer() -> None:
    labels, k = figure()
    labels[np.isin(labels, (lb.FACE, lb.HAIR))] = 0
    assert worn_garment(PICTURE, k, Drawn(labels)) is None  # no head
    bare = np.where(figure()[0] == lb.UPPER_CLOTHES, lb.TORSO_SKIN, figure()[0]).astype(np.uint8)
    assert worn_garment(PICTURE, k, Drawn(bare)) is None  # no garment

    class Nobody(Drawn):
        def __call__(self, image: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
            raise SpgvtonError("nobody is seen at the keypoints")

    assert worn_garment(PICTURE, k, Nobody(labels)) is None
