"""The plot of measured times: a row per series, its histogram on the left, every single time in order on the right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spgvton.bench.plot import BOTTOM, CURVE, LEFT, LINE, PANEL, RIGHT, TOP, WIDTH, text
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float64]

SPLIT: Final = 400  # width of the histogram's part
BINS: Final = 40
FRAME: Final = (200, 200, 204)


def draw(series: Mapping[str, ArrayLike], caption: str) -> UInt8:
    """RGB picture (H, W, 3). series: title -> times in ms, in the order of measurement."""
    sheet = np.full((PANEL * len(series) + 34, WIDTH, 3), 255, np.uint8)
    for i, (title, values) in enumerate(series.items()):
        times = np.asarray(values, np.float64)
        panel = sheet[i * PANEL : (i + 1) * PANEL]
        marks = np.percentile(times, (50, 99), method="inverted_cdf")
        text(panel, f"{title}: p50 {marks[0]:.2f}, p99 {marks[1]:.2f} ms, n = {len(times)}", (LEFT, TOP - 10))
        _histogram(panel, times, marks)
        _timeline(panel, times, marks)
    text(sheet, caption, (LEFT, sheet.shape[0] - 12))
    return sheet


def _histogram(panel: UInt8, times: Float, marks: Float) -> None:
    left, right, base = LEFT, SPLIT - RIGHT, PANEL - BOTTOM
    counts, edges = np.histogram(times, BINS)
    cv2.rectangle(panel, (left, TOP), (right, base), FRAME, 1)
    step = (right - left) / BINS
    for i, count in enumerate(counts):
        top = round(base - (base - TOP - 4) * count / counts.max())
        if count:
            cv2.rectangle(panel, (round(left + i * step), top), (round(left + (i + 1) * step) - 1, base), CURVE, -1)
    for mark in marks:
        x = round(left + (right - left) * (mark - edges[0]) / max(1e-9, edges[-1] - edges[0]))
        cv2.line(panel, (x, TOP), (x, base), LINE, 1)
    text(panel, f"{edges[0]:.1f}", (left, PANEL - 8))
    text(panel, f"{edges[-1]:.1f} ms", (right, PANEL - 8), 1.0)


def _timeline(panel: UInt8, times: Float, marks: Float) -> None:
    left, right, base = SPLIT + LEFT, WIDTH - RIGHT, PANEL - BOTTOM
    high = float(times.max()) * 1.05
    cv2.rectangle(panel, (left, TOP), (right, base), FRAME, 1)

    def y(value: float) -> int:
        return round(base - (base - TOP) * value / high)

    xs = left + (right - left) * np.arange(len(times)) / max(1, len(times) - 1)
    points = np.array([(round(x), y(t)) for x, t in zip(xs, times)], np.int32)
    cv2.polylines(panel, [points], False, CURVE, 1, cv2.LINE_AA)
    for mark in marks:
        cv2.line(panel, (left, y(mark)), (right, y(mark)), LINE, 1)
    text(panel, f"{high:.0f}", (left - 6, TOP + 8), 1.0)
    text(panel, "0", (left - 6, base), 1.0)
    text(panel, f"{len(times)} in order", (right, PANEL - 8), 1.0)
