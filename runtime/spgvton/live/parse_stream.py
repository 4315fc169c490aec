"""A parser for one stream: what it says of a frame is averaged with what it said of the frames before, where nothing moved.

The soft maps of before are moved to where the customer stands now. At each pixel they count as much as the picture there, moved alike,
looks like the new one, and the less the more the limbs have moved beyond that: so labels neither flicker on somebody who stands still
nor stay behind somebody who walks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton.image import Letterbox
from spgvton.live.timewarp import similarity
from spgvton.perception.parse import Parse, framed
from spgvton.perception.parsing import Parser
from spgvton.perception.soft_maps import parse_of
from spgvton.person import place
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Matrix = NDArray[np.float64]

WEIGHT: Final = 0.65  # of what was before, while nobody moves
MOVED: Final = 2.0  # pixels of the network's frame, moved by limbs, at which that weight has fallen to 1/e
AGREE: Final = 9.0  # levels of 255 between both pictures at which it has, too
PATCH: Final = 5  # pixels of the maps over which pictures are compared
NOISE: Final = 1.2  # pixels that keypoints move while nobody does
STEP: Final = 0.1  # a shift of less than that is none


class _View(NamedTuple):
    """maps: uint8 (21, h, w). picture: uint8 (h, w, 3), the frame at that size. keypoints: (18, 3) in the camera's pixels."""

    maps: UInt8
    picture: UInt8
    keypoints: Float
    box: Letterbox


@dataclass
class ParseStream:
    """(frame, keypoints, box, picture) -> Parse. reset() for another customer; parsers that give no soft maps are only asked."""

    parser: Parser
    _before: _View | None = None

    def reset(self) -> None:
        """Forget what was before."""
        self._before = None

    def __call__(self, frame: UInt8, keypoints: Float, box: Letterbox, picture: UInt8) -> Parse:
        """What the parser says of FRAME, RGB uint8 (h, w, 3), with KEYPOINTS (18, 3), in BOX's frame, which shows PICTURE (H, W, 3).

        Raises SpgvtonError as the parser does.
        """
        look: Callable[..., UInt8] | None = getattr(self.parser, "maps", None)
        if look is None:
            return framed(self.parser, frame, keypoints, box)
        itself = Letterbox(box.target, box.target, 1.0, (0.0, 0.0))
        before, self._before = self._before, None  # not kept where the parser fails
        maps = look(picture, place(keypoints, box), itself)
        small = cv2.resize(picture, maps.shape[:0:-1], interpolation=cv2.INTER_AREA)
        now = _View(maps, np.asarray(small, np.uint8), keypoints, box)
        if before is not None:
            now = now._replace(maps=_averaged(before, now))
        self._before = now
        return parse_of(now.maps, box.target)


def _averaged(before: _View, now: _View) -> UInt8:
    """NOW's maps with the share of BEFORE's that still holds."""
    if (before.box.source, before.box.scale, before.maps.shape) != (now.box.source, now.box.scale, now.maps.shape):
        return now.maps
    moved = _movement(before, now)
    if moved is None:
        return now.maps
    matrix, beyond = moved
    most = WEIGHT * float(np.exp(-((beyond / MOVED) ** 2)))
    if most < 0.02:
        return now.maps
    size = (now.maps.shape[2], now.maps.shape[1])
    still = np.abs(matrix - np.eye(2, 3)).max() < STEP

    def move(x: NDArray[Any]) -> NDArray[Any]:
        return x if still else cv2.warpAffine(x, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    unlike = _unlike(move(before.picture), now.picture)
    stays = None  # where something stands still beside what moved: feet under a body that bends
    if not still:
        rest = _unlike(before.picture, now.picture)
        stays = rest <= unlike
        unlike = np.minimum(unlike, rest)
    table = np.rint(255 * most * np.exp(-np.square(np.arange(256) / AGREE))).astype(np.float32) / 255
    weight = np.asarray(table[unlike], np.float32)
    out = np.empty_like(now.maps)
    for old, new, target in zip(before.maps, now.maps, out):
        if old.any() or new.any():
            was = move(old) if stays is None else np.where(stays, old, move(old))
            cv2.blendLinear(was, new, weight, 1 - weight, dst=target)
        else:
            target[:] = 0
    return out


def _unlike(before: NDArray[Any], now: UInt8) -> UInt8:
    """How much two pictures (h, w, 3) differ round each pixel (h, w), in levels of 255."""
    difference = cv2.cvtColor(cv2.absdiff(before, now), cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.blur(difference, (PATCH, PATCH)), np.uint8)


def _movement(before: _View, now: _View) -> tuple[Matrix, float] | None:
    """How maps move from BEFORE to NOW, 2x3 in their pixels, and by how many pixels of the network's frame keypoints moved beyond that.

    None where the customer cannot have moved so.
    """
    seen = (before.keypoints[:, 2] > 0) & (now.keypoints[:, 2] > 0)
    moved = similarity(before.keypoints, now.keypoints)
    if moved is None or not seen.any():
        return None
    scale, here = now.box.scale, now.keypoints[seen, :2]
    for motion in (np.eye(2, 3), moved):  # nobody moved, as long as that explains what is seen
        there = before.keypoints[seen, :2] @ motion[:, :2].T + motion[:, 2]
        beyond = scale * float(np.linalg.norm(here - there, axis=1).mean())
        if beyond < NOISE:
            break
    to_camera = np.linalg.inv(_square(before.box.matrix))
    stride = now.box.target[1] / now.maps.shape[2]
    grid = np.array([[stride, 0, stride / 2 - 0.5], [0, stride, stride / 2 - 0.5], [0, 0, 1.0]])
    whole = np.linalg.inv(grid) @ _square(now.box.matrix) @ _square(motion) @ to_camera @ grid
    return whole[:2], max(0.0, beyond - NOISE)


def _square(matrix: Matrix) -> Matrix:
    return np.vstack([matrix, [0, 0, 1.0]])
