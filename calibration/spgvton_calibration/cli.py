"""Quantise a bundle to INT8: ranges from real samples, a picture that stays, a report.

  spgvton calibrate --data data/synth --out bundles/realtime-int8
  spgvton calibrate --bundle bundles/realtime-fp16 --reference bundles/realtime --data data/synth --out bundles/realtime-int8
  spgvton calibrate --data session.npz --persons data/synth --samples 100 --held-out 40 --out bundles/realtime-int8
  spgvton calibrate --data data/synth --ranges edited.json --keep-float 'g3.conv10' 'gmm1.*' --out bundles/realtime-int8
  spgvton calibrate --bundle bundles/qat --data data/synth --ranges qat --out bundles/qat-int8     # of spgvton train --qat
  spgvton calibrate --bundle bundles/parser --data data/synth --out bundles/parser-int8     # of spgvton export --parser

--data is a data set in MPV layout (spgvton synth, spgvton prepare; ranges from its training split, judged on its test
split) or a session recorded by spgvton run --record-calibration, whose poses the people of --persons take. The whole chain is run, in
float and once more in INT8.
First and last layers of each network, everything that is no convolution, and --keep-float stay float.

The bundle is written if SSIM falls by at most --max-ssim-drop on the whole picture, on the clothes and on the face;
otherwise the layers that cost most go back to float until it does. OUT/calibration/calibration.md tells all. A human parser is judged
by its labels instead: mIoU against the true maps of the test photographs may fall by 0.01.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

from spgvton.bundle import Bundle
from spgvton.errors import SpgvtonError, UsageError
from spgvton_calibration.calibrate import REPORT, calibrate, result
from spgvton_calibration.data import load
from spgvton_calibration.histogram import METHODS
from spgvton_calibration.outcome import Outcome, Settings
from spgvton_calibration.parser import calibrate_parser
from spgvton_calibration.quality import REGIONS
from spgvton_calibration.ranges import TRAINED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default = Settings()
    parser.add_argument("--bundle", help="fp32 or fp16 bundle to quantise (default: the shipped one)")
    parser.add_argument("--data", required=True, type=Path, help="folder in MPV layout, or a recorded session (.npz)")
    parser.add_argument(
        "--persons",
        type=Path,
        metavar="DIR",
        help="data set whose people take a session's poses (without --record-images)",
    )
    parser.add_argument("--out", required=True, type=Path, help="folder of the INT8 bundle")
    parser.add_argument("--method", choices=tuple(METHODS), help=f"how ranges are chosen (default {default.method})")
    parser.add_argument("--samples", type=int, default=500, metavar="N", help="to find ranges on (default 500)")
    parser.add_argument("--held-out", type=int, default=200, metavar="N", help="to judge by (default 200)")
    parser.add_argument(
        "--keep-float",
        nargs="+",
        default=[],
        metavar="LAYER",
        help="layers or patterns such as 'gmm1.*' that stay float",
    )
    parser.add_argument(
        "--ranges", metavar="JSON", help="apply this table instead of finding ranges; qat: those that training found"
    )
    parser.add_argument("--reference", metavar="BUNDLE", help="fp32 bundle that an fp16 --bundle is judged against")
    parser.add_argument(
        "--max-ssim-drop", type=float, default=default.max_ssim_drop, metavar="D", help="budget (default 0.005)"
    )
    parser.add_argument(
        "--no-gate", action="store_true", help="write the bundle whatever it costs (untrained networks)"
    )
    parser.add_argument(
        "--sensitivity", type=int, default=default.sensitivity, metavar="N",
        help=f"samples per layer (default {default.sensitivity}); 0: only if the budget is exceeded",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")


def check_arguments(args: argparse.Namespace) -> Settings:
    """Raises UsageError for values that make no sense."""
    if args.held_out < (0 if args.no_gate else 1):
        raise UsageError(f"--held-out {args.held_out}: the gate needs 1 or more (or --no-gate)")
    if args.sensitivity < 0 or (args.no_gate and not args.held_out and args.sensitivity):
        raise UsageError(f"--sensitivity {args.sensitivity} needs held-out samples: give 0")
    if not 0 <= args.max_ssim_drop < math.inf:
        raise UsageError(f"--max-ssim-drop must be at least 0, got {args.max_ssim_drop}")
    if args.ranges and args.method:
        raise UsageError("--ranges has its ranges already: leave --method out")
    method = args.method or Settings.method
    return Settings(method, tuple(args.keep_float), args.max_ssim_drop, not args.no_gate, args.sensitivity)


def summary(outcome: Outcome) -> list[str]:
    """Lines for people."""
    lines = [f"{len(outcome.chosen)} layers in INT8, {len(outcome.layers_float)} float ({outcome.table.method})"]
    if outcome.given_up:
        lines.append(f"kept float to stay within the budget: {', '.join(outcome.given_up)}")
    if outcome.drop is not None:
        drops = ", ".join(f"{r} {outcome.drop[r]:+.4f}" for r in REGIONS)
        lines.append(f"SSIM drop on {outcome.held_out} held-out samples: {drops}")
    if outcome.frame is not None and outcome.frame.kept:
        drops = ", ".join(f"{r} {outcome.frame.drop[r]:+.4f}" for r in REGIONS)
        lines.append(f"of frame.onnx, in integers for ONNX Runtime: {drops}")
    if not outcome.settings.gate:
        lines.append("the quality gate was off")
    return lines


def run_parser(args: argparse.Namespace, settings: Settings, source: Bundle) -> int:
    """`spgvton calibrate` of a parser's bundle."""
    for name in ("persons", "ranges", "reference"):
        if getattr(args, name):
            raise UsageError(f"--{name} is of try-on bundles, {source.folder} is a parser's: leave it out")
    outcome = calibrate_parser(source, args.out, settings, args.data, args.samples, args.held_out)
    facts = outcome.facts()
    words = (
        f"mIoU {facts['miou_float']} -> {facts['miou_int8']} (Q/DQ), {facts['miou_integer']} (ONNX Runtime's integers)"
    )
    layers = f"{len(outcome.chosen)} layers in INT8, {len(facts['layers_float'])} float; {words}"
    print(f"{layers}\nwrote {args.out}, report in {args.out / REPORT}", file=sys.stderr)
    if args.json:
        print(json.dumps({"bundle": str(args.out), **facts, "layers_given_up": outcome.given_up}))
    return 0


def run(args: argparse.Namespace) -> int:
    """`spgvton calibrate`. Returns the exit code."""
    settings = check_arguments(args)
    source = Bundle.open(args.bundle)
    if source.is_parser:
        return run_parser(args, settings, source)
    reference = Bundle.open(args.reference) if args.reference else None
    if reference is not None and (reference.size, reference.label_set) != (source.size, source.label_set):
        raise SpgvtonError(f"--reference {reference.folder} is of another size or label set than {source.folder}")
    count = 0 if args.ranges not in (None, TRAINED) else args.samples
    data = load(args.data, count, args.held_out, source.size, source.label_set, persons=args.persons)
    outcome = calibrate(source, args.out, settings, data, ranges=args.ranges, reference=reference)
    print("\n".join([*summary(outcome), f"wrote {args.out}, report in {args.out / REPORT}"]), file=sys.stderr)
    if args.json:
        print(json.dumps(result(outcome)))
    return 0
