"""The One-Euro filter: calm where a point rests, quick where it moves (Casiez, Roussel, Vogel, CHI 2012)."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError

DERIVATIVE_CUTOFF: Final = 1.0  # Hz, the paper's value


def smoothing(cutoff: NDArray[np.float64] | float, dt: float) -> NDArray[np.float64] | float:
    """Weight of the new sample, in (0, 1], of a first-order low-pass filter (CUTOFF in Hz, DT in seconds)."""
    r = 2 * math.pi * cutoff * dt
    return r / (r + 1)


class OneEuroFilter:
    """Filters N points at once; each keeps its own state, and one that was missing starts anew.

    min_cutoff: Hz, the cut-off for a point at rest (lower: calmer). beta: Hz per unit of speed (higher: less lag).
    Each output is a weighted mean of the point's inputs since it appeared, so it never leaves their hull.
    """

    def __init__(self, min_cutoff: float = 1.0, beta: float = 1.0) -> None:
        if min_cutoff <= 0 or beta < 0:
            raise ValueError("min_cutoff must be positive and beta must not be negative")
        self.min_cutoff = min_cutoff
        self.beta = beta
        self.reset()

    def reset(self) -> None:
        """Forget all points and the time."""
        self._time: float | None = None
        self._position: NDArray[np.float64] | None = None
        self._velocity: NDArray[np.float64] | None = None
        self._seen: NDArray[np.bool_] | None = None

    def __call__(
        self, points: NDArray[np.floating], seen: NDArray[np.bool_], timestamp: float, scale: float = 1.0
    ) -> NDArray[np.float64]:
        """Filter POINTS (N, 2), of which those in SEEN (N,) are present, taken at TIMESTAMP (seconds).

        scale: length of the unit of speed in the unit of the points; with the person's size there, BETA means the same
        near and far. Returns float64 (N, 2); points that are not in SEEN pass through.
        Raises SpgvtonError when TIMESTAMP is not later than the one before.
        """
        x = np.asarray(points, np.float64)
        if self._time is None or self._position is None or self._velocity is None or self._seen is None:
            out, velocity = x.copy(), np.zeros_like(x)
        else:
            dt = timestamp - self._time
            if not dt > 0:
                raise SpgvtonError(
                    f"time stamps must increase: {timestamp:.6f} s follows {self._time:.6f} s (call reset() first)"
                )
            known = (seen & self._seen)[:, None]
            a = smoothing(DERIVATIVE_CUTOFF, dt)
            velocity = np.where(known, self._velocity + a * ((x - self._position) / dt - self._velocity), 0.0)
            speed = np.linalg.norm(velocity, axis=1, keepdims=True) / max(scale, 1e-9)
            b = smoothing(self.min_cutoff + self.beta * speed, dt)
            out = np.where(known, self._position + b * (x - self._position), x)
        self._time, self._position, self._velocity, self._seen = timestamp, out, velocity, seen.copy()
        return out.copy()
