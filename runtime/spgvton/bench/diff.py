"""Two reports of `spgvton bench` or `doctor --gpu` side by side: which figures changed, and what else differed meanwhile.

Figures are found by name, not by kind of report, so reports of other versions can be read as far as they have the same names.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spgvton.errors import SpgvtonError

# The last name of a figure's path, or one before it, says which way is better.
LOWER: Final = (
    "ms", "_ms", "ms_per_frame", "p90_early_stopping", "estimate_ms", "mean_error", "max_error", "watts", "joules_per_frame",
)  # fmt: skip
HIGHER: Final = ("fps", "qps", "psnr_db", "ssim", "gmac_s", "percent_of_peak")
TAILS: Final = ("p90", "p95", "p99", "max", "max_error")  # too restless to be judged
CONTEXT: Final = (
    "backend",
    "bundle",
    "preset",
    "precision",
    "resolution",
    "machine",
    "versions",
    "clocks",
    "gpu_state",
    "load",
)
NOISE_MS: Final = 0.1
LABELS: Final = ("side", "name", "graph", "count", "kind")  # what tells the entries of a list apart


@dataclass(frozen=True)
class Change:
    """One figure in both reports. gain: how much better it became, as a share of before; negative: worse."""

    name: str
    before: float
    after: float
    gain: float

    @property
    def judged(self) -> bool:
        """Whether a limit applies: not to tails, nor to microseconds, where a scheduler's mood is a large share."""
        is_time = "_ms" in self.name or self.name.endswith(".ms")
        return not set(self.name.split(".")) & set(TAILS) and not (is_time and abs(self.after - self.before) < NOISE_MS)

    def row(self) -> dict[str, Any]:
        return {
            "figure": self.name, "before": f"{self.before:.4g}", "after": f"{self.after:.4g}",
            "change": f"{(self.after / self.before - 1) * 100:+.1f}%",
            "": "" if abs(self.gain) < 5e-4 else "better" if self.gain > 0 else "worse",
        }  # fmt: skip


@dataclass(frozen=True)
class Diff:
    """changes: of every figure that both have. context: "machine.cpu: A -> B" of what differed beside them."""

    changes: list[Change]
    context: list[str]

    def worse(self, limit: float) -> list[Change]:
        """Judged figures that became worse by more than LIMIT (a share)."""
        return [c for c in self.changes if c.judged and c.gain < -limit]

    def as_dict(self) -> dict[str, Any]:
        figures = [
            {"figure": c.name, "before": c.before, "after": c.after, "gain": round(c.gain, 5)} for c in self.changes
        ]
        return {"figures": figures, "context": self.context}


def read(path: Path) -> dict[str, Any]:
    """The report in file PATH. Raises SpgvtonError where it is none."""
    try:
        report = json.loads(path.read_text())
    except OSError as e:
        raise SpgvtonError(f"cannot read {path}: {e.strerror or e}") from e
    except ValueError as e:
        raise SpgvtonError(f"{path} is no JSON report ({str(e).splitlines()[0]})") from e
    if not isinstance(report, dict):
        raise SpgvtonError(f"{path} is no report: make one by spgvton bench ... --json")
    return report


def compare(before: dict[str, Any], after: dict[str, Any]) -> Diff:
    """What changed from BEFORE to AFTER. Raises SpgvtonError where they share no figure."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    changes = []
    for name, value in old.items():
        direction = _direction(name)
        if direction and _is_figure(value) and _is_figure(new.get(name)):
            changes.append(Change(name, value, new[name], direction * (new[name] / value - 1)))
    if not changes:
        raise SpgvtonError("the two reports share no figure: compare two of the same kind")
    own = [n for n in {**old, **new} if n.split(".")[0] in CONTEXT and old.get(n) != new.get(n)]
    return Diff(changes, [f"{n}: {old.get(n)} -> {new.get(n)}" for n in own])


def _is_figure(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _direction(name: str) -> int:
    """-1: less is better, 1: more is better, 0: no figure."""
    parts = name.split(".")
    if parts[0] in CONTEXT or "limits" in parts:
        return 0
    for part in reversed(parts):
        if part in HIGHER:
            return 1
        if part in LOWER or part.endswith("_ms"):
            return -1
    return 0


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """("latency_ms.p50", 12.3) of everything in VALUE."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{path}.{_label(inner, i)}")
    else:
        yield path, value


def _label(entry: Any, index: int) -> str:
    """What an entry of a list is called, so that lists in another order compare."""
    if not isinstance(entry, dict):
        return str(index)
    return " ".join(str(entry[k]) for k in LABELS if isinstance(entry.get(k), (str, int))) or str(index)
