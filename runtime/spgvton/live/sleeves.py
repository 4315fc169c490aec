"""How far down the arms the new garment's sleeves reach: cut square to the arm, the same on both sides."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.live.arms import ARMS

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

BINS: Final = 20  # from shoulder (0) over elbow (1) to wrist (2) and beyond
MIN_PIXELS: Final = 6  # of a bin
ANSWERS: Final = 15
SHORT: Final = 0.45  # of an upper arm: two sleeves that end so close to each other end at the same place
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


def _arms(labels: UInt8, keypoints: Float) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], Float]]:
    """For each arm whose bones are seen: rows and columns of its bare pixels, and where along the arm they lie."""
    for label, joints in ARMS:
        shoulder, elbow, wrist = keypoints[list(joints)]
        if min(shoulder[2], elbow[2]) > 0:
            rows, columns = np.nonzero(labels == label)
            points = np.stack([columns, rows], 1).astype(np.float32)
            yield rows, columns, along_arm(points, shoulder[:2], elbow[:2], wrist[:2] if wrist[2] > 0 else None)


def sleeve_end(worn: Mask, labels: UInt8, keypoints: Float) -> float | None:
    """Where along bare arms (see along_arm) the clothes WORN (H, W) end.

    The one place at which sleeves cut square differ from WORN in the fewest pixels of both arms together: a gap at the shoulder
    or beside the arm is no end. None where no bare arm is seen. KEYPOINTS (18, 3) in LABELS' pixels.
    """
    covered, bare = np.zeros(BINS), np.zeros(BINS)
    for rows, columns, t in _arms(labels, keypoints):
        bins = (t.clip(0) * BINS / 2).astype(int)
        above = bins < BINS
        on = worn[rows, columns][above]
        covered += np.bincount(bins[above], on, minlength=BINS)
        bare += np.bincount(bins[above], ~on, minlength=BINS)
    if max(covered.max(), bare.max()) < MIN_PIXELS:
        return None
    wrong = np.concatenate([[0], np.cumsum(bare - covered)])  # beside what an end at 0 gets wrong
    return float(min(wrong.argmin() * 2 / BINS, HAND))


def cut_sleeves(garment: Mask, labels: UInt8, keypoints: Float, end: float | None) -> Mask:
    """GARMENT (H, W) on bare arms up to END, square to the arm, and no farther: hands are never covered. None = as it is."""
    out = garment.copy()
    if end is not None:
        for rows, columns, t in _arms(labels, keypoints):
            out[rows, columns] = t < end
    return out


def short_ends(left: Mask, semantic: UInt8, keypoints: Float) -> Mask:
    """Of old clothes LEFT (H, W) without new ones, what hardly goes on along an arm of the SEMANTIC map (H, W).

    There the old sleeve's end rules.
    """
    out = np.zeros_like(left)
    for rows, columns, t in _arms(np.where(left, semantic, 0).astype(np.uint8), keypoints):
        if len(t) and np.ptp(np.percentile(t, (5, 95))) < SHORT:
            out[rows, columns] = True
    return out


class SleeveLength:
    """A garment's sleeves do not grow and shrink: the median of where they ended in the last answers."""

    def __init__(self) -> None:
        self._ends: deque[float] = deque(maxlen=ANSWERS)

    def reset(self) -> None:
        """Another garment or customer."""
        self._ends.clear()

    def __call__(self, end: float | None) -> float | None:
        """END: of this answer, see sleeve_end(). None before the first one that was seen."""
        if end is not None:
            self._ends.append(end)
        return float(np.median(self._ends)) if self._ends else None
