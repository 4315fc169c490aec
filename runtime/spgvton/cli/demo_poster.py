"""The poster of `spgvton demo`: one large moment of each garment, with the camera's picture and the garment below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.demo_assets import ShopGarment
from spgvton.stream.compose import card, fit
from spgvton.stream.loop import View
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]

MOMENTS: Final = (0.42, 0.38, 0.48)  # share of each garment's turn: turned, an arm up, hand on hip
PAPER: Final = (247, 244, 239)
INK: Final = (44, 42, 40)
FAINT: Final = (136, 130, 124)
PICTURE: Final = (720, 540)
STRIP: Final = 150  # height of what is below a picture
MARGIN: Final = 64
GAP: Final = 28
HEAD: Final = 104
FOOT: Final = 52


class Poster:
    """Collects a moment of each garment while the loop runs, and lays them out on one picture."""

    def __init__(self, garments: Sequence[ShopGarment], frames: int) -> None:
        """frames: of the whole run; each of GARMENTS is worn for an equal share of it."""
        self._garments = garments
        share = frames / len(garments)
        self._wanted = [int((g + MOMENTS[g % len(MOMENTS)]) * share) for g in range(len(garments))]
        self.taken: list[View | None] = [None] * len(garments)

    def look(self, view: View, which: int) -> None:
        """Keep VIEW, in which garment WHICH is worn, if it is the first one at or after the wanted moment."""
        if view.is_new and self.taken[which] is None and view.frame.index >= self._wanted[which]:
            self.taken[which] = view

    def draw(self, caption: str) -> UInt8:
        """RGB poster, a column for each garment, CAPTION below. A garment without a moment has an empty column."""
        height, width = PICTURE
        count = len(self._garments)
        size = (HEAD + height + GAP + STRIP + FOOT + MARGIN, 2 * MARGIN + count * width + (count - 1) * GAP)
        canvas = np.empty((*size, 3), np.uint8)
        canvas[:] = PAPER
        _write(canvas, "spgvton", (MARGIN, 72), 1.5, INK, thickness=2)
        _write(canvas, "live try-on", (size[1] - MARGIN, 72), 0.8, FAINT, align=1.0)
        for i, (garment, view) in enumerate(zip(self._garments, self.taken)):
            left = MARGIN + i * (width + GAP)
            if view is None or view.result is None:
                continue
            fit(view.result, PICTURE, PAPER, out=canvas[HEAD : HEAD + height, left : left + width])
            top = HEAD + height + GAP
            small = round(STRIP * view.frame.image.shape[1] / view.frame.image.shape[0])
            camera = canvas[top : top + STRIP, left : left + small]
            fit(view.frame.image, camera.shape[:2], PAPER, out=camera)
            right = left + width - STRIP
            canvas[top : top + STRIP, right : right + STRIP] = card(garment.picture, STRIP)
            _write(canvas, "camera", (left + small + 14, top + STRIP - 6), 0.55, FAINT)
            _write(canvas, "garment", (right - 14, top + STRIP - 6), 0.55, FAINT, align=1.0)
        _write(canvas, caption, (MARGIN, size[0] - MARGIN + 18), 0.5, FAINT)
        return canvas


def _write(
    canvas: UInt8, words: str, at: tuple[int, int], size: float, colour: tuple[int, int, int], *, align: float = 0.0,
    thickness: int = 1,
) -> None:  # fmt: skip
    """WORDS with the baseline at AT (x, y); ALIGN 0 starts and 1 ends them there."""
    width = cv2.getTextSize(words, cv2.FONT_HERSHEY_DUPLEX, size, thickness)[0][0]
    start = (round(at[0] - align * width), at[1])
    cv2.putText(canvas, words, start, cv2.FONT_HERSHEY_DUPLEX, size, colour, thickness, cv2.LINE_AA)
