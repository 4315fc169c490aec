"""The plot of a soak: one panel per quantity over time, the warm-up shaded, the fitted line over it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.bench.trend import HOUR_S, Trend
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float64]

WIDTH: Final = 960
PANEL: Final = 170  # height
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 32, 26
INK: Final = (40, 40, 40)
SHADE: Final = (236, 236, 238)
CURVE: Final = (90, 130, 190)
LINE: Final = (200, 60, 40)


def text(sheet: UInt8, words: str, at: tuple[int, int], align: float = 0.0) -> None:
    width = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)[0][0]
    at = (round(at[0] - align * width), at[1])
    cv2.putText(sheet, words, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)


def draw(seconds: Float, quantities: dict[str, tuple[Float, Trend]], caption: str) -> UInt8:
    """RGB picture (H, W, 3). seconds: (n,) of all samples; quantities: title -> values (n,) and trend of a part of them."""
    sheet = np.full((PANEL * len(quantities) + 34, WIDTH, 3), 255, np.uint8)
    for i, (title, (values, trend)) in enumerate(quantities.items()):
        _panel(sheet[i * PANEL : (i + 1) * PANEL], seconds, values, trend, title)
    text(sheet, caption, (LEFT, sheet.shape[0] - 12))
    return sheet


def _panel(panel: UInt8, seconds: Float, values: Float, trend: Trend, title: str) -> None:
    """Draw into PANEL (height, WIDTH, 3)."""
    low, high = float(values.min()), float(values.max())
    pad = max(0.1 * (high - low), 0.01 * abs(high), 0.5)
    low, high = max(0.0, low - pad), high + pad
    base, right = PANEL - BOTTOM, WIDTH - RIGHT

    def at(second: float, value: float) -> tuple[int, int]:
        x = LEFT + (right - LEFT) * (second - seconds[0]) / (seconds[-1] - seconds[0])
        return round(x), round(base - (base - TOP) * (value - low) / (high - low))

    start, end = trend.seconds
    panel[TOP:base, LEFT : at(start, low)[0]] = SHADE
    cv2.rectangle(panel, (LEFT, TOP), (right, base), (200, 200, 204), 1)
    points = np.array([at(s, v) for s, v in zip(seconds, values)], np.int32)
    cv2.polylines(panel, [points], False, CURVE, 1, cv2.LINE_AA)
    cv2.line(panel, at(start, trend.at_start), at(end, trend.at_start + trend.growth), LINE, 2, cv2.LINE_AA)
    slope = f"{trend.slope:+.2f} +- {trend.error:.2f} per hour"
    text(panel, f"{title}: {slope}, {'GROWS' if trend.grows else 'flat'}", (LEFT, TOP - 10))
    for value, y in ((high, TOP + 8), (low, base)):
        text(panel, f"{value:.1f}", (LEFT - 6, y), 1.0)
    unit, scale = ("h", HOUR_S) if seconds[-1] > 3 * HOUR_S else ("min", 60.0)
    text(panel, "0", (LEFT, PANEL - 8))
    text(panel, f"{seconds[-1] / scale:.1f} {unit}", (right, PANEL - 8), 1.0)
