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
SMALLEST: Final = 0.45
RECORDING: Final = (220, 40, 40)


class MirrorView(Composer):
    """View -> RGB uint8. privacy: nothing of the camera is shown. recording: a badge says so.

    Both may be set from any thread, and hold from the next frame on. garment: see Composer. live: the picture has the camera's size, and
    takes another one when the camera does; otherwise its size is constant. written: hints and notices are written into the picture, in
    English: OpenCV has no other letters. A page that shows the picture says them itself, in the customer's language.
    """

    def __init__(self, *, layout: Layout, mirrored: bool, live: bool, written: bool = True) -> None:
        self._written = written
        super().__init__(CAMERA_SIZE, layout=layout, mirror=mirrored, caption=False, live=live, titles=written)
        self._frame_size = CAMERA_SIZE
        self.privacy = self.recording = False

    def _follow(self, frame_size: tuple[int, int]) -> None:
        if self.live and frame_size != self._frame_size:
            self._frame_size = frame_size
            super().__init__(
                frame_size, layout=self.layout, garment=self.garment, mirror=self.mirror, caption=False, live=True,
                titles=self._written,
            )  # fmt: skip

    @property
    def _letters(self) -> float:
        """Size of letters that can be read from afar."""
        if not self.live:
            return HINT_SIZE
        return max(SMALLEST, HINT_SIZE * min(self._result) / min(CAMERA_SIZE))

    def draws(self, view: View) -> bool:
        return self.mirror or (self._written and super().draws(view))

    def draw_result(self, view: View, panel: UInt8) -> None:
        picture = self.shown(view)
        fit(view.frame.image if picture is None else picture, self._result, out=panel)
        if self.mirror:
            cv2.flip(panel, 1, dst=panel)
        if self._written and view.perception and view.perception.unusable:
            write_hint(panel, view.perception.unusable, size=self._letters)
        if self.layout == "result" and self._card is not None and not self.live:
            h, w = self._card.shape[:2]
            panel[10 : 10 + h, self._result[1] - 10 - w : self._result[1] - 10] = self._card

    def place(self, point: tuple[float, float], frame_size: tuple[int, int]) -> tuple[float, float]:
        """Where the result shows POINT (x, y) of a camera's frame of FRAME_SIZE (height, width): shares of the picture's width and
        height.
        """
        h, w = self._result
        scale = min(h / frame_size[0], w / frame_size[1])
        x = (w - scale * frame_size[1]) / 2 + scale * (point[0] + 0.5)
        y = (h - scale * frame_size[0]) / 2 + scale * (point[1] + 0.5)
        left, top = self.result_corner
        return (left + (w - x if self.mirror else x)) / self.size[1], (top + y) / self.size[0]

    def notice(self, words: str) -> UInt8:
        """A picture of the right size with WORDS, where they are written, and nothing else."""
        canvas = np.empty((*self.size, 3), np.uint8)
        canvas[:] = PANEL
        h, w = self.size
        if self._written:
            text(canvas, words, (w // 2, h // 2), size=self._letters, colour=FAINT, align=0.5)
        return canvas

    def __call__(self, view: View) -> UInt8:
        self._follow((view.frame.image.shape[0], view.frame.image.shape[1]))
        if self.privacy:
            return self.notice("camera off")
        canvas = super().__call__(view)
        if self.recording:
            canvas = canvas.copy() if self.live else canvas  # it may be the camera's own picture
            self._draw_badge(canvas)
        return canvas

    def _draw_badge(self, canvas: UInt8) -> None:
        unit = self._letters / HINT_SIZE

        def at(*pixels: int) -> list[int]:
            return [round(unit * n) for n in pixels]

        top, bottom, left, right = at(8, 38, 8, 92)
        canvas[top:bottom, left:right] //= 3
        top, bottom, left, right = at(16, 30, 18, 32)
        canvas[top:bottom, left:right] = RECORDING
        x, y = at(40, 30)
        text(canvas, "REC", (x, y), size=0.6 * unit)
