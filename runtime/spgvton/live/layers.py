"""What the compositor needs of one answer of the network, prepared once and used for every frame until the next answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.image import Letterbox
from spgvton.live.cloth import creases, texture_positions, worn_lining
from spgvton.live.fill import fill_uncovered
from spgvton.live.garment import LiveGarment
from spgvton.live.light import relit, shading
from spgvton.live.mixture import network_picture, warped
from spgvton.live.network import LiveOutput
from spgvton.live.plate import View
from spgvton.live.regions import Mask, Regions, decide, disc, grow, shrink, torso_of
from spgvton.perception.parse import Parse
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

FINE: Final = 2  # masks have so many times the network's resolution
MARGIN: Final = 6  # network pixels round the changed region that are looked at
SNAP: Final = 3.0  # network pixels from the old outline within which the camera's edges rule
UNDER: Final = 3  # network pixels that what stands in place of old clothes goes on below the garment's edge
SHADE_ONE: Final = 128  # how a factor of 1 is stored


@dataclass(frozen=True, eq=False)
class Layers:
    """In the network's frame, cut to `bounds` = (left, top, right, bottom); masks at FINE times its resolution.

    garment: float32, where it is worn. cover, fill: where old clothes go and no new ones come, float32, and what stands there
    then, uint8 (h, w, 3); None where that is nowhere. snap: float32, 1 where the
    camera's own edges draw the outline. allowed: uint8 0 or 1, what may change at all. shade: uint8
    (h, w), SHADE_ONE = as in the garment's picture. positions: (h, w, 2), in texture pixels. guide: (1, 3),
    the mix of R, G, B in which old clothes and what surrounds them differ most.
    """

    bounds: tuple[int, int, int, int]
    garment: Float
    cover: Float | None
    snap: Float
    allowed: UInt8
    fill: UInt8 | None
    shade: UInt8
    positions: Float
    guide: Float


@dataclass(frozen=True, eq=False)
class Answer:
    """What perception and the network said about one frame, and the garment that they were asked about.

    picture: uint8 (H, W, 3), the framed camera picture. keypoints: (18, 3), in the camera's pixels. box: from the camera into
    the network's frame. plate: the clean plate in that frame, or None. sleeves: where the sleeves end (sleeves.sleeve_end); None
    where that is to be seen from this answer alone.
    """

    garment: LiveGarment
    picture: UInt8
    keypoints: Float
    box: Letterbox
    parse: Parse
    output: LiveOutput
    plate: View | None = None
    sleeves: float | None = None

    @property
    def worn(self) -> Mask:
        """Where the network wants the garment (H, W)."""
        return self.output.clothes_mask >= 128

    @cached_property
    def layers(self) -> Layers | None:
        """What the compositor needs; None where nothing changes. Made at the first access, which takes some 20 ms."""
        return prepare(self)


def prepare(answer: Answer) -> Layers | None:
    """The layers of ANSWER; None where nothing changes."""
    h, w = answer.parse.labels.shape
    labels, output = answer.parse.labels, answer.output
    keypoints = answer.box.points(answer.keypoints)
    shown = output.positions
    lining = worn_lining(shown, answer.garment)
    regions = decide(labels, output.semantic, answer.worn, keypoints, lining, answer.sleeves)
    changed = regions.garment | regions.uncovered
    x, y, width, height = cv2.boundingRect(changed.astype(np.uint8))
    if not width:
        return None
    bounds = max(0, x - MARGIN), max(0, y - MARGIN), min(w, x + width + MARGIN), min(h, y + height + MARGIN)
    cut = slice(bounds[1], bounds[3]), slice(bounds[0], bounds[2])
    cloth = warped(shown, answer.garment.network)
    rendered = network_picture(output, cloth)
    shade = relit(shading(answer.picture, labels, regions), rendered, cloth, regions.garment & answer.worn)
    fill: UInt8 | None = None
    cover: Float | None = None
    if regions.uncovered.any():
        colours = fill_uncovered(answer.picture, rendered, labels, output.semantic, regions, answer.plate)
        fill = _bytes(colours[cut])
        below = grow(regions.uncovered, UNDER) & regions.garment  # no old clothes shine through its edge
        cover = _fine(_smooth(grow(regions.uncovered, 1) | below)[cut])
    shade *= SHADE_ONE * creases(shown, answer.garment, regions.garment, torso_of(keypoints, (h, w)))
    positions = texture_positions(shown, answer.garment, regions.garment)
    allowed = grow(changed | regions.old, 2).astype(np.float32)
    return Layers(
        bounds,
        _fine(_smooth(regions.garment)[cut]),
        cover,
        _fine(_snap(regions, labels)[cut]),
        (_fine(allowed[cut]) > 0.5).astype(np.uint8),
        fill,
        _bytes(shade[cut]),
        np.ascontiguousarray(positions[cut]),
        _guide(answer.picture, regions),
    )


def _bytes(x: Float) -> UInt8:
    return np.clip(x, 0, 255).astype(np.uint8)


def _fine(x: Float) -> Float:
    h, w = x.shape
    return cv2.resize(x, (FINE * w, FINE * h), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


def _smooth(mask: Mask) -> Float:
    return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.3)  # type: ignore[return-value]


def _snap(regions: Regions, labels: UInt8) -> Float:
    """1 on the outlines of the old clothes and of the customer, falling to 0 within SNAP pixels."""
    both = regions.old.astype(np.uint8) + (labels != 0)
    edge = cv2.morphologyEx(both, cv2.MORPH_GRADIENT, disc(1))
    distance = cv2.distanceTransform(1 - (edge > 0).astype(np.uint8), cv2.DIST_L2, 3)
    return np.clip(1.5 - distance / SNAP, 0, 1).astype(np.float32)


def _guide(picture: UInt8, regions: Regions) -> Float:
    """The direction in RGB, of length 1, that best separates the old clothes from a ring around them [Fisher 1936]."""
    inner, outer = shrink(regions.old, 2), grow(regions.old, 8) & ~grow(regions.old, 1)
    if inner.sum() < 50 or outer.sum() < 50:
        return np.array([[0.299, 0.587, 0.114]], np.float32)
    a, b = picture[inner].astype(np.float64), picture[outer].astype(np.float64)
    spread = np.cov(a.T) + np.cov(b.T) + 30 * np.eye(3)
    direction = np.linalg.solve(spread, a.mean(0) - b.mean(0))
    return (direction / max(float(np.abs(direction).sum()), 1e-9)).astype(np.float32)[None]
