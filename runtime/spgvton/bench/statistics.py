"""What is made of measured times: percentiles, the ratio of two medians with its confidence interval, early stopping."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]

LEVELS: Final = (50, 90, 95, 99)
RESAMPLES: Final = 4000
CONFIDENCE: Final = 0.95  # of the ratio
EARLY_CONFIDENCE: Final = 0.99  # MLPerf's


def describe(values: ArrayLike, levels: Sequence[int] = LEVELS) -> dict[str, float]:
    """{p50, ..., max, mean} of VALUES (n,): nearest-rank percentiles, which are values that were measured."""
    array = np.asarray(values, np.float64)
    found = np.percentile(array, levels, method="inverted_cdf")
    out = {f"p{q}": float(v) for q, v in zip(levels, found)}
    out |= {"max": float(array.max()), "mean": float(array.mean())}
    return {name: round(value, 3) for name, value in out.items()}


@dataclass(frozen=True)
class Ratio:
    """Median of b over median of a, and the bounds that hold it with CONFIDENCE."""

    ratio: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        return {"ratio": round(self.ratio, 4), "low": round(self.low, 4), "high": round(self.high, 4)}


def ratio_of_medians(a: ArrayLike, b: ArrayLike, seed: int = 0) -> Ratio:
    """b : a of paired times (n,) each, with a percentile bootstrap over pairs (Efron & Tibshirani 1993, chapter 13).

    Pairs are drawn together, because what disturbs one of two neighbours disturbs the other. Raises ValueError for unequal
    lengths or fewer than 5 pairs.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 5:
        raise ValueError(f"the ratio needs at least 5 pairs, got {x.shape} and {y.shape}")
    drawn = np.random.default_rng(seed).integers(0, len(x), (RESAMPLES, len(x)))
    ratios = np.median(y[drawn], 1) / np.median(x[drawn], 1)
    edge = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(ratios, (edge, 100 - edge))
    return Ratio(float(np.median(y) / np.median(x)), float(low), float(high))


def binomial_cdf(most: int, n: int, chance: float) -> float:
    """P(at most MOST of N independent events of CHANCE)."""
    logs = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(chance) + (n - k) * math.log1p(-chance)
        for k in range(min(most, n) + 1)
    ]  # fmt: skip
    return math.fsum(map(math.exp, logs))


def queries_needed(over: int, percentile: float = 0.9, confidence: float = EARLY_CONFIDENCE) -> int:
    """The fewest queries of which OVER may be slower than a latency that is then claimed as the PERCENTILE.

    MLPerf Inference's early stopping (loadgen/early_stopping.cc): the smallest n so that, were the latency no upper bound of
    the percentile, at most OVER of n slower ones would be seen with a chance below 1 - CONFIDENCE. 64 for one of the 90th.
    """
    low = high = over + 1
    while binomial_cdf(over, high, 1 - percentile) >= 1 - confidence:
        low, high = high + 1, 2 * high
    while low < high:
        middle = (low + high) // 2
        if binomial_cdf(over, middle, 1 - percentile) < 1 - confidence:
            high = middle
        else:
            low = middle + 1
    return low


@dataclass(frozen=True)
class EarlyStop:
    """An upper bound of a percentile. value: the estimate, in the unit of the times. discarded: how many were slower.

    next_at: with how many queries one more may be discarded.
    """

    value: float
    discarded: int
    queries: int
    next_at: int


def early_stopping(
    values: ArrayLike, percentile: float = 0.9, confidence: float = EARLY_CONFIDENCE
) -> EarlyStop | None:
    """MLPerf's single-stream estimate of the PERCENTILE of VALUES (n,); None where n is below queries_needed(1)."""
    ordered = np.sort(np.asarray(values, np.float64))
    n = len(ordered)
    over = 0
    while binomial_cdf(over + 1, n, 1 - percentile) < 1 - confidence and over + 1 < n:
        over += 1
    if not over:
        return None
    return EarlyStop(float(ordered[n - over]), over - 1, n, queries_needed(over + 1, percentile, confidence))
