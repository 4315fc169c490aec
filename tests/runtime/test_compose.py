"""The composed picture: one size whatever comes, and inputs left alone."""

from __future__ import annotations

import numpy as np
import pytest

from spgvton.stream.compose import Composer, card, trimmed
from spgvton.stream.frames import Frame
from spgvton.stream.loop import Perception, View

KEYPOINTS = np.ones((18, 3), np.float32)


@pytest.mark.parametrize(("h", "w"), [(64, 48), (480, 640), (1080, 1920), (720, 480), (17, 400)])
@pytest.mark.parametrize("layout", ["side-by-side", "result"])
def test_composed_picture_has_one_even_size(h: int, w: int, layout: str) -> None:
    garment = np.full((200, 150, 4), 90, np.uint8)
    composer = Composer((h, w), layout=layout, garment=garment, overlay=True, mirror=True)  # type: ignore[arg-type]
    assert composer.size[0] % 2 == composer.size[1] % 2 == 0
    assert composer.size[1] < 2200
    result = np.full((256, 192, 3), 200, np.uint8)
    for shape, shown, reason in (((h, w), result, None), ((w, h), result, "too small"), ((h, w), None, "no person")):
        frame = Frame(np.full((*shape, 3), 60, np.uint8), 0, 0.0, 0.0)
        view = View(frame, Perception(KEYPOINTS * 20, reason), shown, {"pose": 0.01})
        image = composer(view)
        assert image.shape == (*composer.size, 3)
        assert image.dtype == np.uint8
    composer.garment = None
    assert composer(view).shape == (*composer.size, 3)


def test_composed_picture_leaves_its_inputs_alone() -> None:
    result = np.full((640, 480, 3), 200, np.uint8)  # exactly the panel's size: nothing is resampled
    frame = Frame(np.full((640, 480, 3), 60, np.uint8), 0, 0.0, 0.0)
    view = View(frame, Perception(KEYPOINTS * 99, "too small"), result)
    Composer((640, 480), overlay=True)(view)
    assert (result == 200).all()
    assert (frame.image == 60).all()


def test_mirror_flips_pictures_not_words() -> None:
    half = np.zeros((480, 360, 3), np.uint8)
    half[:, :180] = 255
    view = View(Frame(half, 0, 0.0, 0.0), Perception(KEYPOINTS), half)
    plain = Composer((480, 360), caption=False)(view)
    mirrored = Composer((480, 360), caption=False, mirror=True)(view)
    assert plain[100, 60, 0] == 255 == mirrored[100, 340, 0]
    assert mirrored[100, 60, 0] == 0
    assert np.array_equal(plain[-30:], mirrored[-30:])


def test_card_puts_transparent_garments_on_white() -> None:
    garment = np.zeros((100, 80, 4), np.uint8)
    assert (card(garment, 60)[10:50, 10:40] == 255).all()


def test_trimmed_keeps_the_garment_and_a_little_air() -> None:
    picture = np.full((100, 80, 3), 250, np.uint8)
    picture[40:60, 30:50] = 20
    cut = trimmed(picture)
    assert cut.shape == (28, 28, 3)
    assert (cut == 20).sum() == 20 * 20 * 3
    assert trimmed(picture[:20]).shape == (20, 80, 3)  # nothing but background


def test_pictures_are_independent_and_the_times_change_once_a_second() -> None:
    composer = Composer((480, 360))
    result = np.full((256, 192, 3), 200, np.uint8)

    def at(second: float, pose: float) -> np.ndarray:
        frame = Frame(np.full((480, 360, 3), 60, np.uint8), 0, second, second)
        return composer(View(frame, Perception(KEYPOINTS), result, {"pose": pose}))

    first = at(100.0, 0.010)
    before = first.copy()
    soon, later = at(100.9, 0.077), at(101.1, 0.077)
    assert np.array_equal(soon, before)  # nobody reads faster
    assert np.array_equal(later[:-40], before[:-40]) and not np.array_equal(later[-40:], before[-40:])
    assert np.array_equal(first, before)  # a sink may still hold it


def live_view(frame: np.ndarray, result: np.ndarray | None, reason: str | None = None) -> View:
    return View(Frame(frame, 0, 0.0, 0.0), Perception(KEYPOINTS, reason, keep_last=False), result)


@pytest.mark.parametrize(("h", "w"), [(1920, 1080), (720, 1280), (481, 641)])
def test_live_results_have_the_cameras_size_and_are_passed_on_untouched(h: int, w: int) -> None:
    composer = Composer((h, w), layout="result", live=True)
    assert composer.size == (h // 2 * 2, w // 2 * 2)
    rng = np.random.default_rng(0)
    frame, result = rng.integers(0, 255, (2, h, w, 3), np.uint8)
    shown = composer(live_view(frame, result))
    assert np.shares_memory(shown, result) and np.array_equal(shown, result[: composer.size[0], : composer.size[1]])
    mirrored = Composer((h, w), layout="result", live=True, mirror=True)(live_view(frame, result))
    assert np.array_equal(mirrored, shown[:, ::-1])


def test_live_mode_shows_the_camera_with_a_hint_where_nobody_can_be_dressed() -> None:
    composer = Composer((640, 480), layout="result", live=True)
    frame, old = np.full((640, 480, 3), 60, np.uint8), np.full((640, 480, 3), 200, np.uint8)
    shown = composer(live_view(frame, old, "no person"))
    assert (shown[:500] == 60).all() and (shown[600:] != 60).any()
    assert (frame == 60).all(), "the hint is drawn on a copy"
    assert (composer(live_view(frame, None)) == 60).all(), "before the first answer"


def test_a_live_camera_that_changes_its_resolution_keeps_the_pictures_size() -> None:
    composer = Composer((640, 480), layout="result", live=True)
    small = np.full((240, 320, 3), 90, np.uint8)
    shown = composer(live_view(small, small))
    assert shown.shape == (640, 480, 3) and (shown[300:340] == 90).all()


@pytest.mark.parametrize(("h", "w"), [(1920, 1080), (720, 1280)])
def test_live_panels_have_the_cameras_shape(h: int, w: int) -> None:
    composer = Composer((h, w), live=True)
    assert abs(composer._result[0] / composer._result[1] - h / w) < 0.01
    assert composer._camera == composer._result
    frame = np.full((h, w, 3), 60, np.uint8)
    assert composer(live_view(frame, frame)).shape == (*composer.size, 3)
