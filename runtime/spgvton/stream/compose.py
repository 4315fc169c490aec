"""The picture that people see: camera and result side by side, the garment as a small card, one quiet line of text.

In live mode the result is the camera's own picture, dressed: alone it keeps the camera's size, and where nothing is drawn on it, it is
passed on as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from spgvton.image import SIZE, Letterbox
from spgvton.keypoints import SKELETON
from spgvton.stream.loop import View
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Layout = Literal["side-by-side", "result"]
LAYOUTS: Final[tuple[Layout, ...]] = ("side-by-side", "result")

PAPER: Final = (20, 20, 23)
PANEL: Final = (34, 34, 39)
INK: Final = (232, 232, 236)
FAINT: Final = (134, 134, 144)
ACCENT: Final = (94, 200, 178)
MARGIN: Final = 20
GAP: Final = 16
FOOTER: Final = 38
MIN_HEIGHT: Final = 480
MAX_HEIGHT: Final = 720
WIDEST: Final = 16 / 9
HINT_SIZE: Final = 0.45
CAPTION_S: Final = 1.0  # the times in the footer stand for so long: nobody reads faster, and writing costs most cold


def text(
    canvas: UInt8,
    words: str,
    at: tuple[int, int],
    *,
    size: float = 0.45,
    colour: Sequence[int] = INK,
    align: float = 0.0,
) -> None:
    """Write WORDS with the baseline at AT (x, y); ALIGN 0 starts, 0.5 centres and 1 ends them there."""
    width = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, size, 1)[0][0]
    start = (round(at[0] - align * width), at[1])
    cv2.putText(canvas, words, start, cv2.FONT_HERSHEY_SIMPLEX, size, tuple(colour), 1, cv2.LINE_AA)


def fit(picture: UInt8, size: tuple[int, int], colour: Sequence[int] = PANEL, *, out: UInt8 | None = None) -> UInt8:
    """PICTURE scaled to lie whole and centred in SIZE (height, width); COLOUR around it.

    Drawn into OUT (height, width, 3) where given, which may be a part of a larger picture; otherwise a new one.
    """
    if out is None:
        out = np.empty((*size, 3), np.uint8)
    h, w = picture.shape[:2]
    if (h, w) == size:
        np.copyto(out, picture)
        return out
    scale = min(size[0] / h, size[1] / w)
    inner = (max(1, min(size[1], round(w * scale))), max(1, min(size[0], round(h * scale))))
    factor = int(1 / scale)
    if factor > 1:  # whole blocks have a fast path; averaging over fractions of pixels is ten times slower
        h, w = h // factor, w // factor
        picture = cv2.resize(picture[: h * factor, : w * factor], (w, h), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    (w, h), y, x = inner, (size[0] - inner[1]) // 2, (size[1] - inner[0]) // 2
    for border in (out[:y], out[y + h :], out[y : y + h, :x], out[y : y + h, x + w :]):
        border[:] = colour
    method = cv2.INTER_LINEAR if scale < 1 else cv2.INTER_CUBIC
    cv2.resize(picture, inner, dst=out[y : y + h, x : x + w], interpolation=method)
    return out


def trimmed(picture: UInt8) -> UInt8:
    """PICTURE (H, W, 3) without most of its plain border, by difference from its corner."""
    differs = (np.abs(picture.astype(np.int16) - picture[0, 0]) > 24).any(axis=2)
    if not differs.any():
        return picture
    (rows,), (columns,) = np.nonzero(differs.any(axis=1)), np.nonzero(differs.any(axis=0))
    pad = round(0.04 * max(picture.shape))
    return picture[max(0, rows[0] - pad) : rows[-1] + pad + 1, max(0, columns[0] - pad) : columns[-1] + pad + 1]


def card(garment: UInt8, height: int) -> UInt8:
    """A garment picture, RGB or RGBA, as a square white card of HEIGHT pixels with a hair line round it."""
    if garment.shape[2] == 4:
        alpha = garment[..., 3:].astype(np.float32) / 255
        garment = (garment[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    inner = fit(trimmed(garment), (height - 10, height - 10), (255, 255, 255))
    out = cv2.copyMakeBorder(inner, 5, 5, 5, 5, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    cv2.rectangle(out, (0, 0), (out.shape[1] - 1, out.shape[0] - 1), (200, 200, 204), 1)
    return out  # type: ignore[return-value]


def draw_keypoints(panel: UInt8, keypoints: NDArray[np.float32]) -> None:
    """Draw the skeleton of KEYPOINTS (18, 3), given in pixels of PANEL; missing ones (score 0) are left out."""
    points = [(round(float(x)), round(float(y))) if score > 0 else None for x, y, score in keypoints]
    for a, b in SKELETON:
        first, second = points[a], points[b]
        if first and second:
            cv2.line(panel, first, second, ACCENT, 2, cv2.LINE_AA)
    for point in points:
        if point:
            cv2.circle(panel, point, 3, INK, -1, cv2.LINE_AA)


def write_hint(panel: UInt8, words: str, *, size: float = HINT_SIZE) -> None:
    """Write WORDS on a darkened strip along the lower edge of PANEL (changed in place)."""
    h, w = panel.shape[:2]
    strip = round(40 * size / HINT_SIZE)
    panel[h - strip :] //= 3
    text(panel, words, (w // 2, h - round(0.375 * strip)), size=size, align=0.5)


def even(size: tuple[int, int]) -> tuple[int, int]:
    """SIZE without an odd last row and column, which no video codec takes."""
    return max(2, size[0] // 2 * 2), max(2, size[1] // 2 * 2)


class Composer:
    """View -> RGB uint8 picture of constant size (`size`: height, width, both even), whatever the frames' sizes.

    frame_size: (height, width) of the source. layout: "side-by-side", or "result" alone. overlay: draw the keypoints.
    caption: the stages' milliseconds in the footer. titles: what the panels are. mirror: flip left and right, as a mirror does.
    live: the results are camera frames (live mode). `size` is then frame_size (layout "result"), or both panels have its shape; a frame
    that cannot be dressed is shown itself, never an older result; and a picture of the right size on which nothing is drawn is
    returned as it came, so that it must not be changed.
    """

    def __init__(
        self,
        frame_size: tuple[int, int],
        *,
        layout: Layout = "side-by-side",
        garment: UInt8 | None = None,
        overlay: bool = False,
        caption: bool = True,
        mirror: bool = False,
        live: bool = False,
        titles: bool = True,
    ) -> None:
        self.layout, self.overlay, self.caption, self.mirror, self.live = layout, overlay, caption, mirror, live
        h, w = frame_size
        height = min(MAX_HEIGHT, max(MIN_HEIGHT, h)) // 2 * 2
        self._camera = even((height, round(height * min(w / h, WIDEST))))
        self._result = self._camera if live else even((height, round(height * SIZE[1] / SIZE[0])))
        if layout == "result":
            self._result = even(frame_size) if live else self._result
            self.size = self._result
        else:
            self.size = (height + MARGIN + FOOTER, 2 * MARGIN + self._camera[1] + GAP + self._result[1])
        # Drawn once: filling and writing anew for each frame would take as long as all the rest.
        self._paper = np.full((*self.size, 3), PAPER, np.uint8)
        right, bottom = MARGIN + self._camera[1] + GAP, MARGIN + height
        columns = (slice(0, MARGIN), slice(right - GAP, right), slice(right + self._result[1], None))
        self._bare = [
            (slice(0, MARGIN), slice(None)), (slice(bottom, None), slice(None)),
            *((slice(MARGIN, bottom), column) for column in columns),
        ]  # fmt: skip
        if titles and layout == "side-by-side":
            text(self._paper, "camera", (MARGIN, bottom + 24))
            text(self._paper, "try-on", (right, bottom + 24))
        self._captioned = float("-inf")  # when the frame was taken whose times stand in the footer
        self._garment: UInt8 | None = None
        self._card: UInt8 | None = None
        self.garment = garment

    @property
    def result_corner(self) -> tuple[int, int]:
        """Left and top of the result in the picture."""
        return (0, 0) if self.layout == "result" else (MARGIN + self._camera[1] + GAP, MARGIN)

    @property
    def garment(self) -> UInt8 | None:
        """The garment, RGB or RGBA, shown as a card; may be exchanged between frames."""
        return self._garment

    @garment.setter
    def garment(self, picture: UInt8 | None) -> None:
        if picture is self._garment:
            return
        self._garment = picture
        self._card = None if picture is None else card(picture, round(0.2 * self._result[0]))

    def draw_camera(self, view: View, panel: UInt8) -> None:
        """Fill PANEL (height, width, 3) with the camera's picture and the optional skeleton."""
        frame = view.frame.image
        fit(frame, self._camera, out=panel)
        if self.overlay:
            self._draw_pose(view, panel)
        if self.mirror:
            cv2.flip(panel, 1, dst=panel)

    @staticmethod
    def _draw_pose(view: View, panel: UInt8) -> None:
        if view.perception is not None:
            h, w = view.frame.image.shape[:2]
            box = Letterbox.fit((h, w), (panel.shape[0], panel.shape[1]))
            draw_keypoints(panel, box.points(view.perception.keypoints))

    def shown(self, view: View) -> UInt8 | None:
        """The try-on that VIEW's result panel shows, of any size; None before the first one, which in live mode is the camera's frame."""
        if not self.live:
            return view.result
        bare = view.result is None or (view.perception is not None and view.perception.unusable)
        picture = view.frame.image if bare else view.result
        assert picture is not None
        if self.layout == "result" and even((picture.shape[0], picture.shape[1])) == self.size:
            return picture[: self.size[0], : self.size[1]]  # no odd row is worth a resampling
        return picture

    def draws(self, view: View) -> bool:
        """Whether anything is drawn on VIEW's result; a subclass that draws more says so here."""
        return bool(self.mirror or self.overlay or (view.perception and view.perception.unusable))

    def draw_result(self, view: View, panel: UInt8) -> None:
        """Fill PANEL (height, width, 3) with what shown() says; a line says why a frame is not dressed."""
        picture = self.shown(view)
        if picture is None:
            panel[:] = PANEL
        else:
            fit(picture, self._result, out=panel)
            if self.overlay and self.live and self.layout == "result":  # there is no other picture of the camera
                self._draw_pose(view, panel)
            if self.mirror:
                cv2.flip(panel, 1, dst=panel)
        reason = view.perception.unusable if view.perception else None
        if reason:
            write_hint(
                panel, reason, size=HINT_SIZE * max(1.0, min(panel.shape[:2]) / MIN_HEIGHT) if self.live else HINT_SIZE
            )

    def _write_times(self, view: View) -> None:
        """Write the stages' milliseconds into the paper's footer; once a second, or nobody could read them."""
        if view.frame.captured - self._captioned < CAPTION_S:
            return
        self._captioned = view.frame.captured
        right = MARGIN + self._camera[1] + GAP
        footer = self._paper[-FOOTER:, right + 60 :]
        footer[:] = PAPER
        times = "   ".join(f"{name} {1e3 * s:.0f}" for name, s in view.stages_s.items())
        at = (self._result[1] - 60, 24)
        text(footer, f"{times} ms", at, size=0.38, colour=FAINT, align=1.0)

    def __call__(self, view: View) -> UInt8:
        if self.live and self.layout == "result" and not self.draws(view):
            picture = self.shown(view)
            if picture is not None and picture.shape[:2] == self.size:
                return picture
        canvas = np.empty((*self.size, 3), np.uint8)
        if self.layout == "result":
            self.draw_result(view, canvas)
            return canvas
        (height, camera_width), result_width = self._camera, self._result[1]
        right = MARGIN + camera_width + GAP
        if self.caption:
            self._write_times(view)
        for part in self._bare:
            canvas[part] = self._paper[part]
        rows = slice(MARGIN, MARGIN + height)
        self.draw_camera(view, canvas[rows, MARGIN : MARGIN + camera_width])
        self.draw_result(view, canvas[rows, right : right + result_width])
        if self._card is not None:
            h, w = self._card.shape[:2]
            x = right + result_width - w - 10
            canvas[MARGIN + 10 : MARGIN + 10 + h, x : x + w] = self._card
        return canvas
