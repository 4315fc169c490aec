"""The report of the steps: one JSON, and one picture that an issue can hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spgvton import machine
from spgvton.bench import latency_plot, plot
from spgvton.bundle import Bundle
from spgvton.doctor.contract import Verdict
from spgvton.engine.flavour import MODULES

UInt8 = NDArray[np.uint8]

LINE: Final = 20  # height of a line of text
SHOWN: Final = 118  # characters of a verdict in the picture
# Names of steps' facts that stand at the top of the report too, where scripts look for them.
TOP: Final = ("backend", "gpu_state")


def as_dict(verdicts: Sequence[Verdict], bundle: Bundle, backend: str, gpu: str) -> dict[str, Any]:
    """JSON types: ok, gpu, steps {name: {verdict, seconds}}, each step's facts under its name, bundle, machine, versions.

    ok: something ran, and nothing failed.
    """
    facts = {v.step: v.outcome.facts for v in verdicts if v.outcome}
    timed = facts.get("benchmark", {})
    modules = (MODULES.get(backend, backend), "pycuda")
    return {
        "ok": any(v.passed for v in verdicts) and not any(v.failed for v in verdicts),
        "gpu": gpu,
        "steps": {v.step: {"verdict": v.verdict, "seconds": v.seconds} for v in verdicts},
        **{name: {k: value for k, value in found.items() if k not in TOP} for name, found in facts.items()},
        **{name: timed[name] for name in TOP if name in timed},
        "bundle": bundle.folder.name,
        "precision": bundle.precision,
        "machine": machine.describe(),
        "versions": {**machine.versions(), **{name: machine.version_of(name) for name in modules}},
    }


def table(verdicts: Sequence[Verdict]) -> list[str]:
    """The verdicts for people; what was found stands under the verdict."""
    lines = []
    for v in verdicts:
        lines.append(f"{v.step:<11} {v.verdict}" + (f" ({v.seconds:.1f} s)" if v.seconds else ""))
        if v.outcome:
            lines.append(f"{'':<11} {v.outcome.words}")
    return lines


def draw(verdicts: Sequence[Verdict], title: str, caption: str) -> UInt8:
    """RGB picture (H, 960, 3): the verdicts, every measured time, memory over time."""
    sheets = [_verdicts(verdicts, title)]
    times = {name: ms for v in verdicts if v.outcome for name, ms in v.outcome.times.items() if ms}
    if times:
        sheets.append(latency_plot.draw(times, "times in ms; red: p50 and p99"))
    for v in verdicts:
        if v.outcome and v.outcome.lines:
            sheets.append(plot.draw(*v.outcome.lines, "over time; shaded: warm-up, red: the fitted line"))
    foot = np.full((LINE + 8, plot.WIDTH, 3), 255, np.uint8)
    plot.text(foot, caption[:SHOWN], (plot.RIGHT, LINE - 4))
    return np.concatenate([*sheets, foot])


def _verdicts(verdicts: Sequence[Verdict], title: str) -> UInt8:
    sheet = np.full((LINE * (len(verdicts) + 2), plot.WIDTH, 3), 255, np.uint8)
    plot.text(sheet, title[:SHOWN], (plot.RIGHT, LINE))
    for i, v in enumerate(verdicts):
        y = LINE * (i + 2) + 6
        colour = (60, 150, 70) if v.passed else plot.LINE if v.failed else (150, 150, 150)
        sheet[y - 10 : y, plot.RIGHT : plot.RIGHT + 10] = colour
        plot.text(sheet, v.step, (plot.RIGHT + 18, y))
        words = v.verdict if len(v.verdict) <= SHOWN else f"{v.verdict[: SHOWN - 3]}..."
        plot.text(sheet, words, (plot.RIGHT + 110, y))
    return sheet
