"""The mask of a garment on any photograph: lying on a bed or on wood, on a hanger, in a shop's studio, or worn by somebody.

The cut-out network (cutout.py) says what is garment; its mask has 256 pixels on the long side. GrabCut then decides by the colours
of garment and background in a band round its outline, where those differ, hooks of hangers go (hooks.py), and a guided filter gives the
outline its soft edge.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError
from spgvton.image import on_white
from spgvton.mask import is_inverted
from spgvton.perception.cutout import GARMENTS, KINDS, SLEEVES, Seen, shipped
from spgvton.perception.hooks import without_hooks
from spgvton.perception.worn_garment import worn_garment
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

WORK_SIDE: Final = 512  # pixels on the long side of the picture on which the outline is drawn
BAND: Final = 0.012  # of the long side: how far GrabCut may move the outline
UNSURE: Final = 0.08  # probabilities from this to 1 less this are left to GrabCut, too
SMOOTH: Final = 0.006  # of the long side: what juts out less far is no part of the outline
AGREES: Final = 0.5  # of the band's pixels, where network and GrabCut must agree for GrabCut to count
MIN_AREA, MAX_AREA = 0.02, 0.97  # of the picture
MIN_CERTAINTY: Final = 0.5
HELP: Final = "photograph one garment from the front, all of it in the picture, or give --garment-mask"
NOT_FOUND: Final = f"no garment found: {HELP}"
WORN: Final = "no garment found on this person: photograph it lying or hanging, or give --garment-mask"
WORN_KIND: Final = KINDS.index("worn")
MAYBE_WORN: Final = 0.2  # probability from which somebody who wears the garment is looked for
WORN_KINDS: Final = {
    "dress": "dress",
    "coat or jacket": "outerwear",
}  # worn_garment.KINDS; a top's kind goes by its sleeves
DOUBTFUL: Final = (
    0.7  # confidence below which a note says so: 3 of the 100 photographs of results/cutout-held-out.csv, a cat, a cup
)
SURE: Final = 0.6  # probability from which something is refused for what it is


class Cutout(NamedTuple):
    """mask: uint8 (H, W), 255 = garment, with soft edges. kind: one of cutout.GARMENTS. sleeve: one of cutout.SLEEVES.
    confidence: 0...1, that this is a garment and the mask is right. notes: what of a worn garment cannot be seen, or that the confidence
    is low; a few words each."""

    mask: UInt8
    kind: str
    sleeve: str
    confidence: float
    notes: tuple[str, ...] = ()


def garment_mask(image: UInt8) -> UInt8:
    """Mask of the garment in IMAGE, RGB (H, W, 3) or RGBA (H, W, 4) uint8: uint8 (H, W), 255 inside, 0 outside, soft edges.

    An alpha channel that separates something is taken as it is. Raises SpgvtonError where no garment is found.

    Examples:
        >>> from spgvton import image
        >>> shirt = image.read("shirt.jpg")
        >>> mask = garment_mask(shirt)
        >>> mask.shape == shirt.shape[:2], bool(mask[0, 0]), bool(mask[mask.shape[0] // 2, mask.shape[1] // 2])
        (True, False, True)
    """
    check(image)
    alpha = _alpha_mask(image)
    return cut_out(image).mask if alpha is None else alpha


def check(image: UInt8) -> None:
    """Raises SpgvtonError for an array that is no picture."""
    if image.ndim != 3 or image.shape[2] not in (3, 4) or image.dtype != np.uint8:
        raise SpgvtonError(f"a garment picture must be RGB or RGBA uint8, got {image.dtype} {image.shape}")


def _alpha_mask(image: UInt8) -> UInt8 | None:
    """The mask that IMAGE's alpha channel is; None where it has none, or one that is opaque nearly everywhere. Raises SpgvtonError."""
    if image.shape[2] == 3:
        return None
    mask = (image[..., 3] >= 128).astype(np.uint8)
    if not MIN_AREA < mask.mean() < 0.99:
        return None
    if is_inverted(mask > 0):
        raise SpgvtonError("the garment is transparent and its surroundings are not: invert the alpha channel")
    return clean(mask) * np.uint8(255)


def cut_out(image: UInt8) -> Cutout:
    """The garment in IMAGE, RGB (H, W, 3) or RGBA (H, W, 4) uint8; of an alpha channel that separates something only the kind is
    found. One that somebody wears is found by the human parser. Raises SpgvtonError where there is no garment."""
    check(image)
    alpha = _alpha_mask(image)
    rgb = on_white(image)
    seen = shipped()(rgb)
    garments = seen.kinds[: len(GARMENTS)]
    kind, sleeve = GARMENTS[int(garments.argmax())], SLEEVES[int(seen.sleeves.argmax())]
    if alpha is not None:
        return Cutout(alpha, kind, sleeve, round(float(garments.sum()), 3))
    worn = worn_garment(rgb) if seen.kinds[WORN_KIND] > MAYBE_WORN else None
    if worn is not None:
        kind = WORN_KINDS.get(worn.kind) or ("long sleeve" if worn.sleeve == "long" else "t-shirt")
        return Cutout(worn.mask, kind, worn.sleeve, round(float(seen.kinds[WORN_KIND]), 3), worn.notes)
    _refuse(seen)
    certainty = _certainty(seen.mask)
    mask = outline(rgb, seen.mask)
    if certainty < MIN_CERTAINTY or not MIN_AREA < (mask > 127).mean() < MAX_AREA:
        raise SpgvtonError(NOT_FOUND)
    confidence = round(float(garments.sum()) * certainty, 3)
    doubt = f"unsure whether this is a garment, rightly cut out (confidence {confidence:.2f}): look at its mask"
    return Cutout(mask, kind, sleeve, confidence, (doubt,) if confidence < DOUBTFUL else ())


def _refuse(seen: Seen) -> None:
    """Raises SpgvtonError where what is SEEN is surely no garment that can be cut out."""
    best = KINDS[int(seen.kinds.argmax())]
    if seen.kinds.max() < SURE or best in GARMENTS:
        return
    if best == "worn":
        raise SpgvtonError(WORN)
    if best == "nothing":
        raise SpgvtonError(NOT_FOUND)
    raise SpgvtonError(f"this looks like {best}: only tops, dresses and jackets can be tried on; {HELP}")


def _certainty(mask: Float) -> float:
    """How little the garment's area depends on where the line is drawn: 1 for a mask of zeros and ones."""
    least = float((mask > 0.25).sum())
    return float((mask > 0.75).sum()) / least if least else 0.0


def outline(rgb: UInt8, coarse: Float) -> UInt8:
    """The soft mask uint8 (H, W) of RGB (H, W, 3), from the network's COARSE probabilities of the whole of it."""
    h, w = rgb.shape[:2]
    scale = min(1.0, WORK_SIDE / max(h, w))
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))
    share = np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC if scale == 1 else cv2.INTER_LINEAR))
    inside = clean((share > 0.5).astype(np.uint8))
    if not inside.any():
        return np.zeros((h, w), np.uint8)
    unsure = (share > UNSURE) & (share < 1 - UNSURE)
    inside = by_colour(small, inside, unsure, round(BAND * max(size)) + 1)
    # tufts of a patterned rug that look like the garment; not the hem's corners
    inside = clean((cv2.GaussianBlur(inside.astype(np.float32), (0, 0), SMOOTH * max(size)) > 0.5).astype(np.uint8))
    return soften(rgb, small, without_hooks(small, inside))


def by_colour(rgb: UInt8, inside: UInt8, unsure: NDArray[np.bool_], band: int) -> UInt8:
    """INSIDE (0 or 1) as GrabCut sees it within BAND pixels of the outline and where the network is UNSURE, such as in the gap between
    sleeve and body; unless the colours contradict the network there."""
    garment = (cv2.erode(inside, disc(band)) > 0) & ~unsure
    background = (cv2.dilate(inside, disc(band)) == 0) & ~unsure
    if not garment.any() or not background.any():
        return inside
    labels = np.where(inside > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[garment], labels[background] = cv2.GC_FGD, cv2.GC_BGD
    found = grab_cut(rgb, labels)
    between = ~garment & ~background
    moved = (found != inside) & between
    return inside if moved.sum() > (1 - AGREES) * between.sum() else found


def grab_cut(rgb: UInt8, labels: UInt8, rounds: int = 2) -> UInt8:
    """1 where GrabCut sees garment in RGB (h, w, 3), from LABELS (h, w) of cv2.GC_*."""
    cv2.setRNGSeed(0)  # its k-means starts at random; the same picture must give the same mask
    bgr, labels = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), labels.copy()
    cv2.grabCut(bgr, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), rounds, cv2.GC_INIT_WITH_MASK)
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)


def soften(rgb: UInt8, small: UInt8, inside: UInt8, radius: int = 2, epsilon: float = 36.0) -> UInt8:
    """INSIDE (h, w) of SMALL as a soft mask of RGB (H, W, 3): a guided filter [He, Sun, Tang 2013] whose coefficients are enlarged."""

    def mean(values: NDArray[np.floating[Any]]) -> Float:
        return np.asarray(cv2.boxFilter(values, -1, (2 * radius + 1,) * 2), np.float32)

    guide = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    share = np.asarray(cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.8), np.float32)
    middle, level = mean(guide), mean(share)
    slope = (mean(guide * share) - middle * level) / (mean(guide * guide) - middle * middle + epsilon)
    offset = level - slope * middle
    size = rgb.shape[1::-1]
    full = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    a, b = (cv2.resize(mean(part), size, interpolation=cv2.INTER_LINEAR) for part in (slope, offset))
    # where the grey says nothing the filter blurs: a little more contrast brings the edge back
    soft = np.clip((a * full + b - 0.5) * 1.6 + 0.5, 0, 1)
    near = cv2.resize(cv2.dilate(inside, disc(radius)), size, interpolation=cv2.INTER_NEAREST)
    deep = cv2.resize(cv2.erode(inside, disc(radius)), size, interpolation=cv2.INTER_NEAREST)
    return np.rint(255 * np.where(deep > 0, 1, np.where(near > 0, soft, 0))).astype(np.uint8)


def clean(mask: UInt8) -> UInt8:
    """Drop specks (under 5% of the largest piece) and holes (under 0.5% of the garment) of MASK, 0 or 1."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count < 2:
        return mask
    area = stats[:, cv2.CC_STAT_AREA].copy()
    area[0] = 0
    out = (area > 0.05 * area.max())[pieces].astype(np.uint8)
    padded = cv2.copyMakeBorder(1 - out, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(padded, connectivity=4)
    hole = stats[:, cv2.CC_STAT_AREA] < 0.005 * out.sum()
    hole[pieces[0, 0]] = hole[0] = False  # outside, and the garment itself
    return out | hole[pieces[1:-1, 1:-1]].astype(np.uint8)


def disc(radius: int) -> UInt8:
    """A round structuring element."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))  # type: ignore[return-value]
