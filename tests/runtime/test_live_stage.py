"""Live mode's synthesis stage: real parser, network and compositor; how customers, garments and old answers are kept apart."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from spgvton.demo_assets import DemoAssets
from spgvton.errors import SpgvtonError
from spgvton.live.garment import LiveGarment
from spgvton.live.layers import Answer
from spgvton.live.tryon import LiveTryOn
from spgvton.perception.pose import PoseEstimator
from spgvton.stream.frames import Frame
from spgvton.stream.live_stage import MAX_AGE_S, LiveStage
from spgvton.stream.loop import COMPOSE, PARSE, SYNTHESIS, Unusable

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def person() -> UInt8:
    return DemoAssets.open().person()[0]


@pytest.fixture(scope="module")
def keypoints(person: UInt8) -> Float:
    return PoseEstimator(smooth=False)(person, 0.0)


@pytest.fixture(scope="module")
def garments() -> list[LiveGarment]:
    return [LiveGarment.of(shop.picture, shop.mask) for shop in DemoAssets.open().garments()[:2]]


@pytest.fixture(scope="module")
def _live() -> LiveTryOn:
    return LiveTryOn(threads=1)


@pytest.fixture
def live(_live: LiveTryOn, garments: list[LiveGarment]) -> LiveTryOn:
    _live.forget()
    _live.use_garment(garments[0])
    return _live


class Slow(LiveTryOn):
    """Holds each answer back until it is let go."""

    def __init__(self, live: LiveTryOn) -> None:
        super().__init__(live.network.sibling(), parser=live._parser)
        self.at_work, self.go, self.fails = threading.Event(), threading.Event(), ""

    def answer(self, frame: UInt8, keypoints: Float) -> Answer:
        answer = super().answer(frame, keypoints)
        self.at_work.set()
        assert self.go.wait(PATIENCE_S)
        if self.fails:
            raise SpgvtonError(self.fails)
        return answer


@pytest.fixture
def slow(live: LiveTryOn, garments: list[LiveGarment]) -> Iterator[tuple[Slow, LiveStage]]:
    slow = Slow(live)
    slow.use_garment(garments[0])
    stage = LiveStage(slow, latest=True)
    yield slow, stage
    slow.go.set()
    stage.close()


def frame_of(picture: UInt8, captured: float = 0.0) -> Frame:
    return Frame(picture, 0, captured, captured)


def dressed(stage: LiveStage, picture: UInt8, keypoints: Float) -> UInt8:
    """The first dressed picture that STAGE gives."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            return stage(frame_of(picture), keypoints)
        except Unusable:
            time.sleep(0.02)
    raise AssertionError("never dressed")


def test_a_files_frame_waits_for_its_own_answer(live: LiveTryOn, person: UInt8, keypoints: Float) -> None:
    stage = LiveStage(live, latest=False)
    picture = stage(frame_of(person), keypoints)
    assert picture.shape == person.shape and (picture != person).any()
    assert set(stage.times_s) == {PARSE, SYNTHESIS, COMPOSE} and stage.answers == 1


def test_an_answer_under_way_does_not_come_back_after_forget(
    slow: tuple[Slow, LiveStage], person: UInt8, keypoints: Float
) -> None:
    live, stage = slow
    with pytest.raises(Unusable):
        stage(frame_of(person), keypoints)
    assert live.at_work.wait(PATIENCE_S)
    forgetting = threading.Thread(target=stage.forget)
    forgetting.start()
    time.sleep(0.05)
    live.go.set()
    forgetting.join(PATIENCE_S)
    time.sleep(0.1)
    assert stage._said is None
    with pytest.raises(Unusable):
        stage(frame_of(person), keypoints)
    assert dressed(stage, person, keypoints) is not person, "the next customer is dressed"


def test_another_garment_comes_with_its_own_answer(
    live: LiveTryOn, garments: list[LiveGarment], person: UInt8, keypoints: Float
) -> None:
    stage = LiveStage(live, latest=False)
    first = stage(frame_of(person), keypoints)
    stage.set_garment(garments[1])
    assert np.array_equal(live.compose(person, live.answer(person, keypoints)), first), "not yet"
    second = stage(frame_of(person), keypoints)
    assert (first != second).any(axis=2).mean() > 0.02


def test_an_answer_that_is_too_old_shows_the_camera(
    slow: tuple[Slow, LiveStage], person: UInt8, keypoints: Float
) -> None:
    live, stage = slow
    live.go.set()
    dressed(stage, person, keypoints)
    live.go.clear()
    with pytest.raises(Unusable):
        stage(frame_of(person, captured=MAX_AGE_S + 0.5), keypoints)


def test_a_parser_that_fails_in_mid_stream_is_a_hint_and_then_over(
    slow: tuple[Slow, LiveStage], person: UInt8, keypoints: Float
) -> None:
    live, stage = slow
    live.go.set()
    dressed(stage, person, keypoints)
    live.fails = "the parsing network gave NaN"
    end = time.monotonic() + PATIENCE_S
    with pytest.raises(Unusable, match="NaN"):
        while time.monotonic() < end:
            stage(frame_of(person), keypoints)
            time.sleep(0.02)
    live.fails = ""
    assert dressed(stage, person, keypoints).shape == person.shape


def test_a_camera_that_changes_its_resolution_is_shown_plain_until_it_is_answered(
    slow: tuple[Slow, LiveStage], person: UInt8, keypoints: Float
) -> None:
    live, stage = slow
    live.go.set()
    dressed(stage, person, keypoints)
    small, half = np.ascontiguousarray(person[::2, ::2]), keypoints * np.array([0.5, 0.5, 1], np.float32)
    with pytest.raises(Unusable):
        stage(frame_of(small), half)
    assert dressed(stage, small, half).shape == small.shape


def test_an_error_that_is_no_hint_ends_the_stream(live: LiveTryOn, person: UInt8, keypoints: Float) -> None:
    class Broken(LiveTryOn):
        def answer(self, frame: UInt8, keypoints: Float) -> Answer:
            raise RuntimeError("a fault of ours")

    stage = LiveStage(Broken(live.network.sibling()), latest=True)
    try:
        with pytest.raises(RuntimeError, match="ours"):
            dressed(stage, person, keypoints)
    finally:
        stage.close()
