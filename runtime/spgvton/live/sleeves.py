"""How far down the arms the new garment's sleeves reach: cut square to the arm, the same on both sides."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton import labels as lb

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIDES: Final = (
    (lb.RIGHT_ARM, kp.R_SHOULDER, kp.R_ELBOW, kp.R_WRIST),
    (lb.LEFT_ARM, kp.L_SHOULDER, kp.L_ELBOW, kp.L_WRIST),
)
BINS: Final = 20  # from shoulder (0) over elbow (1) to wrist (2) and beyond
MIN_PIXELS: Final = 6  # of a bin
HAND: Final = 1.9  # where the hand begins


def along_arm(points: Float, shoulder: Float, elbow: Float, wrist: Float | None) -> Float:
    """Position (N,) of POINTS (N, 2) along an arm: 0 at the SHOULDER, 1 at the ELBOW, 2 at the WRIST, and on beyond it."""

    def project(a: Float, b: Float) -> tuple[Float, Float]:
        step = b - a
        t = (points - a) @ step / max(float(step @ step), 1e-3)
        away = points - (a + np.clip(t, 0, 1)[:, None] * step)
        return t.astype(np.float32), np.linalg.norm(away, axis=1).astype(np.float32)

    upper, to_upper = project(shoulder, elbow)
    if wrist is None:
        return upper
    fore, to_fore = project(elbow, wrist)
    return np.where(to_fore < to_upper, 1 + np.maximum(fore, 0), np.minimum(upper, 1)).astype(np.float32)


def cut_sleeves(garment: Mask, labels: UInt8, keypoints: Float) -> Mask:
    """GARMENT (H, W) on bare arms (by LABELS) up to where its sleeves end, and no farther. KEYPOINTS (18, 3), same pixels.

    A sleeve ends where less than half of the arm's width is covered; of two arms, the one that shows more skin decides. Hands
    are never covered.
    """
    ends, arms = [], []
    for label, *joints in SIDES:
        shoulder, elbow, wrist = keypoints[joints]
        if min(shoulder[2], elbow[2]) <= 0:
            continue
        rows, columns = np.nonzero(labels == label)
        points = np.stack([columns, rows], 1).astype(np.float32)
        t = along_arm(points, shoulder[:2], elbow[:2], wrist[:2] if wrist[2] > 0 else None)
        covered = garment[rows, columns]
        bins = np.clip((t * BINS / 2).astype(int), 0, BINS)
        count = np.bincount(bins, minlength=BINS + 1)
        share = np.bincount(bins, covered, minlength=BINS + 1) / np.maximum(count, 1)
        bare = np.flatnonzero((count >= MIN_PIXELS) & (share < 0.5))
        arms.append((rows, columns, t))
        if (count >= MIN_PIXELS).any():
            ends.append(bare[0] * 2 / BINS if len(bare) else HAND)
    out = garment.copy()
    if ends:
        end = min(*ends, HAND)
        for rows, columns, t in arms:
            out[rows, columns] = t < end
    return out
