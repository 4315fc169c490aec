"""Where the sleeves of a garment lie in its picture: each one's cloth, its armpit and the top of its armhole.

A network of 128x128 pixels sees the cut-out garment and answers for the sleeve on the picture's left; the mirrored picture
gives the other one. `spgvton_training.sleeves` trains it on rendered garments whose sleeves were folded over the body.
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

SIDE: Final = 128  # pixels of the square that the network sees
STRIDE: Final = 2  # of them for each of what it answers
PADDING: Final = 127  # grey in place of all that is no garment
MARGIN: Final = 0.06  # of the garment's longer side, around it
SURE: Final = 0.35  # least peak of an armpit's and a shoulder's map
ARMHOLE: Final = (0.08, 0.5)  # limits of its length, in longer sides of the garment
SHARE: Final = (0.02, 0.32)  # limits of a sleeve's area, in areas of the garment


class Sleeve(NamedTuple):
    """cloth: uint8 (h, w) of the picture, 255 = this sleeve. shoulder, armpit: (x, y) in its pixels, the ends of the armhole.
    left: on the picture's left.
    """

    cloth: UInt8
    shoulder: Float
    armpit: Float
    left: bool

    @property
    def armhole(self) -> float:
        """Its length in pixels."""
        return float(np.linalg.norm(self.shoulder - self.armpit))


class SleeveNetwork:
    """The network in an ONNX file (default: the shipped one). Several threads may call it."""

    def __init__(self, path: str | Path | None = None, threads: int = 1) -> None:
        self._session = open_session(path or shipped_model("garment_sleeves.onnx"), threads)

    def __call__(self, picture: UInt8, mask: UInt8) -> list[Sleeve]:
        """The sleeves of the garment of PICTURE, RGB uint8 (h, w, 3), that MASK (h, w), 255 = garment, cuts out; 0 to 2.

        Raises SpgvtonError where the model file is damaged.
        """
        if not (mask >= 128).any():
            return []
        matrix = frame_of(mask)
        square = look(picture, mask, matrix)
        both = np.stack([square, square[:, ::-1]]).transpose(0, 3, 1, 2).astype(np.float32)
        (maps,) = self._session.run(["maps"], {"picture": both})
        if not np.isfinite(maps).all():
            raise SpgvtonError("the sleeve network gave NaN: its model file is damaged, install spgvton again")
        found = [_sleeve(maps[0], matrix, mask, True), _sleeve(maps[1, :, :, ::-1], matrix, mask, False)]
        return [sleeve for sleeve in found if sleeve is not None]


def frame_of(mask: UInt8) -> Float:
    """The map (2, 3) of pixels of MASK (h, w), edges at integers, into the network's square, the garment in its middle."""
    x, y, w, h = cv2.boundingRect((mask >= 128).astype(np.uint8))
    zoom = SIDE / (max(w, h) * (1 + 2 * MARGIN))
    return np.array([[zoom, 0, SIDE / 2 - zoom * (x + w / 2)], [0, zoom, SIDE / 2 - zoom * (y + h / 2)]], np.float32)


def between_centres(matrix: Float) -> NDArray[np.float64]:
    """MATRIX (2, 3) of pixels whose edges are integers, for OpenCV, which counts from pixel centres."""
    out = matrix.astype(np.float64)
    out[:, 2] += out[:, :2].sum(1) / 2 - 0.5
    return out


def look(picture: UInt8, mask: UInt8, matrix: Float) -> UInt8:
    """PICTURE (h, w, 3) as the network sees it, (SIDE, SIDE, 3): MATRIX applied, grey where MASK (h, w) is 0."""
    centres = between_centres(matrix)
    if matrix[0, 0] < 0.5:  # bilinear sampling would skip rows
        blur = 0.35 / float(matrix[0, 0])
        picture, mask = (np.asarray(cv2.GaussianBlur(a, (0, 0), blur), np.uint8) for a in (picture, mask))
    seen = cv2.warpAffine(picture, centres, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderValue=(PADDING,) * 3)
    share = cv2.warpAffine(mask, centres, (SIDE, SIDE), flags=cv2.INTER_LINEAR)[..., None] / np.float32(255)
    return np.rint(seen * share + PADDING * (1 - share)).astype(np.uint8)


def _sleeve(maps: Float, matrix: Float, mask: UInt8, left: bool) -> Sleeve | None:
    """The sleeve that MAPS (3, h, w) show: cloth, armpit, shoulder; None where they are not sure of one."""
    inverse = cv2.invertAffineTransform(matrix)
    points = []
    for heat in maps[1:]:
        y, x = np.unravel_index(int(heat.argmax()), heat.shape)
        if heat[y, x] < SURE:
            return None
        centre = np.array([(x + 0.5) * STRIDE, (y + 0.5) * STRIDE], np.float32)
        points.append((inverse[:, :2] @ centre + inverse[:, 2] - 0.5).astype(np.float32))
    armpit, shoulder = points
    height, width = mask.shape
    back = inverse.copy()
    back[:, :2] *= STRIDE
    soft = cv2.warpAffine(np.ascontiguousarray(maps[0]), between_centres(back), (width, height), flags=cv2.INTER_LINEAR)
    cloth = (soft > 0.5) & (mask >= 128)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(cloth.astype(np.uint8))
    if count < 2:
        return None
    cloth = parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    armhole = float(np.linalg.norm(armpit - shoulder)) * float(matrix[0, 0]) / SIDE * (1 + 2 * MARGIN)
    share = cloth.sum() / (mask >= 128).sum()
    if not (ARMHOLE[0] < armhole < ARMHOLE[1] and SHARE[0] < share < SHARE[1]):
        return None
    return Sleeve(np.where(cloth, 255, 0).astype(np.uint8), shoulder, armpit, left)


@lru_cache(maxsize=1)
def shipped() -> SleeveNetwork:
    """The shipped network, opened once. Raises SpgvtonError."""
    return SleeveNetwork()
