"""An answer that is some frames old, moved to where the customer stands now."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp

Float = NDArray[np.float32]
Matrix = NDArray[np.float64]

TORSO: Final = (kp.R_SHOULDER, kp.L_SHOULDER, kp.R_HIP, kp.L_HIP)
LARGEST_ZOOM: Final = 1.5


def similarity(before: Float, now: Float) -> Matrix | None:
    """The 2x3 similarity that takes shoulders and hips from BEFORE to NOW, keypoints (18, 3) each; by least squares.

    The closed form of Umeyama (1991) in the plane. None where fewer than two of them are seen in both, or where the customer
    cannot have moved like that.
    """
    seen = [i for i in TORSO if before[i, 2] > 0 and now[i, 2] > 0]
    if len(seen) < 2:
        return None
    a, b = before[seen, :2].astype(np.float64), now[seen, :2].astype(np.float64)
    middle_a, middle_b = a.mean(0), b.mean(0)
    za, zb = (a - middle_a) @ (1, 1j), (b - middle_b) @ (1, 1j)
    size = float((np.abs(za) ** 2).sum())
    if size < 1e-6:
        return None
    turn = (np.conj(za) * zb).sum() / size  # scale times rotation
    if not 1 / LARGEST_ZOOM < abs(turn) < LARGEST_ZOOM:
        return None
    rotation = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.hstack([rotation, (middle_b - rotation @ middle_a)[:, None]])
