"""A source whose camera hangs on its side: every frame is turned before anything else sees it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from spgvton.stream.sources import Frame, Source
from spgvton.video import cv2

TURNS: Final = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class Rotated(Source):
    """SOURCE with its frames turned clockwise by DEGREES, one of TURNS. Everything else is SOURCE's."""

    def __init__(self, source: Source, degrees: int) -> None:
        self._source, self._turn = source, TURNS[degrees]
        h, w = source.size
        self.size = (h, w) if degrees == 180 else (w, h)
        self.name, self.fps, self.live, self.count = source.name, source.fps, source.live, source.count

    @property
    def problem(self) -> str | None:  # type: ignore[override]
        """See Source."""
        return self._source.problem

    def read(self) -> Frame | None:
        """The next frame of the source, turned; see Source."""
        frame = self._source.read()
        return frame and replace(frame, image=np.asarray(cv2.rotate(frame.image, self._turn), np.uint8))

    def close(self) -> None:
        """See Source."""
        self._source.close()
