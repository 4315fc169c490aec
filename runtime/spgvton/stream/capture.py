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

from spgvton.errors import SpgvtonError
from spgvton.files import inputs
from spgvton.stream.sources import CameraOptions, Frame, Pacer, Source, UInt8, check_size, frame_of
from spgvton.video import cv2

DEFAULT_FPS: Final = 30.0
OPEN_TIMEOUT_S: Final = 10.0
READ_TIMEOUT_S: Final = 5.0
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


class _Capture(Source):
    """Around one cv2.VideoCapture. It must never be released while another thread is inside it (a crash), nor may a
    blocked read hold up close(): so close() waits briefly, and otherwise leaves the release to the reader."""

    def __init__(self, name: str, capture: cv2.VideoCapture) -> None:
        self.name, self._capture = name, capture
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._index = 0
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0.5 <= fps <= 1000 else DEFAULT_FPS

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
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB if picture.ndim == 2 else cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


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
            capture.release()
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


def open_file(path: Path, *, realtime: bool) -> Source:
    """A video file. Raises SpgvtonError when it cannot be read or is no video."""
    quiet_opencv()
    try:
        with path.open("rb") as f:
            head = f.read(12)
    except OSError as e:
        raise SpgvtonError(f"cannot read {path}: {e.strerror or e}") from e
    if not head:
        raise SpgvtonError(f"{path} is empty: copy it again")
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        if head[4:8] == b"ftyp":
            raise SpgvtonError(f"{path} is a damaged or truncated MP4 (its index cannot be read): copy it again")
        raise SpgvtonError(
            f"{path} is not a video that can be decoded: convert it with ffmpeg -i IN -c:v libx264 OUT.mp4"
        )
    return VideoFile(str(path), capture, realtime=realtime, path=path)


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
