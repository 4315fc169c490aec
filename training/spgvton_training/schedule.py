"""The learning rate over a run, for every trainer here: a linear warm-up, then a cosine."""

from __future__ import annotations

import math


def rate_factor(iteration: int, total: int, *, warm_up: int, last: float, begin: float = 0.0) -> float:
    """What the learning rate is multiplied by at ITERATION (from 0) of TOTAL.

    It rises linearly over WARM_UP iterations, stays until the share BEGIN of TOTAL is done, and falls by half a cosine to LAST. A
    BEGIN of 1 leaves the cosine out.

    Examples:
        >>> [round(rate_factor(i, 100, warm_up=2, last=0.1, begin=0.5), 3) for i in (0, 1, 50, 75, 100)]
        [0.5, 1.0, 1.0, 0.55, 0.1]
    """
    factor = min(1.0, (iteration + 1) / warm_up) if warm_up else 1.0
    progress = iteration / max(1, total)
    if progress > begin:
        factor *= last + (1 - last) * 0.5 * (1 + math.cos(math.pi * (progress - begin) / (1 - begin)))
    return factor
