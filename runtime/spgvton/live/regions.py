"""Which pixels of the network's frame change, and into what: decided once per answer of the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.live.sleeves import cut_sleeves, short_ends, sleeve_end
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

HEAD: Final = (lb.FACE, lb.HAIR, lb.HAT, lb.SUNGLASSES, lb.GLOVE)
ARMS: Final = (lb.LEFT_ARM, lb.RIGHT_ARM)
SKIN: Final = (lb.TORSO_SKIN, lb.FACE, *ARMS, lb.LEFT_LEG, lb.RIGHT_LEG)
LOWER: Final = (lb.PANTS, lb.SKIRT, lb.SOCKS)
THIN: Final = 4.0 / 92  # of the torso: what differs by less than twice that takes the old outline
DEEP: Final = 6.0 / 92  # of the torso: no background is so far inside the customer
EASE: Final = 8.0 / 92  # of the torso: how far a garment stands off
BESIDE: Final = 6.0 / 92  # of the torso: how wide a band of old clothes round the neck may be
NECK: Final = 5  # pixels over which a neckline is smooth
SMALL: Final = 0.08  # of the torso squared: a hole of that size is a slip of the network
ENCLOSED: Final = 0.75  # of a hole's outline that the garment must be


@dataclass(frozen=True)
class Regions:
    """Boolean (H, W) each. garment: wears the new garment. uncovered: showed old clothes, and shows them no more; disjoint.
    old: old clothes. neck: of uncovered, where the new neckline shows skin.
    """

    garment: Mask
    uncovered: Mask
    old: Mask
    neck: Mask


def disc(radius: float) -> UInt8:
    r = max(1, round(radius))
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1))  # type: ignore[return-value]


def grow(mask: Mask, radius: float) -> Mask:
    """MASK and what lies within RADIUS pixels of it."""
    return cv2.dilate(mask.astype(np.uint8), disc(radius)) > 0


def shrink(mask: Mask, radius: float) -> Mask:
    """MASK without what lies within RADIUS pixels of its edge."""
    return cv2.erode(mask.astype(np.uint8), disc(radius)) > 0


def thick(mask: Mask, radius: float) -> Mask:
    """The parts of MASK that are wider than twice RADIUS, their corners included."""
    return grow(shrink(mask, radius), 2 * radius) & mask


def touching(mask: Mask, seed: Mask) -> Mask:
    """The connected pieces of MASK that lie beside SEED."""
    count, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    keep = np.zeros(count, bool)
    keep[np.unique(pieces[grow(seed, 1) & mask])] = True
    keep[0] = False
    return keep[pieces]


def tidy(mask: Mask) -> Mask:
    """MASK without specks and small holes."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    if count > 1:
        area = stats[:, cv2.CC_STAT_AREA].copy()
        area[0] = 0
        mask = (area >= 0.03 * area.max())[pieces]
    count, pieces, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < 40
    small[0] = False
    return mask | small[pieces]


def decide(
    labels: UInt8,
    semantic: UInt8,
    worn: Mask,
    keypoints: Float,
    lining: Mask | None = None,
    sleeves: float | None = None,
) -> Regions:
    """From the parse's LABELS, the network's SEMANTIC map, where it has clothes WORN, and KEYPOINTS (18, 3); all (H, W).

    lining: where the inside of the garment's back would be seen, which is not worn. sleeves: where they end (see sleeves.py);
    None = as WORN has it.

    Where old clothes are and the map has an arm it is believed, not WORN: the mask of G2 lets go of old sleeves too seldom.
    A garment hardly ever ends a few pixels beside the one it replaces. So where the network's outline and the old one lie close
    together, the old one, which the camera shows, is taken: no halo and no strip of old clothes.
    """
    torso = max(kp.torso_length(keypoints), 40.0)
    radius = THIN * torso
    old = np.isin(labels, lb.clothes())
    kept = np.isin(labels, HEAD)
    worn = tidy(worn & ~(old & np.isin(semantic, ARMS)))
    end = sleeve_end(worn, labels, keypoints) if sleeves is None else sleeves
    garment = cut_sleeves(worn, labels, keypoints, end) & ~kept
    garment = _carried(garment, labels != lb.BACKGROUND)
    garment &= _room(labels, keypoints, EASE * torso)
    left = old & ~garment
    # Deep inside the customer there is no background, whatever the network says.
    body = shrink(labels != lb.BACKGROUND, DEEP * torso) & np.isin(semantic, (lb.BACKGROUND, *lb.clothes()))
    body |= torso_of(keypoints, (labels.shape[0], labels.shape[1]))  # whatever is worn there, something is
    garment |= touching(left & (body | (_thin(left, radius) & grow(garment, 1.5 * radius))), garment)
    garment |= touching(short_ends(old & ~garment, semantic, keypoints), garment)
    garment |= _enclosed(old & ~garment, garment, SMALL * torso**2)
    garment = tidy(garment) & ~kept
    neck = np.zeros_like(old)
    if lining is not None:
        neck = lining & garment & old
        garment &= ~lining
        smooth = cv2.medianBlur(garment.astype(np.uint8), NECK) > 0
        garment = np.where(grow(lining, NECK), smooth & ~kept, garment)
        neck &= ~garment
    # What showed old clothes beside the neck is skin now, unless the network sees the room there.
    beside = grow(neck | (labels == lb.TORSO_SKIN), BESIDE * torso) & old & ~garment
    neck |= beside & np.isin(semantic, (lb.TORSO_SKIN, *lb.clothes()))
    return Regions(garment, old & ~garment, old, neck)


def _carried(garment: Mask, person: Mask) -> Mask:
    """The connected pieces of GARMENT at least half of which lie on the PERSON: no rag floats beside a hand."""
    count, pieces = cv2.connectedComponents(garment.astype(np.uint8), connectivity=8)
    whole = np.bincount(pieces.ravel(), minlength=count)
    return garment & (2 * np.bincount(pieces[person], minlength=count) >= whole)[pieces]


def _enclosed(mask: Mask, garment: Mask, area: float) -> Mask:
    """The connected pieces of MASK of less than AREA pixels that GARMENT surrounds for the most part."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    ring = cv2.dilate(pieces.astype(np.uint16), disc(2)).astype(np.int32)
    ring[mask] = 0
    around = np.bincount(ring.ravel(), minlength=count)
    held = np.bincount(ring[garment], minlength=count)
    return mask & ((stats[:, cv2.CC_STAT_AREA] < area) & (held >= ENCLOSED * around))[pieces]


def torso_of(keypoints: Float, size: tuple[int, int]) -> Mask:
    """The torso, between shoulders and hips; straight down from the shoulders where the hips are not seen."""
    out = np.zeros(size, np.uint8)
    shoulders, hips = keypoints[[kp.R_SHOULDER, kp.L_SHOULDER]], keypoints[[kp.L_HIP, kp.R_HIP]]
    if (shoulders[:, 2] > 0).all():
        below = shoulders[::-1, :2] + np.array([0, kp.torso_length(keypoints)], np.float32)
        corners = np.vstack([shoulders[:, :2], np.where(hips[:, 2:] > 0, hips[:, :2], below)])
        cv2.fillConvexPoly(out, np.rint(corners).astype(np.int32), (1,))
    return out > 0


def _room(labels: UInt8, keypoints: Float, ease: float) -> Mask:
    """Where a garment may hang: within EASE pixels of the customer, and anywhere below the hips, where skirts are."""
    room = grow(labels != lb.BACKGROUND, ease)
    hips = [keypoints[i, 1] for i in (kp.R_HIP, kp.L_HIP) if keypoints[i, 2] > 0]
    if hips:
        room[max(0, round(float(min(hips)))) :] = True
    return room


def _thin(mask: Mask, radius: float) -> Mask:
    return mask & ~thick(mask, radius)
