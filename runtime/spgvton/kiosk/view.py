"""What a customer sees: herself until she is dressed, then the try-on; hints in letters that can be read from afar."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.stream.compose import FAINT, PANEL, Composer, Layout, fit, text, write_hint
from spgvton.stream.loop import View
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]

CAMERA_SIZE: Final = (720, 540)  # height, width of the camera's panel, whatever the camera sends
HINT_SIZE: Final = 0.8
RECORDING: Final = (220, 40, 40)


class MirrorView(Composer):
    """View -> RGB uint8 of constant size. privacy: nothing of the camera is shown. recording: a badge says so.

    Both may be set from any thread, and hold from the next frame on. garment: see Composer.
    """

    def __init__(self, *, layout: Layout, mirrored: bool) -> None:
        super().__init__(CAMERA_SIZE, layout=layout, mirror=mirrored, caption=False)
        self.privacy = self.recording = False

    def draw_result(self, view: View, panel: UInt8) -> None:
        fit(view.frame.image if view.result is None else view.result, self._result, out=panel)
        if self.mirror:
            cv2.flip(panel, 1, dst=panel)
        if view.perception and view.perception.unusable:
            write_hint(panel, view.perception.unusable, size=HINT_SIZE)
        if self.layout == "result" and self._card is not None:
            h, w = self._card.shape[:2]
            panel[10 : 10 + h, self._result[1] - 10 - w : self._result[1] - 10] = self._card

    def notice(self, words: str) -> UInt8:
        """A picture of the right size with WORDS and nothing else."""
        canvas = np.empty((*self.size, 3), np.uint8)
        canvas[:] = PANEL
        h, w = self.size
        text(canvas, words, (w // 2, h // 2), size=HINT_SIZE, colour=FAINT, align=0.5)
        return canvas

    def __call__(self, view: View) -> UInt8:
        if self.privacy:
            return self.notice("camera off")
        canvas = super().__call__(view)
        if self.recording:
            canvas[8:38, 8:92] //= 3
            canvas[16:30, 18:32] = RECORDING
            text(canvas, "REC", (40, 30), size=0.6)
        return canvas
