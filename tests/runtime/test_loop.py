"""The loop with small injected stages: nothing lost without being counted, no hang, no thread left behind."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from spgvton.errors import SpgvtonError
from spgvton.stream import loop as loop_module
from spgvton.stream.frames import Frame, Source
from spgvton.stream.loop import Perception, Unusable, View, run_loop
from spgvton.stream.sinks import NullSink, Sink

KEYPOINTS = np.ones((18, 3), np.float32)
SIZE = (32, 24)


class FakeSource(Source):
    """COUNT frames, PERIOD seconds apart; None counts for ever. after: called instead of the frame after the last."""

    fps, size, name = 20.0, SIZE, "fake"

    def __init__(
        self, count: int | None, *, period: float = 0.0, live: bool = False, after: Callable[[], object] | None = None
    ) -> None:
        self.count, self.live, self._period, self._after = count, live, period, after
        self.closed = threading.Event()
        self.read_by: set[int] = set()
        self._next = 0

    def read(self) -> Frame | None:
        self.read_by.add(threading.get_ident())
        if self._period and self.closed.wait(self._period):
            return None
        if self._next == self.count:
            if self._after:
                self._after()
            return None
        i, now = self._next, time.monotonic()
        self._next += 1
        return Frame(np.full((*SIZE, 3), i % 256, np.uint8), i, now if self.live else i / self.fps, now)

    def close(self) -> None:
        self.closed.set()


class ListSink(Sink):
    """Remembers the first value of every picture."""

    name = "list"

    def __init__(self, *, seconds: float = 0.0, stop_after: int | None = None, fail_at: int | None = None) -> None:
        self.seen: list[int] = []
        self.threads: set[int] = set()
        self.closed = self.idled = 0
        self._seconds, self._stop_after, self._fail_at = seconds, stop_after, fail_at

    def write(self, image: np.ndarray, timestamp: float) -> None:
        if len(self.seen) == self._fail_at:
            raise SpgvtonError("the sink broke")
        time.sleep(self._seconds)
        self.threads.add(threading.get_ident())
        self.seen.append(int(image[0, 0, 0]))
        self.wants_stop = len(self.seen) == self._stop_after

    def idle(self) -> None:
        self.idled += 1

    def close(self) -> None:
        self.closed += 1


def perceive(frame: Frame) -> Perception:
    return Perception(KEYPOINTS)


def synthesise(frame: Frame, keypoints: np.ndarray) -> np.ndarray:
    return frame.image


def compose(view: View) -> np.ndarray:
    return np.zeros((*SIZE, 3), np.uint8) if view.result is None else view.result


def slowly(seconds: float) -> Callable[[Frame, np.ndarray], np.ndarray]:
    def stage(frame: Frame, keypoints: np.ndarray) -> np.ndarray:
        time.sleep(seconds)
        return frame.image

    return stage


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("where", ["pose", "synthesis", "sink", "none"])
def test_wait_loses_no_frame_and_keeps_the_order(where: str) -> None:
    source, sink = FakeSource(40), ListSink(seconds=0.004 if where == "sink" else 0)

    def slow_pose(frame: Frame) -> Perception:
        time.sleep(0.004)
        return Perception(KEYPOINTS)

    report = run_loop(
        source,
        slow_pose if where == "pose" else perceive,
        slowly(0.004) if where == "synthesis" else synthesise,
        compose,
        [sink],
    )
    assert sink.seen == list(range(40))
    assert (report.frames_in, report.frames_out, report.dropped, report.policy) == (40, 40, 0, "wait")
    assert report.latency.frames == 40
    assert sink.closed == 1
    assert source.closed.is_set()


def test_stages_overlap() -> None:
    """Four stages of 20 ms each: one after the other 80 ms a frame, overlapped 20."""

    def pose(frame: Frame) -> Perception:
        time.sleep(0.02)
        return Perception(KEYPOINTS)

    start = time.monotonic()
    report = run_loop(FakeSource(20, period=0.02), pose, slowly(0.02), compose, [ListSink(seconds=0.02)], policy="wait")
    assert time.monotonic() - start < 20 * 0.05
    assert report.fps > 20
    assert {"capture", "pose", "synthesis", "compose", "present", "waiting"} == set(report.latency.stages_ms())


def test_live_source_drops_counts_and_stays_in_the_present() -> None:
    """100 frames/s in, 25 out: latency must not grow with the length of the run."""
    source, sink = FakeSource(100, period=0.01, live=True), ListSink()
    latencies: list[float] = []
    report = run_loop(
        source,
        perceive,
        slowly(0.04),
        compose,
        [sink],
        on_view=lambda view: latencies.append(time.monotonic() - view.frame.captured),
    )
    assert report.policy == "latest"
    assert report.frames_in == 100
    assert report.frames_in == report.frames_out + report.dropped
    assert report.dropped > 40
    assert report.dropped_at.get("pose", 0) > 40  # synthesis is slow: what perception handed over is replaced
    assert sink.seen == sorted(sink.seen)
    assert sink.seen[-1] == 99
    assert np.median(latencies[-8:]) < 0.15
    assert np.median(latencies[-8:]) < 2.5 * np.median(latencies[2:10])


def test_slow_sink_drops_at_synthesis_when_live() -> None:
    report = run_loop(FakeSource(60, period=0.005, live=True), perceive, synthesise, compose, [ListSink(seconds=0.03)])
    assert report.dropped_at["synthesis"] > 10
    assert report.frames_in == report.frames_out + report.dropped


def test_memory_is_bounded() -> None:
    """A producer far ahead of its consumer: never more than one frame per slot and per stage is alive."""
    alive: set[int] = set()
    most = 0
    lock = threading.Lock()

    class Counted(np.ndarray):
        def __del__(self) -> None:
            with lock:
                alive.discard(id(self))

    class Source_(FakeSource):
        def read(self) -> Frame | None:
            nonlocal most
            frame = super().read()
            if frame is None:
                return None
            picture = frame.image.view(Counted)
            with lock:
                alive.add(id(picture))
                most = max(most, len(alive))
            return Frame(picture, frame.index, frame.timestamp, frame.captured)

    for live in (True, False):
        run_loop(Source_(200 if live else 40, live=live), perceive, slowly(0.003), compose, [ListSink()])
    assert most <= 10


def test_unusable_frames_show_the_last_good_one_and_are_counted() -> None:
    reasons = {0: "no person", 3: "too small", 4: "no person"}

    def pose(frame: Frame) -> Perception:
        return Perception(KEYPOINTS, reasons.get(frame.index))

    def stage(frame: Frame, keypoints: np.ndarray) -> np.ndarray:
        assert frame.index not in reasons
        if frame.index == 6:
            raise Unusable("parse failed")
        return frame.image + 100

    sink = ListSink()
    report = run_loop(FakeSource(8), pose, stage, compose, [sink])
    assert sink.seen == [0, 101, 102, 102, 102, 105, 105, 107]
    assert report.unusable == {"no person": 2, "too small": 1, "parse failed": 1}
    assert report.frames_out == 8


def test_another_person_s_last_good_image_is_not_shown() -> None:
    def pose(frame: Frame) -> Perception:
        if frame.index in (2, 3, 5):
            return Perception(KEYPOINTS, "unusable", keep_last=frame.index != 3)
        return Perception(KEYPOINTS)

    sink = ListSink()
    run_loop(FakeSource(7), pose, lambda frame, keypoints: frame.image + 100, compose, [sink])
    assert sink.seen == [100, 101, 101, 0, 104, 104, 106]


def test_pictures_of_idle_times_are_written_and_not_counted() -> None:
    release, sink = threading.Event(), ListSink()
    pictures = iter([np.full((*SIZE, 3), 250, np.uint8), None, np.full((*SIZE, 3), 251, np.uint8)])

    def idle() -> np.ndarray | None:
        picture = next(pictures, None)
        if picture is not None and picture[0, 0, 0] == 251:
            release.set()
        return picture

    report = run_loop(
        FakeSource(3, after=lambda: release.wait(10)), perceive, synthesise, compose, [sink], on_idle=idle
    )
    assert [v for v in sink.seen if v >= 250] == [250, 251]
    assert report.frames_out == 3


def test_a_sink_that_fails_is_left_out_where_that_is_wanted() -> None:
    bad, good = ListSink(fail_at=3), ListSink()
    told: list[tuple[Sink, str]] = []
    report = run_loop(
        FakeSource(10),
        perceive,
        synthesise,
        compose,
        [bad, good],
        on_sink_error=lambda sink, error: told.append((sink, str(error))),
    )
    assert told == [(bad, "the sink broke")]
    assert bad.closed == 1
    assert bad.seen == [0, 1, 2]
    assert good.seen == list(range(10))
    assert report.frames_out == 10


@pytest.mark.parametrize("policy", ["wait", "latest"])
@pytest.mark.parametrize("where", ["source", "pose", "synthesis", "compose", "sink", "on_view"])
def test_error_in_any_stage_is_raised_here_and_everything_is_closed(where: str, policy: str) -> None:
    class Broken(Exception):
        pass

    def break_at(stage: str, index: int) -> None:
        if where == stage and index >= 7:
            raise Broken(stage)

    def broken_source() -> None:
        raise Broken("source")

    def pose(frame: Frame) -> Perception:
        break_at("pose", frame.index)
        return Perception(KEYPOINTS)

    def stage(frame: Frame, keypoints: np.ndarray) -> np.ndarray:
        break_at("synthesis", frame.index)
        return frame.image

    def composer(view: View) -> np.ndarray:
        break_at("compose", view.frame.index)
        return compose(view)

    source = FakeSource(9 if where == "source" else None, period=0.001, after=broken_source)
    first, second = ListSink(), ListSink(fail_at=5 if where == "sink" else None)
    expected: type[Exception] = SpgvtonError if where == "sink" else Broken
    start = time.monotonic()
    with pytest.raises(expected):
        run_loop(
            source,
            pose,
            stage,
            composer,
            [first, second],
            policy=policy,  # type: ignore[arg-type]
            on_view=lambda view: break_at("on_view", view.frame.index),
        )
    assert time.monotonic() - start < 3
    assert source.closed.is_set()
    assert (first.closed, second.closed) == (1, 1)


def test_the_first_error_wins_over_those_of_closing() -> None:
    class BadClose(ListSink):
        def close(self) -> None:
            super().close()
            raise SpgvtonError("not written completely")

    def pose(frame: Frame) -> Perception:
        raise ValueError("first")

    bad, after = BadClose(), ListSink()
    with pytest.raises(ValueError, match="first"):
        run_loop(FakeSource(3), pose, synthesise, compose, [bad, after])
    assert after.closed == 1
    with pytest.raises(SpgvtonError, match="not written completely"):
        run_loop(FakeSource(3), perceive, synthesise, compose, [BadClose()])


def test_source_that_stalls_is_an_error_not_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "JOIN_S", 0.1)
    release = threading.Event()
    source, sink = FakeSource(5, after=lambda: release.wait(10)), ListSink()  # a driver that does not return
    start = time.monotonic()
    with pytest.raises(SpgvtonError, match="fake delivered no frame for 0 s"):
        run_loop(source, perceive, synthesise, compose, [sink], stall_s=0.3)
    assert time.monotonic() - start < 2
    assert sink.seen == list(range(5))
    assert sink.closed == 1
    assert sink.idled > 3  # a window stays responsive meanwhile
    release.set()
    time.sleep(0.1)


def test_a_slow_consumer_is_not_a_stall() -> None:
    report = run_loop(FakeSource(6), perceive, slowly(0.15), compose, [ListSink()], stall_s=0.1)
    assert report.frames_out == 6


def test_a_sink_a_limit_and_an_event_end_an_endless_source() -> None:
    sink = ListSink(stop_after=5)
    report = run_loop(FakeSource(None, period=0.002), perceive, synthesise, compose, [sink])
    assert 5 <= report.frames_out <= 10
    assert not report.interrupted

    report = run_loop(FakeSource(None), perceive, synthesise, compose, [ListSink()], max_frames=7)
    assert (report.frames_in, report.frames_out) == (7, 7)

    stop = threading.Event()
    report = run_loop(
        FakeSource(None, period=0.002, live=True),
        perceive,
        synthesise,
        compose,
        [NullSink()],
        stop=stop,
        on_view=lambda view: stop.set() if view.frame.index > 10 else None,
    )
    assert report.interrupted
    assert report.frames_in == report.frames_out + report.dropped


def test_sinks_are_used_by_the_calling_thread_only() -> None:
    sink, source = ListSink(), FakeSource(3)
    run_loop(source, perceive, synthesise, compose, [sink])
    assert sink.threads == {threading.get_ident()}
    assert threading.get_ident() not in source.read_by


def test_empty_source() -> None:
    report = run_loop(FakeSource(0), perceive, synthesise, compose, [ListSink()])
    assert (report.frames_in, report.frames_out, report.fps) == (0, 0, 0)


def test_works_outside_the_main_thread() -> None:
    sink = ListSink()
    thread = threading.Thread(target=lambda: run_loop(FakeSource(5), perceive, synthesise, compose, [sink]))
    thread.start()
    thread.join(5)
    assert sink.seen == list(range(5))


def test_signal_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    run_loop(FakeSource(2), perceive, synthesise, compose, [ListSink()])
    assert signal.getsignal(signal.SIGINT) is before


ENDLESS = """
import sys, time
sys.path.insert(0, sys.argv[3])
from test_loop import FakeSource, compose, perceive, synthesise
from spgvton.stream.loop import run_loop
from spgvton.stream.sinks import FileSink
hang = sys.argv[2] == "hang"
def stage(frame, keypoints):
    if hang and frame.index == 3: time.sleep(60)
    return frame.image
def tell(view):
    print(view.frame.index, flush=True)
sink = FileSink(sys.argv[1], (32, 24), 20)
report = run_loop(FakeSource(None, period=0.02), perceive, stage, compose, [sink], on_view=tell)
print("done", report.interrupted, report.frames_in, report.frames_out, flush=True)
"""


def start_endless(out: Path, mode: str) -> subprocess.Popen[str]:
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": str(here.parents[1] / "runtime")}
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(out), mode, str(here)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout
    for line in itertools.islice(process.stdout, 3):
        assert line.strip().isdigit()
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_finishes_the_file(tmp_path: Path, number: signal.Signals) -> None:
    from spgvton.stream.sources import open_source

    out = tmp_path / "out.mp4"
    process = start_endless(out, "run")
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=10)
    assert process.returncode == 0, stderr
    word, interrupted, frames_in, frames_out = stdout.splitlines()[-1].split()
    assert (word, interrupted) == ("done", "True")
    assert int(frames_in) - int(frames_out) in (0, 1)  # at most the one that capture could not hand over any more
    source = open_source(str(out))
    assert source.count == int(frames_out)
    source.close()
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


def test_second_ctrl_c_leaves_a_hanging_stage(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    process = start_endless(out, "hang")
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None  # waits for the frames under way
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode != 0
    assert out.exists()  # with what was presented
