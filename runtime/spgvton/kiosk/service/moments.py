"""What the customer's page must know sooner than its status once a second: the raised hand, the hint, the state.

Server-sent events, each one the whole moment as JSON. A moment is published when it differs from the last one.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass
from typing import Final

from spgvton.kiosk.mirror.lifecycle import State
from spgvton.kiosk.service.broadcast import Broadcast


@dataclass(frozen=True)
class HandPlace:
    """x, y: shares of the live view's width and height. progress: of the ring round it, in [0, 1]."""

    x: float
    y: float
    progress: float


@dataclass(frozen=True)
class Moment:
    """highlighted: id of the garment that the hand has moved to; None while no hand is raised. choice: counts what hands chose.

    agreeing: before consent, for which share of the time that it takes a hand has been held up, in [0, 1]; None while none is.
    """

    state: State = "nobody"
    hint_code: str = ""
    hand: HandPlace | None = None
    highlighted: str | None = None
    choice: int = 0
    agreeing: float | None = None


NOTHING: Final = Moment()


class Moments(Broadcast):
    """Moments for viewers. show() from any thread."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: Moment | None = None
        self._showing = threading.Lock()

    def show(self, moment: Moment) -> None:
        """MOMENT is now; nothing is made of it while nobody looks."""
        with self._showing:
            if not self.viewers:
                self._shown = None
            elif moment != self._shown or self._latest is None:
                self._shown = moment
                self.publish(json.dumps(asdict(moment)).encode())
