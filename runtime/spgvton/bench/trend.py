"""Does a measured quantity grow? Ordinary least squares on block minima, judged against its own noise.

Memory and threads rise while a customer is parsed and fall again; what leaks is never given back. So each block of about
one visit counts by its lowest sample, and the line is fitted to those. A quantity grows when both hold:

    its slope is more than 3 standard errors above zero (it is no accident), and
    what the slope adds up to over the measured time is more than twice the standard deviation of the blocks around the
    line, and more than a floor (it is not nothing).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

BLOCK_S: Final = 38.0  # one customer of `spgvton bench soak`
MIN_BLOCKS: Final = 10
SIGNIFICANT: Final = 3.0  # standard errors
NOTICEABLE: Final = 2.0  # standard deviations of the blocks around the line
HOUR_S: Final = 3600.0


@dataclass(frozen=True)
class Trend:
    """A straight line through block minima. mean, noise, growth, floor: in the quantity's unit; slope, error: per hour.

    error: standard error of the slope. noise: standard deviation of the blocks around the line. growth: slope times
    the measured time. at_start: the line's value there. seconds: (first, last) sample.
    """

    mean: float
    slope: float
    error: float
    noise: float
    growth: float
    floor: float
    at_start: float
    seconds: tuple[float, float]
    blocks: int

    @property
    def grows(self) -> bool:
        """See the module's rule."""
        return self.slope > SIGNIFICANT * self.error and self.growth > max(NOTICEABLE * self.noise, self.floor)

    def as_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {
            "mean": round(self.mean, 3),
            "slope_per_hour": round(self.slope, 4),
            "standard_error_per_hour": round(self.error, 4),
            "growth": round(self.growth, 4),
            "noise": round(self.noise, 4),
            "floor": round(self.floor, 4),
            "blocks": self.blocks,
            "grows": self.grows,
        }


def fit(seconds: Float, values: Float, *, floor: float) -> Trend:
    """The trend of VALUES (n,) at SECONDS (n,), ascending. floor: growth over the measured time that counts as none.

    Raises ValueError for fewer than MIN_BLOCKS samples.
    """
    if len(seconds) < MIN_BLOCKS or len(seconds) != len(values):
        raise ValueError(f"a trend needs at least {MIN_BLOCKS} samples, got {len(seconds)} and {len(values)}")
    duration = float(seconds[-1] - seconds[0])
    blocks = min(len(seconds), max(MIN_BLOCKS, round(duration / BLOCK_S)))
    x = np.array([part.mean() for part in np.array_split(seconds, blocks)]) / HOUR_S
    y = np.array([part.min() for part in np.array_split(values, blocks)])
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread
    variance = float(((y - y.mean() - slope * (x - x.mean())) ** 2).sum()) / (blocks - 2)
    return Trend(
        mean=float(y.mean()), slope=slope, error=(variance / spread) ** 0.5, noise=variance**0.5,
        growth=slope * duration / HOUR_S, floor=floor,
        at_start=float(y.mean() + slope * (seconds[0] / HOUR_S - x.mean())),
        seconds=(float(seconds[0]), float(seconds[-1])), blocks=blocks,
    )  # fmt: skip
