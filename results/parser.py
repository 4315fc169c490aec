"""What training made of the human parser: results/parser.md and parser.png.

  spgvton train-parser --evaluate runs/parser/model.safetensors --data data/people-test --data data/photos-held --json > scores.json
  python results/parser.py --runs runs/parser1 runs/parser --scores scores.json

The runs follow one another, each from the weights of the one before. Needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

from spgvton.files import write_text

HERE: Final = Path(__file__).parent
SHOWN: Final = ("mIoU", "person", "upper clothes", "lower clothes", "clothes", "skin", "hair", "face", "arms")
CURVES: Final = ("mIoU", "person", "clothes", "skin", "hair")


def read_logs(runs: list[Path]) -> list[dict[str, Any]]:
    """The lines of log.jsonl of RUNS, whose iterations and hours go on from one to the next."""
    rows: list[dict[str, Any]] = []
    for run in runs:
        start = (rows[-1]["iteration"], rows[-1]["hours"]) if rows else (0, 0.0)
        for line in (run / "log.jsonl").read_text().splitlines():
            row = json.loads(line)
            rows.append(row | {"iteration": row["iteration"] + start[0], "hours": row["hours"] + start[1]})
    return rows


def plot(rows: list[dict[str, Any]], file: Path) -> None:
    """Intersection over union over updates, a panel for each folder of --validate that all of ROWS have."""
    from matplotlib.figure import Figure

    folders = sorted({key.split("/")[0] for key in rows[-1] if "/" in key})
    figure = Figure(figsize=(5.2 * len(folders), 3.6), layout="constrained")
    for axes, folder in zip(figure.subplots(1, len(folders), sharey=True, squeeze=False)[0], folders):
        for name in CURVES:
            axes.plot([r["iteration"] for r in rows], [r[f"{folder}/{name}"] for r in rows], label=name, linewidth=1.3)
        axes.set(title=folder, xlabel="updates of 16", ylim=(0.4, 1))
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("intersection over union")
    figure.axes[0].legend(loc="lower right", fontsize=8)
    figure.savefig(file, dpi=90)


def table(scores: dict[str, dict[str, float]]) -> str:
    """Markdown tables of groups, then of labels."""
    groups = [name for name in SHOWN if any(name in s for s in scores.values())]
    lines = ["| pictures | " + " | ".join(groups) + " |", "|---" * (len(groups) + 1) + "|"]
    for name, s in scores.items():
        lines.append(f"| {name} | " + " | ".join(_score(s.get(g)) for g in groups) + " |")
    labels = sorted({key for s in scores.values() for key in s if key.startswith("label ")})
    lines += ["", "| label | " + " | ".join(scores) + " |", "|---" * (len(scores) + 1) + "|"]
    lines += [f"| {key[6:]} | " + " | ".join(_score(s.get(key)) for s in scores.values()) + " |" for key in labels]
    return "\n".join(lines) + "\n"


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".removeprefix("0")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    parser.add_argument("--scores", type=Path, required=True, help="what train-parser --evaluate --json printed")
    args = parser.parse_args()
    rows = read_logs(args.runs)
    scores = {Path(name).name: s for name, s in json.loads(args.scores.read_text())["scores"].items()}
    last = rows[-1]
    head = (
        "# The small human parser\n\n"
        "Intersection over union at 256x192, framed as live mode frames (`results/parser.py`); mIoU is the mean of the labels that "
        f"the truth has. {last['iteration']} updates of 16, {last['hours']:.2f} hours.\n\n"
    )
    write_text(HERE / "parser.md", head + table(scores) + "\n![scores over updates](parser.png)\n")
    plot(rows, HERE / "parser.png")


if __name__ == "__main__":
    main()
