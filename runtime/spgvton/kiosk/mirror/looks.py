"""Looks side by side: the last stills of this customer, in memory, dropped with her and never written or sent by itself."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from typing import Final

from spgvton.kiosk.mirror.still import Still
from spgvton.kiosk.pictures import jpeg, smaller

MOST: Final = 3
SIDE: Final = 1280  # pixels of the long side
QUALITY: Final = 88


@dataclass(frozen=True)
class Look:
    """A still. garment: its id. name: for people. data: JPEG, at most 1280 pixels on a side, not mirrored."""

    id: str
    garment: str
    name: str
    data: bytes


class Looks:
    """At most MOST, the newest last; each garment once. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looks: list[Look] = []
        self._epoch = 0  # times that all were dropped

    @property
    def epoch(self) -> int:
        """To be read before a still is taken, and given to add() with it."""
        return self._epoch

    def add(self, still: Still, name: str, epoch: int) -> Look | None:
        """Keep STILL, in place of an earlier look in the same garment; None where all were dropped since EPOCH."""
        look = Look(secrets.token_hex(8), still.garment, name, jpeg(smaller(still.picture, SIDE), QUALITY))
        with self._lock:
            if epoch != self._epoch:
                return None
            others = [other for other in self._looks if other.garment != still.garment]
            self._looks = [*others, look][-MOST:]
        return look

    def all(self) -> list[Look]:
        """The oldest first."""
        with self._lock:
            return list(self._looks)

    def get(self, look_id: str) -> Look | None:
        """The look of this id, or None."""
        return next((look for look in self.all() if look.id == look_id), None)

    def wipe(self) -> None:
        """Drop all of them, at once."""
        with self._lock:
            self._epoch += 1
            self._looks = []
