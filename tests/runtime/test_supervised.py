"""Sources that are lost: the real servers are killed, stopped and restarted, and the stream goes on."""

from __future__ import annotations

import http.server
import itertools
import logging
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
from helpers import free_port

from spgvton.errors import SpgvtonError, UsageError
from spgvton.stream import supervised
from spgvton.stream.frames import Frame, Source
from spgvton.stream.sources import connector, open_source
from spgvton.stream.supervised import SupervisedSource
from spgvton.video import cv2

RTSP_SERVER = Path(__file__).parent / "rtsp_server.py"
PATIENCE_S = 60.0  # of the tests, on a busy machine


def watch(uri: str) -> SupervisedSource:
    how = connector(uri, realtime=True)
    return SupervisedSource(how.open, how.name, patience_s=PATIENCE_S, replay=not how.may_be_lost)


def read(source: Source, count: int) -> list[Frame]:
    frames = [frame for frame in itertools.islice(iter(source.read, None), count) if frame is not None]
    assert len(frames) == count
    return frames


def check_order(frames: list[Frame]) -> None:
    """Nothing but the missing frames shows that there was more than one connection."""
    assert [f.index for f in frames] == list(range(frames[0].index, frames[0].index + len(frames)))
    assert all(a.timestamp < b.timestamp for a, b in itertools.pairwise(frames))


class RtspServer:
    """A server process on a fixed port, which is killed, stopped and started again."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"rtsp://127.0.0.1:{self.port}/camera"
        self.start()

    def start(self, *options: str) -> None:
        command = [sys.executable, str(RTSP_SERVER), str(self.port), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def rtsp() -> Iterator[RtspServer]:
    server = RtspServer()
    yield server
    server.kill()


class Handler(http.server.BaseHTTPRequestHandler):
    """An MJPEG stream whose faults are set from outside."""

    size: Callable[[int], tuple[int, int]] = staticmethod(lambda i: (96, 64))
    period: Callable[[int], float] = staticmethod(lambda i: 0.01)
    stall_at: int | None = None  # frame after which the first connection sends nothing more, and does not close either
    connections = 0
    released = threading.Event()

    def do_GET(self) -> None:
        Handler.connections += 1
        first = Handler.connections == 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for i in itertools.count():
                if first and i == self.stall_at:
                    self.released.wait()
                    return
                data = cv2.imencode(".jpg", np.full((*self.size(i), 3), i % 200, np.uint8))[1].tobytes()
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data))
                self.wfile.write(data + b"\r\n")
                time.sleep(self.period(i))
        except OSError:
            pass

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def http_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Handler, "connections", 0)
    monkeypatch.setattr(Handler, "released", threading.Event())
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/live"
    Handler.released.set()
    server.shutdown()
    server.server_close()


def test_rtsp_server_killed_and_restarted(rtsp: RtspServer, caplog: pytest.LogCaptureFixture) -> None:
    source = watch(rtsp.url)
    before = read(source, 20)
    assert source.ok
    assert source.size == (96, 64)
    assert before[5].image[5, 40, 0] > 150 > before[5].image[5, 40, 2]  # red stays red
    rtsp.kill()
    rest: list[Frame] = []
    reader = threading.Thread(target=lambda: rest.extend(read(source, 60)))
    reader.start()
    while source.ok:
        time.sleep(0.02)
    assert source.frame_age_s > 0.2
    rtsp.start()
    reader.join(PATIENCE_S)
    check_order(before + rest)
    assert source.ok
    assert source.restarts >= 1
    assert source.name in source.last_error
    words = [record.getMessage() for record in caplog.records]
    assert any("opening it again" in w for w in words)
    assert any("is back after" in w for w in words)
    source.close()


def test_rtsp_server_that_hangs_is_given_up_and_opened_again(rtsp: RtspServer) -> None:
    """SIGSTOP: the connection stays open, nothing comes, and FFmpeg alone would wait for five seconds and more."""
    source = watch(rtsp.url)
    before = read(source, 10)
    rtsp.process.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    rest: list[Frame] = []
    reader = threading.Thread(target=lambda: rest.extend(read(source, 40)))
    reader.start()
    while source.ok:
        time.sleep(0.02)
    assert time.monotonic() - stopped >= supervised.STALL_S - 1
    assert "delivered no frame for" in source.last_error
    rtsp.process.send_signal(signal.SIGCONT)
    reader.join(PATIENCE_S)
    check_order(before + rest)
    source.close()


def test_resolution_changes_in_mid_stream_over_rtsp(rtsp: RtspServer) -> None:
    rtsp.kill()
    rtsp.start("40")
    source = watch(rtsp.url)
    shapes = [f.image.shape[:2] for f in read(source, 70)]
    assert (shapes[0], shapes[-1]) == ((96, 64), (64, 96))
    assert source.restarts == 0
    source.close()


def test_http_stream_that_stalls_without_closing(http_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "stall_at", 30)
    source = watch(http_server)
    frames = read(source, 80)
    check_order(frames)
    assert source.restarts >= 1
    assert Handler.connections >= 2
    gaps = np.diff([f.captured for f in frames])
    assert gaps.max() >= supervised.STALL_S
    source.close()


def test_resolution_changes_in_mid_stream_over_http(http_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "size", staticmethod(lambda i: (96, 64) if i < 20 else (120, 160)))
    source = watch(http_server)
    shapes = [f.image.shape[:2] for f in read(source, 60)]
    assert shapes[0] == (96, 64)
    assert shapes[-1] == (120, 160)
    assert source.restarts == 0
    source.close()


def test_sixty_to_five_frames_a_second_is_no_loss(http_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "period", staticmethod(lambda i: 1 / 60 if i < 60 else 0.2))
    monkeypatch.setattr(supervised, "RATE_FRAMES", 6)
    source = watch(http_server)
    read(source, 50)
    read(source, 20)
    assert source.restarts == 0
    assert 1 < source.measured_fps < 7
    source.close()


def test_truncated_file_plays_again_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "camera.mkv"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 60, (64, 96))
    for i in range(60):
        writer.write(np.full((96, 64, 3), 4 * i, np.uint8))
    writer.release()
    source = watch(str(path))
    whole = read(source, 100)
    check_order(whole)
    assert source.restarts == 0  # its end is no loss
    source.close()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = watch(str(path))
    check_order(read(source, 60))
    assert source.restarts >= 1
    assert "ended early" in source.last_error
    source.close()


class Scripted(Source):
    """A driver that misbehaves: READ is called for every frame."""

    live, fps, size, name = True, 30.0, (4, 4), "driver"

    def __init__(self, read: Callable[[], Frame | None]) -> None:
        self.closed = threading.Event()
        self._read = read

    def read(self) -> Frame | None:
        return self._read()

    def close(self) -> None:
        self.closed.set()


def frame() -> Frame:
    now = time.monotonic()
    return Frame(np.zeros((4, 4, 3), np.uint8), 0, now, now)


def forever(event: threading.Event) -> Callable[[], None]:
    """A read() that returns when EVENT is set."""

    def read() -> None:
        event.wait()

    return read


def slowly() -> Frame:
    time.sleep(0.01)
    return frame()


def test_driver_that_never_returns_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "CONNECT_S", 0.3)
    release = threading.Event()
    stuck, good = Scripted(forever(release)), Scripted(slowly)
    sources: Iterator[Source] = iter([stuck, good])
    source = SupervisedSource(lambda: next(sources), "driver", patience_s=PATIENCE_S)
    check_order(read(source, 5))
    assert source.restarts == 1
    start = time.monotonic()
    source.close()
    assert time.monotonic() - start < 3
    assert stuck.closed.is_set()
    assert good.closed.is_set()
    assert source.read() is None
    release.set()


def test_drivers_that_never_return_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror waits for its camera for ever, but not with a thread more for every attempt: a new process frees them."""
    monkeypatch.setattr(supervised, "CONNECT_S", 0.02)
    monkeypatch.setattr(supervised, "PAUSE_S", (0.0, 0.0))
    monkeypatch.setattr(supervised, "MAX_STUCK", 3)
    release = threading.Event()
    opened = 0

    def connect() -> Source:
        nonlocal opened
        opened += 1
        # Every second one fails as it should, and leaves no thread behind.
        return Scripted(forever(release) if opened % 2 else lambda: None)

    source = SupervisedSource(connect, "camera 3", patience_s=float("inf"))
    with pytest.raises(SpgvtonError, match=r"3 connections to camera 3 are stuck in its driver: start again"):
        source.read()
    assert opened == 5
    source.close()
    release.set()


def test_a_bug_in_a_source_is_not_taken_for_a_loss() -> None:
    def broken() -> Frame:
        raise KeyError("a bug")

    source = SupervisedSource(lambda: Scripted(broken), "driver")
    with pytest.raises(KeyError):
        source.read()
    source.close()


def test_close_ends_a_read_that_waits() -> None:
    release = threading.Event()
    source = SupervisedSource(lambda: Scripted(forever(release)), "quiet")
    results: list[Frame | None] = []
    reader = threading.Thread(target=lambda: results.append(source.read()))
    reader.start()
    time.sleep(0.1)
    source.close()
    reader.join(5)
    assert results == [None]
    release.set()


def test_pauses_grow_and_patience_ends(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(supervised, "PAUSE_S", (0.02, 0.08))

    def refuse() -> Source:
        raise SpgvtonError("camera 7 is not there")

    source = SupervisedSource(refuse, "camera 7", patience_s=0.5)
    with pytest.raises(SpgvtonError, match=r"camera 7 was lost.*within 0 s.*last: camera 7 is not there"):
        source.read()
    pauses = [float(str(r.args[1])) for r in caplog.records if isinstance(r.args, tuple) and len(r.args) == 3]
    assert pauses[:4] == [0.02, 0.04, 0.08, 0.08]
    assert source.restarts == len(pauses)
    assert not source.ok


def test_wrong_use_is_not_tried_again() -> None:
    def wrong() -> Source:
        raise UsageError("no such thing")

    with pytest.raises(UsageError):
        SupervisedSource(wrong, "x").read()


def test_the_tool_opens_at_once_or_fails_at_once(rtsp: RtspServer) -> None:
    source = open_source(rtsp.url)
    assert isinstance(source, SupervisedSource)
    assert source.ok
    assert source.size == (96, 64)
    read(source, 3)
    source.close()
    rtsp.kill()
    with pytest.raises(SpgvtonError, match="cannot be reached"):
        open_source(rtsp.url)
    rtsp.start()


def test_wall_clock_is_nowhere_used() -> None:
    """A clock that is set (NTP, summer time, an empty battery) must change nothing: only the monotonic one is read."""
    import spgvton

    package = Path(spgvton.__file__).parent
    for path in [*(package / "stream").glob("*.py"), *(package / "perception").glob("*.py")]:
        text = path.read_text()
        assert "time.time(" not in text, path
        assert "datetime" not in text, path


def test_wall_clock_set_back_a_day(http_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = watch(http_server)
    before = read(source, 10)
    monkeypatch.setattr(time, "time", lambda: 1.0)
    after = read(source, 30)
    check_order(before + after)
    assert after[-1].captured - before[0].captured < PATIENCE_S
    assert source.restarts == 0
    source.close()


def test_nothing_is_left_behind() -> None:
    """Many lost connections: threads and descriptors do not add up."""
    source = SupervisedSource(lambda: Scripted(iter([frame(), None]).__next__), "flapping", patience_s=PATIENCE_S)
    logging.getLogger(supervised.__name__).setLevel(logging.ERROR)
    try:
        source._pause = 0.0
        read(source, 5)
        threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
        read(source, 40)
        assert threading.active_count() <= threads + 1
        assert len(os.listdir("/proc/self/fd")) <= descriptors
    finally:
        source.close()
        logging.getLogger(supervised.__name__).setLevel(logging.NOTSET)
