"""The clean plate: learnt where nobody is, and only there."""

from __future__ import annotations

import numpy as np

from spgvton.image import Letterbox
from spgvton.live.plate import TRUST, CleanPlate

SIZE = (120, 160)
HALF = Letterbox(SIZE, (60, 80), 0.5, (0.0, 0.0))  # the plate's own pixels


def room(level: int = 100) -> np.ndarray:
    picture = np.full((*SIZE, 3), level, np.uint8)
    picture[:, ::8] += 20
    return picture


def everywhere() -> np.ndarray:
    return np.full(SIZE, 255, np.uint8)


def with_person(frame: np.ndarray, at: int = 60) -> tuple[np.ndarray, np.ndarray]:
    frame, free = frame.copy(), everywhere()
    frame[20:110, at : at + 40] = (200, 30, 30)
    free[20:110, at : at + 40] = 0
    return frame, free


def test_an_empty_plate_is_none() -> None:
    plate = CleanPlate()
    assert plate.is_empty and plate.framed(HALF) is None
    plate.learn(room(), everywhere())
    assert plate.framed(HALF) is None, "one look is not enough"


def test_it_is_the_room_where_nobody_is() -> None:
    plate = CleanPlate()
    for _ in range(TRUST):
        plate.learn(room(), everywhere())
    view = plate.framed(HALF)
    assert view is not None and view.known.min() == 255
    assert np.abs(view.picture.astype(int) - room().reshape(60, 2, 80, 2, 3).mean((1, 3))).max() <= 1


def test_a_person_who_stands_still_for_two_minutes_does_not_burn_in() -> None:
    plate = CleanPlate()
    frame, free = with_person(room())
    for _ in range(300):
        plate.learn(frame, free)
    view = plate.framed(HALF)
    assert view is not None
    assert not view.known[15:50, 33:47].any(), "behind the person nothing is known"
    assert (view.picture[..., 0][view.known > 0] < 130).all(), "nothing of the red person is in the plate"
    assert plate._mean is not None and plate._mean[..., 0].max() < 130, "nor in its memory, where nothing is known"


def test_who_walks_through_uncovers_the_room_and_leaves_nothing() -> None:
    plate = CleanPlate()
    for at in range(0, 120, 2):
        plate.learn(*with_person(room(), at))
    view = plate.framed(HALF)
    assert view is not None
    assert (view.picture[..., 0][view.known > 0] < 130).all()
    assert (view.known > 0).mean() > 0.6


def test_light_that_changes_slowly_is_followed_also_behind_the_person() -> None:
    plate = CleanPlate()
    for _ in range(20):
        plate.learn(room(100), everywhere())
    for level in np.linspace(100, 150, 80):
        plate.learn(*with_person(room(round(level))))
    for _ in range(40):
        plate.learn(*with_person(room(150)))
    view = plate.framed(HALF)
    assert view is not None and view.known.all()
    assert abs(float(view.picture[30, 41:46].mean()) - 153) < 12


def test_it_forgets() -> None:
    plate = CleanPlate()
    for _ in range(TRUST):
        plate.learn(room(), everywhere())
    mean = plate._mean
    plate.forget()
    assert plate.is_empty and plate.framed(HALF) is None
    assert mean is not None and not mean.any(), "the memory itself is overwritten"


def test_another_camera_size_begins_a_new_plate() -> None:
    plate = CleanPlate()
    for _ in range(TRUST):
        plate.learn(room(), everywhere())
    plate.learn(np.zeros((60, 80, 3), np.uint8), np.full((60, 80), 255, np.uint8))
    assert plate.is_empty


def test_only_what_the_network_sees_is_learnt_from_its_view() -> None:
    plate = CleanPlate()
    box = Letterbox(SIZE, (64, 48), 1.0, (-40.0, -20.0))  # the middle of the room
    for _ in range(TRUST):
        plate.learn_framed(room(), np.full((64, 48), 255, np.uint8), box)
    view = plate.framed(HALF)
    assert view is not None
    assert view.known[20, 30] == 255 and not view.known[:8].any() and not view.known[:, 60:].any()
