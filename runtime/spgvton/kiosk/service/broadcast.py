"""The newest of something, for any number of viewers on one asyncio loop: frames as JPEG, moments as JSON.

A viewer that is slow gets the newest when it is ready for one, and never holds up whoever publishes, or another viewer.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Encoded(NamedTuple):
    """One item, ready to be sent, and its number, which counts up."""

    number: int
    data: bytes


class Broadcast:
    """Holds the latest item. publish() from any thread."""

    def __init__(self) -> None:
        self.viewers = 0
        self.encoded = 0  # items so far
        self.ended = False
        self._latest: Encoded | None = None
        self._lock = threading.Lock()  # of the latest item and its number
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()

    def attach(self) -> None:
        """Call on the asyncio loop of the viewers, before the first of them."""
        self._loop = asyncio.get_running_loop()

    def publish(self, data: bytes) -> None:
        with self._lock:
            self.encoded += 1
            self._latest = Encoded(self.encoded, data)
        self._wake()

    def clear(self) -> None:
        """Forget the latest item: a viewer sees nothing until the next one."""
        with self._lock:
            self._latest = None

    def end(self) -> None:
        """Viewers are sent home."""
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
        """Something should be published while someone is inside."""
        self.viewers += 1
        try:
            yield
        finally:
            self.viewers -= 1
            if not self.viewers:
                self.clear()  # the next viewer should not begin with something old

    async def after(self, number: int) -> Encoded | None:
        """The latest item as soon as its number is over NUMBER; None once the stream has ended."""
        while not self.ended:
            changed, latest = self._changed, self._latest
            if latest and latest.number > number:
                return latest
            await changed.wait()
        return None

    async def next(self) -> Encoded | None:
        """An item that is published after this call."""
        return await self.after(self.encoded)
