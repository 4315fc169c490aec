"""Fewer frames are shown while the networks get too little of the processor, and all of them again afterwards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spgvton.stream.frames import Frame, Source
from spgvton.stream.loop import Perception, run_loop
from spgvton.stream.pace import PROMPT_S, SLOWEST_S, Pace
from spgvton.stream.sinks import NullSink
from spgvton.stream.slot import Policy

PICTURE = np.zeros((8, 8, 3), np.uint8)


class Camera(Source):
    """COUNT frames, captured a thirtieth of a second apart."""

    name, size, fps, live = "camera", (8, 8), 30.0, True

    def __init__(self, count: int) -> None:
        self.index, self._end = 0, count

    def read(self) -> Frame | None:
        if self.index == self._end:
            return None
        self.index += 1
        return Frame(PICTURE, self.index, self.index / 30, self.index / 30)

    def close(self) -> None:
        pass


class Stage:
    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s

    def __call__(self, frame: Frame, keypoints: NDArray[np.float32]) -> NDArray[np.uint8]:
        return frame.image


def shown(interval_s: float, policy: Policy) -> tuple[Sequence[int], int]:
    """Numbers of a camera's frames that the stages take, and how many frames are not shown; nothing is ever too slow here."""
    camera, taken = Camera(30), list[int]()

    def perceive(frame: Frame) -> Perception:
        taken.append(frame.index)
        return Perception(np.zeros((18, 3), np.float32))

    stage = Stage(interval_s)
    report = run_loop(camera, perceive, stage, lambda view: view.frame.image, [NullSink()], policy=policy)
    assert report.frames_in == report.frames_out + report.dropped
    return taken, report.dropped


def test_slow_answers_thin_the_frames_out_to_twelve_a_second_and_quick_ones_bring_them_back() -> None:
    pace = Pace()
    pace.answered(PROMPT_S / 2)
    assert pace.interval_s == 0
    for _ in range(20):
        pace.answered(2 * PROMPT_S)
    assert pace.interval_s == SLOWEST_S
    pace.answered(0.9 * PROMPT_S)
    assert pace.interval_s == SLOWEST_S, "prompt enough, and no room for more frames"
    for _ in range(20):
        pace.answered(PROMPT_S / 2)
    assert pace.interval_s == 0


def test_frames_that_come_too_soon_are_left_out_and_a_file_loses_none() -> None:
    taken, dropped = shown(SLOWEST_S, "latest")
    gaps = np.diff(taken)
    assert (gaps >= 2).all() and dropped >= 15
    assert shown(SLOWEST_S, "wait") == (list(range(1, 31)), 0)
    assert shown(0.0, "wait") == (list(range(1, 31)), 0)
