"""Make a model bundle: ONNX graphs of G1, G2, the GMMs, G3 and the two joint graphs, and their weights.

  spgvton export --checkpoint runs/mini/model.safetensors --out bundles/mini
  spgvton export --preset paper --out bundles/paper-untrained
  spgvton export --bundle bundles/realtime --precision fp16 --out bundles/realtime-fp16
  spgvton export --parser runs/parser/model.safetensors --out bundles/parser

tryon.onnx dresses one person in the pose of every frame, live.onnx the person of the frame itself, with the same weights.
session.onnx and frame.onnx, live_garment.onnx and live_frame.onnx are the two once more, in two and rewritten for ONNX
Runtime on a CPU; they are compared with them. Of a checkpoint, every graph is run by ONNX Runtime on the shipped demo person and garment
and compared with PyTorch.
With --precision fp16 the networks compute in float16 (for TensorRT; on a CPU that is slower), coordinates, divisions,
softmax and statistics in float32; every output and layer is compared with float32, on the shipped demo or on --samples
test triples of --data. A difference above tolerance is an error and leaves no bundle.
With --parser the bundle is that of a human parser (spgvton train-parser): human_parser.onnx alone, which --parser of other verbs takes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spgvton.backends.samples import live_samples
from spgvton.bundle import PAIRS, PARSER, WEIGHTS, Bundle, shipped
from spgvton.errors import UsageError
from spgvton_export.fp16.bundle import convert_bundle
from spgvton_export.parser_export import convert_parser
from spgvton_export.samples import data_samples, demo_samples

if TYPE_CHECKING:  # converting a bundle needs no torch
    from spgvton_training.networks.config import NetworkConfig
    from spgvton_training.networks.joint import Inputs
    from spgvton_training.networks.live import LiveInputs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--checkpoint", type=Path, default=shipped() / WEIGHTS, help="default: the shipped weights")
    source.add_argument("--preset", metavar="NAME", help="an untrained network, for latency work")
    source.add_argument("--bundle", type=Path, help="an fp32 bundle to convert")
    source.add_argument(
        "--parser", type=Path, metavar="CHECKPOINT", help="a human parser's weights, for a bundle of its own"
    )
    parser.add_argument("--out", required=True, type=Path, help="folder of the bundle")
    parser.add_argument(
        "--equalise",
        action="store_true",
        help="scale channels between layers evenly first: the same function, better in INT8",
    )
    parser.add_argument("--precision", choices=("fp32", "fp16"), default="fp32", help="what the graphs compute in")
    parser.add_argument(
        "--storage", choices=("fp32", "fp16"), default="fp32", help="how fp32 graphs' weights are stored"
    )
    parser.add_argument(
        "--rewrites", default="all", metavar="NAMES",
        help="of the graphs in two, which ONNX Runtime uses: all (default), a list such as softmax,winograd, or none for a "
        "bundle without these four",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, help="compare fp16 on a data set in MPV layout, not on the shipped demo")
    parser.add_argument("--samples", type=int, default=20, help="how many test triples of --data (default 20)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")


def real_inputs(config: NetworkConfig) -> Inputs:
    """The shipped demo person, garment and two poses of the clip as a batch of two at CONFIG's size."""
    import torch

    from spgvton_training.networks.joint import Inputs

    samples = demo_samples(config.size, config.label_set)[:2]
    return Inputs(*(torch.from_numpy(np.concatenate([s[name] for s in samples])) for name in Inputs._fields))


def real_live_inputs(config: NetworkConfig) -> LiveInputs:
    """The shipped demo person and her mirror image in two garments as a batch of two at CONFIG's size."""
    import torch

    from spgvton_training.networks.live import LiveInputs

    samples = live_samples(config.size, config.label_set)
    chosen = samples[0], samples[3]
    return LiveInputs(*(torch.from_numpy(np.concatenate([s[name] for s in chosen])) for name in LiveInputs._fields))


def export_float32(args: argparse.Namespace, out: Path) -> Bundle:
    """The bundle of --checkpoint or --preset in folder OUT."""
    import torch

    from spgvton_export.equalise import equalise
    from spgvton_export.onnx_export import export
    from spgvton_export.rewrites import REWRITES, check_names
    from spgvton_training.checkpoint import Checkpoint
    from spgvton_training.networks.config import PRESETS, preset
    from spgvton_training.networks.joint import build_model

    rewrites = {"all": tuple(REWRITES), "none": None}.get(args.rewrites, args.rewrites.split(","))
    check_names(rewrites or ())  # now rather than after minutes
    if args.preset:
        if args.preset not in PRESETS:
            raise UsageError(f"preset '{args.preset}' is unknown: use one of {', '.join(PRESETS)}")
        config = preset(args.preset)
        torch.manual_seed(0)
        weights = dict(build_model(config).state_dict())
        checkpoint = Checkpoint(config, weights, {"untrained": f"preset {args.preset}, seed 0"})
    else:
        checkpoint = Checkpoint.load(args.checkpoint)
    if args.equalise:
        checkpoint = equalise(checkpoint)
    c = checkpoint.config
    bundle = export(
        checkpoint, out, real_inputs(c), real_live_inputs(c), half_storage=args.storage == "fp16", rewrites=rewrites
    )
    for name, outputs in bundle.manifest["error_against_pytorch"].items():
        _print_errors(name, outputs)
    for joint, report in bundle.manifest.get("rewrites", {}).items():
        _print_errors(PAIRS[joint][1], report[f"error_against_{joint}"], f" (to {joint})")
    return bundle


def export_human_parser(args: argparse.Namespace, out: Path) -> Bundle:
    """The bundle of --parser in folder OUT."""
    from spgvton_export.parser_export import export_parser
    from spgvton_training.parsing.checkpoint import ParserCheckpoint

    bundle = export_parser(ParserCheckpoint.load(args.parser), out, half_storage=args.storage == "fp16")
    for name, outputs in bundle.manifest["error_against_pytorch"].items():
        _print_errors(name, outputs)
    return bundle


def to_float16(args: argparse.Namespace, source: Bundle) -> Bundle:
    """SOURCE, of whichever kind, converted into --out."""
    if not source.is_parser:
        return export_float16(args, source)
    if args.data:
        raise UsageError("a parser is compared on the shipped demo: leave --data out")
    bundle = convert_parser(source, args.out)
    _print_errors(PARSER, bundle.manifest["error_against_fp32"]["outputs"][PARSER], " (float16 to float32)")
    return bundle


def _print_errors(graph: str, outputs: dict[str, dict[str, float]], than: str = "") -> None:
    for output, error in outputs.items():
        words = "  ".join(f"{what} {value:.2e}" for what, value in error.items())
        print(f"{graph:10} {output:13} {words}{than}", file=sys.stderr)


def export_float16(args: argparse.Namespace, source: Bundle) -> Bundle:
    """SOURCE converted into --out, with its proof printed to stderr."""
    if args.samples < 1:
        raise UsageError(f"--samples {args.samples}: give 1 or more")
    if args.data:
        samples = data_samples(args.data, args.samples, source.size, source.label_set)
        inputs = f"{args.data}, test, first {args.samples}"
    else:
        samples, inputs = demo_samples(source.size, source.label_set), "shipped demo"
    bundle, report = convert_bundle(source, args.out, samples, inputs=inputs)
    m = bundle.manifest
    after = sum(f["bytes"] for f in m["files"].values())
    speed = m["onnxruntime_cpu"]
    size = f"size {m['converted_from']['bytes'] / 1e6:.2f} MB -> {after / 1e6:.2f} MB; ONNX Runtime on this CPU "
    size += f"{speed['fp32_ms']} ms -> {speed['fp16_ms']} ms (x{speed['ratio']})"
    lines = [
        f"float16 against float32 on {len(samples)} inputs ({inputs})",
        *report.table(),
        "largest value that float16 must hold: {1:.4g} in {0}".format(*report.largest_activation()),
        size,
    ]
    print("\n".join(lines), file=sys.stderr)
    return bundle


def result(bundle: Bundle) -> dict[str, Any]:
    """What --json prints."""
    m = bundle.manifest
    if bundle.precision == "fp32":
        errors = m["error_against_pytorch"]
        more: dict[str, Any] = {}
    else:
        errors = m["error_against_fp32"]["outputs"]
        facts = m["error_against_fp32"]
        more = {k: facts[k] for k in ("worst_layers", "largest_activation") if k in facts}
    graphs = {
        name: {
            **m["files"][f"{name}.onnx"],
            "max_abs_error": max(
                max(e.get("max_in_onnxruntime", 0.0), e["max"]) for e in outputs.values() if "max" in e
            ),
        }
        for name, outputs in errors.items()
    }
    return {"bundle": str(bundle.folder), "precision": bundle.precision, "graphs": graphs, **more}


def run(args: argparse.Namespace) -> int:
    if args.bundle and args.precision == "fp32":
        raise UsageError("a bundle can only be converted: add --precision fp16")
    if args.bundle and args.equalise:
        raise UsageError("--equalise changes weights: give --checkpoint BUNDLE/weights.safetensors, not --bundle")
    if args.parser and (args.equalise or args.data or args.rewrites != "all"):
        raise UsageError("--equalise, --data and --rewrites are not of --parser: leave them out")
    make = export_human_parser if args.parser else export_float32
    if args.precision == "fp32":
        if args.data:
            raise UsageError("--data is what --precision fp16 is measured on: add that, or leave --data out")
        bundle = make(args, args.out)
    elif args.bundle:
        bundle = to_float16(args, Bundle.open(args.bundle))
    else:
        with tempfile.TemporaryDirectory() as folder:
            bundle = to_float16(args, make(args, Path(folder) / "fp32"))
    print(f"wrote {bundle.folder}", file=sys.stderr)
    if args.json:
        print(json.dumps(result(bundle)))
    return 0
