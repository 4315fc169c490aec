"""Asking first: until somebody agrees on the screen, the camera's pictures are blackened as they are read.

    asked --agree--> given --the customer is forgotten, or nobody came--> asked

Who is seen only for a moment before she stands well is not asked again at once: she is on her way from the screen to her
place. Whoever was dressed and has left is: the next one is somebody else.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from spgvton.kiosk.mirror.lifecycle import State

log = logging.getLogger(__name__)

ARRIVE_S: Final = 15.0  # to come from the screen to where she is seen


class ConsentStep:
    """wait: told True when the camera must see nothing. state: of the customer now. Thread-safe."""

    def __init__(self, wait: Callable[[bool], None], state: Callable[[], State]) -> None:
        self._wait, self._state = wait, state
        self._lock = threading.Lock()
        self._agreed: float | None = None
        self._timer: threading.Timer | None = None
        wait(True)

    @property
    def asking(self) -> bool:
        """Whether nobody has agreed."""
        return self._agreed is None

    def agree(self) -> None:
        """Somebody has read the notice and agrees."""
        with self._lock:
            self._agreed = time.monotonic()
            self._stop_timer()
            self._timer = threading.Timer(ARRIVE_S, self._nobody_came)
            self._timer.daemon = True
            self._timer.start()
        log.info("consent given")
        self._wait(False)

    def forgotten(self) -> None:
        """A customer was forgotten; to be called while state() is still hers, and returns at once."""
        agreed = self._agreed
        if agreed is not None and (self._state() in ("live", "left") or time.monotonic() - agreed > ARRIVE_S):
            self.ask()

    def ask(self) -> None:
        """Ask again: from now on the camera sees nothing."""
        with self._lock:
            if self._agreed is None:
                return
            self._agreed = None
            self._stop_timer()
        log.info("consent is over")
        self._wait(True)

    def close(self) -> None:
        """End the timer."""
        with self._lock:
            self._stop_timer()

    def _nobody_came(self) -> None:
        if self._state() == "nobody":
            self.ask()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
