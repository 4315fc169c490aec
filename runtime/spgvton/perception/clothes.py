"""Which clothes are which: the waist by colour, trousers or skirt, a dress, an open coat over a shirt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import labels as lb
from spgvton.perception import skeleton as sk
from spgvton.perception.skeleton import Skeleton
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

TOP, BOTTOM = 0.3, 1.8  # along the torso: where waists are looked for
MIDDLE: Final = 0.45  # of the torso, to either side
BIN: Final = 0.04  # of the torso: height of a slice in which a garment has one colour
LINE: Final = 0.02  # likewise, of a shadow
HEMS: Final = (0.85, 1.3)  # along the torso: where a shadow may be a hem's
DIP: Final = 2.5  # of halved lightness: how much darker it is
HEM: Final = 0.25  # of the torso: how far a hem may leave the straight line
WAIST: Final = 1.04  # along the torso, where nothing in the picture tells
WAISTS: Final = (0.55, 1.5)  # where one may be; a crop top ends at the former, a long shirt at the latter
SPREAD: Final = 0.25  # how far from WAIST waists usually are
CONTRAST: Final = 12.0  # of Lab: two garments differ by more than this
FAR_CONTRAST: Final = 40.0  # and by this more for each torso length that their border is off
SHADE: Final = 0.5  # lightness counts half: folds and shadows change it, not the colour
MIN_PIXELS: Final = 60  # of clothes: fewer tell nothing
PLAIN: Final = 0.8  # share of a strip of an open coat, or of the shirt in it, that has its colour
SLEEVE: Final = 0.6  # share of a bone that is covered by clothes when a sleeve is


@dataclass(frozen=True)
class Colour:
    """What a garment's pixels look like: mean and deviation (3,) in Lab with lightness halved."""

    mean: Float
    deviation: Float

    @staticmethod
    def of(pixels: Float) -> Colour | None:
        """Of PIXELS (N, 3); None where they are too few."""
        if len(pixels) < 12:
            return None
        mean = np.median(pixels, axis=0)
        spread = 1.5 * np.median(np.abs(pixels - mean), axis=0)
        return Colour(mean.astype(np.float32), np.maximum(spread, (5, 3, 3)).astype(np.float32))

    def contrast(self, other: Colour, lightness: bool = True) -> float:
        """Distance to OTHER, with or without LIGHTNESS."""
        return float(np.linalg.norm((self.mean - other.mean)[0 if lightness else 1 :]))

    def surprise(self, pixels: Float) -> Float:
        """How unlike this colour PIXELS (..., 3) are: half the squared distance in deviations, capped."""
        z = ((pixels - self.mean) / self.deviation) ** 2
        return np.asarray(np.minimum(0.5 * z.sum(axis=-1), 8.0) + np.log(self.deviation).sum(), np.float32)


def colours(picture: UInt8) -> Float:
    """Colours (H, W, 3) of PICTURE, RGB uint8 (H, W, 3), to compare: OpenCV's 8-bit Lab, lightness halved, noise smoothed away."""
    lab = cv2.cvtColor(cv2.GaussianBlur(picture, (3, 3), 0), cv2.COLOR_RGB2LAB).astype(np.float32)
    lab[..., 0] *= SHADE
    return np.asarray(lab, np.float32)


def label_clothes(clothes: Mask, lab: Float, skeleton: Skeleton) -> UInt8:
    """CIHP labels (H, W) of the customer's CLOTHES (H, W), 0 elsewhere. lab: the picture's colours() (H, W, 3)."""
    sleeves = sleeve_map(clothes, skeleton)
    body = clothes & ~sleeves
    waist = find_waist(body, lab, skeleton)
    low = below_waist(clothes, sleeves, lab, skeleton, waist)
    skirt = worn_as_skirt(low, skeleton)
    labels = np.zeros(clothes.shape, np.uint8)
    if skirt and waist.lower is None:
        labels[clothes] = lb.DRESS
        return labels
    labels[low] = lb.SKIRT if skirt else lb.PANTS
    upper = clothes & ~low
    labels[upper] = lb.UPPER_CLOTHES
    labels[open_coat(upper, sleeves, lab, skeleton)] = lb.COAT
    return labels


def sleeve_map(clothes: Mask, skeleton: Skeleton) -> Mask:
    """Pixels (H, W) of sleeves: nearest to a part of an arm whose bone the clothes cover, and away from the torso's middle."""
    values = clothes.astype(np.uint8)
    covered = [
        part
        for arm in sk.ARMS
        for part in arm
        if len(found := skeleton.samples(part, values, 0.2, 0.9)) and found.mean() > SLEEVE
    ]
    if not covered:
        return np.zeros(clothes.shape, bool)
    rest = skeleton.nearest(sk.TORSO, *sk.LEFT_LEG, *sk.RIGHT_LEG)
    arms = skeleton.nearest(*covered)
    return clothes & (arms < rest) & (arms < 2.0)


@dataclass(frozen=True)
class Waist:
    """along: where upper and lower clothes meet, along the torso; beyond BOTTOM where no lower ones are seen. upper, lower: their
    colours, None where those do not tell them apart."""

    along: float
    upper: Colour | None = None
    lower: Colour | None = None


def find_waist(body: Mask, lab: Float, skeleton: Skeleton) -> Waist:
    """Where the colour of BODY (H, W), the clothes without sleeves, changes; else where a hem throws a shadow; else near the hips."""
    inside = body & (skeleton.along > TOP) & (skeleton.along < BOTTOM) & (np.abs(skeleton.across) < MIDDLE)
    along, pixels = skeleton.along[inside], lab[inside]
    if len(pixels) >= MIN_PIXELS:
        edge = _change(along, pixels)
        upper = Colour.of(pixels[(along < edge - 0.06) & (along > edge - 0.6)])
        lower = Colour.of(pixels[(along > edge + 0.06) & (along < edge + 0.6)])
        needed = CONTRAST + FAR_CONTRAST * max(0.0, abs(edge - WAIST) - SPREAD / 2)
        # Close-ups end above the hips: what gets lighter or darker there is the same garment in another light.
        light_counts = skeleton.hips_seen
        if upper is not None and lower is not None and upper.contrast(lower, light_counts) > needed:
            return Waist(edge, upper, lower)
    if not skeleton.hips_seen:
        return Waist(np.inf)
    return Waist(_shadow(along, pixels[:, 0]) if len(pixels) >= MIN_PIXELS else WAIST)


def _slices(along: Float, values: Float, height: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(weight (N,), mean (N, C)) of VALUES (M, C) in slices of HEIGHT from TOP to BOTTOM."""
    index, count = ((along - TOP) / height).astype(int), round((BOTTOM - TOP) / height) + 1
    weight = np.bincount(index, minlength=count).astype(np.float64)
    mean = np.stack([np.bincount(index, channel, count) for channel in values.T], axis=1)
    return weight, mean / np.maximum(weight, 1)[:, None]


def _change(along: Float, pixels: Float) -> float:
    """The position along the torso that best divides PIXELS (N, 3) into two garments of one colour each."""
    weight, mean = _slices(along, pixels, BIN)
    weight = np.minimum(weight, np.median(weight[weight > 0]))  # a wide garment has no more say than a narrow one
    edges = TOP + BIN * np.arange(1, len(weight))
    total, count = np.cumsum(weight[:, None] * mean, axis=0), np.cumsum(weight)
    over, under = count[:-1], count[-1] - count[:-1]
    a = total[:-1] / np.maximum(over, 1)[:, None]  # the colours above and below each edge
    b = (total[-1] - total[:-1]) / np.maximum(under, 1)[:, None]
    above = np.arange(len(weight)) < np.arange(1, len(weight))[:, None]
    own = np.where(above[..., None], a[:, None], b[:, None])
    within = np.linalg.norm(mean - own, axis=2) @ weight / weight.sum()
    value = np.linalg.norm(a - b, axis=1) / (within + 4) * (1 + np.exp(-0.5 * ((edges - WAIST) / SPREAD) ** 2))
    possible = (edges >= WAISTS[0]) & (edges <= WAISTS[1]) & (np.minimum(over, under) >= 2 * weight.max())
    return float(edges[np.where(possible, value, -1).argmax()]) if possible.any() else WAIST


def _shadow(along: Float, lightness: Float) -> float:
    """Where a hem throws its shadow on a lower garment of the same colour: the darkest line near the hips, or WAIST."""
    weight, mean = _slices(along, lightness[:, None], LINE)
    light = mean[:, 0]
    first, last = (round((edge - TOP) / LINE) for edge in HEMS)
    dips = np.zeros(len(light))
    for i in range(first, min(last, len(light) - 4)):
        if weight[i - 4 : i + 5].min() > 0:
            dips[i] = min(light[i - 4 : i - 1].mean(), light[i + 2 : i + 5].mean()) - light[i]
    deepest = int(dips.argmax())
    return TOP + (deepest + 0.5) * LINE if dips[deepest] > DIP else WAIST


def below_waist(clothes: Mask, sleeves: Mask, lab: Float, skeleton: Skeleton, waist: Waist) -> Mask:
    """Pixels (H, W) of CLOTHES that belong to the lower garment."""
    height = (skeleton.along - waist.along) / HEM
    for thigh, shin in sk.LEGS:
        if skeleton.bent(thigh):  # it may be beside or before the torso
            height = np.maximum(height, np.minimum(skeleton.distance[sk.TORSO] - 2 * skeleton.nearest(thigh, shin), 2))
    if waist.upper is None or waist.lower is None:
        return np.asarray(clothes & ~sleeves & (height > 0))
    pixels = lab[clothes]
    told = waist.upper.surprise(pixels) - waist.lower.surprise(pixels)
    evidence = np.zeros(clothes.shape, np.float32)
    evidence[clothes] = told + np.where(sleeves[clothes], -4, 12 * np.clip(height[clothes], -2, 2))
    evidence = cv2.boxFilter(evidence, -1, (5, 5))
    return np.asarray(clothes & (evidence > 0) & (height > -1.5))


def worn_as_skirt(low: Mask, skeleton: Skeleton) -> bool:
    """Whether the LOW clothes (H, W) hang between the legs of somebody who stands, where trousers leave a gap."""
    k, filled = skeleton.keypoints, []
    if skeleton.bent(sk.L_THIGH) or skeleton.bent(sk.R_THIGH):
        return False
    for left, right in ((sk.L_THIGH, sk.R_THIGH), (sk.L_SHIN, sk.R_SHIN)):
        if not (skeleton.sees(left) and skeleton.sees(right)):
            break
        bones = [k[list(sk.JOINTS[part]), :2] for part in (left, right)]
        for t in np.linspace(0.5 if left == sk.L_THIGH else 0, 1, 8):
            a, b = ((1 - t) * bone[0] + t * bone[1] for bone in bones)
            apart = np.linalg.norm(a - b) > 2.2 * sk.HALF_WIDTH[left] * skeleton.torso
            if apart and _at(low, a) and _at(low, b):
                filled.append(_at(low, (a + b) / 2))
    return len(filled) >= 5 and float(np.mean(filled)) > 0.85  # wide shorts fill it near the crotch


def _at(mask: Mask, point: Float) -> bool:
    """MASK at POINT (x, y); False outside."""
    x, y = round(float(point[0])), round(float(point[1]))
    return 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and bool(mask[y, x])


def open_coat(upper: Mask, sleeves: Mask, lab: Float, skeleton: Skeleton) -> Mask:
    """Pixels (H, W) of UPPER clothes that are a coat worn open over a shirt: its colour is that of the sleeves and of both
    sides of the chest, another than that of the middle from top to bottom."""
    nothing = np.zeros(upper.shape, bool)
    chest = upper & ~sleeves & (skeleton.along > 0.2) & (skeleton.along < 0.8)
    strip = chest & (np.abs(skeleton.across) < 0.08)
    middle, sleeve = Colour.of(lab[strip]), Colour.of(lab[sleeves & upper])
    if middle is None or sleeve is None or middle.contrast(sleeve) < 1.5 * CONTRAST:
        return nothing
    pixels, coat = lab[upper], upper.copy()
    coat[upper] = sleeve.surprise(pixels) < middle.surprise(pixels)
    sides = [chest & (side > 0.2) for side in (skeleton.across, -skeleton.across)]
    if coat[strip].mean() > 1 - PLAIN or any(side.sum() < 12 or coat[side].mean() < PLAIN for side in sides):
        return nothing  # stripes, a print, or sleeves of another colour
    smooth = cv2.boxFilter(coat.astype(np.float32), -1, (5, 5)) > 0.5
    return np.asarray(upper & (smooth | sleeves))
