"""The shutter before the loop: what it keeps out, nothing behind it can show, keep or leak."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from spgvton.stream.frames import Frame, Source, Wrapped


class Shutter(Wrapped):
    """SOURCE, whose frames are black while CLOSED() is true: with privacy on no camera pixel enters the loop. PEEK sees them before."""

    def __init__(self, source: Source, closed: Callable[[], bool], peek: Callable[[Frame], None]) -> None:
        super().__init__(source)
        self.live = True
        self._closed, self._peek = closed, peek

    def read(self) -> Frame | None:
        """See Source."""
        frame = self._source.read()
        if frame is None or not self._closed():
            return frame
        self._peek(frame)
        return Frame(np.zeros_like(frame.image), frame.index, frame.timestamp, frame.captured)
