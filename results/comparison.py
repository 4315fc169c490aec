"""Table II of the paper, VITON, CP-VTON, MG-VTON and SPG-VTON, trained by the same recipe on one data set of MPV's layout.

  spgvton synth --out data/tiny --count 300 --seed 3 --unpaired --size 96x64
  spgvton synth --out data/tiny --count 70 --seed 3 --unpaired --size 96x64 --split test
  python results/comparison.py run --data data/tiny --out runs/comparison      # may be stopped and called again
  python results/comparison.py cost --out runs/comparison                      # parameters, MACs, ms on this CPU
  python results/comparison.py table --out runs/comparison                     # comparison.csv, .md and .png beside this file

With the real data, VGG-19 and Inception the same commands make the paper's own table:

  python results/comparison.py run --data MPV --out runs/table-2 --size 256x192 --ngf 64 --updates 240000 --every 5000 \\
      --seeds 1 --perceptual-weights vgg19-dcbb9e9d.pth --inception-weights weights-inception-2015-12-05-6726825d.pth

Equal for all: data, the number of updates in all stages together and their batches, learning rate, layers and their width.
SPG-VTON is the paper's: this project's extensions of it are off (`mini` has them on). `table` needs matplotlib.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from spgvton import machine
from spgvton.files import make_folder, write_text
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.comparison.method import Method
from spgvton_training.comparison.recipes import with_method
from spgvton_training.comparison.registry import build_network
from spgvton_training.config import RunConfig, run_preset
from spgvton_training.data.check import select_triples
from spgvton_training.data.mpv import MPV
from spgvton_training.evaluate import Settings, evaluate
from spgvton_training.fabric import make_fabric
from spgvton_training.monitor import Monitor, Samples
from spgvton_training.networks.config import METHODS
from spgvton_training.networks.joint import JointModel
from spgvton_training.pretrained.inception import Inception
from spgvton_training.pretrained.perceptual import load_perceptual
from spgvton_training.train import Trainer

HERE: Final = Path(__file__).parent
NAMES: Final = {"viton": "VITON", "cp-vton": "CP-VTON", "mg-vton": "MG-VTON", "spg-vton": "SPG-VTON"}
EXTENDED: Final = "spg-vton-mini"  # not in the paper: SPG-VTON with this project's extensions
ROWS: Final = (*NAMES, EXTENDED)
PAPER: Final = {
    "viton": (0.639, 2.394),
    "cp-vton": (0.705, 2.519),
    "mg-vton": (0.744, 3.154),
    "spg-vton": (0.752, 3.243),
}
WATCHED: Final = 16  # test triples whose SSIM is the curve

# `mini` without what the paper does not have; layers (skips, wide tail, batch norm) are everybody's.
_PLAIN: Final[dict[str, Any]] = {
    "network": dict.fromkeys(
        ("half_semantics", "space_to_depth", "align_source", "fill_background", "background_margin", "copy_mask",
         "mask_in_g3", "pose_in_gmm", "moment_alignment", "features_in_gmm"), False,
    ) | {"bounded_theta": True},
    "losses": {
        "flow": 0.0, "smoothness": 0.0, "class_weights": False, "semantic_l1_scale": 1.0, "true_mask_until": 0.0,
        "erase_probability": 1.0,
    },
}  # fmt: skip


class Budget(NamedTuple):
    """What all rows have in common."""

    size: tuple[int, int]
    ngf: int
    updates: int
    batch: int
    precision: str
    perceptual: bool

    def recipe(self, row: str, seed: int) -> RunConfig:
        third = self.updates // 3
        common = {
            "network": {"height": self.size[0], "width": self.size[1], "ngf": self.ngf, "gmm_ngf": self.ngf},
            "optimiser": {
                "iterations": [third, third, self.updates - 2 * third], "batch_sizes": [self.batch] * 3,
                "learning_rates": [1e-3] * 3, "matching_iterations": 0, "warm_up": min(50, self.updates // 20), "ema": 0.97,
            },
            "losses": {"perceptual": self.perceptual, "structure": 0.0 if self.perceptual else 1.0},
            "data": {"unpaired": False, "tone": 0.0},
        }  # fmt: skip
        config = run_preset("mini").with_values(common)
        if row != EXTENDED:
            config = config.with_values(_PLAIN)
        if row in METHODS and row != METHODS[0]:
            config = with_method(config, row)
        return replace(config, seed=seed)


class Watch:
    """The monitor's picture; beside it, the SSIM of a few test triples is noted, so that the methods' curves compare."""

    def __init__(self, trainer: Trainer, shown: MPV) -> None:
        self.trainer, self.shown, self.samples = trainer, shown, Samples(trainer.dataset)

    def __call__(self, model: JointModel | Method) -> NDArray[np.uint8]:
        t = self.trainer
        scores = evaluate(model, self.shown, Settings(limit=WATCHED, batch=8)).summary
        done = sum(t.config.optimiser.of_stage(stage)[0] for stage in range(t.stage)) + t.iteration
        with (t.folder / "curve.jsonl").open("a") as file:
            file.write(json.dumps({"update": done, "ssim": scores["ssim"], "cpu": time.process_time()}) + "\n")
        return self.samples(model)


def folder(out: Path, row: str, seed: int) -> Path:
    return out / f"{row}-{seed}"


def run(args: argparse.Namespace, budget: Budget) -> None:
    """Train and score every row with every seed that has no scores yet, seed by seed."""
    perceptual = load_perceptual(args.perceptual_weights) if args.perceptual_weights else None
    inception = Inception.load(args.inception_weights) if args.inception_weights else None
    fabric = make_fabric(precision=budget.precision)
    train, test = (select_triples(args.data, split, label_set="cihp") for split in ("train", "test"))
    shown = MPV(args.data, "test", size=budget.size, triples=test)
    for row, seed in ((row, seed) for seed in args.seeds for row in args.rows):
        here = make_folder(folder(args.out, row, seed))
        if (here / "scores.json").exists():
            continue
        print(f"== {row}, seed {seed}", flush=True)
        trainer = Trainer(
            budget.recipe(row, seed), str(args.data), here, train, perceptual, workers=args.workers,
            save_every=args.every, command=f"results/comparison.py run --updates {budget.updates}", fabric=fabric,
        )  # fmt: skip
        trainer.monitor = Monitor(here, Watch(trainer, shown), active=fabric.is_global_zero)
        began = time.process_time()
        checkpoint = trainer.fit()
        cpu = time.process_time() - began
        scores = evaluate(checkpoint.network(), shown, Settings(batch=8, limit=args.limit), inception=inception).summary
        write_text(here / "scores.json", json.dumps({**scores, "cpu_s": round(cpu, 1), "budget": budget._asdict()}))


def cost(args: argparse.Namespace, budget: Budget) -> None:
    """Parameters, MACs and time of the exported graphs at 256x192, whose weights do not matter: cost.json.

    GMM2, which serves training alone, is in none of them.
    """
    from spgvton.bench.macs import gmac
    from spgvton_export.comparison import export_method
    from spgvton_export.samples import demo_samples

    found = json.loads((args.out / "cost.json").read_text()) if (args.out / "cost.json").exists() else {}
    for row in args.rows:
        if row in found:
            continue
        torch.manual_seed(0)
        config = budget._replace(size=(256, 192)).recipe(row, 0).network
        network = build_network(config)
        file = args.out / f"{row}.onnx"
        samples = demo_samples(config.size, config.label_set)[:2]
        errors = export_method(Checkpoint(config, dict(network.state_dict())), file, samples)
        found[row] = {
            "parameters": sum(p.numel() for name, p in network.named_parameters() if not name.startswith("gmm2.")),
            "gmac": round(gmac(file, samples[0]), 3), "max_error": errors["image"]["max"], **times(file, samples[0], args.rounds),
        }  # fmt: skip
        write_text(args.out / "cost.json", json.dumps(found, indent=1))


def times(file: Path, sample: dict[str, NDArray[np.float32]], rounds: int) -> dict[str, float]:
    """Median over ROUNDS of the time of one picture, one thread: of the clock, and of the thread's processor time."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    inputs = {i.name: sample[i.name] for i in session.get_inputs()}
    clock, cpu = [], []
    for _ in range(rounds + 1):
        began = time.perf_counter(), time.thread_time()
        session.run(None, inputs)
        clock.append(time.perf_counter() - began[0])
        cpu.append(time.thread_time() - began[1])
    return {name: round(1e3 * statistics.median(v[1:]), 1) for name, v in (("ms", clock), ("cpu_ms", cpu))}


COLUMNS: Final = {
    "SSIM": ("ssim",), "Mask-SSIM face": ("mask_ssim", "face"), "Mask-SSIM w/o clothes": ("mask_ssim", "without_clothes"),
    "Mask-SSIM clothes": ("mask_ssim", "clothes"), "SSIM in clothes": ("region_ssim", "clothes"),
    "SSIM in face": ("region_ssim", "face"), "clothes IoU": ("clothes_mask_iou",), "SSIM coarse": ("ssim_coarse",),
    "IS": ("is",), "n": ("n",), "cpu_s": ("cpu_s",),
}  # fmt: skip


def read(out: Path) -> Iterator[tuple[str, int, dict[str, float]]]:
    """(row, seed, COLUMNS) of every run with scores; columns that were not measured are left out."""
    for row in ROWS:
        for file in sorted(out.glob(f"{row}-[0-9]*/scores.json")):
            values: Any = json.loads(file.read_text())
            scores = {}
            for column, path in COLUMNS.items():
                value = values
                for key in path:
                    value = value.get(key) if isinstance(value, dict) else None
                if value is not None:
                    scores[column] = value
            yield row, int(file.parent.name.rpartition("-")[2]), scores


def shown(values: list[float], digits: int = 3) -> str:
    """Mean, and the smallest and the largest where there is more than one."""
    if not values:
        return "-"
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(args: argparse.Namespace) -> None:
    """Write comparison.csv (a line per run), comparison.md (a line per method) and comparison.png of the runs with scores."""
    runs = list(read(args.out))
    text = io.StringIO()
    writer = csv.DictWriter(text, ["method", "seed", *COLUMNS], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"method": row, "seed": seed, **scores} for row, seed, scores in runs)
    write_text(HERE / "comparison.csv", text.getvalue())
    costs = json.loads((args.out / "cost.json").read_text()) if (args.out / "cost.json").exists() else {}
    about = machine.describe()
    first = json.loads(next(args.out.glob("*/scores.json")).read_text())["budget"]
    trained = "{updates} updates of {batch} at {size[0]}x{size[1]}, width {ngf}, {precision}.".format(**first)
    columns = [name for name in COLUMNS if name not in ("n", "cpu_s")]
    head = ["method", "seeds", *columns, "training, CPU s", "parameters", "GMAC", "CPU ms", "paper: SSIM", "paper: IS"]
    lines = [
        f"{about['cpu']}, {about['cores']} cores. {trained} Mean (smallest to largest) over seeds.",
        "Parameters, multiply-accumulates and processor time of one picture on one thread (ONNX Runtime): 256x192, same width.",
        "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|",
    ]  # fmt: skip
    for row in ROWS:
        mine = [scores for name, _, scores in runs if name == row]
        if not mine:
            continue
        found = {c: [s[c] for s in mine if c in s] for c in (*columns, "cpu_s")}
        cells = [NAMES.get(row, "SPG-VTON with `mini`'s extensions"), str(len(mine)), shown(found["SSIM"])]
        cells += [f"{statistics.mean(found[c]):.3f}" if found[c] else "-" for c in columns[1:]]
        cells.append(shown(found["cpu_s"], 0))
        price = costs.get(row)
        cells += (
            [f"{price['parameters'] / 1e6:.2f} M", f"{price['gmac']:.2f}", f"{price['cpu_ms']:.0f}"]
            if price
            else ["-"] * 3
        )
        cells += [f"{value:.3f}" for value in PAPER.get(row, ())] or ["", ""]
        lines.append("| " + " | ".join(cells) + " |")
    write_text(HERE / "comparison.md", "\n".join(lines) + "\n")
    curves(args.out, HERE / "comparison.png")


def curves(out: Path, file: Path) -> None:
    """SSIM of the watched test triples against updates: a line per method, the mean over seeds, and each seed thinly."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for i, row in enumerate(ROWS):
        by_seed = []
        for log in sorted(out.glob(f"{row}-[0-9]*/curve.jsonl")):
            points = {p["update"]: p["ssim"] for p in map(json.loads, log.read_text().splitlines())}
            by_seed.append(dict(sorted(points.items())))
            axes.plot(*zip(*by_seed[-1].items()), color=f"C{i}", linewidth=0.5, alpha=0.5)
        if by_seed:
            common = sorted(set.intersection(*map(set, by_seed)))
            mean = [statistics.mean(points[u] for points in by_seed) for u in common]
            axes.plot(common, mean, color=f"C{i}", linewidth=1.8, label=NAMES.get(row, "SPG-VTON, extensions"))
    axes.set(xlabel="updates, all stages", ylabel=f"SSIM, {WATCHED} test triples")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(file, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("run", "cost", "table"))
    parser.add_argument("--data", type=Path, default=Path("data/tiny"))
    parser.add_argument("--out", type=Path, default=Path("runs/comparison"))
    parser.add_argument("--size", default="96x64", help="height and width of the network (default 96x64)")
    parser.add_argument("--ngf", type=int, default=16, help="width of the networks (default 16; the papers: 64)")
    parser.add_argument("--updates", type=int, default=600, help="of all stages together (default 600)")
    parser.add_argument("--batch", type=int, default=4, help="triples of an update (default 4)")
    parser.add_argument("--precision", choices=("32-true", "bf16-mixed"), default="32-true", help="of training")
    parser.add_argument("--every", type=int, default=50, help="updates between saved states and points of the curves")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--limit", type=int, help="test triples that are scored (default: all)")
    parser.add_argument("--workers", type=int, default=0, help="processes that load data (default: 0)")
    parser.add_argument("--rounds", type=int, default=5, help="of cost: runs of each graph (default 5)")
    parser.add_argument("--perceptual-weights", type=Path, metavar="FILE", help="VGG-19; without it the structure term")
    parser.add_argument("--inception-weights", type=Path, metavar="FILE", help="for IS")
    args = parser.parse_args()
    if args.verb == "table":
        table(args)
        return
    height, width = map(int, args.size.split("x"))
    budget = Budget(
        (height, width), args.ngf, args.updates, args.batch, args.precision, args.perceptual_weights is not None
    )
    make_folder(args.out)
    {"run": run, "cost": cost}[args.verb](args, budget)


if __name__ == "__main__":
    main()
