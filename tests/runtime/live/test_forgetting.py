"""What live mode's stage forgets at once, while parser and network are at work, and what it learns of an empty room."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from spgvton.demo_assets import DemoAssets
from spgvton.errors import SpgvtonError
from spgvton.live.garment import LiveGarment
from spgvton.live.tryon import LiveTryOn
from spgvton.perception.multiclass import MulticlassParser
from spgvton.perception.parse import Parse
from spgvton.stream.frames import Frame
from spgvton.stream.live_stage import LiveStage
from spgvton.stream.loop import Unusable

UInt8 = NDArray[np.uint8]
Keypoints = NDArray[np.float32]
PATIENCE_S = 60.0


class Gate(MulticlassParser):
    """The shipped parser, which waits where it is told to, and fails as it is told to."""

    def __init__(self) -> None:
        super().__init__(threads=2)
        self.go, self.inside = threading.Event(), threading.Event()
        self.go.set()
        self.error: Exception | None = None

    def framed(self, picture: UInt8, keypoints: Keypoints, box: object) -> Parse:
        self.inside.set()
        assert self.go.wait(PATIENCE_S)
        if self.error:
            raise self.error
        return super().framed(picture, keypoints, box)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate()


@pytest.fixture
def stage(live: LiveTryOn, gate: Gate, garment: LiveGarment) -> Iterator[LiveStage]:
    gate.error = None
    gate.go.set()
    stage = LiveStage(LiveTryOn(live.network.sibling(), parser=gate), latest=True, max_age_s=60)
    stage.set_garment(garment)
    yield stage
    gate.go.set()
    stage.close()


def frame_of(picture: UInt8) -> Frame:
    return Frame(picture, 0, 0.0, time.monotonic())


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def dressed(stage: LiveStage, picture: UInt8, keypoints: Keypoints) -> UInt8:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return stage(frame_of(picture), keypoints)
        except Unusable as e:
            assert e.__cause__ is None and time.monotonic() < end, e
        time.sleep(0.01)


def test_an_answer_under_way_when_all_is_forgotten_never_comes_back(
    stage: LiveStage, gate: Gate, person: UInt8, keypoints: Keypoints
) -> None:
    assert dressed(stage, person, keypoints).shape == person.shape
    until(lambda: not stage.busy_s)
    gate.go.clear()
    gate.inside.clear()
    stage(frame_of(person), keypoints)
    assert gate.inside.wait(PATIENCE_S)
    stage.forget()
    live = stage._live
    assert stage._said is None and live.plate.is_empty
    assert stage.busy_s > 0
    gate.go.set()
    until(lambda: not stage.busy_s)
    assert stage._said is None, "what was under way is thrown away"
    assert live.plate._mean is None and live._framing._box is None
    with pytest.raises(Unusable):
        stage(frame_of(person), keypoints)
    assert not np.array_equal(dressed(stage, person, keypoints), person), "the next customer is dressed"


def test_an_empty_room_is_learnt_now_and_then_and_nobody_in_it(
    stage: LiveStage, person: UInt8, keypoints: Keypoints
) -> None:
    for i in range(12):
        stage.learn_empty_room(Frame(person, i, 0.3 * i, 1000 + 0.3 * i))
        until(lambda: not stage.busy_s and not stage._asked._items)
    plate = stage._live.plate
    assert plate._mean is not None and (plate._seen > 0).mean() > 0.2, "the wall"
    assert plate._seen.max() <= 12 / 2 - 2, "every half second"
    x, y = (keypoints[1, :2] / 2).astype(int)
    assert not plate._seen[y : y + 40, x - 8 : x + 8].any(), "the parser sees who the pose network did not"
    assert not plate._mean[y : y + 40, x - 8 : x + 8].any()


def test_a_refusal_tells_its_cause_and_an_error_comes_with_the_next_frame(
    stage: LiveStage, gate: Gate, person: UInt8, keypoints: Keypoints
) -> None:
    gate.error = SpgvtonError("nobody is there")
    until(lambda: said(stage, person, keypoints) is gate.error)
    gate.error = RuntimeError("broken")

    def raises() -> bool:
        try:
            said(stage, person, keypoints)
        except RuntimeError as e:
            return e is gate.error
        return False

    until(raises)


def said(stage: LiveStage, picture: UInt8, keypoints: Keypoints) -> BaseException | None:
    try:
        stage(frame_of(picture), keypoints)
    except Unusable as e:
        time.sleep(0.02)
        return e.__cause__
    return None


def test_neither_a_customer_who_stands_still_nor_a_bystander_burns_into_the_room(live: LiveTryOn) -> None:
    picture, labels = DemoAssets.open().person()
    frame, people = np.hstack([picture, picture[:, ::-1]]), np.hstack([labels, labels[:, ::-1]]) > 0
    random, parser = np.random.default_rng(0), MulticlassParser(threads=2)
    for _ in range(4):
        noisy = np.clip(frame + random.normal(0, 3, frame.shape), 0, 255).astype(np.uint8)
        free = parser.free(noisy)
        for _ in range(20):
            live.plate.learn(noisy, free)
    assert live.plate._mean is not None
    assert not live.plate._seen[people[::2, ::2]].any() and not live.plate._mean[people[::2, ::2]].any()
    assert (live.plate._seen > 0).mean() > 0.2
