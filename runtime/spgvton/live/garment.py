"""A garment as live mode wears it: what the networks take, and its picture at full size as a texture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import image as im
from spgvton.live.lay_out import Moves, lay_out
from spgvton.live.lining import find_lining
from spgvton.live.regions import Mask, grow, shrink
from spgvton.person import Garment
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

MAX_SIDE: Final = 1536  # pixels: a shirt on a 1080x1920 mirror is 700 wide
LOOKED_AT: Final = 384  # pixels of the long side
EDGE: Final = 0.05  # of the long side: how deep a mask may be wrong
ALIKE: Final = 24.0  # levels of Lab as OpenCV has it
PALE: Final = 0.08  # share of the edge that has the background's colour, from which on the garment itself has it
RIM: Final = 0.006  # of the long side: how far a mask's edge is mixed with what lay behind the garment


@dataclass(frozen=True, eq=False)
class LiveGarment:
    """See of(). network: at network size. texture: uint8 (h, w, 3), RGB; around the garment its edge goes on, so that no
    background is ever sampled. box: from the texture into the network's cloth picture. lining: bool (H, W) of the latter, where it
    shows the inside of the garment's back, and all above that; None where it does not. scale, moves: what was done to the picture
    that was given, in this order.
    """

    network: Garment
    texture: UInt8
    box: im.Letterbox
    lining: Mask | None
    scale: float
    moves: Moves

    def points(self, points: Float) -> Float:
        """Pixels (n, 2), (x, y), of the picture that was given -> those of the network's cloth picture."""
        return self.box.points(self.moves.points((points + 0.5) * self.scale - 0.5))

    @staticmethod
    def of(picture: UInt8, mask: UInt8, size: tuple[int, int] = im.SIZE) -> LiveGarment:
        """From an in-shop picture RGB (h, w, 3) of any size and its mask (h, w), 255 = garment, for networks of SIZE.

        Raises SpgvtonError when sizes differ or the mask is empty.
        """
        Garment.check(picture, mask)
        scale = min(1.0, MAX_SIDE / max(picture.shape[:2]))
        if scale < 1:
            width, height = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
            picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
            mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        inside = find_lining(picture, mask)
        laid = lay_out(picture, mask)
        picture, mask = laid.picture, laid.mask
        shift = np.array([[1.0, 0, laid.moves.begin[0]], [0, 1, laid.moves.begin[1]]])
        lining = cv2.warpAffine(inside.astype(np.uint8), shift, mask.shape[::-1], flags=cv2.INTER_NEAREST)
        box = im.Letterbox.fit((picture.shape[0], picture.shape[1]), size)
        seen = np.asarray(box.apply(lining, border=0)) >= 128
        above = np.maximum.accumulate(seen[::-1], axis=0)[
            ::-1
        ]  # nothing is worn there either, wherever the spline looks
        return LiveGarment(
            Garment.of(picture, mask, size=size),
            bleed(picture, mask),
            box,
            above if seen.any() else None,
            scale,
            laid.moves,
        )


def bleed(picture: UInt8, mask: UInt8) -> UInt8:
    """PICTURE (h, w, 3) whose pixels outside MASK (h, w) take the colour of the nearest one well inside it."""
    rim = max(2, round(RIM * max(mask.shape)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1, 2 * rim + 1))
    inside = cv2.erode(((mask >= 128) & ~_like_background(picture, mask)).astype(np.uint8), kernel)
    if not inside.any():
        inside = (mask >= 128).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(1 - inside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    colours = np.zeros((int(nearest.max()) + 1, 3), np.uint8)
    colours[nearest[inside > 0]] = picture[inside > 0]
    out = colours[nearest]
    smooth = cv2.blur(out, (4 * rim + 1, 4 * rim + 1))
    return np.where((inside > 0)[..., None], picture, smooth).astype(np.uint8)


def _like_background(picture: UInt8, mask: UInt8) -> Mask:
    """What near the edge of MASK has the background's colour after all, as between sleeve and body; nothing of pale garments."""
    h, w = mask.shape
    scale = min(1.0, LOOKED_AT / max(h, w))  # wide morphology takes seconds at full size
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    garment, depth = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA)) >= 128, EDGE * max(size)
    outside = ~grow(garment, 1)
    edge = garment & ~shrink(garment, depth)
    if not outside.any() or not edge.any():
        return np.zeros((h, w), bool)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    around = grow(garment, depth) & outside
    alike = np.linalg.norm(lab - np.median(lab[around if around.any() else outside], axis=0), axis=2) < ALIKE
    found = (edge & alike).astype(np.uint8)
    if found.sum() >= PALE * edge.sum():
        return np.zeros((h, w), bool)
    return np.asarray(cv2.resize(grow(found > 0, 1).astype(np.uint8), (w, h), interpolation=cv2.INTER_NEAREST)) > 0
