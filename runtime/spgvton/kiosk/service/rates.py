"""How often somebody may do something."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from typing import Final

ADDRESSES: Final = 1024  # whose rates are remembered


class Rates:
    """A token bucket per key: RATE a second, at most BURST at once. Memory is bounded; the longest unseen key goes."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, when

    def _tokens(self, key: str, now: float) -> float:
        tokens, then = self._buckets.get(key, (self.burst, now))
        return min(self.burst, tokens + (now - then) * self.rate)

    def allows(self, key: str) -> bool:
        """Take one of KEY's tokens; False when there is none."""
        now = time.monotonic()
        tokens = self._tokens(key, now)
        self._buckets[key] = (tokens - 1 if tokens >= 1 else tokens, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)
        return tokens >= 1

    def wait_s(self, key: str) -> int:
        """Whole seconds until KEY has a token again; 0 while it has one."""
        return math.ceil(max(0.0, 1 - self._tokens(key, time.monotonic())) / max(self.rate, 1e-3))
