"""The cut-out network: where the garment of a photograph is, what kind it is, and how long its sleeves are.

It looks at the whole picture and, where the garment is small in it, once more at the garment alone; each time at the mirrored
picture, too. Its mask has 256 pixels on the long side; garment_mask.py brings it to the picture's own edges.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError
from spgvton.perception.onnx_session import open_session, shipped_model
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

KINDS: Final = ("t-shirt", "long sleeve", "shirt", "dress", "outerwear", "worn", "trousers", "shoes", "nothing")
GARMENTS: Final = KINDS[:5]  # what can be tried on as it lies there
SLEEVES: Final = ("none", "short", "long")
SIDE: Final = 256  # pixels of the square that the network sees
PADDING: Final = 127  # grey beside the picture
MARGIN: Final = 0.12  # of the garment's longer side, round it in the second look
SECOND_LOOK: Final = 0.8  # of the picture's longer side: a garment smaller than this is looked at again


class Box(NamedTuple):
    """Where in the network's square a picture lies: whole pixels."""

    top: int
    left: int
    height: int
    width: int


class Seen(NamedTuple):
    """mask: probabilities (h, w) float32 of the picture, 256 on its long side. kinds, sleeves: probabilities, of KINDS and SLEEVES."""

    mask: Float
    kinds: Float
    sleeves: Float


def letterbox(picture: UInt8) -> tuple[UInt8, Box]:
    """PICTURE (h, w, 3) in the middle of the network's square (SIDE, SIDE, 3), not stretched; and where it lies."""
    h, w = picture.shape[:2]
    scale = SIDE / max(h, w)
    width, height = max(1, round(w * scale)), max(1, round(h * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    box = Box((SIDE - height) // 2, (SIDE - width) // 2, height, width)
    out = np.full((SIDE, SIDE, 3), PADDING, np.uint8)
    out[box.top : box.top + height, box.left : box.left + width] = cv2.resize(
        picture, (width, height), interpolation=way
    )
    return out, box


class CutoutNetwork:
    """The network in an ONNX file (default: the shipped one). Several threads may call it."""

    def __init__(self, path: str | Path | None = None, threads: int = 1) -> None:
        self._session = open_session(path or shipped_model("garment_cutout.onnx"), threads)

    def __call__(self, picture: UInt8) -> Seen:
        """What is seen in PICTURE, RGB uint8 (H, W, 3). Raises SpgvtonError where the model file is damaged."""
        seen = self._look(picture)
        rows, columns = (np.flatnonzero((seen.mask > 0.5).any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            return seen
        h, w = picture.shape[:2]
        scale = max(h, w) / max(seen.mask.shape)
        low = np.array([rows[0], columns[0]]) * scale
        high = np.array([rows[-1] + 1, columns[-1] + 1]) * scale
        side = float((high - low).max())
        if side > SECOND_LOOK * max(h, w):
            return seen
        low, high = np.maximum(low - MARGIN * side, 0), np.minimum(high + MARGIN * side, (h, w))
        (top, left), (bottom, right) = np.floor(low).astype(int), np.ceil(high).astype(int)
        near = self._look(np.ascontiguousarray(picture[top:bottom, left:right]))
        return Seen(_pasted(near.mask, seen.mask.shape, (h, w), (top, left, bottom, right)), *near[1:])

    def _look(self, picture: UInt8) -> Seen:
        square, box = letterbox(picture)
        both = np.stack([square, square[:, ::-1]]).transpose(0, 3, 1, 2).astype(np.float32)
        mask, kinds, sleeves = self._session.run(["mask", "kinds", "sleeves"], {"picture": both})
        if not all(np.isfinite(part).all() for part in (mask, kinds, sleeves)):
            raise SpgvtonError("the cut-out network gave NaN: its model file is damaged, install spgvton again")
        found = (mask[0, 0] + mask[1, 0, :, ::-1]) / 2
        inside = found[box.top : box.top + box.height, box.left : box.left + box.width]
        return Seen(np.ascontiguousarray(inside, np.float32), kinds.mean(axis=0), sleeves.mean(axis=0))


def _pasted(near: Float, size: tuple[int, ...], picture: tuple[int, int], place: tuple[int, int, int, int]) -> Float:
    """A map of SIZE (height, width), finer where that is needed to keep NEAR, which belongs to PLACE (top, left, bottom, right)
    of PICTURE (height, width); 0 around it."""
    top, left, bottom, right = place
    scale = max(near.shape) / max(bottom - top, right - left)
    out = np.zeros((max(size[0], round(picture[0] * scale)), max(size[1], round(picture[1] * scale))), np.float32)
    y, x = round(top * scale), round(left * scale)
    h, w = min(near.shape[0], out.shape[0] - y), min(near.shape[1], out.shape[1] - x)
    out[y : y + h, x : x + w] = near[:h, :w]
    return out


@lru_cache(maxsize=1)
def shipped() -> CutoutNetwork:
    """The shipped network, opened once. Raises SpgvtonError."""
    return CutoutNetwork()
