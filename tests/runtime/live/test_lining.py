"""The inside of the back, seen through the neckline of a garment's picture."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spgvton.live.lining import find_lining
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]


def shirt(front: tuple[int, int, int], inside: tuple[int, int, int] | None, size: int = 400) -> tuple[UInt8, UInt8]:
    picture, mask = np.full((size, size, 3), 255, np.uint8), np.zeros((size, size), np.uint8)
    s = size / 400
    body = np.array(
        [
            [60, 80],
            [150, 50],
            [250, 50],
            [340, 80],
            [320, 140],
            [290, 130],
            [290, 360],
            [110, 360],
            [110, 130],
            [80, 140],
        ]
    )
    for target, colour in ((picture, front), (mask, (255,))):
        cv2.fillPoly(target, [np.rint(body * s).astype(np.int32)], colour)
    if inside:
        centre, axes = (round(200 * s), round(48 * s)), (round(45 * s), round(40 * s))
        cv2.ellipse(picture, centre, axes, 0, 0, 180, inside, -1)
        picture[mask == 0] = 255
    return picture, mask


@pytest.mark.parametrize(
    ("front", "inside"),
    [((180, 40, 60), (140, 30, 45)), ((240, 240, 240), (190, 190, 195)), ((40, 60, 140), (200, 200, 205))],
)
@pytest.mark.parametrize("size", [400, 1000])
def test_it_is_found(front: tuple[int, int, int], inside: tuple[int, int, int], size: int) -> None:
    picture, mask = shirt(front, inside, size)
    found, s = find_lining(picture, mask) > 0, size / 400
    assert found[round(65 * s), round(200 * s)] and not found[round(110 * s) :].any()
    expected = np.pi * 45 * 40 / 2 * s**2
    assert 0.7 * expected < found.sum() < 1.3 * expected


@pytest.mark.parametrize("pointed", [False, True])
def test_it_is_found_behind_a_printed_front(pointed: bool) -> None:
    picture, mask = shirt((150, 20, 50), None)
    if pointed:
        cv2.fillPoly(picture, [np.array([[155, 48], [200, 105], [245, 48]])], (95, 12, 32))
    else:
        cv2.ellipse(picture, (200, 48), (45, 40), 0, 0, 180, (95, 12, 32), -1)
    inside = (picture == (95, 12, 32)).all(2) & (mask > 0)
    random = np.random.default_rng(3)
    for x, y in random.integers((80, 50), (320, 350), (70, 2)):
        paler = 0.7 if inside[min(y, 399), x] else 1.0  # the print of the inside lies in the same shadow
        cv2.circle(picture, (int(x), int(y)), 7, tuple(paler * c for c in (250, 240, 210)), -1)
    picture[mask == 0] = 255
    found = find_lining(picture, mask) > 0
    assert (found & inside).sum() > 0.75 * inside.sum()
    assert (found & ~inside).sum() < 0.3 * inside.sum()


def test_a_print_on_the_chest_is_no_neckline() -> None:
    picture, mask = shirt((60, 90, 160), None)
    cv2.ellipse(picture, (200, 110), (50, 30), 0, 0, 180, (250, 250, 250), -1)
    cv2.circle(picture, (200, 200), 60, (240, 200, 40), -1)
    assert not find_lining(picture, mask).any()


def test_a_plain_front_has_none() -> None:
    assert not find_lining(*shirt((180, 40, 60), None)).any()


def test_stripes_and_noise_have_none() -> None:
    picture, mask = shirt((200, 200, 200), None)
    picture[::20][mask[::20] > 0] = (20, 20, 120)
    assert not find_lining(picture, mask).any()
    noise = np.random.default_rng(0).integers(0, 255, picture.shape, np.uint8)
    assert not find_lining(noise, mask).any()


def test_a_tiny_garment_has_none() -> None:
    assert not find_lining(np.zeros((16, 16, 3), np.uint8), np.full((16, 16), 255, np.uint8)).any()


def test_a_bodice_is_no_neckline() -> None:
    """A darker top that is rounded below, as wide as the dress there; its wearer's chest would be bare."""
    picture, mask = np.full((400, 300, 3), 255, np.uint8), np.zeros((400, 300), np.uint8)
    cv2.fillPoly(mask, [np.array([[90, 40], [210, 40], [205, 150], [280, 380], [20, 380], [95, 150]])], (255,))
    picture[mask > 0] = (205, 215, 225)
    cv2.ellipse(picture, (150, 40), (62, 95), 0, 0, 180, (170, 175, 190), -1)
    picture[mask == 0] = 255
    assert not find_lining(picture, mask).any()


def test_a_hood_is_no_neckline() -> None:
    picture, mask = shirt((40, 60, 90), None)
    for target, colour in ((picture, (25, 35, 55)), (mask, (255,))):
        cv2.ellipse(target, (200, 60), (75, 70), 0, 0, 360, colour, -1)
    found = find_lining(picture, mask) > 0
    assert found.sum() < 0.4 * np.pi * 75 * 70
