"""Sleeves of an in-shop picture laid as the networks know them: away from the body, but not straight out.

People photograph long sleeves lying along the body, or over it. The garment's outline is then that of a wide vest, and no
spline can take cloth that lies on the hip to a wrist. So each sleeve is turned about its armhole, before any network sees it.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton.perception.garment_sleeves import Sleeve
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

NARROW, WIDE = 24.0, 50.0  # degrees from the side: sleeves within are left as they lie
AT_NARROW, AT_WIDE = 32.0, 38.0  # degrees to which the others are turned
LONG: Final = 1.5  # armholes: a shorter sleeve does not cover the body
BROAD: Final = 0.4  # armholes: a thinner one is part of a sleeve
SPARE: Final = 0.05  # armholes: how far the cloth of a sleeve is known to be one
CRUMB: Final = 0.02  # of the garment
PIECE: Final = 0.3  # of the body's largest piece: others are parts of the sleeve that were not found
BEND: Final = 1.2  # armholes: how far from it the cloth gives way
ROUNDS: Final = 5  # of the fixed-point iteration; it converges by 2 sin(angle / 2) a round
COARSE: Final = 4  # pixels: the map is smooth, and made at this fraction of the resolution


class Turn(NamedTuple):
    """A sleeve's turn. pad: canvas added on the left and on top of it, in pixels, first. Then, on that canvas: cloth, uint8 (h, w),
    255 = the sleeve; shoulder, armpit: (x, y), the armhole's ends; degrees: clockwise."""

    pad: tuple[int, int]
    cloth: UInt8
    shoulder: Float
    armpit: Float
    degrees: float

    def points(self, points: Float) -> Float:
        """Pixels (n, 2), (x, y), of the picture before -> where they lie after the turn."""
        points = points + np.array(self.pad, np.float32)
        h, w = self.cloth.shape
        column, row = np.rint(points).astype(int).T
        moves = self.cloth[row.clip(0, h - 1), column.clip(0, w - 1)] >= 128
        s = points[moves]
        centre = _centre(s, self.shoulder, self.armpit)
        points[moves] = (s - centre) @ _rotation(self.degrees).T + centre
        return points


class Spread(NamedTuple):
    """picture uint8 (h, w, 3), mask uint8 (h, w), and the turns that made them of the picture before."""

    picture: UInt8
    mask: UInt8
    turns: tuple[Turn, ...] = ()

    @property
    def begin(self) -> tuple[int, int]:
        """The pixel (x, y) at which the picture of before begins in this one."""
        return sum(turn.pad[0] for turn in self.turns), sum(turn.pad[1] for turn in self.turns)


def spread(picture: UInt8, mask: UInt8, sleeves: list[Sleeve]) -> Spread:
    """PICTURE (h, w, 3) and MASK (h, w), 255 = garment, with those of SLEEVES turned that lie too close or too far out."""
    made = Spread(picture, mask)
    for sleeve in sleeves:
        degrees = turn_wanted(sleeve)
        if degrees:
            made = turn(made, sleeve, degrees)
    return made if made.picture is picture else made._replace(mask=_without_crumbs(made.mask))


def angle(sleeve: Sleeve) -> float:
    """Degrees between SLEEVE and the garment's side: 0 hangs down, 90 is straight out."""
    out, down = _axis(sleeve)
    return math.degrees(math.atan2(out, down))


def _axis(sleeve: Sleeve) -> tuple[float, float]:
    """From the armhole's middle to that of the sleeve's outer half: outwards and down, in pixels."""
    y, x = np.nonzero(sleeve.cloth)
    along = np.stack([x, y], 1) - (sleeve.shoulder + sleeve.armpit) / 2
    far = np.hypot(*along.T)
    out, down = along[far > 0.5 * np.quantile(far, 0.98)].mean(0)
    return (-float(out) if sleeve.left else float(out)), float(down)


def turn_wanted(sleeve: Sleeve) -> float:
    """Degrees by which SLEEVE is to be turned outwards; 0: it is short, lies well, or only a part of it was found."""
    y, x = np.nonzero(sleeve.cloth)
    middle = (sleeve.shoulder + sleeve.armpit) / 2
    length = float(np.quantile(np.hypot(x - middle[0], y - middle[1]), 0.98))
    if length < LONG * sleeve.armhole or len(x) < BROAD * sleeve.armhole * length:
        return 0.0
    now = angle(sleeve)
    return AT_NARROW - now if now < NARROW else AT_WIDE - now if now > WIDE else 0.0


def turn(lying: Spread, sleeve: Sleeve, degrees: float) -> Spread:
    """LYING with SLEEVE turned outwards by DEGREES (inwards: < 0) about its armhole, and more canvas where it needs it.

    sleeve: of the picture before any turn.
    """
    left, top, right, bottom = _room(lying, sleeve, degrees)
    pad = (top, bottom, left, right)
    picture = cv2.copyMakeBorder(lying.picture, *pad, cv2.BORDER_REPLICATE)
    mask = cv2.copyMakeBorder(lying.mask, *pad, cv2.BORDER_CONSTANT, value=0)
    begin = (lying.begin[0] + left, lying.begin[1] + top)
    cloth = np.zeros_like(mask)
    h, w = sleeve.cloth.shape
    cloth[begin[1] : begin[1] + h, begin[0] : begin[0] + w] = sleeve.cloth
    shoulder, armpit = sleeve.shoulder + begin, sleeve.armpit + begin
    clockwise = degrees if sleeve.left else -degrees
    x, y = turned_map(mask.shape, shoulder, armpit, clockwise)
    share = cv2.remap(cloth, x, y, cv2.INTER_LINEAR, borderValue=0).astype(np.float32) / 255
    sleeve_mask = cv2.remap(mask, x, y, cv2.INTER_LINEAR, borderValue=0) * share
    turned = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    picture, mask = _body(picture, mask, cloth, shoulder, armpit)
    out = picture + (turned - picture.astype(np.float32)) * share[..., None]
    done = Turn((left, top), cloth, shoulder, armpit, clockwise)
    return Spread(
        np.rint(out).astype(np.uint8), np.maximum(mask, np.rint(sleeve_mask)).astype(np.uint8), (*lying.turns, done)
    )


def _body(picture: UInt8, mask: UInt8, cloth: UInt8, shoulder: Float, armpit: Float) -> tuple[UInt8, UInt8]:
    """PICTURE and MASK without the sleeve that CLOTH (h, w) marks; what it hid of the body below ARMPIT is guessed.

    The body's side is taken to run straight from the armpit to the hem, and its cloth to be like what lies next to it.
    """
    armhole = float(np.linalg.norm(shoulder - armpit))
    reach = max(1, round(SPARE * armhole))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    rest = ((mask >= 128) & (cloth == 0)).astype(np.uint8)
    # crumbs and fringes of the sleeve are not body; but where it is sewn on nothing may be torn
    core = _large(cv2.erode(rest, disc))
    sewn = np.zeros_like(mask)
    cv2.line(sewn, _whole(shoulder), _whole(armpit), 1, 4 * reach)
    kept = (cv2.dilate(core, disc) > 0) | (sewn > 0)
    body = (rest > 0) & kept
    points = np.argwhere(core)[:, ::-1]
    points = points[points[:, 1] > armpit[1]]
    hidden = np.zeros_like(mask)
    if len(points):
        hull = cv2.convexHull(np.concatenate([points, np.rint(armpit)[None]]).astype(np.int32))
        cv2.fillConvexPoly(hidden, hull, 1)
    guess = (hidden > 0) & (cloth > 0)
    _, nearest = cv2.distanceTransformWithLabels(1 - core, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    colours = np.zeros((int(nearest.max()) + 1, 3), np.uint8)
    colours[nearest[core > 0]] = picture[core > 0]
    like = cv2.blur(colours[nearest], (2 * reach + 1, 2 * reach + 1))
    soft = np.where(kept & (cloth == 0), mask, 0)
    return np.where(guess[..., None], like, picture), np.where(guess & ~body, 255, soft).astype(np.uint8)


def _large(mask: UInt8) -> UInt8:
    """The large pieces of MASK (h, w), 1 where they are: an open jacket's body has two."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask)
    areas = stats[:, cv2.CC_STAT_AREA]
    large = areas >= PIECE * areas[1:].max(initial=0)
    large[0] = False
    return np.where(large[parts], 1, 0).astype(np.uint8)


def _without_crumbs(mask: UInt8) -> UInt8:
    """MASK (h, w) without pieces smaller than CRUMB of it: what a sleeve's outline left behind."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA]
    kept = areas >= CRUMB * areas[1:].sum()
    kept[0] = False
    return np.where(kept[parts], mask, 0).astype(np.uint8)


def _whole(point: Float) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def turned_map(size: tuple[int, ...], shoulder: Float, armpit: Float, degrees: float) -> tuple[Float, Float]:
    """Where each pixel of a canvas of SIZE comes from, x and y (h, w): turned clockwise by DEGREES about the armhole.

    The cloth's every point turns about the nearest one of the armhole, far from it about its middle: q = R s + (1 - R) c(s).
    So the armhole stays where it is, and a sleeve keeps its shape.
    """
    height, width = -(-size[0] // COARSE) + 1, -(-size[1] // COARSE) + 1
    y, x = np.mgrid[:height, :width].astype(np.float32) * COARSE
    q = np.stack([x, y], -1)
    rotation, middle = _rotation(degrees), (shoulder + armpit) / 2
    s = np.asarray((q - middle) @ rotation + middle, np.float32)
    for _ in range(ROUNDS):
        centre = _centre(s, shoulder, armpit)
        s = np.asarray((q - centre) @ rotation + centre, np.float32)
    fine = [
        cv2.warpAffine(
            np.ascontiguousarray(s[..., i]), np.array([[1 / COARSE, 0, 0], [0, 1 / COARSE, 0]]), (size[1], size[0]),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        for i in (0, 1)
    ]  # fmt: skip
    return np.asarray(fine[0], np.float32), np.asarray(fine[1], np.float32)


def _rotation(degrees: float) -> Float:
    a = math.radians(degrees)
    return np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]], np.float32)


def _centre(s: Float, shoulder: Float, armpit: Float) -> Float:
    """c(s) of turned_map(), for points S (..., 2)."""
    middle, line = (shoulder + armpit) / 2, armpit - shoulder
    share = np.clip((s - shoulder) @ line / (line @ line), 0, 1)
    nearest = shoulder + share[..., None] * line
    near = np.clip(1 - np.linalg.norm(s - nearest, axis=-1) / (BEND * float(np.linalg.norm(line))), 0, 1)
    near *= near * (3 - 2 * near)
    return np.asarray(middle + near[..., None] * (nearest - middle), np.float32)


def _room(lying: Spread, sleeve: Sleeve, degrees: float) -> tuple[int, int, int, int]:
    """Pixels that the turned SLEEVE needs beyond LYING's canvas: left, top, right, bottom."""
    y, x = np.nonzero(sleeve.cloth)
    middle = (sleeve.shoulder + sleeve.armpit) / 2
    a = math.radians(degrees if sleeve.left else -degrees)
    dx, dy = x - middle[0], y - middle[1]
    turned_x = middle[0] + dx * math.cos(a) - dy * math.sin(a) + lying.begin[0]
    turned_y = middle[1] + dx * math.sin(a) + dy * math.cos(a) + lying.begin[1]
    height, width = lying.mask.shape
    spare = 0.25 * sleeve.armhole  # the armhole gives way
    beyond = (-turned_x.min(), -turned_y.min(), turned_x.max() - width + 1, turned_y.max() - height + 1)
    left, top, right, bottom = (max(0, math.ceil(b + spare)) for b in beyond)
    return left, top, right, bottom
