"""The hand-over between two stages: room for exactly one item, so that memory is bounded and nothing grows old in a queue."""

from __future__ import annotations

import threading
from typing import Final, Generic, Literal, TypeVar

T = TypeVar("T")
Policy = Literal["latest", "wait"]
POLICIES: Final[tuple[Policy, ...]] = ("latest", "wait")


class Closed(Exception):
    """Nothing more comes out of, or may go into, this slot."""


class Slot(Generic[T]):
    """A one-item slot between a producer and a consumer thread.

    policy "latest": put() replaces an item that nobody took yet and counts it in `dropped` (a mirror shows the present).
    policy "wait": put() blocks until the slot is empty (a file is processed without losing a frame).
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.dropped = 0
        self._items: list[T] = []  # none or one
        self._closed = False
        self._changed = threading.Condition()

    @property
    def closed(self) -> bool:
        """No more items will come."""
        return self._closed

    def put(self, item: T) -> None:
        """Hand ITEM over. Raises Closed (and counts ITEM as dropped) when the slot is or becomes closed."""
        with self._changed:
            if self.policy == "wait":
                self._changed.wait_for(lambda: self._closed or not self._items)
            if self._closed:
                self.dropped += 1
                raise Closed
            self.dropped += len(self._items)
            self._items = [item]
            self._changed.notify_all()

    def get(self, timeout: float | None = None) -> T | None:
        """Take the item; None after TIMEOUT seconds without one. Raises Closed when closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._items, timeout)
            if not self._items:
                if self._closed:
                    raise Closed
                return None
            item = self._items.pop()
            self._changed.notify_all()
            return item

    def close(self, *, discard: bool = False) -> None:
        """No more items. What is in the slot can still be taken, unless DISCARD, which counts it as dropped."""
        with self._changed:
            self._closed = True
            if discard:
                self.dropped += len(self._items)
                self._items = []
            self._changed.notify_all()
