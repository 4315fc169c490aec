"""Train the joint model in the paper's three stages: G1; then G2, the GMMs and G3; then all together.

  spgvton synth --out data/synth --count 1000 --seed 1 --unpaired
  spgvton train --preset mini --data data/synth --out runs/mini
  spgvton train --preset live --init bundles/realtime/weights.safetensors --data data/synth --out runs/live
  spgvton train --preset paper --data MPV --out runs/paper --perceptual-weights vgg19.pth --face-weights sphere20a.pth
  spgvton train --preset paper --data MPV --out runs/no-cycle --ablation w/o-cycle ...
  spgvton train --method cp-vton --data data/synth --out runs/cp-vton
  spgvton train --config runs/mini/config.yaml --set optimiser.iterations=[0,0,400] --init runs/mini/model.safetensors \\
      --data data/own --out runs/own
  spgvton train --preset realtime --distill-from runs/mini/model.safetensors --data data/synth --out runs/realtime
  spgvton train --qat bundles/realtime-int8/calibration/ranges.json --init bundles/realtime/weights.safetensors \\
      --iterations 0,0,400 --set optimiser.learning_rates=[1e-4,1e-4,1e-4] --data data/own --out runs/qat
  torchrun --nproc-per-node 4 -m spgvton train --preset paper ...     # four GPUs; batch sizes stay the paper's

Stopped at any time (also by kill -9), the same command goes on from the last saved state in --out. OUT holds
config.yaml (what ran), log.jsonl and tensorboard/ (losses), samples.png (the network on the same few samples) and
model.safetensors (the network so far). --print-config shows every option of a run, to be changed by --set or in a file.

--distill-from: the run starts from the weights of a trained network, wherever names and shapes match, and learns to answer as
it does, with the weights losses.distill_image, _semantic, _grid and _features (defaults if the run sets none).

--qat fine-tunes for INT8: the networks compute with the roundings of spgvton calibrate, whose table it takes, and ranges
are trained, too. Then: spgvton export --checkpoint OUT/model.safetensors, and spgvton calibrate --ranges qat.

--method viton, cp-vton or mg-vton trains a method that the paper compares itself with, by the preset's recipe as far as it is
the method's, and with as many updates: VITON the encoder-decoder (stage 1) and the refinement (2), CP-VTON the matching (1) and
the try-on module (2), MG-VTON the parsing (1), Warp-GAN and matcher (2) and the render (3). `spgvton evaluate` scores them;
python -m spgvton_export.comparison makes one ONNX graph of them.

Ablations: the rows of Tables IV to VI: w/o-e2e, w/o-cycle, w/o-predicted-map, w/o-id, w/o-local-adv, w/o-perceptual,
w/o-predicted-mask, w/o-noise, lambda-K=VALUE. (`w/ S_t` is a test: spgvton evaluate --true-maps.)
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from spgvton.bundle import WEIGHTS, Bundle
from spgvton.errors import SpgvtonError, UsageError
from spgvton.range_table import RangeTable, graph_hash
from spgvton_training import ablations
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.comparison.recipes import check_method, with_method
from spgvton_training.config import RunConfig, assignment, load, run_preset
from spgvton_training.data.check import select_triples
from spgvton_training.data.layout import TASKS
from spgvton_training.distill import Teacher, check_teacher, with_teacher
from spgvton_training.fabric import PRECISIONS, make_fabric
from spgvton_training.networks.config import METHODS, PRESETS
from spgvton_training.preparation import check_pretrained
from spgvton_training.pretrained.face import load_face_encoder
from spgvton_training.pretrained.perceptual import load_perceptual
from spgvton_training.qat import Row
from spgvton_training.train import Trainer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", help="data set in MPV layout")
    parser.add_argument("--out", type=Path, help="folder of this run")
    parser.add_argument("--preset", choices=sorted(PRESETS), help="network and recipe (default: mini)")
    parser.add_argument("--config", type=Path, help="YAML file in place of a preset")
    parser.add_argument(
        "--method", choices=METHODS, help="the paper's, or one that it compares with (default: spg-vton)"
    )
    parser.add_argument(
        "--task",
        choices=TASKS,
        help="pose: another pose; live: another garment in the same pose; both (default: the preset's)",
    )
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one option of the run")
    parser.add_argument("--ablation", action="append", default=[], metavar="NAME", help="a row of Tables IV to VI")
    parser.add_argument("--print-config", action="store_true", help="print the run's configuration as YAML, and stop")
    parser.add_argument(
        "--iterations", help="of the three stages, e.g. 700,1300,800, or of stages 0 to 3; 0 leaves a stage out"
    )
    parser.add_argument("--seed", type=int)
    parser.add_argument("--exclude", metavar="FILE", help="noise list: pictures or triples to leave out, one a line")
    parser.add_argument("--strict", action="store_true", help="refuse a data set with unusable triples")
    parser.add_argument("--allow-overlap", action="store_true", help="people and garments may be in train and test")
    parser.add_argument("--perceptual-weights", type=Path, metavar="FILE", help="VGG-19, VGG-16 or SqueezeNet 1.1")
    parser.add_argument("--face-weights", type=Path, metavar="FILE", help="SphereFace-20 or dlib's face encoder")
    parser.add_argument("--init", type=Path, help="checkpoint to start from, or a bundle's weights.safetensors")
    parser.add_argument(
        "--distill-from", type=Path, metavar="CHECKPOINT", help="teacher: a checkpoint or a bundle's folder"
    )
    parser.add_argument(
        "--qat", type=Path, metavar="JSON", help="compute as in INT8 with this table of ranges; needs --init BUNDLE/..."
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that load data (default: 1)")
    parser.add_argument("--threads", type=int, help="CPU threads of PyTorch (default: all cores)")
    parser.add_argument("--accelerator", default="auto", choices=["auto", "cpu", "cuda"], help="default: auto")
    parser.add_argument("--precision", default="32-true", choices=PRECISIONS, help="default: 32-true")
    parser.add_argument("--save-every", type=int, default=200, help="iterations between saved states (default: 200)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")


def parse_iterations(text: str) -> dict[str, Any]:
    """ "a,b,c" or "0,a,b,c", of stages 1 to 3 or 0 to 3, as fields of OptimiserConfig. Raises UsageError."""
    try:
        *matching, a, b, c = (int(part) for part in text.split(","))
        (matching_iterations,) = matching or [0]
    except ValueError as e:
        raise UsageError(f"--iterations takes three or four numbers such as 700,1300,800, got '{text}'") from e
    return {"matching_iterations": matching_iterations, "iterations": [a, b, c]}


def configuration(args: argparse.Namespace) -> RunConfig:
    """The run that the options describe: preset or file, then --set, --iterations and --seed, then ablations."""
    if args.config and args.preset:
        raise UsageError("give --preset or --config, not both")
    config = load(args.config) if args.config else run_preset(args.preset or "mini")
    if args.method and args.method != config.network.method:
        config = with_method(config, args.method)
    given = [assignment(text) for text in args.set]
    if args.task:
        given.insert(0, {"data": {"task": args.task, **({} if args.task == "pose" else {"unpaired": True})}})
    if args.iterations:
        given.append({"optimiser": parse_iterations(args.iterations)})
    config = config.with_values(*given)
    if args.seed is not None:
        config = replace(config, seed=args.seed)
    if args.exclude:
        config = replace(config, data=replace(config.data, exclude=args.exclude))
    for name in args.ablation:
        config = ablations.apply(config, name)
    check_method(config)
    return with_teacher(config) if args.distill_from else config


def qat_rows(args: argparse.Namespace) -> list[Row]:
    """The table of --qat. Raises UsageError for options that do not go with it, SpgvtonError for a table of another graph."""
    if args.precision != "32-true":
        raise UsageError("--qat rounds as INT8 does, on top of float32: leave --precision out")
    if args.init is None or args.init.name != WEIGHTS:
        raise UsageError(f"--qat needs --init BUNDLE/{WEIGHTS}, of the bundle that was calibrated (spgvton export)")
    table = RangeTable.load(args.qat, graph_hash(Bundle.open(args.init.parent)))
    rows = [Row(layers=r.layers, sums=r.sums, amax=r.amax) for r in table.ranges if r.layers or r.sums]
    if not rows:
        raise SpgvtonError(f"{args.qat} holds no ranges: calibrate again")
    return rows


def run(args: argparse.Namespace) -> int:
    config = configuration(args)
    if args.print_config:
        print(config.to_yaml(), end="")
        return 0
    if not args.data or not args.out:
        raise UsageError("give --data, a data set in MPV layout, and --out, the folder of the run")
    if args.threads:
        torch.set_num_threads(args.threads)
    perceptual = load_perceptual(args.perceptual_weights) if args.perceptual_weights else None
    face = load_face_encoder(args.face_weights) if args.face_weights else None
    check_pretrained(config, perceptual, face)
    teacher = Teacher.load(args.distill_from) if args.distill_from else None
    check_teacher(config, teacher)
    rows = qat_rows(args) if args.qat else None
    fabric = make_fabric(args.accelerator, args.precision)
    with fabric.rank_zero_first():  # the others read what it found
        triples = select_triples(
            args.data, "train", unpaired=config.data.unpaired, exclude=config.data.exclude, strict=args.strict,
            allow_overlap=args.allow_overlap, workers=args.workers, label_set=config.network.label_set,
        )  # fmt: skip
    trainer = Trainer(
        config, args.data, args.out, triples, perceptual, face,
        workers=args.workers, save_every=args.save_every, command="spgvton " + shlex.join(sys.argv[1:]),
        init=Checkpoint.load(args.init, any_method=True) if args.init else None, teacher=teacher, qat=rows, fabric=fabric,
    )  # fmt: skip
    if "inherited" in trainer.distilled and fabric.is_global_zero:
        inherited, parameters = trainer.distilled["inherited"], trainer.distilled["parameters"]
        print(f"the student has {inherited:,} of its {parameters:,} parameters from the teacher", file=sys.stderr)
    checkpoint = trainer.fit()
    if not trainer.fabric.is_global_zero:
        return 0
    file = args.out / "model.safetensors"
    print(f"wrote {file} after {checkpoint.provenance['hours']} hours", file=sys.stderr)
    if args.json:
        print(json.dumps({"checkpoint": str(file), **checkpoint.provenance}))
    return 0
