"""Several mirrors on one opened engine: each has its own person and garment, and they take turns."""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol

from spgvton.backends.contract import Backend
from spgvton.errors import SpgvtonError


class Turns:
    """A lock that is given in the order of asking: nobody waits for more than one frame of each other mirror.

    A plain lock promises no order, and a thread that has just left it usually gets it again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._taken = False

    def __enter__(self) -> None:
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        try:
            mine.acquire()  # until the one before leaves
        except BaseException:  # interrupted while waiting: the turn may have come already
            with self._lock:
                waits = mine in self._waiting
                if waits:
                    self._waiting.remove(mine)
            if not waits:
                self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False


class Shareable(Backend, Protocol):
    """A back end whose engine can serve several mirrors."""

    def sibling(self) -> Backend:
        """A back end on the same engine, without person and garment. Each may be used by a thread of its own."""


def sibling(backend: Backend) -> Backend:
    """See Shareable. Raises SpgvtonError where BACKEND's engine serves one mirror only (TensorRT's, recordings)."""
    make = getattr(backend, "sibling", None)
    if make is None:
        name = backend.describe().get("backend", type(backend).__name__)
        raise SpgvtonError(f"back end {name} serves one mirror: open another one, or use onnxruntime or openvino")
    made: Backend = make()
    return made
