"""The distribution of |x| of one activation, and the four ways to choose from it the largest value that int8 holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spgvton_calibration.qdq import LEVELS

BINS: Final = 4096
PERCENTILE: Final = 99.99
_STEP: Final = 16  # bins between two candidates of `entropy` and `mse`

_SMALLEST: Final = 2.0**-40  # width of a histogram of next to nothing

Counts = NDArray[np.float64]


class Histogram:
    """Counts of |x| in BINS equal bins over [0, width), in one pass over the data.

    width is the least power of two above all values so far; when it grows, pairs of bins are merged. So the counts do not
    depend on the order in which samples come.
    """

    def __init__(self) -> None:
        self.counts: Counts = np.zeros(BINS)
        self.width = 0.0
        self.peak = 0.0

    def add(self, values: NDArray[Any]) -> None:
        """Raises FloatingPointError for NaN or infinity."""
        flat = np.abs(values, dtype=np.float32).ravel()
        top = float(flat.max(initial=0))
        if not np.isfinite(top):
            raise FloatingPointError("NaN or infinity")
        if self.width == 0 and top > 0:
            self.width = _SMALLEST  # only zeros so far, and these stay in the first bin
        while top >= self.width > 0:
            self.width *= 2
            self.counts = np.concatenate([self.counts.reshape(-1, 2).sum(1), np.zeros(BINS // 2)])
        self.peak = max(self.peak, top)
        index = (flat * np.float32(BINS / self.width)).astype(np.int32) if self.width else np.zeros(flat.size, np.int32)
        self.counts += np.bincount(np.minimum(index, BINS - 1), minlength=BINS)

    def amax(self, method: str) -> float:
        """What METHOD, one of METHODS, chooses; at most the largest value seen."""
        return min(self.peak, METHODS[method](self)) if self.peak else 0.0


def minmax(h: Histogram) -> float:
    """The largest value seen: nothing is clipped."""
    return h.peak


def percentile(h: Histogram) -> float:
    """The value that PERCENTILE % of all values do not exceed."""
    share = np.cumsum(h.counts) / h.counts.sum()
    return float((np.searchsorted(share, PERCENTILE / 100) + 1) * h.width / BINS)


def entropy(h: Histogram) -> float:
    """The clipping whose 128 levels lose the least information (KL divergence), as TensorRT's entropy calibrator.

    Source: S. Migacz, "8-bit inference with TensorRT", GTC 2017. Of the first bin only as much counts as of the second:
    the exact zeros behind a ReLU are represented without error by any scale.
    """
    counts = h.counts.copy()
    counts[0] = min(counts[0], counts[1])

    def divergence(stop: int) -> float:
        inside = counts[:stop]
        p = inside.copy()
        p[-1] += counts[stop:].sum()
        level = np.arange(stop) * (LEVELS + 1) // stop
        filled = inside > 0
        totals = np.bincount(level, inside, LEVELS + 1) / np.maximum(np.bincount(level, filled, LEVELS + 1), 1)
        q = np.where(filled, totals[level], 0)
        if not p.any() or not q.any():
            return np.inf
        p, q = p / p.sum(), q / q.sum()
        both = p > 0
        return float((p[both] * np.log(p[both] / np.maximum(q[both], 1e-12))).sum())

    return _best(h, divergence)


def mse(h: Histogram) -> float:
    """The clipping with the least mean squared error of rounding and clipping together."""
    centres = (np.arange(BINS) + 0.5) * h.width / BINS

    def error(stop: int) -> float:
        scale = stop * h.width / BINS / LEVELS
        rounded = np.minimum(np.rint(centres / scale), LEVELS) * scale
        return float((h.counts * (centres - rounded) ** 2)[1:].sum())

    return _best(h, error)


def _best(h: Histogram, cost: Callable[[int], float]) -> float:
    def candidates() -> Iterator[int]:
        yield from range(LEVELS + 1, BINS, _STEP)
        yield BINS

    return min(candidates(), key=cost) * h.width / BINS


METHODS: Final[dict[str, Callable[[Histogram], float]]] = {
    "minmax": minmax, "entropy": entropy, "percentile": percentile, "mse": mse,
}  # fmt: skip
