"""The report beside an INT8 bundle: calibration.md, histograms, sensitivity plot, contact sheet. Drawn with OpenCV."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from spgvton import image
from spgvton.bundle import Bundle
from spgvton.machine import cpu_model
from spgvton.range_table import RangeTable
from spgvton.version import __version__
from spgvton.video import cv2
from spgvton_calibration.histogram import METHODS, PERCENTILE, Histogram
from spgvton_calibration.mixed import INT8_SPEEDUP, Cost
from spgvton_calibration.outcome import Outcome
from spgvton_calibration.quality import REGIONS

UInt8 = NDArray[np.uint8]
INK, PALE = (30, 30, 30), (150, 150, 150)
COLOURS: Final = {"minmax": (0, 90, 200), "entropy": (200, 60, 40), "percentile": (30, 140, 60), "mse": (150, 60, 170)}
NETWORK_COLOURS: Final = ((60, 110, 190), (210, 120, 40), (70, 150, 80), (160, 70, 140), (110, 110, 110))
GAIN: Final = 8  # how much the contact sheet enlarges the difference


@dataclass
class Pictures:
    """The contact sheet's columns: names, and for each the pictures (H, W, 3) of the first ROWS held-out samples."""

    ROWS: ClassVar[int] = 6
    names: list[str]
    columns: list[list[UInt8]]

    def add(self, name: str, pictures: Sequence[UInt8]) -> None:
        self.names.append(name)
        self.columns.append(list(pictures))


def _text(canvas: UInt8, words: str, x: int, y: int, colour: tuple[int, int, int] = INK, scale: float = 0.38) -> None:
    cv2.putText(canvas, words, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)


def _white(height: int, width: int) -> UInt8:
    return np.full((height, width, 3), 255, np.uint8)


def contact_sheet(pictures: Pictures, path: Path) -> None:
    """Columns side by side, and |first - last| x GAIN as the last one."""
    difference = [
        np.clip(np.abs(a.astype(int) - b) * GAIN, 0, 255).astype(np.uint8)
        for a, b in zip(pictures.columns[0], pictures.columns[-1])
    ]
    columns = [*pictures.columns, difference]
    names = [*pictures.names, f"|{pictures.names[0]} - {pictures.names[-1]}| x {GAIN}"]
    body = np.concatenate([np.concatenate(column, 0) for column in columns], 1)
    head = _white(20, body.shape[1])
    for i, name in enumerate(names):
        _text(head, name, i * body.shape[1] // len(names) + 4, 14)
    image.write(path, np.concatenate([head, body], 0), quality=90)


def histograms(found: Mapping[str, Histogram], table: RangeTable, path: Path) -> None:
    """|x| of every quantised value, counts on a logarithmic scale, with the amax of each method as a line."""
    wide, high, across = 190, 90, 6
    panels = []
    for r in table.ranges:
        h, panel = found[r.tensor], _white(high, wide)
        bars = np.log1p(h.counts.reshape(128, -1).sum(1))
        for i, value in enumerate(bars / max(bars.max(), 1e-9)):
            x = 4 + i * (wide - 8) // 128
            cv2.line(panel, (x, high - 4), (x, high - 4 - int(value * (high - 22))), PALE, 1)
        for method, colour in COLOURS.items():
            x = 4 + int(min(h.amax(method) / max(h.width, 1e-12), 1) * (wide - 9))
            cv2.line(panel, (x, 18), (x, high - 4), colour, 2 if method == r.method else 1)
        _text(panel, r.users[0], 4, 12, scale=0.33)
        panels.append(panel)
    panels += [_white(high, wide)] * (-len(panels) % across)
    body = np.concatenate([np.concatenate(panels[i : i + across], 1) for i in range(0, len(panels), across)], 0)
    head = _white(22, body.shape[1])
    for i, (method, colour) in enumerate(COLOURS.items()):
        _text(head, method, 8 + 100 * i, 15, colour, 0.45)
    image.write(path, np.concatenate([head, body], 0))


def plot(costs: Sequence[Cost], given_up: Collection[str], path: Path) -> None:
    """A bar per layer, in order of computation: SSIM that it costs alone. Layers that stayed float are marked."""
    row, left, wide = 15, 190, 460
    canvas = _white(row * len(costs) + 34, left + wide + 130)
    top = max(max(c.ssim_lost for c in costs), 1e-9)
    networks = list(dict.fromkeys(c.layer.partition(".")[0] for c in costs))
    _text(
        canvas, "SSIM of the final picture lost with this layer alone in INT8 (right: per ms saved)", 8, 16, scale=0.42
    )
    for i, c in enumerate(costs):
        y = 28 + row * i
        colour = NETWORK_COLOURS[networks.index(c.layer.partition(".")[0]) % len(NETWORK_COLOURS)]
        cv2.rectangle(canvas, (left, y), (left + max(1, int(c.ssim_lost / top * wide)), y + row - 4), colour, -1)
        _text(canvas, c.layer + (" (float)" if c.layer in given_up else ""), 8, y + 9, scale=0.34)
        _text(canvas, f"{c.ssim_lost:.2e}  {c.cost:.2e}", left + wide + 6, y + 9, PALE, 0.34)
    image.write(path, canvas)


def markdown(source: Bundle, outcome: Outcome, found: Mapping[str, Histogram], pictures: bool) -> str:
    """calibration.md."""
    o, s = outcome, outcome.settings
    head = f"INT8 of a {source.precision} bundle (preset {source.manifest['network'].get('preset', 'unnamed')}): "
    head += f"{len(o.chosen)} convolutions in INT8, {len(o.layers_float)} in {source.precision}."
    lines = [
        "# Calibration", "", head, "",
        f"- ranges: {o.table.method}, {o.table.samples} samples; {o.table.source}",
        f"- made with spgvton {__version__}, ONNX Runtime {ort.__version__}, {cpu_model()}",
        f"- float by rule (first and last layer of each network, --keep-float): {', '.join(o.by_rule) or 'none'}",
        f"- float to stay within the budget: {', '.join(o.given_up) or 'none'}",
        "", "## Quality", "", *_quality(o),
    ]  # fmt: skip
    if not s.gate:
        lines += ["", "**The quality gate was off (--no-gate): this bundle was written whatever it costs.**"]
    if pictures:
        lines += ["", "![float, INT8, difference](sheet.jpg)"]
    if o.costs:
        lines += ["", "## Sensitivity", "", *_sensitivity(o.costs), "", "![sensitivity](sensitivity.png)"]
    lines += ["", "## Ranges", ""]
    if found:
        lines += ["![histograms](histograms.png)", "", "amax of each method; the one used is in ranges.json.", ""]
        names = list(METHODS)
        lines += [f"| read by | tensor | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|"]
        for r in o.table.ranges:
            values = " | ".join(f"{found[r.tensor].amax(m):.4g}" for m in names)
            lines.append(f"| {', '.join(r.users)} | {r.tensor} | {values} |")
        lines += ["", f"percentile: {PERCENTILE}."]
    else:
        lines += ["| read by | tensor | amax | method |", "|---|---|---|---|"]
        lines += [f"| {', '.join(r.users)} | {r.tensor} | {r.amax:.4g} | {r.method} |" for r in o.table.ranges]
    return "\n".join(lines) + "\n"


def _quality(o: Outcome) -> list[str]:
    if o.drop is None or o.full_drop is None or o.fidelity is None:
        return ["Not measured: no held-out samples."]
    head = f"{o.held_out} held-out samples; SSIM against the ground truth, averaged inside the region. "
    head += f"Budget {o.settings.max_ssim_drop:g} for each."
    lines = [head, "", "| region | float | drop, all candidates in INT8 | drop, this bundle |", "|---|---|---|---|"]
    for region in REGIONS:
        base = o.reference_ssim.get(region)
        lines.append(
            f"| {region} | {'none' if base is None else f'{base:.4f}'} | {o.full_drop[region]:+.5f} | {o.drop[region]:+.5f} |"
        )
    lines += ["", f"Against the float pictures themselves: SSIM {o.fidelity[0]:.4f}, PSNR {o.fidelity[1]:.1f} dB."]
    if o.frame is not None:
        drops = ", ".join(f"{region} {o.frame.drop[region]:+.5f}" for region in REGIONS)
        lines += [
            f"session.onnx and frame.onnx, for ONNX Runtime's integer kernels: drop {drops}; SSIM {o.frame.fidelity[0]:.4f}, "
            f"PSNR {o.frame.fidelity[1]:.1f} dB. {'' if o.frame.kept else 'Above the budget: left out.'}".rstrip()
        ]
    return lines


def _sensitivity(costs: Sequence[Cost]) -> list[str]:
    worst = sorted(costs, key=lambda c: -c.cost)[:10]
    head = "Each layer alone in INT8; the ten that cost most per millisecond saved (all: sensitivity.csv). Milliseconds are an "
    head += f"estimate: the layer's share of the MACs of the float graph's time on this CPU, / {INT8_SPEEDUP:g}."
    lines = [
        head,
        "",
        "| layer | GMAC | SSIM lost | PSNR dB | ms saved | SSIM lost per ms |",
        "|---|---|---|---|---|---|",
    ]
    return lines + [
        f"| {c.layer} | {c.gmac:.4f} | {c.ssim_lost:.2e} | {c.psnr:.1f} | {c.ms_saved:.3f} | {c.cost:.2e} |"
        for c in worst
    ]
