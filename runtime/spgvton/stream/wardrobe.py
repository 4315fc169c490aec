"""Several garments on one stream: keys or seconds change from one to the next; each was prepared once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from spgvton.stream.frames import Frame
from spgvton.stream.loop import Synthesise

UInt8 = NDArray[np.uint8]
T = TypeVar("T")

# What OpenCV's waitKeyEx() says of the arrows: X11 (GTK, Qt), Windows, macOS.
LEFT: Final = frozenset((0xFF51, 0x250000, 0xF702))
RIGHT: Final = frozenset((0xFF53, 0x270000, 0xF703))


@dataclass(frozen=True, eq=False)
class Piece(Generic[T]):
    """One garment. picture: RGB or RGBA (h, w, 3 or 4), for people. worn: what the mode's stage wears."""

    name: str
    picture: UInt8
    worn: T


class Wardrobe(Generic[T]):
    """A synthesis stage that puts on what is wanted before STAGE dresses the frame.

    put_on: gives STAGE a garment; called in the loop's synthesis thread. seconds: how long each garment is worn, by the frames' own
    time; None = until a key says otherwise. times_s, interval_s, answers: those of STAGE, where it has them.
    """

    def __init__(
        self,
        stage: Synthesise,
        pieces: Sequence[Piece[T]],
        put_on: Callable[[T], None],
        *,
        seconds: float | None = None,
    ) -> None:
        self._stage, self._pieces, self._put_on, self._seconds = stage, pieces, put_on, seconds
        self._wanted, self._worn = 0, -1
        self._begun: float | None = None  # time stamp from which on the present garment is worn

    @property
    def piece(self) -> Piece[T]:
        """The garment that is wanted now."""
        return self._pieces[self._wanted]

    @property
    def times_s(self) -> dict[str, float]:
        return getattr(self._stage, "times_s", {})

    @property
    def interval_s(self) -> float:
        return getattr(self._stage, "interval_s", 0.0)

    @property
    def answers(self) -> int | None:
        return getattr(self._stage, "answers", None)

    def key(self, code: int) -> None:
        """A key of the window: 1 to 9 and 0 choose, n or the right arrow goes on, p or the left arrow back. From any thread."""
        plain = code & 0xFFFF  # above that GTK tells of Num Lock
        if ord("0") <= plain <= ord("9"):
            chosen = (plain - ord("1")) % 10
            if chosen < len(self._pieces):
                self._choose(chosen)
        elif plain in (ord("n"), *RIGHT) or code in RIGHT:
            self._choose(self._wanted + 1)
        elif plain in (ord("p"), *LEFT) or code in LEFT:
            self._choose(self._wanted - 1)

    def _choose(self, index: int) -> None:
        self._wanted, self._begun = index % len(self._pieces), None

    def __call__(self, frame: Frame, keypoints: NDArray[np.float32]) -> UInt8:
        if self._begun is None:
            self._begun = frame.timestamp
        elif self._seconds is not None and frame.timestamp - self._begun >= self._seconds:
            self._choose(self._wanted + 1)
            self._begun = frame.timestamp
        wanted = self._wanted
        if wanted != self._worn:
            self._put_on(self._pieces[wanted].worn)
            self._worn = wanted
        return self._stage(frame, keypoints)
