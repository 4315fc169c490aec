"""Garments that change by keys and by the clock, and cameras on their side."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from spgvton.stream.frames import Frame, Source
from spgvton.stream.rotate import Rotated
from spgvton.stream.wardrobe import Piece, Wardrobe

PICTURE = np.zeros((4, 4, 3), np.uint8)


class Stage:
    """Shows what it wears."""

    def __init__(self) -> None:
        self.worn: list[str] = []

    def __call__(self, frame: Frame, keypoints: np.ndarray) -> np.ndarray:
        return PICTURE


def wardrobe(stage: Stage, count: int, seconds: float | None = None) -> Wardrobe[str]:
    return Wardrobe(stage, [Piece(n, PICTURE, n) for n in "abcdefghijkl"[:count]], stage.worn.append, seconds=seconds)


def at(clothes: Wardrobe[str], second: float) -> str:
    clothes(Frame(PICTURE, 0, second, second), np.zeros((18, 3), np.float32))
    return clothes.piece.name


def test_keys_choose_and_step() -> None:
    stage = Stage()
    clothes = wardrobe(stage, 3)
    assert at(clothes, 0) == at(clothes, 1) == "a"
    for key, name in (("2", "b"), ("n", "c"), ("n", "a"), ("p", "c"), ("9", "c"), ("0", "c"), ("x", "c")):
        clothes.key(ord(key))
        assert at(clothes, 2) == name
    for code, name in ((0xFF53, "a"), (0x10FF51, "c"), (0x270000, "a"), (0xF702, "c"), (-1, "c")):
        clothes.key(code)
        assert at(clothes, 3) == name
    assert stage.worn == list("abcacacac"), "put on once each time, never anew for every frame"


def test_seconds_change_by_the_frames_own_time_and_begin_anew_with_a_key() -> None:
    clothes = wardrobe(Stage(), 2, seconds=2)
    assert [at(clothes, t) for t in (10, 11.9, 12, 13.9, 14)] == list("aabba")
    clothes.key(ord("2"))
    assert [at(clothes, t) for t in (15, 16.9, 17)] == list("bba")


class Two(Source):
    name, fps, live, size, count, problem = "two", 5.0, False, (2, 3), 2, "cut short"
    closed = False

    def __init__(self) -> None:
        self.frames = [Frame(np.arange(18, dtype=np.uint8).reshape(2, 3, 3), i, i / 5, 0.0) for i in range(2)]
        self.closing = threading.Event()

    def read(self) -> Frame | None:
        return self.frames.pop(0) if self.frames else None

    def close(self) -> None:
        self.closing.set()


@pytest.mark.parametrize(("degrees", "size", "corner"), [(90, (3, 2), 9), (180, (2, 3), 15), (270, (3, 2), 6)])
def test_a_rotated_source_is_the_source_turned_clockwise(degrees: int, size: tuple[int, int], corner: int) -> None:
    source = Two()
    turned = Rotated(source, degrees)
    assert (turned.size, turned.name, turned.fps, turned.count, turned.problem) == (size, "two", 5.0, 2, "cut short")
    frame = turned.read()
    assert frame is not None and frame.image.shape == (*size, 3) and frame.image[0, 0, 0] == corner
    assert frame.image.flags.c_contiguous
    second, end = turned.read(), turned.read()
    assert second is not None and second.index == 1 and end is None
    turned.close()
    assert source.closing.is_set()
