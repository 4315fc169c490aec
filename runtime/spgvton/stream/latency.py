"""Latency percentiles over every frame of a run that may last for weeks, in constant memory.

Each duration goes into a histogram whose bins grow by 0.5%, so a percentile is right to 0.25% and the maximum is exact.
Percentiles are nearest-rank: the smallest duration that at least q% of the frames do not exceed.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

_GROWTH: Final = math.log(1.005)
_LOWEST_MS: Final = 1e-3
_BINS: Final = 1 + math.ceil(math.log(1e8 / _LOWEST_MS) / _GROWTH)  # up to 1e8 ms, a day and more


class Histogram:
    """Durations in milliseconds."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)
        self.count = 0
        self.max = 0.0

    def add(self, ms: float) -> None:
        """Count one duration; a negative one counts as 0."""
        at = 0 if ms <= _LOWEST_MS else min(_BINS - 1, 1 + int(math.log(ms / _LOWEST_MS) / _GROWTH))
        self._counts[at] += 1
        self.count += 1
        self.max = max(self.max, ms)

    def percentile(self, q: float) -> float | None:
        """The duration (ms) that q percent of the frames do not exceed, 0 < q <= 100; None without frames."""
        if not self.count:
            return None
        rank = max(1, math.ceil(q / 100 * self.count))
        at = int(np.searchsorted(np.cumsum(self._counts), rank))
        middle = _LOWEST_MS * math.exp((at - 0.5) * _GROWTH) if at else 0.0
        return min(middle, self.max)


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 3)


class LatencyMeter:
    """End-to-end latency (capture to present) and the time in each stage, of every presented frame."""

    def __init__(self) -> None:
        self._total = Histogram()
        self._stages: dict[str, Histogram] = {}

    @property
    def frames(self) -> int:
        """How many frames were counted."""
        return self._total.count

    def add(self, total_s: float, stages_s: dict[str, float]) -> None:
        """Count one frame: seconds from capture to present, and seconds per stage.

        What the stages do not explain is the time spent in slots between them; it is kept as stage "waiting".
        """
        self._total.add(total_s * 1e3)
        for name, seconds in [*stages_s.items(), ("waiting", total_s - sum(stages_s.values()))]:
            self._stages.setdefault(name, Histogram()).add(max(0.0, seconds) * 1e3)

    def latency_ms(self) -> dict[str, float | None]:
        """{p50, p90, p95, p99, max} in ms; None values before the first frame."""
        out = {f"p{q}": _rounded(self._total.percentile(q)) for q in (50, 90, 95, 99)}
        return {**out, "max": _rounded(self._total.max) if self._total.count else None}

    def stages_ms(self) -> dict[str, dict[str, float | None]]:
        """{stage: {p50, p99}} in ms."""
        return {
            name: {"p50": _rounded(h.percentile(50)), "p99": _rounded(h.percentile(99))}
            for name, h in self._stages.items()
        }
