"""Sources that OpenCV decodes: video files, cameras (V4L2) and network streams (FFmpeg)."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from spgvton.errors import SpgvtonError
from spgvton.files import inputs, utf8_path
from spgvton.image_header import LFS_POINTER
from spgvton.stream.frames import CameraOptions, Frame, Pacer, Source, UInt8, check_size, frame_of
from spgvton.video import cv2

DEFAULT_FPS: Final = 30.0
OPEN_TIMEOUT_S: Final = 10.0
READ_TIMEOUT_S: Final = (
    30.0  # the last resort: a stall is noticed much sooner (supervised.py), and a slow camera is none
)
HOW_TO_CONVERT: Final = "convert it with ffmpeg -i IN -vf yadif -c:v libx264 OUT.mp4"
CONVERT: Final = {"av01": "AV1", "vp09": "VP9", "vp90": "VP9", "hvc1": "H.265", "hev1": "H.265", "apch": "ProRes"}
PROBED: Final = 8  # frames
MAX_INDEX_BYTES: Final = 64 * 2**20
DEFAULT_OPTIONS: Final = CameraOptions()
MEASURED_FRAMES: Final = 15
MEASURE_S: Final = 2.0  # at most, on opening a camera
# Over UDP half of the pictures of a busy wireless network arrive damaged; the other two keep FFmpeg from queueing frames.
RTSP_OPTIONS: Final = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay"


def quiet_opencv() -> None:
    """Keep OpenCV and FFmpeg from printing; every failure becomes an error of ours."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read once, at the first capture of the process
    set_level = getattr(cv2, "setLogLevel", None) or getattr(cv2.utils.logging, "setLogLevel", None)
    if set_level:
        set_level(0)


@contextmanager
def _ffmpeg_options(options: str | None) -> Iterator[None]:
    """OpenCV takes FFmpeg's options from the environment only; the user's own come first."""
    name = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
    if options is None or name in os.environ:
        yield
        return
    os.environ[name] = options
    try:
        yield
    finally:
        os.environ.pop(name, None)


def pixel_aspect(capture: cv2.VideoCapture) -> float:
    """Width of a pixel over its height, of the pictures as they are handed out; 1.0 where nothing is said."""
    across, down = capture.get(cv2.CAP_PROP_SAR_NUM), capture.get(cv2.CAP_PROP_SAR_DEN)
    if not (across > 0 and down > 0 and 0.1 <= across / down <= 10):
        return 1.0
    turned = capture.get(cv2.CAP_PROP_ORIENTATION_META) in (90, 270)  # OpenCV has turned the picture upright
    return float(down / across if turned else across / down)


def square_pixels(picture: UInt8, aspect: float) -> UInt8:
    """PICTURE (H, W, 3), whose pixels are ASPECT times as wide as high, with as many more columns or rows as it takes."""
    h, w = picture.shape[:2]
    size = (round(w * aspect), h) if aspect > 1 else (w, round(h / aspect))
    if size == (w, h):
        return picture
    return cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


class _Capture(Source):
    """Around one cv2.VideoCapture. It must never be released while another thread is inside it (a crash), nor may a
    blocked read hold up close(): so close() waits briefly, and otherwise leaves the release to the reader."""

    def __init__(self, name: str, capture: cv2.VideoCapture) -> None:
        self.name, self._capture = name, capture
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._index = 0
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0.5 <= fps <= 1000 else DEFAULT_FPS
        self._aspect = pixel_aspect(capture)

    @abstractmethod
    def _read(self) -> Frame | None: ...

    def read(self) -> Frame | None:
        with self._lock:
            try:
                return None if self._closing.is_set() else self._read()
            finally:
                if self._closing.is_set():
                    self._capture.release()

    def close(self) -> None:
        self._closing.set()
        if self._lock.acquire(timeout=0.5):
            try:
                self._capture.release()
            finally:
                self._lock.release()

    def _retrieve(self) -> UInt8 | None:
        """The grabbed picture as RGB, or None."""
        ok, picture = self._capture.retrieve()
        if not ok or picture is None:
            return None
        rgb = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB if picture.ndim == 2 else cv2.COLOR_BGR2RGB)
        return square_pixels(rgb, self._aspect)  # type: ignore[arg-type]


class VideoFile(_Capture):
    """A video with an end. Its last frame is compared with what it announced, so that truncation does not pass unseen."""

    def __init__(self, name: str, capture: cv2.VideoCapture, *, realtime: bool, path: Path | None = None) -> None:
        super().__init__(name, capture)
        self._reading = ExitStack()
        if path is not None:
            self._reading.enter_context(inputs(path))
        self.live, self._pacer = realtime, Pacer(realtime)
        announced = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.count = round(announced) if 1 <= announced < 1e9 else None
        self._presentation = -1.0
        self._ahead = self._grab_next()
        first = self._retrieve() if self._ahead is not None else None
        if first is None:
            codec = _codec(capture)
            capture.release()
            if codec in CONVERT:
                raise SpgvtonError(f"{name} is {CONVERT[codec]}, which this OpenCV cannot decode: {HOW_TO_CONVERT}")
            raise SpgvtonError(f"{name} holds no frame that can be decoded: play it in a video player, copy it again")
        self._first: UInt8 | None = first
        self.size = check_size(first, name)

    def close(self) -> None:
        super().close()
        self._reading.close()

    def _grab_next(self) -> float | None:
        """Advance by one frame; its presentation time in seconds, strictly increasing, or None at the end."""
        if not self._capture.grab():
            return None
        told = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
        last = self._presentation
        self._presentation = told if told > last else max(last, 0.0) + 1 / self.fps
        return self._presentation

    def _read(self) -> Frame | None:
        started = time.monotonic()
        presentation = self._grab_next() if self._ahead is None else self._ahead
        self._ahead = None
        if presentation is None:
            self._check_end()
            return None
        decoding = time.monotonic() - started
        if not self._pacer.wait(presentation, self._closing):
            return None
        captured = time.monotonic() - decoding if self._pacer.realtime else started  # pacing is not latency
        picture = self._first if self._first is not None else self._retrieve()
        self._first = None
        if picture is None:
            self._check_end()
            return None
        self._index += 1
        return frame_of(picture, self._index - 1, None if self.live else presentation, captured)

    def _check_end(self) -> None:
        """Containers without an exact count (MKV) announce duration x rate, so both count and time must fall short."""
        if self.count is None:
            return
        missing_s = self.count / self.fps - (self._presentation + 1 / self.fps)
        if self.count - self._index > max(3, 0.05 * self.count) and missing_s > max(
            3 / self.fps, 0.05 * self.count / self.fps
        ):
            self.problem = (
                f"{self.name} ended early after {self._index} of {self.count} frames: truncated? copy it again"
            )


class LiveCapture(_Capture):
    """A camera or network stream: a buffer of one. It does not come back by itself: see supervised.py."""

    live = True

    def __init__(self, name: str, capture: cv2.VideoCapture) -> None:
        super().__init__(name, capture)
        first = self._try(time.monotonic() + OPEN_TIMEOUT_S)
        if first is None:
            capture.release()
            raise SpgvtonError(f"{name} opens but delivers no frame: is another program using it? unplug and replug it")
        self.size = check_size(first[0], name)

    def measure_fps(self) -> None:
        """Set `fps` to what really comes: cameras announce 30 and give 10 in a dark room, or when USB is busy."""
        times: list[float] = []
        deadline = time.monotonic() + MEASURE_S
        while len(times) < MEASURED_FRAMES and time.monotonic() < deadline and self._capture.grab():
            times.append(time.monotonic())
        # The first ones may have waited in the driver's buffers.
        steps = [b - a for a, b in itertools.pairwise(times)][2:]
        if steps and sum(steps) > 0:
            self.fps = len(steps) / sum(steps)

    def _try(self, deadline: float) -> tuple[UInt8, float] | None:
        """A picture and its capture time; cameras may need a few tries after opening."""
        while not self._closing.is_set():
            if self._capture.grab():
                captured = time.monotonic()
                picture = self._retrieve()
                if picture is not None:
                    return picture, captured
            if time.monotonic() >= deadline:
                break
            self._closing.wait(0.05)
        return None

    def _read(self) -> Frame | None:
        taken = self._try(time.monotonic() + 0.3)  # one damaged picture is no loss
        if taken is None:
            if self._closing.is_set():
                return None
            raise SpgvtonError(f"{self.name} was lost: check its cable or network")
        self._index += 1
        return frame_of(taken[0], self._index - 1, None, taken[1])


def _codec(capture: cv2.VideoCapture) -> str:
    """The four letters by which containers name a codec, in lower case."""
    code = max(0, int(capture.get(cv2.CAP_PROP_FOURCC)))
    return code.to_bytes(8, "little")[:4].decode("latin-1").lower()


def stands_still(path: str) -> bool:
    """Whether OpenCV shows the same picture again and again although the file goes on to new ones.

    OpenCV 5.0 does that with interlaced video: it converts no frame, and shows what happened to be in memory, mostly black.
    """
    frames, packets = cv2.VideoCapture(path), cv2.VideoCapture(path)
    try:
        ok, first = frames.read()
        for _ in range(PROBED - 1):
            ok, other = frames.read()
            if not ok or first is None or not np.array_equal(first, other):
                return False
        if not packets.set(cv2.CAP_PROP_FORMAT, -1):  # as they are stored
            return False
        stored = [packet for ok, packet in (packets.read() for _ in range(PROBED)) if ok][1:]
        changing = len({packet.tobytes() for packet in stored}) > 1
        return changing and sum(packet.size for packet in stored) / len(stored) > first.shape[0] * first.shape[1] / 200
    finally:
        frames.release()
        packets.release()


def open_file(path: Path, *, realtime: bool) -> Source:
    """A video file. Raises SpgvtonError when it cannot be read or is no video."""
    quiet_opencv()
    try:
        with path.open("rb") as f:
            head = f.read(64)
    except OSError as e:
        raise SpgvtonError(f"cannot read {path}: {e.strerror or e}") from e
    if not head:
        raise SpgvtonError(f"{path} is empty: copy it again")
    with utf8_path(path) as plain:
        capture = cv2.VideoCapture(plain)
        if not capture.isOpened():
            raise SpgvtonError(_why_closed(path, head))
        video = VideoFile(str(path), capture, realtime=realtime, path=path)
        if stands_still(plain):
            video.close()
            raise SpgvtonError(
                f"{path} is interlaced, or another kind of video that OpenCV shows black: {HOW_TO_CONVERT}"
            )
    return video


def _why_closed(path: Path, head: bytes) -> str:
    """Why a file that begins with HEAD is not opened by OpenCV."""
    if head.startswith(LFS_POINTER):
        return f"{path} is a pointer of Git LFS, not the video: run git lfs pull"
    if head[4:8] == b"ftyp":
        try:
            data = path.read_bytes() if path.stat().st_size <= MAX_INDEX_BYTES else b""
        except OSError:
            data = b""
        if b"moov" in data and b"soun" in data and b"vide" not in data:  # the handlers of its tracks
            return f"{path} holds sound only, no video: give the file with the picture"
        return f"{path} is a damaged or truncated MP4 (its index cannot be read): copy it again"
    return f"{path} is not a video that can be decoded: {HOW_TO_CONVERT}"


def negotiate(capture: cv2.VideoCapture, options: CameraOptions) -> None:
    """Ask a V4L2 camera for motion JPEG, then size, then rate; the order matters, and the driver may refuse each.

    Uncompressed, USB 2 carries 10 frames/s of 1280x720. A camera without MJPG keeps its own format.
    """
    height, width = options.size
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
    capture.set(cv2.CAP_PROP_FPS, options.fps)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # otherwise the driver hands out pictures four frames old


def open_camera(index: int, options: CameraOptions = DEFAULT_OPTIONS) -> Source:
    """Camera INDEX. Raises SpgvtonError when it is not there or delivers nothing."""
    quiet_opencv()
    linux = sys.platform == "linux"
    name = f"camera {index}"
    if linux and not Path(f"/dev/video{index}").exists():
        raise SpgvtonError(f"{name} is not there (no /dev/video{index}): plug it in; `spgvton doctor` lists cameras")
    capture = cv2.VideoCapture(index, cv2.CAP_V4L2 if linux else cv2.CAP_ANY)
    if not capture.isOpened():
        raise SpgvtonError(
            f"{name} cannot be opened: close other programs that use it, and check that you may read /dev/video{index}"
        )
    negotiate(capture, options)
    camera = LiveCapture(name, capture)
    camera.measure_fps()
    return camera


def open_stream(url: str, name: str, *, realtime: bool) -> Source:
    """What FFmpeg makes of URL; an http address of a video with an end is a VideoFile. Raises SpgvtonError."""
    quiet_opencv()
    milliseconds = [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(OPEN_TIMEOUT_S * 1e3)),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(READ_TIMEOUT_S * 1e3)),
    ]
    with _ffmpeg_options(RTSP_OPTIONS if url.startswith("rtsp") else None):
        capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, milliseconds)
    if not capture.isOpened():
        raise SpgvtonError(f"{name} answers but is no video stream that can be decoded: check path, user and password")
    if url.startswith("http") and 1 <= capture.get(cv2.CAP_PROP_FRAME_COUNT) < 1e9:
        return VideoFile(name, capture, realtime=realtime)
    return LiveCapture(name, capture)
