"""Latency percentiles over every frame of a run that may last for weeks, in constant memory.

Each duration goes into a histogram whose bins grow by 0.5%, so a percentile is right to 0.25% and the maximum is exact.
Percentiles are nearest-rank: the smallest duration that at least q% of the frames do not exceed.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections import deque
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


# Upper ends, in seconds, of the buckets that a monitoring system gets; what is longer falls into one more.
LATENCY_BUCKETS_S: Final = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
RECENT_S: Final = 60.0


class RateMeter:
    """Frames per second, over the last FRAMES of them. add() and rate() may be called from different threads."""

    def __init__(self, frames: int = 30) -> None:
        self._times: deque[float] = deque(maxlen=frames)
        self._lock = threading.Lock()

    def add(self, now: float) -> None:
        """Count a frame at NOW, in seconds."""
        with self._lock:
            self._times.append(now)

    def clear(self) -> None:
        """Forget all frames."""
        with self._lock:
            self._times.clear()

    def rate(self, since: float = -math.inf) -> float:
        """Frames per second, of those after SINCE; 0.0 where there are fewer than two."""
        with self._lock:
            times = [t for t in self._times if t > since]
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 0.0


class RecentLatency:
    """Latency and stage times for monitoring: bucket counts since the start, percentiles over the last minute.

    add() and the others may be called from different threads.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[float, dict[str, float]]] = deque(maxlen=round(RECENT_S * 120))
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}
        self._lock = threading.Lock()

    def add(self, total_s: float, stages_s: dict[str, float], now: float) -> None:
        """Count one frame, presented at NOW: seconds from capture to present ("total"), and seconds per stage."""
        seconds = {"total": total_s, **stages_s}
        with self._lock:
            self._recent.append((now, seconds))
            self._forget(now)
            for name, value in seconds.items():
                counts = self._counts.setdefault(name, [0] * (len(LATENCY_BUCKETS_S) + 1))
                counts[bisect_left(LATENCY_BUCKETS_S, value)] += 1
                self._sums[name] = self._sums.get(name, 0.0) + value

    def _forget(self, now: float) -> None:
        while self._recent and now - self._recent[0][0] > RECENT_S:
            self._recent.popleft()

    def buckets(self) -> tuple[dict[str, list[int]], dict[str, float]]:
        """{stage: frames in each bucket, not cumulative}, and {stage: sum of seconds}."""
        with self._lock:
            return {name: list(counts) for name, counts in self._counts.items()}, dict(self._sums)

    def stages_ms(self, now: float) -> dict[str, dict[str, float]]:
        """{stage: {p50, p90, p95, p99}} in ms over the last minute; empty without frames."""
        with self._lock:
            self._forget(now)
            recent = [seconds for _, seconds in self._recent]
        columns: dict[str, list[float]] = {}
        for seconds in recent:
            for name, value in seconds.items():
                columns.setdefault(name, []).append(value)
        levels = (50, 90, 95, 99)
        return {
            name: {f"p{q}": round(1e3 * float(v), 3) for q, v in zip(levels, np.percentile(values, levels))}
            for name, values in columns.items()
        }


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
