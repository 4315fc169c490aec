"""A garment in a photograph of somebody who wears it: its mask by the human parser, and what of it cannot be seen.

Often the only picture that a shop has. What hides the garment stays out of the mask; live mode continues the cloth there from its
own edge, and a line says so.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.errors import SpgvtonError
from spgvton.perception.parser_options import FOR_PICTURES, SHIPPED
from spgvton.perception.parsing import Parser
from spgvton.perception.pose import PoseEstimator, seen_from_behind, why_unusable
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

MIN_AREA: Final = 0.15  # of the torso squared: less is no garment
MIN_HEAD: Final = 0.02  # of the torso squared; a pose is found in a shirt on a hanger, too, but no head
OTHER: Final = 0.12  # of the garment's area, from which on another one over or under it is told
HIDDEN: Final = 0.03  # of the garment's area
CUT: Final = 0.04  # of the torso: so much of the picture's edge lies on the garment where it is cut
EDGE: Final = 0.01  # of the picture: how deep its edge is looked at, where labels are vague
BENT: Final = 75.0  # degrees between upper arm and forearm, below which a long sleeve is folded
ARMS: Final = (
    ("right", lb.RIGHT_ARM, (kp.R_SHOULDER, kp.R_ELBOW, kp.R_WRIST)),
    ("left", lb.LEFT_ARM, (kp.L_SHOULDER, kp.L_ELBOW, kp.L_WRIST)),
)
KINDS: Final = {lb.UPPER_CLOTHES: "top", lb.DRESS: "dress", lb.COAT: "coat or jacket"}


class Worn(NamedTuple):
    """mask: uint8 (H, W), 255 = garment, hard edges. kind: one of KINDS' words. sleeve: "none", "short" or "long", as far as it is seen.
    notes: what of it cannot be seen, a few words each."""

    mask: UInt8
    kind: str
    sleeve: str
    notes: tuple[str, ...]


@lru_cache(maxsize=1)
def _shipped() -> Parser:
    return SHIPPED[FOR_PICTURES](None)


def find_wearer(picture: UInt8) -> Float | None:
    """Keypoints (18, 3) of the person in PICTURE, RGB uint8 (H, W, 3); None where there is none from shoulders to hips."""
    if min(picture.shape[:2]) < 64:
        return None
    keypoints = PoseEstimator(smooth=False)(picture)
    return None if why_unusable(keypoints, (picture.shape[0], picture.shape[1])) else keypoints


def worn_garment(picture: UInt8, keypoints: Float | None = None, parser: Parser | None = None) -> Worn | None:
    """The largest top, dress or coat that somebody in PICTURE, RGB uint8 (H, W, 3), wears; None where nobody is seen to wear one.

    keypoints (18, 3) in its pixels, parser: found, and the shipped one for pictures, where they are not given.
    """
    k = find_wearer(picture) if keypoints is None else keypoints
    if k is None:
        return None
    try:
        labels = (parser or _shipped())(picture, k)
    except SpgvtonError:  # nobody at the keypoints: a shirt on a hanger looks like a pose
        return None
    unit = kp.torso_length(k) ** 2
    if np.isin(labels, (lb.FACE, lb.HAIR)).sum() < MIN_HEAD * unit:
        return None
    areas = {label: int((labels == label).sum()) for label in KINDS}
    label = max(areas, key=lambda i: areas[i])
    if areas[label] < MIN_AREA * unit:
        return None
    garment = _tidy(labels == label)
    others = [KINDS[i] for i, area in areas.items() if i != label and area > OTHER * areas[label]]
    notes = [f"the {name} worn with it is left out" for name in others]
    notes += _hidden(garment, labels, k) + _cut(garment, k) + _folded(garment, k)
    return Worn(garment.astype(np.uint8) * np.uint8(255), KINDS[label], _sleeve(garment, k), tuple(notes))


def _tidy(mask: Mask) -> Mask:
    """MASK without specks, and with its pinholes closed."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count > 1:
        area = stats[:, cv2.CC_STAT_AREA].copy()
        area[0] = 0
        mask = (area > 0.03 * area.max())[pieces]
    count, pieces, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < 0.004 * mask.sum()
    small[0] = False
    return np.asarray(mask | small[pieces])


def _hidden(garment: Mask, labels: UInt8, k: Float) -> list[str]:
    """Who or what stands before the garment: what lies inside its outline, arms and hair and all that is no part of the wearer."""
    outline = np.zeros(garment.shape, np.uint8)
    contours, _ = cv2.findContours(garment.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    torso = [k[i, :2] for i in (kp.R_SHOULDER, kp.L_SHOULDER, kp.L_HIP, kp.R_HIP) if k[i, 2] > 0]
    cv2.fillPoly(outline, contours, (1,))
    if len(torso) >= 3:
        cv2.fillConvexPoly(outline, np.rint(torso).astype(np.int32), (1,))
    inside = (outline > 0) & ~garment
    least, notes = HIDDEN * garment.sum(), []
    arms = [name for name, label, _ in ARMS if (inside & (labels == label)).sum() > least / 2]
    if arms:
        words = "both arms hide" if len(arms) == 2 else f"the {arms[0]} arm hides"
        notes.append(f"{words} part of it")
    if (inside & (labels == lb.HAIR)).sum() > least:
        notes.append("hair hides part of it")
    if (inside & (labels == lb.BACKGROUND)).sum() > least:
        notes.append("something before it, such as a bag, hides part of it")
    return notes


def _sleeve(garment: Mask, k: Float) -> str:
    """How far down the arm that shows more of it the garment reaches."""
    reach = 0
    for _, _, (shoulder, elbow, wrist) in ARMS:
        for far, (start, end, share) in enumerate(((shoulder, elbow, 0.45), (elbow, wrist, 0.5)), start=1):
            if k[start, 2] > 0 and k[end, 2] > 0:
                x, y = np.rint(k[start, :2] + share * (k[end, :2] - k[start, :2])).astype(int)
                inside = 0 <= x < garment.shape[1] and 0 <= y < garment.shape[0]
                reach = max(reach, far if inside and garment[y, x] else 0)
    return ("none", "short", "long")[reach]


def _cut(garment: Mask, k: Float) -> list[str]:
    """At which edges the picture ends before the garment does."""
    least, n = max(2.0, CUT * kp.torso_length(k)), max(1, round(EDGE * max(garment.shape)))
    edges = {
        "left": garment[:, :n].any(1),
        "right": garment[:, -n:].any(1),
        "bottom": garment[-n:].any(0),
        "top": garment[:n].any(0),
    }
    cut = [name for name, line in edges.items() if line.sum() > least]
    return [f"the picture cuts it: {', '.join(cut)}"] if cut else []


def _folded(garment: Mask, k: Float) -> list[str]:
    """A back, and long sleeves on bent arms."""
    notes = ["it is seen from behind"] if seen_from_behind(k) else []
    h, w = garment.shape
    for name, _, points in ARMS:
        shoulder, elbow, wrist = k[list(points)]
        if min(shoulder[2], elbow[2], wrist[2]) <= 0:
            continue
        upper, fore = shoulder[:2] - elbow[:2], wrist[:2] - elbow[:2]
        cosine = float(upper @ fore) / max(float(np.linalg.norm(upper) * np.linalg.norm(fore)), 1e-6)
        x, y = np.rint(elbow[:2] + 0.5 * fore).astype(int)  # the forearm is covered
        if cosine > np.cos(np.radians(BENT)) and 0 <= x < w and 0 <= y < h and garment[y, x]:
            notes.append(f"the {name} sleeve is bent")
    return notes
