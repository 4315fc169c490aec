"""Where composed frames go: a video file, a window, or nowhere (to measure)."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import atomic_path, utf8_path
from spgvton.stream.capture import quiet_opencv
from spgvton.video import can_show_window, cv2

UInt8 = NDArray[np.uint8]

KINDS: Final = "file:OUT.mp4 (also .mkv, .avi), window, window:fullscreen, null"
CODECS: Final = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "XVID"}
MIN_FREE_BYTES: Final = 16 * 2**20
MAX_GAP_S: Final = 60.0  # a longer jump of time stamps is a fault of the stream, not a pause
AHEAD_S: Final = 0.5
TITLE: Final = "spgvton (q or Esc closes)"


class _Discarded(Exception):
    """Leaves an atomic_path() block without renaming."""


class Sink(ABC):
    """Takes composed frames. Used by one thread: that of the loop's caller, or its own (sink_thread.py)."""

    name: str
    wants_stop = False  # the viewer asked for the end
    own_thread = True  # False: must, or may as well, be used by the caller's thread

    @property
    def dropped(self) -> int:
        """Frames that it was too slow for."""
        return 0

    @abstractmethod
    def write(self, image: UInt8, timestamp: float) -> None:
        """Present IMAGE, RGB uint8 (H, W, 3), whose frame was taken at TIMESTAMP seconds. Raises SpgvtonError."""

    def idle(self) -> None:  # noqa: B027 - most sinks have nothing to do
        """Called every few hundredths of a second while no frame comes."""

    @abstractmethod
    def close(self) -> None:
        """Finish. May be called twice. Raises SpgvtonError when the result is not what was written."""


class NullSink(Sink):
    """Throws frames away."""

    name = "null"
    own_thread = False

    def write(self, image: UInt8, timestamp: float) -> None:
        pass

    def close(self) -> None:
        pass


class FileSink(Sink):
    """A video file, written beside its final name and renamed when it is complete and can be read back.

    OpenCV reports no write error whatsoever, so free space is watched while writing, and the result is reopened. What
    was written before an error is kept as far as it can be read back: all of an .mkv or .avi; of an .mp4 that could not be
    finished nothing, since its index comes last.
    keep_time: repeat frames where the time stamps leave a gap (dropped frames, a variable rate), and leave some out where
    they come so much faster than FPS that the file is AHEAD_S behind them: it lasts as long as what it shows.
    """

    def __init__(self, path: str | Path, size: tuple[int, int], fps: float, *, keep_time: bool = False) -> None:
        self.path = Path(path)
        self.name = f"file:{self.path}"
        self.size, self.fps, self.keep_time = size, fps, keep_time
        self.frames = 0  # in the file
        self.repeated = 0  # of which are repetitions
        self._start = 0.0
        self._closed = False
        codec = CODECS.get(self.path.suffix.lower())
        if codec is None:
            raise UsageError(f"'{self.path.name}' has no suffix of a video that can be written: {', '.join(CODECS)}")
        if not self.path.parent.is_dir():
            raise SpgvtonError(f"cannot write {self.path}: {self.path.parent} is not a folder; create it first")
        quiet_opencv()
        self._stack = ExitStack()
        self._temporary = self._stack.enter_context(atomic_path(self.path))
        try:
            self._temporary.touch()  # FFmpeg says only that it failed; this says why
            self._check_space()
        except (OSError, SpgvtonError) as e:
            self._discard()
            if isinstance(e, SpgvtonError):
                raise
            raise SpgvtonError(f"cannot write {self.path}: {e.strerror or e}") from e
        self._writer = cv2.VideoWriter(
            self._stack.enter_context(utf8_path(self._temporary)),
            cv2.CAP_FFMPEG,
            cv2.VideoWriter.fourcc(*codec),
            fps,
            size[::-1],
        )
        if not self._writer.isOpened():
            self._discard()
            raise SpgvtonError(
                f"this OpenCV cannot write {self.path.suffix} ({codec}): use .avi, or pip's opencv-python"
            )

    def _discard(self) -> None:
        with suppress(_Discarded), self._stack:
            raise _Discarded

    def _check_space(self) -> None:
        try:
            free = shutil.disk_usage(self.path.parent).free
        except OSError as e:
            raise SpgvtonError(f"cannot write {self.path}: {e.strerror or e}") from e
        if free < MIN_FREE_BYTES:
            raise SpgvtonError(f"only {free / 2**20:.0f} MiB are free for {self.path}: free some space")

    def write(self, image: UInt8, timestamp: float) -> None:
        if image.shape[:2] != self.size:  # OpenCV would drop it without a word
            raise SpgvtonError(f"{self.name} takes frames of {self.size}, got {image.shape[:2]}")
        if not self.frames:
            self._start = timestamp
        times = 1
        if self.keep_time:
            due = round((timestamp - self._start) * self.fps) + 1 - self.frames
            least = 1 if due > -AHEAD_S * self.fps else 0
            times = min(max(least, due), round(MAX_GAP_S * self.fps))
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        for _ in range(times):
            self._writer.write(bgr)
            self.frames += 1
            if self.frames % max(1, round(self.fps)) == 0:
                self._check_space()
        self.repeated += max(0, times - 1)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._writer.release()
        if not self.frames:
            self._discard()
            return
        found = self._readable()
        if found >= self.frames - 1:
            self._stack.close()  # renames
            return
        words = f"{self.path} was not written completely ({found} of {self.frames} frames can be read back"
        if found:
            self._stack.close()
            raise SpgvtonError(f"{words}, and are kept): is the disk full? free some space and run again")
        self._discard()
        raise SpgvtonError(f"{words}): is the disk full? free some space and run again")

    def _readable(self) -> int:
        """How many frames of the file can be read."""
        with utf8_path(self._temporary) as path:
            return self._count(path)

    def _count(self, path: str) -> int:
        reader = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
        try:
            if not reader.isOpened():
                return 0
            # A header may survive a full disk where the pictures do not: look at the end.
            announced = round(reader.get(cv2.CAP_PROP_FRAME_COUNT))
            reader.set(cv2.CAP_PROP_POS_FRAMES, max(0, self.frames - 2))
            if abs(announced - self.frames) <= 1 and reader.grab():
                return self.frames
        finally:
            reader.release()
        reader = cv2.VideoCapture(path, cv2.CAP_FFMPEG)  # seeking in a broken file leads astray
        try:
            count = 0
            while count < self.frames and reader.grab():
                count += 1
            return count
        finally:
            reader.release()


class WindowSink(Sink):
    """A window on this machine's display; q, Esc or its close button ends the stream."""

    name = "window"
    own_thread = False  # windows belong to the main thread

    def __init__(self, size: tuple[int, int], *, fullscreen: bool = False) -> None:
        if not can_show_window():
            raise SpgvtonError(
                "no window can be shown here (no display, or opencv-python-headless is installed): use --sink file:OUT.mp4, "
                "or set DISPLAY and pip install opencv-python"
            )
        os.environ.setdefault(
            "QT_LOGGING_RULES", "*.warning=false;*.debug=false"
        )  # Qt's words on fonts it does not need
        flags = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO
        cv2.namedWindow(TITLE, flags)
        cv2.resizeWindow(TITLE, size[1], size[0])
        if fullscreen:
            cv2.setWindowProperty(TITLE, cv2.WND_PROP_FULLSCREEN, cv2.WINDOW_FULLSCREEN)
        self._open, self._shown = True, False
        self.on_key: Callable[[int], None] | None = None  # told every other key, as cv2.waitKeyEx() gives it

    def write(self, image: UInt8, timestamp: float) -> None:
        cv2.imshow(TITLE, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self._shown = True
        self.idle()

    def idle(self) -> None:
        key = cv2.waitKeyEx(1)
        try:
            closed = self._shown and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1
        except cv2.error:  # what Qt says after its last window was closed
            closed = True
        self.wants_stop = self.wants_stop or closed or key & 0xFFFF in (ord("q"), 27)
        if key != -1 and self.on_key:
            self.on_key(key)

    def close(self) -> None:
        if self._open:
            self._open = False
            with suppress(cv2.error):  # closed by its button already
                cv2.destroyAllWindows()
                cv2.waitKey(1)


def open_sink(uri: str, size: tuple[int, int], fps: float, *, keep_time: bool = False) -> Sink:
    """Open a sink for frames of SIZE (height, width) at FPS.

    Raises UsageError for an unknown kind, SpgvtonError when it cannot be opened.
    """
    kind, _, rest = uri.partition(":")
    if kind == "file" and rest:
        return FileSink(rest, size, fps, keep_time=keep_time)
    if uri == "window" or uri == "window:fullscreen":
        return WindowSink(size, fullscreen=rest == "fullscreen")
    if uri == "null":
        return NullSink()
    hint = f" (did you mean file:{uri}?)" if Path(uri).suffix.lower() in CODECS and not rest else ""
    raise UsageError(f"'{uri}' is not a sink{hint}: use one of {KINDS}")
