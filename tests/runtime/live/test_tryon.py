"""Live try-on with the real parser and network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spgvton import image
from spgvton import labels as lb
from spgvton.economy import Economy
from spgvton.errors import SpgvtonError
from spgvton.image import Letterbox
from spgvton.live.framing import LiveFraming
from spgvton.live.garment import LiveGarment
from spgvton.live.layers import Answer
from spgvton.live.steady import Steady
from spgvton.live.tryon import ONLY_TOP, LiveTryOn, Undressable, why_not_live
from spgvton.perception.parse import Parse
from spgvton.perception.pose import PoseEstimator
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
PHOTO = Path(__file__).parents[2] / "data" / "person_front.jpg"


def test_one_call_dresses_a_photograph(live: LiveTryOn) -> None:
    photo = image.read(PHOTO)
    result = live(photo)
    assert result.shape == photo.shape
    different = (result != photo).any(axis=2)
    assert 0.03 < different.mean() < 0.5
    r, g, b = np.median(result[different], axis=0)
    assert r > b + 30 and g > b + 20, "yellow"


@pytest.mark.parametrize("picture", ["back", "nobody", "dark"])
def test_who_cannot_be_dressed_is_said_in_one_line(picture: str, live: LiveTryOn) -> None:
    photo = {
        "back": lambda: image.read(PHOTO.with_name("person_back.jpg")),
        "nobody": lambda: np.random.default_rng(0).integers(0, 255, (480, 360, 3), np.uint8),
        "dark": lambda: image.read(PHOTO) // 100,
    }[picture]()
    with pytest.raises(SpgvtonError) as e:
        live(photo)
    assert "\n" not in str(e.value)


def test_no_garment_yet(person: UInt8, keypoints: NDArray[np.float32]) -> None:
    with pytest.raises(SpgvtonError, match="no garment"):
        LiveTryOn(threads=1).answer(person, keypoints)


class Broken:
    label_set: str = "cihp"

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def __call__(self, image: UInt8, keypoints: NDArray[np.float32]) -> UInt8:
        raise self.error or SpgvtonError("the parsing network gave NaN")


def test_a_parser_that_fails_is_an_error_and_nothing_half_drawn(
    live: LiveTryOn, person: UInt8, keypoints: NDArray[np.float32], garment: object
) -> None:
    broken = LiveTryOn(live.network.sibling(), parser=Broken())
    broken.set_garment(image.read(PHOTO)[:64, :64], mask=np.full((64, 64), 255, np.uint8))
    with pytest.raises(SpgvtonError, match="NaN"):
        broken.answer(person, keypoints)


class Blind:
    """Sees clothes, but not where the customer stands."""

    label_set: str = "cihp"

    def __call__(self, image: UInt8, keypoints: NDArray[np.float32]) -> UInt8:
        labels = np.zeros(image.shape[:2], np.uint8)
        labels[-60:, :80] = lb.UPPER_CLOTHES
        return labels


def test_a_parse_that_cannot_be_the_customer_dresses_nobody(live: LiveTryOn, garment: LiveGarment) -> None:
    blind = LiveTryOn(live.network.sibling(), parser=Blind())
    blind.use_garment(garment)
    with pytest.raises(Undressable, match="parser does not see you"):
        blind(image.read(PHOTO))


class Crowd(Blind):
    """Cannot tell the customer from somebody in touch with them."""

    def framed(self, picture: UInt8, keypoints: NDArray[np.float32], box: Letterbox) -> Parse:
        labels = np.full(box.target, lb.UPPER_CLOTHES, np.uint8)
        return Parse(labels, np.zeros_like(labels), crowded=True)


def test_two_people_in_touch_are_not_half_dressed(live: LiveTryOn, garment: LiveGarment) -> None:
    crowded = LiveTryOn(live.network.sibling(), parser=Crowd())
    crowded.use_garment(garment)
    with pytest.raises(Undressable, match="one person at a time"):
        crowded(image.read(PHOTO))


def test_a_dress_that_becomes_a_top_is_told(live: LiveTryOn) -> None:
    photo = image.read(PHOTO)
    live(photo)
    assert live.note is None
    dress, mask = np.full((600, 300, 3), (200, 30, 60), np.uint8), np.zeros((600, 300), np.uint8)
    mask[20:580, 60:240] = 255
    live.set_garment(dress, mask=mask)
    live(photo)
    assert live.note == ONLY_TOP


def test_sleeves_do_not_make_a_dress_a_top_nor_a_top_a_dress(live: LiveTryOn) -> None:
    """By the cut-out's shape: wide with its sleeves spread, but long over its waist."""
    photo, picture = image.read(PHOTO), np.full((600, 600, 3), (200, 30, 60), np.uint8)
    for hem, told in ((570, ONLY_TOP), (300, None)):
        mask = np.zeros((600, 600), np.uint8)
        mask[30:hem, 210:390] = 255
        mask[30:120, 20:580] = 255
        live.set_garment(picture, mask=mask)
        live(photo)
        assert live.note == told
    live.use_garment(LiveGarment.of(picture, mask, live.network.size), dress=True)  # who knows better may say so
    live(photo)
    assert live.note == ONLY_TOP


def test_an_answer_of_another_camera_size_is_not_used(live: LiveTryOn, person: UInt8, answer: Answer) -> None:
    small = np.ascontiguousarray(person[::2, ::2])
    assert live.compose(small, answer) is small


def test_a_customer_who_jumped_is_shown_as_they_are(live: LiveTryOn, person: UInt8, answer: Answer) -> None:
    far = answer.keypoints * np.array([3, 3, 1], np.float32)
    assert live.compose(person, answer, far) is person


def test_standing_still_spares_the_networks_not_the_compositing(
    live: LiveTryOn, person: UInt8, keypoints: NDArray[np.float32]
) -> None:
    still = LiveTryOn(live.network.sibling(), economy=Economy(still_threshold=2.0))
    live_garment = live.answer(person, keypoints).garment
    still.use_garment(live_garment)
    first = still.answer(person, keypoints)
    assert still.answer(person, keypoints + np.array([0.5, 0, 0], np.float32)) is first
    brighter = cv2.convertScaleAbs(person, alpha=1.1)
    a, b = still.compose(person, first), still.compose(np.asarray(brighter, np.uint8), first)
    assert not np.array_equal(a[:20], b[:20]), "the frame shown is the newest one"
    assert still.answer(person, keypoints + np.array([9, 0, 0], np.float32)) is not first
    still.use_garment(replace(live_garment))
    assert still.answer(person, keypoints) is not first, "another garment needs another answer"


def test_steady_blends_masks_and_warp_while_nobody_moves(answer: Answer) -> None:
    steady = Steady()
    other = replace(answer, output=answer.output._replace(theta=answer.output.theta + 0.01))
    assert steady(answer) is answer
    assert 0.002 < np.abs(steady(other).output.theta - other.output.theta).mean() < 0.009
    moved = replace(other, keypoints=answer.keypoints + np.array([40, 0, 0], np.float32))
    assert np.array_equal(steady(moved).output.theta, moved.output.theta), "nothing lags behind who moves"


def test_the_view_holds_still_and_widens_where_it_cuts_the_clothes(keypoints: NDArray[np.float32]) -> None:
    framing, source = LiveFraming(), (2000, 1600)
    k = keypoints * np.array([1, 1, 1], np.float32) + np.array([500, 600, 0], np.float32)
    close = framing(k, source, (256, 192), long=False)
    assert framing(k * np.array([1.03, 1.03, 1], np.float32), source, (256, 192), long=False).scale == close.scale
    labels = np.zeros((256, 192), np.uint8)
    assert not framing.widen(labels)
    labels[-1, 40:100] = lb.UPPER_CLOTHES
    assert framing.widen(labels) and not framing.too_close(labels)
    wide = framing(k, source, (256, 192), long=False)
    assert wide.scale < 0.8 * close.scale
    assert not framing.widen(labels), "there is nothing wider"


def test_too_close_is_said(keypoints: NDArray[np.float32]) -> None:
    framing = LiveFraming()
    framing._box = Letterbox.around((400, 400), 0.64, (200, 100), (96, 80))
    labels = np.zeros((256, 192), np.uint8)
    labels[100:200, 0] = lb.UPPER_CLOTHES
    assert framing.too_close(labels)


def test_a_back_is_not_dressed() -> None:
    back = image.read(PHOTO.with_name("person_back.jpg"))
    k = PoseEstimator(smooth=False)(back, 0.0)
    assert why_not_live(k, (back.shape[0], back.shape[1]))
