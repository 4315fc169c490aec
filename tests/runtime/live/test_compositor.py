"""The camera's frame with the new garment in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from spgvton import labels as lb
from spgvton.demo_assets import DemoAssets
from spgvton.live.compositor import composite
from spgvton.live.garment import LiveGarment, bleed
from spgvton.live.layers import Answer
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]


def changed(before: UInt8, after: UInt8) -> NDArray[np.bool_]:
    return (before != after).any(axis=2)


def test_outside_the_clothes_every_pixel_is_the_cameras(person: UInt8, answer: Answer) -> None:
    result = composite(person, answer)
    old = np.isin(DemoAssets.open().person()[1], lb.clothes()).astype(np.uint8)
    new = (
        cv2.warpAffine(answer.output.clothes_mask, answer.box.matrix, person.shape[1::-1], flags=cv2.WARP_INVERSE_MAP)
        >= 128
    )
    near = cv2.dilate(old | new.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
    assert not changed(person, result)[~near].any()
    assert changed(person, result)[old > 0].mean() > 0.8
    labels = DemoAssets.open().person()[1]
    face = cv2.erode((labels == lb.FACE).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert not changed(person, result)[face].any(), "the face is never synthesised"


def test_the_frame_itself_is_left_as_it_was(person: UInt8, answer: Answer) -> None:
    before = person.copy()
    result = composite(person, answer)
    assert np.array_equal(person, before) and result is not person


def test_the_garments_own_colour_is_worn(person: UInt8, answer: Answer) -> None:
    """Garment 2 is yellow: much red and green, little blue, in whatever light."""
    result = composite(person, answer)
    worn = cv2.erode((answer.output.clothes_mask >= 128).astype(np.uint8), np.ones((25, 25), np.uint8))
    inside = (
        cv2.warpAffine(worn, answer.box.matrix, person.shape[1::-1], flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP) > 0
    )
    r, g, b = np.median(result[inside], axis=0)
    assert r > 120 and g > 90 and b < 0.5 * r


def test_a_bigger_camera_gives_a_sharper_garment(person: UInt8, answer: Answer) -> None:
    big = np.asarray(cv2.resize(person, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC), np.uint8)
    box = replace(answer.box, source=(big.shape[0], big.shape[1]), scale=answer.box.scale / 3)
    result = composite(big, replace(answer, box=box, keypoints=answer.keypoints * np.array([3, 3, 1], np.float32)))
    assert result.shape == big.shape
    small = cv2.resize(result, person.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - composite(person, answer)).mean() < 4
    again = cv2.resize(composite(person, answer), (big.shape[1], big.shape[0]), interpolation=cv2.INTER_CUBIC)
    printed = slice(600, 760), slice(480, 720)
    sharp = [cv2.Laplacian(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), cv2.CV_32F)[printed].var() for x in (result, again)]
    assert sharp[0] > 1.75 * sharp[1], "the print is the garment picture's, not an enlarged 256x192 one"


@pytest.mark.parametrize("side", [64, 6400])
def test_garment_pictures_of_any_size(side: int, person: UInt8, answer: Answer) -> None:
    """64 pixels, and 40 megapixels."""
    picture, mask = DemoAssets.open().garment(2)
    size = (side, side * picture.shape[0] // picture.shape[1]) if side < 100 else (side, 6250)
    big = np.asarray(cv2.resize(picture, size), np.uint8)
    garment = LiveGarment.of(big, np.asarray(cv2.resize(mask, size), np.uint8))
    assert max(garment.texture.shape[:2]) <= 1536
    result = composite(person, replace(answer, garment=garment))
    assert result.shape == person.shape and changed(person, result).any()


def test_no_background_of_the_garments_picture_is_ever_worn() -> None:
    picture = np.full((200, 150, 3), (0, 255, 0), np.uint8)  # a green screen
    mask = np.zeros((200, 150), np.uint8)
    mask[40:160, 30:120] = 255
    picture[40:160, 30:120] = (200, 40, 40)
    picture[38:42] = (100, 150, 20)  # a rim that is mixed with it
    out = bleed(picture, mask)
    assert (out[..., 0] > out[..., 1]).all()


def test_what_moved_is_moved(person: UInt8, answer: Answer) -> None:
    """An old answer on a frame that is 12 pixels further right is the old result, moved."""
    shift = np.array([[1.0, 0, 12], [0, 1, 0]])
    now = np.asarray(cv2.warpAffine(person, shift, person.shape[1::-1], borderMode=cv2.BORDER_REPLICATE), np.uint8)
    result = composite(now, answer, shift)
    expected = cv2.warpAffine(composite(person, answer), shift, person.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    assert np.abs(result.astype(int) - expected)[:, 20:].mean() < 1.5


def test_nothing_new_is_the_frame(person: UInt8, answer: Answer) -> None:
    nothing = answer.output._replace(clothes_mask=np.zeros_like(answer.output.clothes_mask))
    bare = replace(answer.parse, labels=np.zeros_like(answer.parse.labels))
    result = composite(person, replace(answer, output=nothing, parse=bare))
    assert np.array_equal(result, person)


def test_a_customer_half_out_of_the_frame(person: UInt8, answer: Answer) -> None:
    half = np.ascontiguousarray(person[:, :192])
    box = replace(answer.box, source=(512, 192))
    result = composite(half, replace(answer, box=box))
    assert np.abs(result.astype(int) - composite(person, answer)[:, :192]).mean() < 3
