"""Train the joint model in the paper's three stages: G1; then G2, the GMMs and G3; then all together.

  spgvton synth --out data/synth --count 1000 --seed 1 --unpaired
  spgvton train --preset mini --data data/synth --out runs/mini
  spgvton train --preset mini --data data/own --out runs/own --init runs/mini/model.safetensors --iterations 0,0,400

Stopped at any time (also by kill -9), the same command goes on from the last saved state in --out. Losses are logged to
OUT/log.jsonl; the network so far is OUT/model.safetensors.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

import torch

from spgvton.errors import UsageError
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.networks.config import PRESETS, preset
from spgvton_training.train import TrainConfig, Trainer, mini_training

SMALL_ITERATIONS = (700, 1300, 800)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, help="data set in MPV layout")
    parser.add_argument("--out", required=True, type=Path, help="folder of this run")
    parser.add_argument("--preset", default="mini", choices=sorted(PRESETS), help="network and recipe (default: mini)")
    parser.add_argument("--iterations", help="of the three stages, e.g. 700,1300,800; 0 leaves a stage out")
    parser.add_argument("--init", type=Path, help="checkpoint to start from, or a bundle's weights.safetensors")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes that load data (default: 1)")
    parser.add_argument("--threads", type=int, help="CPU threads of PyTorch (default: all cores)")
    parser.add_argument("--save-every", type=int, default=200, help="iterations between saved states (default: 200)")
    parser.add_argument("--paired-only", action="store_true", help="do not use data_pair_unpaired.txt")
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")


def parse_iterations(text: str) -> tuple[int, int, int]:
    """ "a,b,c" -> (a, b, c). Raises UsageError."""
    try:
        a, b, c = (int(part) for part in text.split(","))
    except ValueError as e:
        raise UsageError(f"--iterations takes three numbers such as 700,1300,800, got '{text}'") from e
    if min(a, b, c) < 0 or max(a, b, c) == 0:
        raise UsageError(f"--iterations must not be negative, nor all zero, got '{text}'")
    return a, b, c


def run(args: argparse.Namespace) -> int:
    if args.threads:
        torch.set_num_threads(args.threads)
    changes: dict[str, object] = {"seed": args.seed}
    if args.iterations:
        changes["iterations"] = parse_iterations(args.iterations)
    if args.preset == "paper":
        config = TrainConfig(**changes)  # type: ignore[arg-type]
    else:
        changes.setdefault("iterations", SMALL_ITERATIONS)
        config = mini_training(unpaired=not args.paired_only, **changes)
    trainer = Trainer(
        preset(args.preset), config, args.data, args.out, workers=args.workers, save_every=args.save_every,
        command="spgvton " + shlex.join(sys.argv[1:]), init=Checkpoint.load(args.init) if args.init else None,
    )  # fmt: skip
    checkpoint = trainer.fit()
    file = args.out / "model.safetensors"
    print(f"wrote {file} after {checkpoint.provenance['hours']} hours", file=sys.stderr)
    if args.json:
        print(json.dumps({"checkpoint": str(file), **checkpoint.provenance}))
    return 0
