"""Tables IV and VI of the paper, and this project's extensions, at a small size: one short run each, the same budget for all.

  spgvton synth --out data/small --count 600 --seed 3 --unpaired --size 128x96 --estimate-pose
  spgvton synth --out data/small --count 100 --seed 3 --unpaired --size 128x96 --split test --estimate-pose
  python results/ablations.py run --data data/small --out runs/ablations       # may be stopped and called again
  python results/ablations.py table --out runs/ablations                       # ablations.csv, .md and .png beside this file

Needs the extra `dev` (matplotlib).
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

from spgvton import machine
from spgvton.files import write_text

HERE: Final = Path(__file__).parent
NETWORK: Final = ["--preset", "mini", "--set", "network.height=128", "--set", "network.width=96"]
TRAINING: Final = ["--set", "optimiser.matching_batch_size=16", "--precision", "bf16-mixed", "--seed", "1"]


class Row(NamedTuple):
    """A run: its name, the options of `spgvton train` that make it, and SSIM and Mask-SSIM clothes in the paper."""

    name: str
    options: list[str]
    paper: tuple[float, float] | None = None
    iterations: str = "150,200,200,250"  # of stages 0 to 3


def ablation(name: str, *paper: float) -> Row:
    return Row(name, ["--ablation", name], (paper[0], paper[1]))


def without(name: str, *settings: str) -> Row:
    return Row(f"w/o {name}", [word for setting in settings for word in ("--set", setting)])


PAPER: Final = [
    Row("full", [], (0.752, 0.872)),
    Row("full, other seed", ["--seed", "2"]),
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
    Row("w/o stage 0 (its updates go to stage 2)", [], iterations="0,200,350,250"),
    without("aligned source", "network.align_source=false", "network.fill_background=false"),
    without("copy mask", "network.copy_mask=false"),
]  # fmt: skip


def folder(out: Path, row: Row) -> Path:
    return out / "".join(c if c.isalnum() else "_" for c in row.name)


def run(data: str, out: Path, threads: int) -> None:
    """Train and score every row that has no scores yet."""
    for row in (*PAPER, *EXTENSIONS):
        here = folder(out, row)
        scores = here / "scores.json"
        if scores.exists():
            continue
        train = ["train", "--data", data, "--out", str(here), "--threads", str(threads), "--save-every", "25"]
        # The row's options last: of two that set the same thing, the later one counts.
        what = [*NETWORK, *TRAINING, "--iterations", row.iterations, *row.options]
        subprocess.run([sys.executable, "-m", "spgvton", *train, *what], check=True)
        evaluate = ["evaluate", "--data", data, "--checkpoint", str(here / "model.safetensors"), "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "spgvton", *evaluate], check=True, stdout=subprocess.PIPE, text=True
        )
        write_text(scores, done.stdout)


def read(out: Path, row: Row) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder(out, row) / "scores.json").read_text())
    return values


COLUMNS: Final = {
    "SSIM": ("ssim",), "Mask-SSIM clothes": ("mask_ssim", "clothes"), "SSIM in clothes": ("region_ssim", "clothes"),
    "SSIM in face": ("region_ssim", "face"), "clothes IoU": ("clothes_mask_iou",), "mIoU": ("semantic_miou",),
}  # fmt: skip


def score(values: dict[str, Any], path: tuple[str, ...]) -> float | None:
    for key in path:
        values = values[key]
    return values  # type: ignore[return-value]


def table(out: Path) -> None:
    """Write ablations.csv, ablations.md and ablations.png beside this file, of the rows that have scores."""
    rows = [row for row in (*PAPER, *EXTENSIONS) if (folder(out, row) / "scores.json").exists()]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", *COLUMNS, "n", "hours", "paper SSIM", "paper Mask-SSIM clothes"])
    lines = [
        "| run | " + " | ".join(COLUMNS) + " | paper: SSIM | Mask-SSIM clothes |",
        "|---" * (len(COLUMNS) + 3) + "|",
    ]
    for row in rows:
        values = read(out, row)
        found = [score(values, path) for path in COLUMNS.values()]
        hours = json.loads((folder(out, row) / "log.jsonl").read_text().splitlines()[-1])["hours"]
        writer.writerow([row.name, *found, values["n"], hours, *(row.paper or ("", ""))])
        shown = ["" if v is None else f"{v:.3f}" for v in (*found, *(row.paper or (None, None)))]
        lines.append(f"| {row.name} | " + " | ".join(shown) + " |")
    write_text(HERE / "ablations.csv", text.getvalue())
    about = machine.describe()
    write_text(HERE / "ablations.md", f"{about['cpu']}, {about['cores']} cores\n\n" + "\n".join(lines) + "\n")
    curves(out, rows, HERE / "ablations.png")


def curves(out: Path, rows: list[Row], file: Path) -> None:
    """The losses of every run against its iterations: the map (stages 1, 3), the warp (0, 2, 3), the picture (2, 3)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.5), layout="constrained")
    terms = {
        "focal": "semantic map (focal, weighted)",
        "flow": "warp (flow L1, weighted)",
        "final": "final picture (L1, weighted)",
    }
    for axes, (term, title) in zip(figure.subplots(1, 3), terms.items()):
        for i, row in enumerate(rows):
            log = [json.loads(line) for line in (folder(out, row) / "log.jsonl").read_text().splitlines()]
            stops = [int(n) for n in row.iterations.split(",")]
            points = [(sum(stops[: e["stage"]]) + e["iteration"], e[term]) for e in log if term in e]
            if points:
                axes.plot(
                    *zip(*points), label=row.name, color=f"C{i % 10}", linestyle="-" if i < 10 else "--", linewidth=1
                )
        axes.set(title=title, xlabel="iteration")
        axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="upper right")
    figure.savefig(file, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("run", "table"))
    parser.add_argument("--data", default="data/small")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.verb == "run":
        run(args.data, args.out, args.threads)
    else:
        table(args.out)


if __name__ == "__main__":
    main()
