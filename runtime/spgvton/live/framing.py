"""How much of the camera's picture the network sees in live mode: the clothes, as large as they fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.image import Letterbox
from spgvton.person import Garment, framing

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

CLOSE: Final = 92.0  # pixels of the torso at height 256: head to thighs are in the frame
FAR: Final = 62.0  # head to shins, for dresses and long coats
WAIST: Final = (
    0.3,
    0.7,
)  # of a garment's height: it is measured where it is narrowest in between, below spread sleeves
LONG: Final = (
    1.85  # its height over that width from which it is a dress: 34 of 40 photographed dresses, no T-shirt of 22
)
STAY: Final = 3.0  # pixels of the network that the customer may move before the view goes with them
KEEP: Final = 1.2  # the scale stays while the torso's is within this factor
LOW: Final = 10  # pixels of old clothes on the frame's edge that say that they go on beyond it
FRAMES: Final = 10  # answers for which the wider view is then kept


def is_long(garment: Garment) -> bool:
    """Whether the garment is a dress or a long coat, by the shape of its mask."""
    inside = garment.mask[0] > 0.5
    rows = np.flatnonzero(inside.any(axis=1))
    if not len(rows):
        return False
    height = int(rows[-1] - rows[0]) + 1
    waist = inside[rows[0] + int(WAIST[0] * height) : rows[0] + int(WAIST[1] * height)]
    widths = [int(np.ptp(np.flatnonzero(row))) + 1 for row in waist if row.any()]
    return height > LONG * min(widths, default=height)


class LiveFraming:
    """Keypoints -> Letterbox, steady from answer to answer: a stream should not zoom with every breath."""

    def __init__(self) -> None:
        self._box: Letterbox | None = None
        self._wide = 0  # answers for which the view stays wide

    def reset(self) -> None:
        """Another customer."""
        self._box, self._wide = None, 0

    def __call__(self, keypoints: Float, source: tuple[int, int], size: tuple[int, int], *, long: bool) -> Letterbox:
        """The box of a frame of SOURCE (height, width) for networks of SIZE. long: the garment is a dress."""
        unit = size[0] / 256
        torso = (FAR if long or self._wide else CLOSE) * unit
        fits = max(size[0] / source[0], size[1] / source[1])  # the whole picture: there is no more to see
        scale = max(torso / max(kp.torso_length(keypoints), 1.0), fits)
        if self._box and self._box.source == source and 1 / KEEP < scale / self._box.scale < KEEP:
            scale = self._box.scale
        box = framing(keypoints, source, size, scale=scale)
        held = self._box
        if held and replace(box, pad=held.pad) == held and max(abs(a - b) for a, b in zip(box.pad, held.pad)) <= STAY:
            return held
        self._box = box
        return box

    def widen(self, labels: UInt8) -> bool:
        """Whether LABELS (H, W), of the view just given, show old clothes that go on beyond it: then the next one is wider.

        A wider view is kept for some answers. False also where there is nothing wider.
        """
        if self._box is None or not self._cut(labels):
            self._wide = max(0, self._wide - 1)
            return False
        before, self._wide = self._wide, FRAMES
        return not before

    def too_close(self, labels: UInt8) -> bool:
        """Whether the clothes in LABELS (H, W) go on to the left or right of a view that shows all that it can."""
        box = self._box
        if box is None or box.scale > 1.02 * max(box.target[0] / box.source[0], box.target[1] / box.source[1]):
            return False
        return any(self._beyond(labels, side) for side in ("left", "right"))

    def _cut(self, labels: UInt8) -> bool:
        return any(self._beyond(labels, side) for side in ("left", "right", "bottom"))

    def _beyond(self, labels: UInt8, side: str) -> bool:
        """Old clothes touch that SIDE of the view, and the camera sees more there."""
        box = self._box
        assert box is not None
        (h, w), (rows, columns), (left, top) = box.source, box.target, box.pad
        line, more = {
            "left": (labels[:, 0], -left),
            "right": (labels[:, -1], left + w * box.scale - columns),
            "bottom": (labels[-1], top + h * box.scale - rows),
        }[side]
        return bool(more > 1 and np.isin(line, lb.clothes()).sum() > LOW)
