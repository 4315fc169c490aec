"""Refinement of the composed parse: outlines follow the picture's colours and edges, hair runs over clothes, specks go."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.labels import (
    COAT,
    FACE,
    HAIR,
    LEFT_ARM,
    LEFT_LEG,
    LEFT_SHOE,
    NUM_LABELS,
    RIGHT_ARM,
    RIGHT_LEG,
    RIGHT_SHOE,
    TORSO_SKIN,
    UPPER_CLOTHES,
)  # fmt: skip
from spgvton.perception.composed_body import Body, Float, Mask
from spgvton.perception.composed_head import FaceFrame, SkinModel
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]

# These may not jump: a label reaches only some pixels beyond where it already is.
TIED: Final = (LEFT_ARM, RIGHT_ARM, LEFT_LEG, RIGHT_LEG, LEFT_SHOE, RIGHT_SHOE, FACE, TORSO_SKIN)
SPECK: Final = 0.0008  # of the person's area
BINS: Final = (16, 32, 32)  # colour histogram: L, a, b


def guided(guide: Float, p: Float, radius: int, eps: float) -> Float:
    """Guided filter (He, Sun, Tang, 2010): smooths P but keeps the edges of GUIDE."""

    def box(a: NDArray[np.floating]) -> Float:
        return np.asarray(cv2.boxFilter(a, -1, (2 * radius + 1,) * 2), np.float32)

    mean_i, mean_p = box(guide), box(p)
    slope = (box(guide * p) - mean_i * mean_p) / (box(guide * guide) - mean_i * mean_i + eps)
    return (box(slope) * guide + box(mean_p - slope * mean_i)).astype(np.float32)


def colour_bins(lab: Float) -> NDArray[np.int64]:
    """Index (H, W) of each pixel's colour in a flat histogram of BINS."""
    b = (lab / (256 / np.array(BINS))).astype(int)
    return (b[..., 0] * BINS[1] + b[..., 1]) * BINS[2] + b[..., 2]


def likelihood(bins: NDArray[np.int64], where: Mask) -> Float:
    """How frequent each pixel's colour (H, W) is among those in WHERE, by a smoothed histogram."""
    h: Float = np.bincount(bins[where], minlength=int(np.prod(BINS))).astype(np.float32).reshape(BINS)
    for axis in range(3):
        h = ((np.roll(h, 1, axis) + 2 * h + np.roll(h, -1, axis)) / 4).astype(np.float32)
    return (h.ravel()[bins] / max(int(where.sum()), 1)).astype(np.float32)


def follow_colours(labels: UInt8, body: Body, bins: NDArray[np.int64]) -> UInt8:
    """Two rounds of: each pixel of the person takes the label that its place and colour make likeliest, smoothed."""
    guide = cv2.cvtColor(body.rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    used = [label for label in range(1, NUM_LABELS) if (labels == label).sum() > 25]
    if not used:
        return labels
    radius = max(2, int(0.015 * body.torso))
    for _ in range(2):
        scores = []
        for label in used:
            here = labels == label
            sigma = (0.06 if label == HAIR else 0.035) * body.torso
            place = cv2.GaussianBlur(here.astype(np.float32), (0, 0), sigma) + 1e-4
            if label in TIED:
                place = place * (cv2.dilate(here.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0) + 1e-6
            scores.append(np.log(place) + 0.6 * np.log(likelihood(bins, here) + 1e-4))
        score = np.stack(scores)
        score = np.exp(score - score.max(axis=0))
        score /= score.sum(axis=0)
        score = np.stack([guided(guide, p, radius, 1e-3) for p in score])
        labels = np.where(body.person, np.array(used, np.uint8)[score.argmax(axis=0)], 0).astype(np.uint8)
    return labels


def grow_hair(
    labels: UInt8, body: Body, face: FaceFrame, skin: SkinModel, hair_z: Float, bins: NDArray[np.int64]
) -> None:
    """Long hair over clothes: add what has the hair's colour rather than the clothes' and hangs together with the hair."""
    hair, clothes = labels == HAIR, np.isin(labels, (UPPER_CLOTHES, COAT))
    if hair.sum() <= 100 or clothes.sum() <= 100:
        return
    lower = clothes & (body.height < 0.75)
    ratio = np.log(likelihood(bins, hair) + 1e-4)
    ratio -= np.log(likelihood(bins, lower if lower.sum() > 100 else clothes) + 1e-4)
    near = np.isin(labels, (UPPER_CLOTHES, COAT, LEFT_ARM, RIGHT_ARM, TORSO_SKIN)) & (body.height > 0.35)
    near &= (labels != TORSO_SKIN) | (skin.z > 2 * hair_z + 4)  # the chin's shadow is no hair
    grown = hair | (body.person & near & (ratio > 1) & (skin.likeness < 0.5) & (face.ellipse >= 1))
    grown = cv2.morphologyEx(grown.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, pieces = cv2.connectedComponents(grown)
    kept = np.unique(pieces[hair & (grown > 0)])
    labels[np.isin(pieces, kept[kept > 0]) & body.person] = HAIR


def drop_specks(labels: UInt8, body: Body) -> None:
    """Give pieces under SPECK of the person's area to the label beside them."""
    unknown = np.uint8(255)
    limit = SPECK * body.person.sum()
    for label in np.unique(labels[labels > 0]):
        count, pieces, stats, _ = cv2.connectedComponentsWithStats((labels == label).astype(np.uint8))
        small = stats[:, cv2.CC_STAT_AREA] < limit
        small[0] = False
        if count > 1 and small.any():
            labels[small[pieces]] = unknown
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    while (holes := labels == unknown).any():
        spread = np.asarray(cv2.dilate(np.where(holes, np.uint8(0), labels), disc))
        reached = holes & (spread > 0)
        labels[reached] = spread[reached]
        if not reached.any():
            labels[holes] = 0


def refine(labels: UInt8, body: Body, face: FaceFrame, skin: SkinModel, hair_z: Float) -> UInt8:
    """The refined labels (H, W)."""
    bins = colour_bins(body.lab)
    labels = follow_colours(labels, body, bins)
    grow_hair(labels, body, face, skin, hair_z, bins)
    if not body.from_behind and body.visible[0] > 0.5:
        labels[body.person & (face.ellipse < 0.92) & (face.height < 0.25 * face.eye_mouth)] = FACE
    drop_specks(labels, body)
    return labels
