"""Sinks: files that are complete or not there, and words where OpenCV has none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from spgvton.errors import SpgvtonError, UsageError
from spgvton.stream import sink_thread, sinks
from spgvton.stream.frames import Frame, Source
from spgvton.stream.loop import Loop, Perception, View
from spgvton.stream.sink_thread import SinkThread, in_threads
from spgvton.stream.sinks import FileSink, NullSink, Sink, open_sink
from spgvton.stream.sources import open_source
from spgvton.video import can_show_window, cv2

SIZE = (96, 128)
ROOT = Path(sinks.__file__).parents[2]


def noise(i: int) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 255, (*SIZE, 3), dtype=np.uint8)


def count(path: Path) -> int:
    source = open_source(str(path))
    n = 0
    while source.read():
        n += 1
    source.close()
    assert source.problem is None
    return n


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".MP4"])
@pytest.mark.parametrize("frames", [1, 40])
def test_file_holds_every_frame_and_appears_only_when_complete(tmp_path: Path, suffix: str, frames: int) -> None:
    out = tmp_path / f"out{suffix}"
    sink = open_sink(f"file:{out}", SIZE, 29.97)
    for i in range(frames):
        sink.write(noise(i), i / 29.97)
        assert not out.exists()
    sink.close()
    sink.close()
    assert count(out) == frames
    assert [p.name for p in tmp_path.iterdir()] == [out.name]


def test_colours_survive(tmp_path: Path) -> None:
    red = np.full((*SIZE, 3), (220, 30, 30), np.uint8)
    with_red = FileSink(tmp_path / "red.mp4", SIZE, 10)
    for i in range(3):
        with_red.write(red, i / 10)
    with_red.close()
    frame = open_source(str(tmp_path / "red.mp4")).read()
    assert frame is not None
    assert np.abs(frame.image.reshape(-1, 3).mean(0) - (220, 30, 30)).max() < 12


def test_an_older_file_is_replaced_only_by_a_complete_one(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"older")
    sink = FileSink(out, SIZE, 10)
    sink.close()  # no frame came
    assert out.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [out]


def test_dropped_frames_are_filled_so_that_motion_keeps_its_speed(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "live.mp4", SIZE, 10, keep_time=True)
    for t in (100.0, 100.1, 100.52, 100.6, 101.0):  # seconds; 100.2 to 100.4 and 100.7 to 100.9 were dropped
        sink.write(noise(int(t * 10)), t)
    sink.write(noise(0), 100.7)  # a time stamp that goes back is still a frame
    sink.close()
    assert count(tmp_path / "live.mp4") == 12 == sink.frames
    assert sink.repeated == 6


def test_a_mad_time_stamp_does_not_fill_the_disk(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "live.mp4", SIZE, 5, keep_time=True)
    sink.write(noise(0), 0.0)
    sink.write(noise(1), 1e9)
    sink.close()
    assert count(tmp_path / "live.mp4") == 1 + 5 * sinks.MAX_GAP_S


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.mp4").mkdir()
    for path in ("file/out.mp4", "missing/out.mp4", "folder.mp4"):
        with pytest.raises(SpgvtonError, match="cannot write") as caught:
            open_sink(f"file:{tmp_path / path}", SIZE, 10)
        assert "\n" not in str(caught.value)
    with pytest.raises(SpgvtonError, match="cannot write"):
        open_sink("file:/proc/out.mp4", SIZE, 10)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.mp4"]


def test_wrong_words_are_wrong_use(tmp_path: Path) -> None:
    for uri in ("", "out.mp4", "file:", "rtsp://host/x", "windows", "file:out.gif", "file:out"):
        with pytest.raises(UsageError, match=r"file:OUT\.mp4|\.mp4, "):
            open_sink(uri, SIZE, 10)
    with pytest.raises(UsageError, match=r"did you mean file:out\.mp4"):
        open_sink("out.mp4", SIZE, 10)


def test_frame_of_another_size_is_an_error_not_silence(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "out.mp4", SIZE, 10)
    with pytest.raises(SpgvtonError, match="takes frames of"):
        sink.write(np.zeros((10, 10, 3), np.uint8), 0.0)
    sink.close()


def test_little_free_space_is_told_before_and_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = FileSink(tmp_path / "out.mp4", SIZE, 10)
    sink.write(noise(0), 0)
    monkeypatch.setattr(sinks, "MIN_FREE_BYTES", 2**60)
    with pytest.raises(SpgvtonError, match="are free"):
        FileSink(tmp_path / "other.mp4", SIZE, 10)
    with pytest.raises(SpgvtonError, match="are free"):
        for i in range(1, 12):
            sink.write(noise(i), i)
    sink.close()
    assert count(tmp_path / "out.mp4") == sink.frames
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize(("name", "kept"), [("out.mp4", False), ("out.mkv", True), ("out.avi", True)])
def test_failed_writes_are_an_error_and_what_can_be_read_is_kept(tmp_path: Path, name: str, kept: bool) -> None:
    """A file size limit makes write() fail as a full disk does, and OpenCV says nothing either way."""
    code = f"""if True:
        import resource, sys
        import numpy as np
        from spgvton.errors import SpgvtonError
        from spgvton.stream.sinks import FileSink
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        sink = FileSink({str(tmp_path / name)!r}, {SIZE}, 10)
        for i in range(60):
            sink.write(np.random.default_rng(i).integers(0, 255, (*{SIZE}, 3), dtype=np.uint8), i / 10)
        try:
            sink.close()
        except SpgvtonError as e:
            print(e)
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "was not written completely" in done.stdout
    assert "disk full" in done.stdout
    assert done.stderr == ""
    assert [p.name for p in tmp_path.iterdir()] == [name] * kept
    if kept:
        reader = cv2.VideoCapture(str(tmp_path / name))
        frames = 0
        while reader.read()[0]:
            frames += 1
        assert 5 < frames < 60
        assert f"({frames} of 60 frames" in done.stdout


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk with little more room than the margin that is kept free."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = sinks.MIN_FREE_BYTES + 2**20
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_full_disk_ends_a_file_that_plays_and_the_loop_goes_on(small_disk: Path) -> None:
    out = small_disk / "out.mp4"
    file, rest = SinkThread(FileSink(out, SIZE, 10)), NullSink()
    failed: list[tuple[str, str]] = []
    source = Endless()

    def present(view: View) -> np.ndarray:
        return noise(view.frame.index)

    loop = Loop(
        source,
        lambda frame: Perception(np.zeros((18, 3), np.float32)),
        lambda frame, keypoints: frame.image,
        present,
        [file, rest],
        policy="latest",
        on_sink_error=lambda sink, error: failed.append((sink.name, str(error))),
        on_view=lambda view: source.close() if failed and view.frame.index > source.failed_at(failed) + 20 else None,
    )
    report = loop.run()
    (name, words), *others = failed
    assert not others
    assert name == f"file:{out}"
    assert "MiB are free" in words
    assert "\n" not in words
    assert loop.sinks == [rest]
    assert report.frames_out > 20
    assert count(out) > 10


class Endless(Source):
    """A camera of some hundred frames a second."""

    name, live, fps, size = "endless", True, 100.0, SIZE

    def __init__(self) -> None:
        self._closed, self._index, self._failed_at = threading.Event(), 0, -1

    def failed_at(self, failures: list[tuple[str, str]]) -> int:
        if self._failed_at < 0:
            self._failed_at = self._index
        return self._failed_at

    def read(self) -> Frame | None:
        if self._closed.wait(0.01):
            return None
        self._index += 1
        now = time.monotonic()
        return Frame(np.zeros((*SIZE, 3), np.uint8), self._index, now, now)

    def close(self) -> None:
        self._closed.set()


class SlowSink(Sink):
    """Takes its time; counts, and remembers who called."""

    name = "slow"

    def __init__(self, seconds: float, *, fail_at: int | None = None) -> None:
        self.seconds, self._fail_at = seconds, fail_at
        self.written: list[float] = []
        self.callers: set[int] = set()
        self.closed = 0

    def write(self, image: np.ndarray, timestamp: float) -> None:
        self.callers.add(threading.get_ident())
        if len(self.written) == self._fail_at:
            raise SpgvtonError("the disk is full")
        time.sleep(self.seconds)
        self.written.append(timestamp)

    def close(self) -> None:
        self.callers.add(threading.get_ident())
        self.closed += 1


def test_slow_sink_misses_frames_and_holds_nobody_up() -> None:
    slow = SlowSink(0.2)
    thread = SinkThread(slow)
    start = time.monotonic()
    for i in range(100):
        thread.write(noise(0), float(i))
    assert time.monotonic() - start < 0.2 * 50
    thread.close()
    assert slow.written[-1] == 99  # the last one is not lost
    assert slow.written == sorted(slow.written)
    assert thread.dropped == 100 - len(slow.written) > 50
    assert len(slow.callers) == 1
    assert threading.get_ident() not in slow.callers
    assert slow.closed == 1


def test_error_of_a_sink_in_its_thread_is_raised_once() -> None:
    slow = SlowSink(0.0, fail_at=2)
    thread = SinkThread(slow)
    with pytest.raises(SpgvtonError, match="the disk is full"):
        for i in range(1000):
            thread.write(noise(0), float(i))
            time.sleep(0.005)
    thread.close()
    assert slow.closed == 1
    thread = SinkThread(SlowSink(0.0, fail_at=0))
    thread.write(noise(0), 0.0)
    with pytest.raises(SpgvtonError, match="the disk is full"):
        thread.close()  # no write() came that could have told


def test_sink_that_is_stuck_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_thread, "FINISH_S", 0.1)
    slow = SlowSink(1.0)
    thread = SinkThread(slow)
    thread.write(noise(0), 0.0)
    with pytest.raises(SpgvtonError, match="did not finish"):
        thread.close()


def test_who_gets_a_thread(tmp_path: Path) -> None:
    file = FileSink(tmp_path / "out.mkv", SIZE, 10)
    null, slow = NullSink(), SlowSink(0.0)
    latest = in_threads([null, slow, file], "latest")
    assert latest[0] is null
    assert isinstance(latest[1], SinkThread)
    assert isinstance(latest[2], SinkThread)
    waits = in_threads([null, slow, file], "wait")
    assert waits[2] is file  # loses no frame
    assert isinstance(waits[1], SinkThread)
    for sink in (*latest, waits[1]):
        sink.close()


def test_null_takes_everything() -> None:
    sink = open_sink("null", SIZE, 10)
    assert isinstance(sink, NullSink)
    sink.write(np.zeros((1, 1, 3), np.uint8), 0)
    sink.idle()
    sink.close()
    assert not sink.wants_stop


def test_window_is_refused_in_words_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Qt would abort the whole process."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not can_show_window()
    with pytest.raises(SpgvtonError, match=r"no window can be shown here.*file:OUT"):
        open_sink("window", SIZE, 10)


class FakeScreen:
    """Stands in for OpenCV's window functions. key: what waitKey gives. visible: None is what Qt does after closing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.key, self.visible, self.shown, self.closed = -1, 1.0, 0, 0
        monkeypatch.setattr(sinks, "can_show_window", lambda: True)
        for name in ("namedWindow", "resizeWindow", "setWindowProperty"):
            monkeypatch.setattr(sinks.cv2, name, lambda *_: None)
        monkeypatch.setattr(sinks.cv2, "imshow", self.show)
        monkeypatch.setattr(sinks.cv2, "waitKeyEx", lambda _: self.key)
        monkeypatch.setattr(sinks.cv2, "getWindowProperty", self.property)
        monkeypatch.setattr(sinks.cv2, "destroyAllWindows", self.destroy)

    def show(self, title: str, image: np.ndarray) -> None:
        self.shown += 1

    def property(self, *_: object) -> float:
        if self.visible is None:
            raise sinks.cv2.error("NULL guiReceiver (please create a window)")
        return self.visible

    def destroy(self) -> None:
        self.closed += 1
        self.property()


@pytest.mark.parametrize(("key", "visible"), [(ord("q"), 1.0), (27, 1.0), (-1, 0.0), (-1, None)])
def test_window_ends_on_q_escape_and_its_button(
    monkeypatch: pytest.MonkeyPatch, key: int, visible: float | None
) -> None:
    screen = FakeScreen(monkeypatch)
    sink = open_sink("window", SIZE, 10)
    sink.idle()  # before the first picture
    sink.write(noise(0), 0)
    assert not sink.wants_stop
    screen.key, screen.visible = key, visible  # type: ignore[assignment]
    sink.idle()
    assert sink.wants_stop
    sink.close()
    sink.close()
    assert (screen.shown, screen.closed) == (1, 1)


@pytest.mark.skipif(not shutil.which("Xvfb"), reason="apt-get install xvfb")
def test_real_window_on_a_virtual_screen(tmp_path: Path) -> None:
    """The window flavour of OpenCV is not in the dev extra; where it is, a full-screen window takes frames and closes."""
    code = f"""if True:
        import numpy as np
        from spgvton.errors import SpgvtonError
        from spgvton.stream.sinks import open_sink
        try:
            sink = open_sink("window:fullscreen", {SIZE}, 10)
        except SpgvtonError as e:
            print("refused:", e)
        else:
            for i in range(3):
                sink.write(np.zeros((*{SIZE}, 3), np.uint8), i)
            sink.close()
            print("shown")
    """
    process = subprocess.Popen(
        ["Xvfb", "-displayfd", "1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout
        display = f":{process.stdout.readline().strip()}"
        environment = os.environ | {"PYTHONPATH": str(ROOT), "DISPLAY": display}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    finally:
        process.kill()
        process.communicate()
    flavour = "GUI:                           NONE" in cv2.getBuildInformation()
    assert done.stdout.startswith("refused: no window can be shown here" if flavour else "shown")
