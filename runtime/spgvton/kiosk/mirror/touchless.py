"""Touchless choice: what the customer's raised hand does to the catalogue, and what the page shows of it.

The loop's pose stage tells the keypoints of each frame; nothing here waits for networks or disks. Choosing, which prepares
a garment for up to two seconds, has a thread of its own.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError
from spgvton.kiosk.mirror.gesture import IDLE, Gesture, GestureReader

log = logging.getLogger(__name__)
Float = NDArray[np.float32]

MAX_CHOICES: Final = 4  # that wait; a hand is slower than that


class Touchless:
    """The hands of one kiosk's customers. dwell_s: see GestureReader. garments: ids as the page lists them. worn: id, or None.

    choose: wears a garment; may raise SpgvtonError. rightwards: whether a hand that moves right in the camera's frame moves
    on in the list: not so where the page shows a mirror picture, or reads from right to left, but so where it does both.
    """

    def __init__(
        self,
        dwell_s: float,
        garments: Callable[[], list[str]],
        worn: Callable[[], str | None],
        choose: Callable[[str], object],
        rightwards: Callable[[], bool],
    ) -> None:
        self._reader = GestureReader(dwell_s)
        self._garments, self._worn, self._choose, self._rightwards = garments, worn, choose, rightwards
        self._listed: list[str] = []  # while a hand is up
        self._first = 0  # where in it the hand began
        self.gesture: Gesture = IDLE
        self.highlighted: str | None = None
        self.choices = 0  # so far
        self._wanted: queue.Queue[str | None] = queue.Queue(MAX_CHOICES)
        self._thread: threading.Thread | None = None

    def reset(self) -> None:
        """The customer is gone."""
        self._reader.reset()
        self.gesture, self.highlighted, self._listed = IDLE, None, []

    def step(self, keypoints: Float | None, now: float) -> None:
        """KEYPOINTS (18, 3) of the customer in a frame captured at NOW (seconds); None where they are not hers, or not seen."""
        choosable = self.highlighted is not None and self.highlighted != self._worn()
        self.gesture = self._reader.step(keypoints, now, choosable)
        if self.gesture.hand is None:
            self.highlighted, self._listed = None, []
            return
        if self.highlighted is None:
            self._begin()
        if not self._listed:
            return
        steps = self.gesture.steps if self._rightwards() else -self.gesture.steps
        place = max(0, min(len(self._listed) - 1, self._first + steps))
        self._first = place - steps  # steps beyond an end count for nothing: the way back begins there
        self.highlighted = self._listed[place]
        if self.gesture.fired:
            self._fire(self.highlighted)

    def _begin(self) -> None:
        self._listed = self._garments()
        worn = self._worn()
        self._first = self._listed.index(worn) if worn in self._listed else 0

    def _fire(self, garment: str) -> None:
        self.choices += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._choose_all, name="spgvton-touchless", daemon=True)
            self._thread.start()
        try:
            self._wanted.put_nowait(garment)
        except queue.Full:
            log.warning("choices come faster than garments are prepared", extra={"garment": garment})

    def _choose_all(self) -> None:
        while (garment := self._wanted.get()) is not None:
            try:
                self._choose(garment)
            except SpgvtonError as e:
                log.warning("garment cannot be worn", extra={"garment": garment, "error": str(e)})

    def close(self) -> None:
        """What waits to be chosen is chosen no more."""
        while not self._wanted.empty():
            self._wanted.get_nowait()
        if self._thread:
            self._wanted.put(None)
            self._thread.join(5)
            self._thread = None
