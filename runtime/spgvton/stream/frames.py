"""What every source gives and is: frames, the source itself, its pace, and what a camera is asked for."""

from __future__ import annotations

import re
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spgvton import image
from spgvton.errors import SpgvtonError, UsageError

UInt8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a stream.

    image: RGB uint8 (H, W, 3). index: 0, 1, 2, ... as read. timestamp: seconds, strictly increasing: time.monotonic() at
    capture for a live source, presentation time for an unpaced file. captured: time.monotonic() at capture, always; what
    latency is measured from.
    """

    image: UInt8
    index: int
    timestamp: float
    captured: float


class Source(ABC):
    """A stream of frames. One thread reads; any thread may close, also while a read() is blocked."""

    name: str  # for messages; without passwords
    fps: float  # nominal
    live: bool
    size: tuple[int, int]  # height, width of the first frame
    count: int | None = None  # frames announced, where known
    problem: str | None = None  # set at the end, when the stream ended otherwise than it should have

    @abstractmethod
    def read(self) -> Frame | None:
        """The next frame, or None at the end or after close(). Raises SpgvtonError."""

    @abstractmethod
    def close(self) -> None:
        """Give the device or file back. May be called twice, and from another thread than the reader's."""


class Wrapped(Source):
    """A source whose frames are SOURCE's, changed by read(); everything else is SOURCE's own."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name, self.fps, self.live = source.name, source.fps, source.live
        self.size, self.count = source.size, source.count

    @property
    def problem(self) -> str | None:  # type: ignore[override]
        """See Source."""
        return self._source.problem

    def close(self) -> None:
        self._source.close()


class Pacer:
    """Hands frames out at the pace they were taken, as a camera would."""

    def __init__(self, realtime: bool) -> None:
        self.realtime = realtime
        self._start: float | None = None

    def wait(self, presentation: float, closing: threading.Event) -> bool:
        """Sleep until PRESENTATION seconds after the first frame. False when CLOSING was set meanwhile."""
        if not self.realtime:
            return not closing.is_set()
        now = time.monotonic()
        if self._start is None:
            self._start = now - presentation
        return not closing.wait(max(0.0, self._start + presentation - now))


def frame_of(picture: UInt8, index: int, presentation: float | None, captured: float) -> Frame:
    """A Frame; PRESENTATION None means that the capture time is its time stamp."""
    return Frame(picture, index, captured if presentation is None else presentation, captured)


def check_size(picture: UInt8, name: str) -> tuple[int, int]:
    """Height and width of PICTURE, or SpgvtonError when it is too small to hold a person or absurdly large."""
    h, w = picture.shape[:2]
    if min(h, w) < image.MIN_SIDE or h * w > image.MAX_PIXELS:
        raise SpgvtonError(
            f"{name} has frames of {w}x{h} pixels: use {image.MIN_SIDE}x{image.MIN_SIDE} to "
            f"{image.MAX_PIXELS // 10**6} megapixels"
        )
    return h, w


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """What a camera is asked for: size (height, width) in pixels and frames per second. It may give something else."""

    size: tuple[int, int] = (720, 1280)
    fps: float = 30.0

    @staticmethod
    def parse(query: str, uri: str) -> CameraOptions:
        """From the part of URI after the "?", such as size=1280x720&fps=30. Raises UsageError.

        Examples:
            >>> CameraOptions.parse("size=1920x1080&fps=25", "/dev/video0?size=1920x1080&fps=25")
            CameraOptions(size=(1080, 1920), fps=25.0)
        """
        options = CameraOptions()
        for part in filter(None, query.split("&")):
            name, _, value = part.partition("=")
            size = re.fullmatch(r"(\d{2,4})x(\d{2,4})", value)
            if name == "size" and size:
                options = replace(options, size=(int(size[2]), int(size[1])))
            elif name == "fps" and re.fullmatch(r"\d{1,3}(\.\d+)?", value) and float(value) > 0:
                options = replace(options, fps=float(value))
            else:
                raise UsageError(f"'{part}' in '{uri}' is not understood: write for instance ?size=1280x720&fps=30")
        return options
