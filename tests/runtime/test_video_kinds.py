"""Videos and streams as people have them: interlaced, with oblong pixels, of a variable rate, with odd names and passwords."""

from __future__ import annotations

import base64
import http.server
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from spgvton import image
from spgvton.cli import main
from spgvton.demo_assets import DemoAssets
from spgvton.errors import SpgvtonError
from spgvton.files import utf8_path
from spgvton.stream import supervised
from spgvton.stream.capture import square_pixels, stands_still
from spgvton.stream.frames import Frame, Source
from spgvton.stream.network import Address
from spgvton.stream.sinks import FileSink
from spgvton.stream.sources import open_source
from spgvton.stream.supervised import SupervisedSource

DATA = Path(__file__).parent.parent / "data"


def read_all(source: Source) -> list[Frame]:
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    source.close()
    return frames


# ------------------------------------------------------------------ files
def test_interlaced_video_is_refused_with_the_way_out_or_shown() -> None:
    """OpenCV 5.0 converts no interlaced frame and shows memory; where a version can, the pictures must be there."""
    try:
        frames = read_all(open_source(str(DATA / "interlaced.mp4")))
    except SpgvtonError as e:
        assert "interlaced" in str(e) and "yadif" in str(e) and "\n" not in str(e)
    else:
        assert len(frames) == 12 and all(frame.image.mean() > 60 for frame in frames)


def test_a_still_or_black_video_is_not_taken_for_an_interlaced_one(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (96, 64, 3), np.uint8)
    for name, picture, codec in (
        ("still.mp4", noise, "mp4v"), ("black.mp4", noise * 0, "mp4v"), ("still.avi", noise, "MJPG"),
    ):  # fmt: skip
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 15, (64, 96))
        for _ in range(12):
            writer.write(picture)
        writer.release()
        assert not stands_still(str(path)), name
    assert not stands_still(str(DemoAssets.open().clip))


def test_pixels_are_made_square() -> None:
    """sar2.mp4 holds 48 x 128 pixels that are twice as wide as high."""
    source = open_source(str(DATA / "sar2.mp4"))
    assert source.size == (128, 96)
    frames = read_all(source)
    stored = cv2.VideoCapture(str(DATA / "sar2.mp4")).read()[1][..., ::-1]
    assert stored.shape == (128, 48, 3)
    assert len(frames) == 12 and np.abs(frames[0].image[:, ::2].astype(int) - stored).mean() < 15
    assert square_pixels(np.zeros((100, 90, 3), np.uint8), 0.5).shape == (200, 90, 3)
    assert square_pixels(np.zeros((100, 90, 3), np.uint8), 1.0).shape == (100, 90, 3)


def test_av1_is_read_or_named() -> None:
    try:
        frames = read_all(open_source(str(DATA / "av1.mp4")))
    except SpgvtonError as e:
        assert "AV1" in str(e) and "ffmpeg -i IN" in str(e)
    else:
        assert len(frames) == 12


def test_sound_without_pictures_is_named() -> None:
    with pytest.raises(SpgvtonError, match="holds sound only"):
        open_source(str(DATA / "audio.mp4"))


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(SpgvtonError, match="git lfs pull"):
        open_source(str(tmp_path / "a.mp4"))


NAMES = [
    b"12:30 walk.mp4",
    b"rtsp:walk.mp4",
    b"walk%03d.mp4",
    b"caf\xe9.mp4",
    b"\xff\xfe/walk \xc3\x28.mp4",
    b"a?b#c.mp4",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_read_and_written(tmp_path: Path, name: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that are not UTF-8 crashed the whole process; "12:" was taken for a protocol."""
    path = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
    path.parent.mkdir(exist_ok=True)
    monkeypatch.chdir(path.parent)
    shutil.copyfile(DATA / "sar2.mp4", path)
    source = open_source(path.name)
    frames = read_all(source)
    assert len(frames) == 12
    out = Path(f"out-{path.name}")
    sink = FileSink(out, source.size, source.fps)
    for frame in frames:
        sink.write(frame.image, frame.timestamp)
    sink.close()
    assert len(read_all(open_source(str(out)))) == 12
    assert sorted(p.name for p in Path(".").iterdir()) == sorted([path.name, out.name])


def test_the_command_line_survives_a_name_that_is_not_utf8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    path.write_bytes(b"no video")
    garment = DemoAssets.open().folder / "garment_1.jpg"
    assert main(["run", "--source", str(path), "--garment", str(garment), "--sink", "null", "--json"]) == 1
    assert "is not a video that can be decoded" in capsys.readouterr().err


def test_a_link_stands_in_for_a_name_only_while_it_is_needed(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mkv"))
    with utf8_path(odd) as plain:
        assert plain.isascii() and plain.endswith(".mkv")
        Path(plain).write_bytes(b"through the link")
    assert odd.read_bytes() == b"through the link" and not os.path.lexists(plain)
    with utf8_path(tmp_path / "plain.mkv") as same:
        assert same == str(tmp_path / "plain.mkv")


@pytest.mark.parametrize("fps", [15.0, 30.0, 5.0])
def test_a_file_of_variable_rate_lasts_as_long_as_its_source(tmp_path: Path, fps: float) -> None:
    """12 frames at 30 a second, then 12 at 5: 2.6 s, whatever rate was announced."""
    times = [i / 30 for i in range(12)] + [0.4 + i / 5 for i in range(12)]
    sink = FileSink(tmp_path / "out.mkv", (64, 48), fps, keep_time=True)
    for i, when in enumerate(times):
        sink.write(np.full((64, 48, 3), 10 * i, np.uint8), when)
    sink.close()
    assert sink.frames / fps == pytest.approx(2.6 + 1 / fps, abs=0.5 + 1 / fps if fps < 10 else 1.5 / fps)


def test_run_keeps_the_duration_of_a_file_and_every_frame(tmp_path: Path) -> None:
    """As a shop's telephone records: 12 frames in 0.8 s, and a gap."""
    frames = read_all(open_source(str(DemoAssets.open().clip)))[:30]
    assert [round(frame.timestamp * 15) for frame in frames] == list(range(30))
    height, width = frames[0].image.shape[:2]
    sink = FileSink(tmp_path / "out.mp4", (height, width), 15, keep_time=True)
    for frame in frames:
        sink.write(frame.image, frame.timestamp)
    sink.close()
    assert (sink.frames, sink.repeated) == (30, 0)


# ------------------------------------------------------------------ motion JPEG
JPEG = cv2.imencode(".jpg", np.random.default_rng(1).integers(0, 255, (64, 48, 3), np.uint8))[1].tobytes()


@contextmanager
def mjpeg(part: Callable[[], bytes], interval: float = 0.01, boundary: str = "frame") -> Iterator[str]:
    """A camera that sends what PART gives, without end."""

    class Camera(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={boundary}")
            self.end_headers()
            try:
                while not ended.is_set():
                    self.wfile.write(part())
                    ended.wait(interval)
            except OSError:
                pass

    ended = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        ended.set()
        server.shutdown()


def part(body: bytes, length: str | None) -> bytes:
    head = b"" if length is None else b"Content-Length: " + length.encode() + b"\r\n"
    return b"--frame\r\nContent-Type: image/jpeg\r\n" + head + b"\r\n" + body + b"\r\n"


PADDED = JPEG + b"\x5a" * 144
PARTS = {
    "exact": part(JPEG, str(len(JPEG))), "padded": part(PADDED, str(len(PADDED))),
    "padded with zeros, no length": part(JPEG + bytes(2000), None), "too short": part(JPEG, str(len(JPEG) // 2)),
    "a little short": part(JPEG, str(len(JPEG) - 1)), "too long": part(JPEG, str(len(JPEG) + 9)), "zero": part(JPEG, "0"),
    "huge": part(JPEG, "99999999999"), "negative": part(JPEG, "-5"), "a word": part(JPEG, "many"),
}  # fmt: skip


@pytest.mark.parametrize("how", PARTS)
def test_every_picture_comes_whole_whatever_the_camera_says_of_its_length(how: str) -> None:
    expected = image.decode(JPEG, "a.jpg")
    with mjpeg(lambda: PARTS[how]) as url:
        source = open_source(url)
        frames = [source.read() for _ in range(6)]
        source.close()
    assert all(frame is not None and (frame.image == expected).all() for frame in frames)


@pytest.mark.parametrize("boundary", ['"frame"', "--frame", "frame"])
def test_boundaries_are_understood_as_cameras_write_them(boundary: str) -> None:
    with mjpeg(lambda: PARTS["too short"], boundary=boundary) as url:
        source = open_source(url)
        assert all(source.read() is not None for _ in range(3))
        source.close()


def test_a_slow_camera_is_not_reconnected_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """One frame in a second where 0.2 s count as a stall (times as in life, but for a factor of ten)."""
    monkeypatch.setattr(supervised, "STALL_S", 0.2)
    monkeypatch.setattr(supervised, "PAUSE_S", (0.02, 0.1))
    with mjpeg(lambda: PARTS["exact"], interval=1.0) as url:
        source = open_source(url)
        assert isinstance(source, SupervisedSource)
        began = time.monotonic()
        while time.monotonic() - began < 5:
            source.read()
        early = source.restarts
        for _ in range(3):
            source.read()
        assert source.restarts == early <= 5
        source.close()


# ------------------------------------------------------------------ addresses
SECRET = "pa#s/s@w?rd:1"


@pytest.mark.parametrize(
    ("url", "user", "host", "port", "path"),
    [
        (f"rtsp://admin:{SECRET}@192.168.1.7/main", f"admin:{SECRET}", "192.168.1.7", 554, "/main"),
        (f"rtsp://admin:{SECRET}@cam.shop.lan:8554/a?b=1", f"admin:{SECRET}", "cam.shop.lan", 8554, "/a?b=1"),
        (f"http://admin:{SECRET}@[fe80::1]:81/v", f"admin:{SECRET}", "fe80::1", 81, "/v"),
        ("rtsp://admin:12/34@10.0.0.5/main", "admin:12/34", "10.0.0.5", 554, "/main"),
        ("rtsp://admin:a/b@camera/main", "admin:a/b", "camera", 554, "/main"),
        ("rtsp://admin:a#b@camera", "admin:a#b", "camera", 554, "/"),
        ("rtsp://admin:p@ss@camera/x", "admin:p@ss", "camera", 554, "/x"),
        ("rtsp://admin:pw@camera/live@2", "admin:pw", "camera", 554, "/live@2"),
        ("rtsp://10.0.0.5:554/live@main", "", "10.0.0.5", 554, "/live@main"),
        ("rtsp://camera:554/live@1", "", "camera", 554, "/live@1"),
        ("rtsp://admin:a%23b@10.0.0.5/x", "admin:a#b", "10.0.0.5", 554, "/x"),
        ("https://cam.lan/v?user=a@b.c", "", "cam.lan", 443, "/v?user=a@b.c"),
        ("http://camera/v?user=a@b.c", "", "camera", 80, "/v?user=a@b.c"),
        ("rtsp://admin@10.0.0.5/x", "admin:", "10.0.0.5", 554, "/x"),
    ],
)
def test_addresses_with_passwords_as_people_write_them(url: str, user: str, host: str, port: int, path: str) -> None:
    found = Address.parse(url)
    assert (found.host, found.port, found.path) == (host, port, path)
    given = base64.b64decode(found.authorization.removeprefix("Basic ")).decode() if found.authorization else ""
    assert given == user
    again = Address.parse(found.url)  # what FFmpeg gets means the same
    assert (again.host, again.authorization, again.path) == (found.host, found.authorization, found.path)
    address = f"[{host}]" if ":" in host else host
    assert found.name.partition("://")[2].removeprefix(address).split(":")[-1].lstrip("0123456789") in (
        path.split("?")[0],
        "",
    )


@pytest.mark.parametrize("url", [f"rtsp://admin:{SECRET}@", "rtsp://u:a#b", "rtsp://u:w?rd"])
def test_no_part_of_a_password_is_printed_or_looked_up(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    garment = DemoAssets.open().folder / "garment_1.jpg"
    asked: list[object] = []

    def no_network(*address: object, **_: object) -> None:
        asked.append(address)
        raise OSError("no network in this test")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("socket.create_connection", no_network)
        assert main(["run", "--source", url, "--garment", str(garment), "--sink", "null"]) in (1, 2)
    said = capsys.readouterr().err
    assert not asked, asked
    for secret in ("pa#", "s/s", "w?rd", "w%3Frd", "a#b"):
        assert secret not in said
