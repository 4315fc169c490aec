"""Hooks of hangers go from a garment's mask; straps, collars and sleeves stay."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from spgvton.perception.hooks import without_hooks

TEAL, BLACK = (60, 150, 140), (20, 20, 20)


def shirt() -> tuple[np.ndarray, np.ndarray]:
    """A teal shirt on grey, 512x384, and its mask."""
    mask = np.zeros((512, 384), np.uint8)
    cv2.rectangle(mask, (110, 120), (270, 420), 1, -1)
    cv2.rectangle(mask, (60, 120), (320, 190), 1, -1)
    picture = np.full((512, 384, 3), 190, np.uint8)
    picture[mask > 0] = TEAL
    return picture, mask


def add(picture: np.ndarray, mask: np.ndarray, points: list[tuple[int, int]], colour: tuple[int, int, int]) -> None:
    line = np.zeros_like(mask)
    cv2.polylines(line, [np.array(points, np.int32)], False, (1,), 6)
    picture[(line > 0) & (mask == 0)] = colour
    mask |= line


def test_a_hook_goes() -> None:
    picture, mask = shirt()
    before = mask.copy()
    add(picture, mask, [(190, 125), (190, 80), (205, 65), (190, 50)], BLACK)
    assert mask[50:110].any()
    np.testing.assert_array_equal(without_hooks(picture, mask)[:112], before[:112])
    np.testing.assert_array_equal(without_hooks(picture, mask)[130:], before[130:])


@pytest.mark.parametrize(
    ("points", "colour"),
    [
        ([(150, 125), (150, 60), (230, 60), (230, 125)], BLACK),  # a strap of another colour: both its ends are sewn on
        ([(190, 125), (190, 50)], TEAL),  # a loose strap of the garment's colour
        ([(265, 400), (340, 400)], BLACK),  # a belt's end
    ],
)
def test_what_is_sewn_on_stays(points: list[tuple[int, int]], colour: tuple[int, int, int]) -> None:
    picture, mask = shirt()
    add(picture, mask, points, colour)
    np.testing.assert_array_equal(without_hooks(picture, mask), mask)


def test_an_empty_mask_stays_empty() -> None:
    picture, mask = shirt()
    assert not without_hooks(picture, mask * np.uint8(0)).any()
