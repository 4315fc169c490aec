"""The whole mirror in pose mode: real pose, parser, session and loop on the synthetic person, with a network of four nodes."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from spgvton.demo_assets import DemoAssets
from spgvton.errors import SpgvtonError, UsageError
from spgvton.kiosk.mirror.dresser import Dresser
from spgvton.kiosk.mirror.mirror import EXIT_GAVE_UP, Mirror
from spgvton.kiosk.mirror.status import MirrorStatus
from spgvton.stream.latency import LATENCY_BUCKETS_S
from spgvton.stream.sinks import FileSink, Sink
from spgvton.stream.sources import open_source
from spgvton.video import cv2

ASSETS = DemoAssets.open()
LABELS = ASSETS.person()[1]
PATIENCE_S = 60.0  # of the tests, on a busy machine


class Shown(Sink):
    """Keeps the latest picture."""

    name = "shown"

    def __init__(self, *, seconds: float = 0.0, fail: bool = False) -> None:
        self.latest = np.zeros((1, 1, 3), np.uint8)
        self.count = 0
        self.fail, self.seconds = fail, seconds

    def write(self, image: np.ndarray, timestamp: float) -> None:
        if self.fail:
            raise SpgvtonError("no more room")
        time.sleep(self.seconds)
        self.latest, self.count = image, self.count + 1

    def close(self) -> None:
        pass


class MapParser:
    """The shipped person's own map: the clip shows her in the same clothes and nearly the same pose."""

    label_set = "cihp"

    def __call__(self, image: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
        return LABELS


class Running:
    """A mirror that runs in a thread."""

    def __init__(self, mirror: Mirror, *sinks: Sink) -> None:
        self.mirror, self.stop, self.code = mirror, threading.Event(), -1
        self.thread = threading.Thread(target=self._run, args=(sinks,))
        self.thread.start()

    def _run(self, sinks: tuple[Sink, ...]) -> None:
        self.code = self.mirror.run(sinks, self.stop)

    def until(self, what: Callable[[MirrorStatus], bool]) -> MirrorStatus:
        deadline = time.monotonic() + PATIENCE_S
        while not what(status := self.mirror.status()):
            assert time.monotonic() < deadline, status
            assert self.thread.is_alive(), status
            time.sleep(0.01)
        return status

    def frames(self, count: int) -> MirrorStatus:
        """Wait for COUNT more frames."""
        target = self.mirror.status().frames_out + count
        return self.until(lambda s: s.frames_out >= target)

    def end(self) -> int:
        self.stop.set()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()
        return self.code


@pytest.fixture
def start(tiny_bundle: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def begin(source: str, *sinks: Sink, **options: object) -> Running:
        mirror = Mirror(source, tiny_bundle, mode="pose", threads=1, parser=MapParser(), **options)  # type: ignore[arg-type]
        running.append(Running(mirror, *sinks))
        return running[-1]

    yield begin
    for r in running:
        r.end()


def test_customer_chooses_garments_retakes_and_wants_privacy(start: Callable[..., Running], tmp_path: Path) -> None:
    shown = Shown()
    size = (720, 540)
    recording = FileSink(tmp_path / "out.mkv", size, 15, keep_time=True)
    run = start("synthetic://", shown, Shown(seconds=0.5), recording)
    mirror = run.mirror
    assert mirror.size == size
    status = run.until(lambda s: s.state == "live")
    assert (status.hint, status.garment) == ("choose a garment", None)
    assert status.source_ok
    means = []
    for number in (1, 2, 1):
        mirror.set_garment(f"garment {number}", *ASSETS.garment(number))
        run.frames(6)
        assert mirror.status().garment == f"garment {number}"
        means.append(float(shown.latest[300:500, 200:340].mean()))
    assert abs(means[0] - means[2]) < 5 < abs(means[0] - means[1])
    status = run.frames(1)
    assert status.state == "live"
    assert {"total", "capture", "pose", "synthesis", "compose", "present"} <= set(status.latency_s)
    assert len(status.latency_s["total"]) == len(LATENCY_BUCKETS_S) + 1
    assert abs(sum(status.latency_s["total"]) - status.frames_out) <= 1
    assert status.latency_sum_s["total"] > 0
    assert set(status.stages_ms["pose"]) == {"p50", "p90", "p95", "p99"}
    assert status.backend["backend"] == "onnxruntime"
    assert status.frame_age_s is not None
    assert status.frame_age_s < 5
    assert status.dropped["sink shown"] >= 1  # the slow one, of the same name
    assert status.fps_in > 1
    mirror.set_recording(True)
    run.frames(4)
    badge = shown.latest[22, 24].astype(int)
    assert badge[0] > 150 > badge[1]
    mirror.set_recording(False)

    mirror.retake()
    assert mirror.status().state == "approaching"
    run.until(lambda s: s.state == "live")
    mirror.set_privacy(True)
    assert mirror.status().state == "nobody"
    run.frames(6)
    assert mirror._loop is not None
    assert mirror._loop._last_good is None
    blank = mirror._view.notice("camera off")
    assert np.array_equal(shown.latest, blank)
    status = run.frames(10)
    assert (status.state, status.privacy) == ("nobody", True)
    assert np.array_equal(shown.latest, blank)
    mirror.set_privacy(False)
    run.until(lambda s: s.state == "live")
    with pytest.raises(SpgvtonError, match="mask is empty"):
        picture, mask = ASSETS.garment(3)
        mirror.set_garment("nothing", picture, np.zeros_like(mask))
    assert mirror.status().garment == "garment 1"
    assert run.end() == 0
    source = open_source(str(tmp_path / "out.mkv"))
    assert source.size == size
    source.close()


def test_customer_leaves_and_everything_is_wiped(start: Callable[..., Running]) -> None:
    run = start("synthetic://?fps=15&stay=6&away=6", wipe_after_s=1.0)
    run.mirror.set_garment("shirt", *ASSETS.garment(1))
    run.until(lambda s: s.state == "live")
    run.until(lambda s: s.state == "left")
    run.until(lambda s: s.state == "nobody")
    dresser = run.mirror._dresser
    assert isinstance(dresser, Dresser) and dresser._person is None
    assert not any(value.any() for name, value in _statics(dresser).items() if not name.startswith("cloth"))
    assert run.mirror.status().garment == "shirt"  # the mirror's, not hers


def _statics(dresser: object) -> dict[str, np.ndarray]:
    return dict(dresser._session._backend._static)  # type: ignore[attr-defined]


def test_sink_that_fails_is_left_out_and_told(start: Callable[..., Running], caplog: pytest.LogCaptureFixture) -> None:
    bad, good = Shown(fail=True), Shown()
    bad.name = "disk"
    run = start("synthetic://", bad, good)
    status = run.until(lambda s: bool(s.last_error))
    assert status.last_error == "disk is left out: no more room"
    run.frames(5)
    assert good.count >= 5
    assert sum("no more room" in record.getMessage() for record in caplog.records) == 1
    assert run.end() == 0


def test_source_that_never_comes_ends_with_its_own_code(start: Callable[..., Running], tmp_path: Path) -> None:
    shown = Shown()
    run = start(str(tmp_path / "camera.mkv"), shown, patience_s=1.5)
    status = run.until(lambda s: s.restarts >= 1)
    assert not status.source_ok
    assert status.source.endswith("camera.mkv")
    run.thread.join(PATIENCE_S)
    assert run.code == EXIT_GAVE_UP == 75
    assert "was lost and did not come back within 2 s" in run.mirror.status().last_error
    assert shown.count >= 1  # people saw that the camera is away
    assert np.array_equal(shown.latest, run.mirror._view.notice("waiting for the camera"))


def test_file_that_appears_later_and_loses_its_end(start: Callable[..., Running], tmp_path: Path) -> None:
    path, part = tmp_path / "camera.mkv", tmp_path / "part.mkv"
    writer = cv2.VideoWriter(str(part), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 30, (96, 128))
    for i in range(30):
        writer.write(np.full((128, 96, 3), 4 * i, np.uint8))
    writer.release()
    run = start(str(path))
    run.until(lambda s: s.restarts >= 1)
    data = part.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    before = run.until(lambda s: s.frames_out >= 3 and s.source_ok).restarts
    status = run.until(lambda s: s.restarts > before)
    assert "ended early" in status.last_error
    run.frames(3)
    path.write_bytes(data)
    run.until(lambda s: s.source_ok and s.frames_out > 40)
    assert run.end() == 0


def test_back_end_that_cannot_be_healed_ends_with_its_own_code() -> None:
    class Broken:
        size = (256, 192)

        def describe(self) -> dict[str, str]:
            return {}

        def use_person(self, person: object) -> None: ...

        def use_garment(self, garment: object) -> None: ...

        def forget_person(self) -> None: ...

        def close(self) -> None: ...

        def __call__(self, target: object, frame_size: object = None) -> np.ndarray:
            raise RuntimeError("CUDA error 700")

    mirror = Mirror("synthetic://", mode="pose", parser=MapParser(), open_session=Broken)
    mirror.set_garment("shirt", *ASSETS.garment(1))
    run = Running(mirror)
    run.thread.join(PATIENCE_S)
    assert run.code == EXIT_GAVE_UP
    status = mirror.status()
    assert "CUDA error 700" in status.last_error
    assert status.restarts == 1


COUNT_ARENAS = """
import ctypes, os, sys, threading
from spgvton.kiosk.mirror.memory import limit_arenas

assert not sys.argv[1:] or limit_arenas()
barrier = threading.Barrier(7)

def allocate():
    kept = [ctypes.create_string_buffer(20_000) for _ in range(20)]
    barrier.wait()  # all at the same time, so that no arena is free
    barrier.wait()
    del kept

threads = [threading.Thread(target=allocate) for _ in range(6)]
for thread in threads:
    thread.start()
barrier.wait()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
read, write = os.pipe()
file = ctypes.c_void_p(libc.fdopen(write, b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
print(os.read(read, 1 << 16).decode().count("<heap nr="))
barrier.wait()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator only")
def test_threads_share_two_heaps() -> None:
    """glibc's own report: without the limit each of six threads has a heap of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)

    def heaps(*arguments: str) -> int:
        command = [sys.executable, "-c", COUNT_ARENAS, *arguments]
        return int(subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60).stdout)

    assert heaps() > 4
    assert heaps("limit") <= 2


def test_wrong_use_is_told_before_anything_runs(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a source"):
        Mirror("gopher://camera", tiny_bundle)
    with pytest.raises(SpgvtonError, match="not a model bundle"):
        Mirror("synthetic://", tmp_path)
    lip = MapParser()
    lip.label_set = "lip"
    with pytest.raises(SpgvtonError, match="the parser gives lip labels"):
        Mirror("synthetic://", tiny_bundle, mode="pose", parser=lip)
    with pytest.raises(SpgvtonError, match="the parser gives lip labels"):
        Mirror("synthetic://", tiny_bundle, parser=lip)
    status = Mirror("rtsp://user:secret@camera/x", tiny_bundle, parser=MapParser()).status()
    assert status.source == "rtsp://camera/x"
    assert status == MirrorStatus(source=status.source, backend=status.backend)
