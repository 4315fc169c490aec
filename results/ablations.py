"""Tables IV and VI of the paper, and this project's extensions, at a small size: short runs, the same budget for all.

  spgvton synth --out data/tiny --count 400 --seed 3 --unpaired --size 96x64
  spgvton synth --out data/tiny --count 100 --seed 3 --unpaired --size 96x64 --split test
  python results/ablations.py run --data data/tiny --out runs/ablations        # may be stopped and called again
  python results/ablations.py table --out runs/ablations                       # ablations.csv, .md and .png beside this file

Every row runs with each of SEEDS: a seed sets the first weights, the order of the data and their augmentation, so that rows
of the same seed differ by nothing but their options. `table` needs matplotlib.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

from spgvton import machine
from spgvton.files import write_text

HERE: Final = Path(__file__).parent
SEEDS: Final = (1, 2, 3)
NETWORK: Final = ["--preset", "mini", "--set", "network.height=96", "--set", "network.width=64"]
# The average of the last updates is scored: single updates scatter more than rows differ. Tones are for photographs.
TRAINING: Final = [
    "--set", "optimiser.matching_batch_size=16", "--set", "optimiser.ema=0.97", "--set", "data.tone=0",
    "--precision", "bf16-mixed",
]  # fmt: skip


class Row(NamedTuple):
    """A run: its name, the options of `spgvton train` that make it, and SSIM and Mask-SSIM clothes in the paper."""

    name: str
    options: list[str]
    paper: tuple[float, float] | None = None
    iterations: str = "100,150,150,200"  # of stages 0 to 3


def ablation(name: str, *paper: float) -> Row:
    return Row(name, ["--ablation", name], (paper[0], paper[1]))


def without(name: str, *settings: str) -> Row:
    return Row(f"w/o {name}", [word for setting in settings for word in ("--set", setting)])


PAPER: Final = [
    Row("full", [], (0.752, 0.872)),
    ablation("w/o-e2e", 0.747, 0.869),
    ablation("w/o-cycle", 0.739, 0.867),
    ablation("w/o-predicted-map", 0.736, 0.861),
    ablation("w/o-predicted-mask", 0.747, 0.869),
    ablation("lambda-3=0", 0.739, 0.869),
]
EXTENSIONS: Final = [
    without("exact-flow supervision", "losses.flow=0"),
    without("skips", "network.skips=false"),
    without("wide tail", "network.wide_tail=false"),
    without("batch norm (instance norm)", "network.norm=instance"),
    without("moment pre-alignment", "network.moment_alignment=false"),
    Row("w/o stage 0 (its updates go to stage 2)", [], iterations="0,150,250,200"),
    without("aligned source", "network.align_source=false", "network.fill_background=false",
            "network.background_margin=false"),
    without("copy mask", "network.copy_mask=false"),
]  # fmt: skip


ROWS: Final = (*PAPER, *EXTENSIONS)


def folder(out: Path, row: Row, seed: int) -> Path:
    return out / f"{''.join(c if c.isalnum() else '_' for c in row.name)}-{seed}"


def run(data: str, out: Path, threads: int) -> None:
    """Train and score every row with every seed that has no scores yet; `full` first, for it shows what a seed does."""
    full = [(ROWS[0], seed) for seed in SEEDS]
    for row, seed in (*full, *((row, seed) for seed in SEEDS for row in ROWS[1:])):
        here = folder(out, row, seed)
        scores = here / "scores.json"
        if scores.exists():
            continue
        train = ["train", "--data", data, "--out", str(here), "--threads", str(threads), "--save-every", "25"]
        # The row's options last: of two that set the same thing, the later one counts.
        what = [*NETWORK, *TRAINING, "--seed", str(seed), "--iterations", row.iterations, *row.options]
        subprocess.run([sys.executable, "-m", "spgvton", *train, *what], check=True)
        evaluate = ["evaluate", "--data", data, "--checkpoint", str(here / "model.safetensors"), "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "spgvton", *evaluate], check=True, stdout=subprocess.PIPE, text=True
        )
        write_text(scores, done.stdout)


COLUMNS: Final = {
    "SSIM": ("ssim",), "Mask-SSIM clothes": ("mask_ssim", "clothes"), "SSIM in clothes": ("region_ssim", "clothes"),
    "SSIM in face": ("region_ssim", "face"), "clothes IoU": ("clothes_mask_iou",), "mIoU": ("semantic_miou",),
}  # fmt: skip
Scores = dict[str, float]


def read(out: Path, row: Row, seed: int) -> Scores:
    """COLUMNS, the number of triples and the hours of one run."""
    here = folder(out, row, seed)
    values: dict[str, Any] = json.loads((here / "scores.json").read_text())
    hours = json.loads((here / "log.jsonl").read_text().splitlines()[-1])["hours"]
    found: Scores = {}
    for column, path in COLUMNS.items():
        value: Any = values
        for key in path:
            value = value[key]
        found[column] = value
    return found | {"n": values["n"], "hours": hours}


def shown(values: list[float], digits: int = 3) -> str:
    """Mean, and the smallest and the largest where there is more than one."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(out: Path) -> None:
    """Write ablations.csv (a line per run), ablations.md (a line per row) and ablations.png, of the runs with scores."""
    runs: dict[str, dict[int, Scores]] = {
        row.name: {s: read(out, row, s) for s in SEEDS if (folder(out, row, s) / "scores.json").exists()}
        for row in ROWS
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "seed", *COLUMNS, "n", "hours"])
    for name, by_seed in runs.items():
        writer.writerows([name, seed, *scores.values()] for seed, scores in by_seed.items())
    write_text(HERE / "ablations.csv", text.getvalue())
    about = machine.describe()
    columns = list(COLUMNS)
    head = [
        "run",
        "seeds",
        "SSIM",
        "SSIM - full",
        *columns[1:],
        "paper: SSIM",
        "paper: SSIM - full",
        "paper: Mask-SSIM clothes",
    ]
    lines = [
        f"{about['cpu']}, {about['cores']} cores. Mean (smallest to largest) over seeds; SSIM - full at the same seeds.",
        "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|",
    ]  # fmt: skip
    full = runs[ROWS[0].name]
    for row in ROWS:
        mine = runs[row.name]
        if not mine:
            continue
        cells = [row.name, str(len(mine)), shown([v["SSIM"] for v in mine.values()])]
        differences = [mine[s]["SSIM"] - full[s]["SSIM"] for s in mine if s in full and row is not ROWS[0]]
        cells.append(shown(differences) if differences else "")
        cells += [f"{statistics.mean(v[column] for v in mine.values()):.3f}" for column in columns[1:]]
        paper = [f"{row.paper[0]:.3f}", f"{row.paper[0] - 0.752:.3f}", f"{row.paper[1]:.3f}"] if row.paper else [""] * 3
        lines.append("| " + " | ".join([*cells, *paper]) + " |")
    write_text(HERE / "ablations.md", "\n".join(lines) + "\n")
    curves(out, runs, HERE / "ablations.png")


def curves(out: Path, runs: dict[str, dict[int, Scores]], file: Path) -> None:
    """The losses of every run against its iterations: the map (stages 1, 3), the warp (0, 2, 3), the picture (2, 3)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.5), layout="constrained")
    terms = {
        "focal": "semantic map (focal, weighted)",
        "flow": "warp (flow L1, weighted)",
        "final": "final picture (L1, weighted)",
    }
    for axes, (term, title) in zip(figure.subplots(1, 3), terms.items()):
        for i, row in enumerate(row for row in ROWS if runs[row.name]):
            style = dict(color=f"C{i % 10}", linestyle="-" if i < 10 else "--", linewidth=1)
            for k, seed in enumerate(runs[row.name]):
                log = [json.loads(line) for line in (folder(out, row, seed) / "log.jsonl").read_text().splitlines()]
                stops = [int(n) for n in row.iterations.split(",")]
                points = [(sum(stops[: e["stage"]]) + e["iteration"], e[term]) for e in log if term in e]
                if points:
                    axes.plot(*zip(*points), label=None if k else row.name, **style)
        axes.set(title=title, xlabel="iteration")
        axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="upper right")
    figure.savefig(file, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("run", "table"))
    parser.add_argument("--data", default="data/tiny")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.verb == "run":
        run(args.data, args.out, args.threads)
    else:
        table(args.out)


if __name__ == "__main__":
    main()
