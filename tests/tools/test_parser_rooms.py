"""Rooms beside people: the bands hold nobody, and plain backdrops are left out."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from parser_rooms import bands, main
from spgvton import image as im
from spgvton import keypoints as kp

PERSON = (200, 150, 120)


def garden(plain: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A picture of noise, 400x300, with a person of one colour in the middle of its lower part; and where they are."""
    rng = np.random.default_rng(0)
    picture = np.full((400, 300, 3), 90, np.uint8) if plain else rng.integers(0, 140, (400, 300, 3), np.uint8)
    person = np.zeros((400, 300), bool)
    person[120:, 120:180] = True
    picture[person] = PERSON
    return picture, person


def test_bands_hold_nobody() -> None:
    picture, person = garden()
    found = bands(picture, person)
    assert [b.shape[:2] for b in found] == [(400, 108), (400, 108), (108, 300)]
    assert not any((b == PERSON).all(axis=2).any() for b in found)
    assert not bands(*garden(plain=True))


def test_narrow_bands_are_left_out() -> None:
    picture, person = garden()
    person[300:, 40:260] = True
    assert [b.shape[:2] for b in bands(picture, person)] == [(108, 300)]


def test_a_folder_of_photographs_becomes_one_of_rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, person = garden()
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    im.write(tmp_path / "images/a.png", picture)
    assert cv2.imwrite(str(tmp_path / "labels/a_labels.png"), person.astype(np.uint8) * 5)
    keypoints = np.zeros((kp.NUM_KEYPOINTS, 3), np.float32)
    (tmp_path / "labels/a_keypoints.json").write_text(kp.to_openpose(keypoints))
    monkeypatch.setattr(sys, "argv", ["parser_rooms", "--photos", str(tmp_path), "--out", str(tmp_path / "rooms")])
    main()
    assert sorted(p.name for p in (tmp_path / "rooms").iterdir()) == ["a_0.jpg", "a_1.jpg", "a_2.jpg"]
