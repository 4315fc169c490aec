"""A source whose camera hangs on its side: every frame is turned before anything else sees it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from spgvton.stream.frames import Frame, Source, Wrapped
from spgvton.video import cv2

TURNS: Final = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class Rotated(Wrapped):
    """SOURCE with its frames turned clockwise by DEGREES, one of TURNS. Everything else is SOURCE's."""

    def __init__(self, source: Source, degrees: int) -> None:
        super().__init__(source)
        self._turn = TURNS[degrees]
        h, w = source.size
        self.size = (h, w) if degrees == 180 else (w, h)

    def read(self) -> Frame | None:
        """The next frame of the source, turned; see Source."""
        frame = self._source.read()
        return frame and replace(frame, image=np.asarray(cv2.rotate(frame.image, self._turn), np.uint8))
