"""MLPerf Inference's single-stream scenario: the next query is issued when the last one is complete.

A query is a pose; the person and the garment are set. The score is the 90th percentile by early stopping: with few queries
the estimate is a slower one than the percentile of what was seen, and with more it comes nearer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from spgvton.backends.contract import KEYPOINTS, Backend
from spgvton.backends.samples import Sample, dress
from spgvton.bench.statistics import EARLY_CONFIDENCE, describe, early_stopping, queries_needed

WARM_UP: Final = 3
PERCENTILE: Final = 0.9
MIN_QUERIES: Final = queries_needed(1, PERCENTILE)


@dataclass(frozen=True)
class Stream:
    """Every latency in ms, in order. seconds: from the first query to the last answer."""

    times: list[float]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """JSON types only. The estimate needs MIN_QUERIES at least."""
        stop = early_stopping(self.times, PERCENTILE)
        assert stop is not None, "measure() makes enough"
        return {
            "queries": len(self.times), "seconds": round(self.seconds, 3), "qps": round(len(self.times) / self.seconds, 3),
            "latency_ms": describe(self.times),
            "early_stopping": {
                "percentile": PERCENTILE, "confidence": EARLY_CONFIDENCE, "estimate_ms": round(stop.value, 3),
                "queries_needed": MIN_QUERIES, "discarded": stop.discarded, "one_more_discarded_at": stop.next_at,
            },
        }  # fmt: skip


def measure(
    backend: Backend, samples: list[Sample], queries: int, seconds: float, done: Callable[[], object]
) -> Stream:
    """At least QUERIES, and MIN_QUERIES, and SECONDS. SAMPLES: of one garment; their poses come in turn. done: per query."""
    dress(backend, samples[0])
    for i in range(WARM_UP):
        backend.run(samples[i % len(samples)][KEYPOINTS])
    times: list[float] = []
    start = last = time.perf_counter()
    while len(times) < max(queries, MIN_QUERIES) or last - start < seconds:
        begin = time.perf_counter()
        backend.run(samples[len(times) % len(samples)][KEYPOINTS])
        last = time.perf_counter()
        times.append(1e3 * (last - begin))
        done()
    return Stream(times, last - start)
