"""Train the small human parser of live mode: a framed picture and the customer's keypoints -> 20 labels.

  spgvton synth --out data/people --count 1800 --seed 51
  spgvton parse photos/images --out photos/labels --json          # your photographs, labelled by the shipped parser
  spgvton train-parser --data data/people --data photos --photographs data/garments --out runs/parser
  spgvton train-parser --data LIP --label-set lip --init runs/parser/model.safetensors --out runs/lip
  spgvton train-parser --evaluate runs/parser/model.safetensors --data data/people-test --json

--data, as often as needed, is a data set in MPV layout (spgvton synth, prepare), or a folder with
  images/NAME.jpg              pictures; one person counts in each
  labels/NAME.png              label ids of --label-set cihp, lip or atr; NAME_labels.png does, too; 255 = unknown
  keypoints/NAME_keypoints.json    OpenPose, 18 points; beside the labels will do; estimated once where they are missing
so what `spgvton parse` writes fits as it is. --photographs are pictures without people, for backgrounds and cloth.

OUT holds config.yaml (what ran), log.jsonl and tensorboard/ (losses, scores of --validate), samples.png (picture, prediction,
truth) and model.safetensors (the running average so far). Stopped at any time (also by kill -9), the same command goes on from
the last saved state. --print-config shows every option of a run, to be changed by --set or in a file.

--evaluate scores a checkpoint on --data: intersection over union of every label and of groups of them, of pictures framed as live
mode frames them. Where MPV folders have exact keypoints beside estimated ones (pose_exact/), both are scored.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from spgvton import image as im
from spgvton.errors import UsageError
from spgvton_training.config import assignment
from spgvton_training.fabric import PRECISIONS, make_fabric
from spgvton_training.parsing.checkpoint import ParserCheckpoint
from spgvton_training.parsing.config import ParserRun, load
from spgvton_training.parsing.evaluate import evaluate, framed, sheet
from spgvton_training.parsing.sources import LABEL_SETS, find
from spgvton_training.parsing.train import ParserTrainer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `spgvton train-parser`."""
    parser.add_argument(
        "--data", action="append", default=[], metavar="FOLDER", help="labelled pictures; several times"
    )
    parser.add_argument("--out", type=Path, help="folder of this run; with --evaluate: where sheet.png is written")
    parser.add_argument("--label-set", choices=sorted(LABEL_SETS), help="of the labels in --data (default: cihp)")
    parser.add_argument(
        "--shares", metavar="A,B,...", help="how often each --data is drawn (default: by its size's root)"
    )
    parser.add_argument("--photographs", action="append", default=[], metavar="FOLDER", help="pictures without people")
    parser.add_argument("--validate", action="append", default=[], metavar="FOLDER", help="labelled pictures held out")
    parser.add_argument("--evaluate", type=Path, metavar="CHECKPOINT", help="score it on --data, do not train")
    parser.add_argument("--config", type=Path, help="YAML file of a run")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one option of the run")
    parser.add_argument("--print-config", action="store_true", help="print the run's configuration as YAML, and stop")
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--init", type=Path, metavar="CHECKPOINT", help="weights to start from")
    parser.add_argument("--workers", type=int, default=1, help="processes that load data (default: 1)")
    parser.add_argument("--threads", type=int, help="CPU threads of PyTorch (default: all cores)")
    parser.add_argument("--accelerator", default="auto", choices=["auto", "cpu", "cuda"], help="default: auto")
    parser.add_argument("--precision", default="32-true", choices=PRECISIONS, help="default: 32-true")
    parser.add_argument("--save-every", type=int, default=200, help="iterations between saved states (default: 200)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")


def configuration(args: argparse.Namespace) -> ParserRun:
    """The run that the options describe. Raises UsageError."""
    given: dict[str, Any] = {
        name: value
        for name in ("iterations", "seed", "label_set")
        if (value := getattr(args, name)) is not None
    }  # fmt: skip
    if args.shares:
        try:
            given["shares"] = [float(part) for part in args.shares.split(",")]
        except ValueError as e:
            raise UsageError(f"--shares takes numbers such as 0.6,0.4, got '{args.shares}'") from e
    run = load(args.config) if args.config else ParserRun()
    return run.with_values(*(assignment(text) for text in args.set), given)


def run_evaluation(args: argparse.Namespace) -> int:
    """Score a checkpoint. Raises SpgvtonError."""
    checkpoint = ParserCheckpoint.load(args.evaluate)
    network, results = checkpoint.network(), {}
    for root in args.data:
        items = find(root, args.label_set or "cihp")
        kinds = ("estimated", "exact") if len(items[0].keypoints) > 1 else ("given",)
        for which, kind in enumerate(kinds):
            people = (framed(item, checkpoint.config.size, which) for item in items)
            results[f"{root}, {kind} keypoints"] = evaluate(network, people)
        if args.out:
            shown = [framed(item, checkpoint.config.size) for item in items[:: -(-len(items) // 24)]]
            im.write(args.out / f"{Path(root).name}.png", sheet(network, shown))
    if args.json:
        print(json.dumps({"checkpoint": str(args.evaluate), "scores": results}))
        return 0
    for name, scores in results.items():
        print(name)
        print("".join(f"  {key:22}{value:.3f}\n" for key, value in scores.items()), end="")
    return 0


def run(args: argparse.Namespace) -> int:
    """Run the verb. Raises SpgvtonError."""
    if args.threads:
        torch.set_num_threads(args.threads)
    config = configuration(args)
    if args.print_config:
        print(config.to_yaml(), end="")
        return 0
    if not args.data:
        raise UsageError(
            "give --data, a folder of labelled pictures (spgvton train-parser --help says of which layouts)"
        )
    if args.evaluate:
        return run_evaluation(args)
    if not args.out:
        raise UsageError("give --out, the folder of the run")
    trainer = ParserTrainer(
        config, args.data, args.out, args.photographs, args.validate, workers=args.workers, save_every=args.save_every,
        command="spgvton " + shlex.join(sys.argv[1:]), init=ParserCheckpoint.load(args.init) if args.init else None,
        fabric=make_fabric(args.accelerator, args.precision),
    )  # fmt: skip
    checkpoint = trainer.fit()
    if not trainer.fabric.is_global_zero:
        return 0
    file = args.out / "model.safetensors"
    print(f"wrote {file} after {checkpoint.provenance['hours']} hours", file=sys.stderr)
    if args.json:
        print(json.dumps({"checkpoint": str(file), **checkpoint.provenance}))
    return 0
