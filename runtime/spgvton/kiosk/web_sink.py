"""The loop's web sink: each frame is encoded once, in the sink's own thread, and only while someone looks.

    loop --slot--> sink's thread: JPEG --> any number of viewers (asyncio)

The slot is stream/sink_thread.py's. A viewer that is slow gets the newest frame when it is ready for one, and never holds
up the loop, the encoder or another viewer.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton.kiosk.uploads import jpeg, smaller
from spgvton.stream.sinks import Sink

UInt8 = NDArray[np.uint8]


class Encoded(NamedTuple):
    """One JPEG and its number, which counts up."""

    number: int
    data: bytes


class WebSink(Sink):
    """Holds the latest frame as JPEG for viewers on one asyncio loop.

    quality: of the JPEG, 0 to 100. max_side: pixels of a larger picture's long side; then a viewer costs little, whatever the camera.
    """

    name = "web"

    def __init__(self, quality: int = 80, max_side: int = 1280) -> None:
        self.viewers = 0
        self.encoded = 0  # frames so far
        self.ended = False
        self._quality, self._max_side = quality, max_side
        self._latest: Encoded | None = None
        self._lock = threading.Lock()  # of the latest frame and its number
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()

    def attach(self) -> None:
        """Call on the asyncio loop of the viewers, before the first of them."""
        self._loop = asyncio.get_running_loop()

    def write(self, image: UInt8, timestamp: float) -> None:
        if not self.viewers:
            return
        data = jpeg(smaller(image, self._max_side), self._quality)
        with self._lock:
            self.encoded += 1
            self._latest = Encoded(self.encoded, data)
        self._wake()

    def clear(self) -> None:
        """Forget the latest frame: a viewer sees nothing until the next one."""
        with self._lock:
            self._latest = None

    def close(self) -> None:
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        def change() -> None:
            waiting, self._changed = self._changed, asyncio.Event()
            waiting.set()

        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(change)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Frames are encoded while someone is inside."""
        self.viewers += 1
        try:
            yield
        finally:
            self.viewers -= 1
            if not self.viewers:
                self.clear()  # the next viewer should not begin with an old picture

    async def after(self, number: int) -> Encoded | None:
        """The latest frame as soon as its number is over NUMBER; None once the stream has ended."""
        while not self.ended:
            changed, latest = self._changed, self._latest
            if latest and latest.number > number:
                return latest
            await changed.wait()
        return None

    async def next(self) -> Encoded | None:
        """A frame that is encoded after this call."""
        return await self.after(self.encoded)
