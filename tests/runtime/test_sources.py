"""Sources: what they deliver, and the one line they say when they cannot."""

from __future__ import annotations

import base64
import http.server
import io
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spgvton import image
from spgvton.demo_assets import DemoAssets
from spgvton.errors import SpgvtonError, UsageError
from spgvton.stream import capture, network, supervised
from spgvton.stream.frames import CameraOptions, Frame, Source
from spgvton.stream.sources import open_source
from spgvton.stream.supervised import SupervisedSource
from spgvton.video import cv2

FPS = 15
SIZE = (96, 64)  # height, width


def picture(i: int) -> np.ndarray:
    out = np.full((*SIZE, 3), (200, 40, 20), np.uint8)  # RGB: clearly red, so that swapped channels are seen
    out[:, (3 * i) % SIZE[1] :][:, :8] = (20, 20, 240)
    return out


def make_video(path: Path, frames: int = 30, codec: str = "mp4v", fps: float = FPS) -> Path:
    capture.quiet_opencv()
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, SIZE[::-1])
    for i in range(frames):
        writer.write(picture(i)[..., ::-1].copy())
    writer.release()
    return path


def faststart(path: Path) -> Path:
    """The MP4 at PATH with its index first, as the web has it: truncated, such a file opens and then ends early."""
    data = path.read_bytes()
    boxes, at = {}, 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        boxes[data[at + 4 : at + 8]] = (at, length)
        at += length
    (moov_at, moov_length), (mdat_at, _) = boxes[b"moov"], boxes[b"mdat"]
    moov = bytearray(data[moov_at : moov_at + moov_length])
    table = moov.find(b"stco") + 4
    for i in range(int.from_bytes(moov[table + 4 : table + 8], "big")):
        entry = slice(table + 8 + 4 * i, table + 12 + 4 * i)
        moov[entry] = (int.from_bytes(moov[entry], "big") + moov_length).to_bytes(4, "big")
    path.write_bytes(data[: boxes[b"ftyp"][1]] + moov + data[boxes[b"ftyp"][1] : moov_at])
    assert mdat_at < moov_at
    return path


def truncate(path: Path, part: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    return path


def read_all(source: Source) -> list[Frame]:
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    source.close()
    return frames


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "clip.mp4")


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "mp4v"), (".mkv", "mp4v"), (".avi", "MJPG")])
def test_file_delivers_every_frame_in_rgb_with_presentation_times(tmp_path: Path, suffix: str, codec: str) -> None:
    source = open_source(str(make_video(tmp_path / f"clip{suffix}", codec=codec)))
    assert (source.fps, source.count, source.live, source.size) == (FPS, 30, False, SIZE)
    frames = read_all(source)
    assert [f.index for f in frames] == list(range(30))
    assert np.allclose([f.timestamp for f in frames], np.arange(30) / FPS, atol=0.002)
    assert source.problem is None
    assert frames[0].image[5, 40, 0] > 150 > frames[0].image[5, 40, 2]
    assert np.abs(frames[20].image.astype(int) - picture(20)).mean() < 12
    assert source.read() is None  # also after close


def test_paced_file_is_live_and_keeps_its_rate(video: Path) -> None:
    source = open_source(str(video), realtime=True)
    assert source.live
    start = time.monotonic()
    first = source.read()
    frames = [source.read() for _ in range(6)]
    assert 0.35 < time.monotonic() - start < 1.5
    assert first and frames[-1]
    assert 0.3 < frames[-1].timestamp - first.timestamp < 1.5
    assert frames[-1].captured == frames[-1].timestamp
    source.close()


def test_close_wakes_a_paced_reader(tmp_path: Path) -> None:
    source = open_source(str(make_video(tmp_path / "slow.avi", frames=3, codec="MJPG", fps=0.5)), realtime=True)
    source.read()
    thread = threading.Thread(target=source.read)
    thread.start()
    time.sleep(0.05)
    start = time.monotonic()
    source.close()
    thread.join(2)
    assert not thread.is_alive()
    assert time.monotonic() - start < 1


@pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv", "cut.avi"])
def test_truncated_file_is_told_at_its_end(tmp_path: Path, name: str) -> None:
    path = make_video(tmp_path / name, frames=60, codec="MJPG" if name.endswith("avi") else "mp4v")
    if name.endswith("mp4"):
        faststart(path)
        assert len(read_all(open_source(str(path)))) == 60
    source = open_source(str(truncate(path, 0.5)))
    frames = read_all(source)
    assert 5 < len(frames) < 50
    assert source.problem
    assert f"ended early after {len(frames)} of 60 frames" in source.problem


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_undecodable_files_say_what_is_wrong(tmp_path: Path) -> None:
    cases = {
        "does not exist": tmp_path / "nothing.mp4",
        "is empty": write(tmp_path / "empty.mp4", b""),
        "not a video": write(tmp_path / "text.mp4", b"this is a letter, not a film\n" * 50),
        "truncated MP4": truncate(make_video(tmp_path / "half.mp4"), 0.5),
        "1x1 pixels": write(tmp_path / "dot.png", cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1].tobytes()),
        "truncated JPEG": write(tmp_path / "a.jpg", cv2.imencode(".jpg", picture(0))[1].tobytes()[:400]),
        "holds no picture": tmp_path / "folder",
    }
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder" / "notes.txt", b"hello")
    for words, path in cases.items():
        with pytest.raises(SpgvtonError, match=words) as caught:
            open_source(str(path))
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_folder_in_natural_order_with_a_damaged_picture(tmp_path: Path) -> None:
    for i in (10, 2, 1):
        image.write(tmp_path / f"frame{i}.png", np.full((20, 20 + i, 3), i, np.uint8))
    source = open_source(str(tmp_path))
    frames = read_all(source)
    assert [f.image.shape[1] for f in frames] == [21, 22, 30]
    assert [f.timestamp for f in frames] == [0.0, 0.1, 0.2]
    (tmp_path / "frame2.png").write_bytes(b"broken")
    source = open_source(str(tmp_path))
    assert source.read() is not None
    with pytest.raises(SpgvtonError, match=r"frame2\.png"):
        source.read()


def test_one_picture_is_one_frame(tmp_path: Path) -> None:
    image.write(tmp_path / "me.png", picture(0))
    frames = read_all(open_source(f"file://{tmp_path / 'me.png'}"))
    assert len(frames) == 1
    assert np.array_equal(frames[0].image, picture(0))


def test_wrong_words_are_wrong_use() -> None:
    for uri in (
        *("", "ftp://host/clip.mp4", "http:///clip.mp4", "rtsp://host:port/x", "csi://x", "csi://", "csi://0?fps=0"),
        *("0?size=big", "/dev/video0?zoom=2", "synthetic://park", "synthetic://?stay=3", "synthetic://?fps=0"),
    ):
        with pytest.raises(UsageError):
            open_source(uri)


def test_missing_camera() -> None:
    for uri in ("97", "/dev/video97"):
        with pytest.raises(SpgvtonError, match=r"camera 97 is not there.*spgvton doctor"):
            open_source(uri)
    with pytest.raises(SpgvtonError, match="not a camera"):
        open_source("/dev/null")


class Driver:
    """Stands in for a V4L2 device, which no test machine has. Takes what it is asked for, unless it is in `fixed`."""

    def __init__(self, fixed: dict[int, float] | None = None, period: float = 0.0) -> None:
        self.asked: list[int] = []
        self.values: dict[int, float] = {cv2.CAP_PROP_FPS: 30.0}
        self._fixed, self._period = fixed or {}, period

    def set(self, name: int, value: float) -> bool:
        self.asked.append(name)
        self.values[name] = self._fixed.get(name, value)
        return name not in self._fixed

    def get(self, name: int) -> float:
        return self.values.get(name, 0.0)

    def grab(self) -> bool:
        time.sleep(self._period)
        return True

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, picture(0)[..., ::-1]

    def release(self) -> None:
        pass


def test_camera_is_asked_for_mjpg_first_then_size_then_rate() -> None:
    driver = Driver(fixed={cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"YUYV")})
    capture.negotiate(driver, CameraOptions.parse("size=1920x1080&fps=25", "0"))  # type: ignore[arg-type]
    order = [cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS]
    assert driver.asked[:4] == order
    assert [driver.values[name] for name in order[1:]] == [1920, 1080, 25]
    assert driver.values[cv2.CAP_PROP_BUFFERSIZE] == 1


def test_rate_of_a_camera_is_measured_not_believed() -> None:
    camera = capture.LiveCapture("camera 0", Driver(period=0.05))  # type: ignore[arg-type]
    assert camera.fps == 30
    camera.measure_fps()
    assert 3 < camera.fps < 20.5
    camera.close()


def test_unreachable_url_is_told_without_the_password() -> None:
    start = time.monotonic()
    for scheme in ("http", "rtsp"):
        with pytest.raises(SpgvtonError, match="cannot be reached") as caught:
            open_source(f"{scheme}://user:secret@127.0.0.1:9/live?token=secret")
        assert "secret" not in str(caught.value)
    assert time.monotonic() - start < 5


class MjpegHandler(http.server.BaseHTTPRequestHandler):
    """MJPEG under /live, /bare (no lengths) and /damaged, a file under /clip.mp4, text elsewhere."""

    clip: bytes = b""
    limit = 10**9  # pictures per connection
    gone = False
    authorization = ""

    def do_GET(self) -> None:
        if self.path == "/clip.mp4":
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.clip)))
            self.end_headers()
            self.wfile.write(self.clip)
            return
        MjpegHandler.authorization = self.headers.get("Authorization", "")
        self.send_response(404 if self.gone else 200)
        if self.gone or self.path not in ("/live", "/bare", "/damaged"):
            self.end_headers()
            self.wfile.write(b"hello")
            return
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for i in range(self.limit):
                data = cv2.imencode(".jpg", picture(i))[1].tobytes()
                if self.path == "/damaged" and i % 3 == 1:
                    data = data[: len(data) // 2]
                length = b"" if self.path == "/bare" else b"Content-Length: %d\r\n" % len(data)
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n" + length + b"\r\n" + data + b"\r\n")
                time.sleep(0.02)
        except OSError:
            pass

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(video: Path) -> Iterator[str]:
    MjpegHandler.clip, MjpegHandler.limit, MjpegHandler.gone = video.read_bytes(), 10**9, False
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), MjpegHandler)
    httpd.daemon_threads = True
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


def test_mjpeg_stream_is_live(server: str) -> None:
    source = open_source(f"{server}/live")
    assert source.live
    assert source.size == SIZE
    frames = [source.read() for _ in range(5)]
    times = [f.timestamp for f in frames if f]
    assert len(times) == 5
    assert all(a < b for a, b in itertools.pairwise(times))
    source.close()


def test_lost_stream_is_opened_again(server: str) -> None:
    MjpegHandler.limit = 60
    source = open_source(f"{server}/live")
    for _ in range(80):
        assert source.read() is not None
    assert isinstance(source, SupervisedSource)
    assert source.restarts >= 1
    source.close()


def test_stream_that_stays_away_is_an_error(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MjpegHandler.limit = 30
    monkeypatch.setattr(supervised, "PATIENCE_S", 0.2)
    source = open_source(f"{server}/live")
    assert isinstance(source, SupervisedSource)
    source.patience_s = 0.2
    MjpegHandler.gone = True
    with pytest.raises(SpgvtonError, match="was lost and did not come back"):
        for _ in range(200):
            source.read()
    source.close()


def test_mjpeg_with_log_in_and_without_lengths(server: str) -> None:
    source = open_source(server.replace("http://", "http://user:se%20cret@") + "/bare")
    assert (source.name, source.size) == (f"{server}/bare", SIZE)
    assert MjpegHandler.authorization == "Basic " + base64.b64encode(b"user:se cret").decode()
    assert source.read() is not None
    source.close()


def test_damaged_pictures_of_a_stream_are_left_out(server: str) -> None:
    source = open_source(f"{server}/damaged")  # every third picture is cut in half
    for _ in range(6):
        frame = source.read()
        assert frame is not None
        assert not (np.abs(frame.image.astype(int) - 128).max(axis=-1) < 12).any()  # grey is what is missing of a JPEG
    assert isinstance(source, SupervisedSource)
    assert source.restarts == 0
    source.close()


@given(st.binary(max_size=400), st.integers(0, 6))
def test_no_bytes_of_a_server_crash_or_hang_the_mjpeg_reader(noise: bytes, cut: int) -> None:
    jpeg = cv2.imencode(".jpg", picture(0))[1].tobytes()
    good = b"--x\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg)
    data = good[: len(good) - cut] + noise + good + b"--x\r\nContent-Length: -5\r\n\r\n"
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            stream = network.MjpegStream("noise", ours, io.BytesIO(data))
            for _ in range(5):
                stream.read()
        except SpgvtonError:
            pass
        else:
            pytest.fail("the stream has an end")
        finally:
            ours.close()


def test_video_behind_http_has_an_end_and_text_is_no_stream(server: str) -> None:
    source = open_source(f"{server}/clip.mp4")
    assert not source.live
    assert len(read_all(source)) == 30
    with pytest.raises(SpgvtonError, match="no video stream"):
        open_source(f"{server}/text")


def test_opencv_and_ffmpeg_print_nothing(tmp_path: Path) -> None:
    """In a fresh process and at the file descriptor: the libraries write past sys.stderr."""
    bad = [truncate(make_video(tmp_path / "half.mp4"), 0.5), truncate(make_video(tmp_path / "half.mkv"), 0.5)]
    code = (
        "import sys\nfrom spgvton.errors import SpgvtonError\nfrom spgvton.stream.sources import open_source\n"
        "for uri in sys.argv[1:]:\n  try:\n    s = open_source(uri)\n    while s.read(): pass\n    print(s.problem)\n"
        "  except SpgvtonError as e: print(e)\n"
    )
    arguments = [*map(str, bad), "97", "http://127.0.0.1:9/x"]
    environment = os.environ | {"PYTHONPATH": str(Path(capture.__file__).parents[2])}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 4


def test_synthetic_person_moves_without_end_and_comes_and_goes() -> None:
    source = open_source("synthetic://?fps=500&stay=0.38&away=0.02")
    assert (source.live, source.size, source.fps) == (True, (720, 540), 500)
    frames = [source.read() for _ in range(201)]
    pictures = [f.image for f in frames if f is not None]
    assert len(pictures) == 201  # the clip has 180
    steps = [float(np.abs(a.astype(int) - b).mean()) for a, b in itertools.pairwise(pictures[176:184])]
    assert max(steps) < 4  # the end leads back to the beginning
    room = DemoAssets.open().room()
    there = np.abs(pictures[189].astype(int) - room).mean()
    assert there > 10 and np.array_equal(pictures[195], room)  # after 0.38 s the person is away
    source.close()
    assert source.read() is None
