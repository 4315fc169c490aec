"""Score a checkpoint on the test split of a data set: the paper's metrics, a table, and a contact sheet.

  spgvton evaluate --data data/synth
  spgvton evaluate --checkpoint runs/mini/model.safetensors --data data/mpv --out results --device cuda --batch 16 \\
      --inception-weights weights-inception-2015-12-05-6726825d.pth --lpips-weights alexnet-owt-7be5be79.pth
  spgvton evaluate --data data/synth --unpaired --limit 200 --sheet results.png
  spgvton evaluate --mode live --data data/live-test --limit 60 --out results/live
  spgvton evaluate --mode live --data data/live-test --checkpoint runs/live/model.safetensors --maps parser

Semantic maps are predicted, as at inference; --true-maps gives the networks the true ones (Table IV, "w/ S_t").

--out DIR receives results.csv (every score of every triple), results.md (means and standard deviations beside the
paper's), sheet.png (what each module makes of --rows samples) and scores.png (how the scores are distributed).

Metrics. Per picture: SSIM, PSNR, LPIPS, IoU of the clothes mask, and for the face and hair, the clothes, and all but
the clothes
  mask_ssim     the paper's Mask-SSIM: both pictures black outside the region, SSIM averaged over the whole picture
  region_ssim   stricter: the SSIM map of the untouched pictures averaged inside the region
Of the set: mean IoU of the semantic map; IS and Mask-IS (10 splits), FID, KID. Metrics whose weights are not given are
listed as missing; nothing is downloaded.

--unpaired scores data_pair_unpaired.txt, where the garment changes and a ground truth exists (synthetic data).
--no-truth scores data_pair_no_truth.txt or, without that file, garments drawn at random from other triples. Nobody
wears them, so only IS, Mask-IS, FID and KID are left. The paper measures its IS so.

--mode live scores the live path of the runtime, at the pictures' own size, on the rows of data_pair_unpaired.txt whose
source and target show one person in one pose in two garments (spgvton synth --unpaired; --size 768x576 for larger ones):
the source is the camera frame, the target what should come out. Beside it: the frame as it is, pose mode (the shipped
bundle, P_s = P_t, true map), and the network's picture alone, enlarged. With --out: results.md, results.csv, sheet.png.
  ssim, ssim_changed  whole; inside old or new clothes, dilated by 2 pixels of a picture 256 high
  leakage             share of what was old clothes and is none in the truth that stays nearer to the frame than to the truth
  hem_error_px        median distance of the clothes' lower edges, at 256 rows
  warp_error_px       mean distance of the spline from the exact worn-to-flat map, in pixels of the network's garment picture
  sleeve_on, _off     share of bare arm under a new sleeve that is covered; of removed sleeve over bare arm that is left free
  untouched_exact     share of the pixels away from all clothes that are the camera's, bit for bit
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from spgvton import image as im
from spgvton.bundle import WEIGHTS, sha256, shipped
from spgvton.errors import UsageError
from spgvton.files import make_folder
from spgvton.machine import versions
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.cli.evaluate_live import run_live
from spgvton_training.data.check import select_triples
from spgvton_training.data.layout import NO_TRUTH
from spgvton_training.data.mpv import MPV
from spgvton_training.evaluate import Settings, evaluate
from spgvton_training.evaluation_report import flatten, number, write_report
from spgvton_training.pretrained.inception import Inception
from spgvton_training.pretrained.lpips import LPIPS
from spgvton_training.sheet import COLUMNS, contact_sheet, sample_rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `spgvton evaluate`."""
    parser.add_argument("--mode", default="pose", choices=("pose", "live"), help="what is scored (default: pose)")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="data set in MPV layout")
    parser.add_argument("--checkpoint", type=Path, help="default: the shipped weights")
    live = parser.add_argument_group("with --mode live")
    live.add_argument("--bundle", help="folder or name of a model bundle, in place of --checkpoint (default: shipped)")
    live.add_argument("--maps", default="true", choices=("true", "parser"), help="semantic maps (default: true)")
    parser.add_argument("--split", default="test", choices=("train", "test"))
    garments = parser.add_mutually_exclusive_group()
    garments.add_argument("--unpaired", action="store_true", help="the garment changes (data_pair_unpaired.txt)")
    garments.add_argument("--no-truth", action="store_true", help="garments that nobody wears in the data set")
    parser.add_argument("--true-maps", action="store_true", help="true semantic maps instead of predicted ones")
    parser.add_argument("--limit", type=int, metavar="N", help="number of triples (default: all)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write results.csv, results.md, sheet.png, scores.png")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="write the contact sheet (PNG) there")
    parser.add_argument("--exclude", metavar="FILE", help="noise list: pictures or triples to leave out, one a line")
    parser.add_argument("--strict", action="store_true", help="refuse a data set with unusable triples")
    parser.add_argument("--allow-overlap", action="store_true", help="people and garments may be in train and test")
    parser.add_argument("--rows", type=int, default=8, metavar="N", help="samples on the contact sheet (default 8)")
    parser.add_argument("--inception-weights", type=Path, metavar="FILE", help="for IS, Mask-IS, FID, KID")
    parser.add_argument("--lpips-weights", type=Path, metavar="FILE", help="torchvision's AlexNet or VGG-16, for LPIPS")
    parser.add_argument("--lpips-heads", type=Path, metavar="FILE", help="default: those inside torchmetrics")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 ... (default: cuda where there is one)")
    parser.add_argument("--batch", type=int, default=4, metavar="N", help="triples at a time (default 4)")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes that load pictures (default 0)")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    for name, least in (("limit", 1), ("rows", 1), ("batch", 1), ("workers", 0)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise UsageError(f"--{name} must be at least {least}, got {value}")
    if args.mode == "live":
        return run_live(args)
    if args.bundle or args.maps != "true":
        raise UsageError("--bundle and --maps go with --mode live")
    args.checkpoint = args.checkpoint or shipped() / WEIGHTS
    if args.lpips_heads and not args.lpips_weights:
        raise UsageError("--lpips-heads goes with --lpips-weights: give both or neither")
    if args.out:
        make_folder(args.out)  # now, not after hours
    settings = Settings(
        limit=args.limit, batch=args.batch, workers=args.workers, device=parse_device(args.device),
        true_maps=args.true_maps, truth=not args.no_truth,
    )  # fmt: skip
    inception = Inception.load(args.inception_weights) if args.inception_weights else None
    lpips = LPIPS.load(args.lpips_weights, args.lpips_heads) if args.lpips_weights else None
    checkpoint = Checkpoint.load(args.checkpoint, any_method=True)
    model = checkpoint.network()
    listed = args.no_truth and (args.data / NO_TRUTH).exists()
    triples = select_triples(
        args.data, args.split, paired=not (args.unpaired or listed), unpaired=args.unpaired, no_truth=listed,
        exclude=args.exclude, strict=args.strict, allow_overlap=args.allow_overlap, workers=max(1, args.workers),
        label_set=checkpoint.config.label_set,
    )  # fmt: skip
    data = MPV(
        args.data, args.split, size=checkpoint.config.size, label_set=checkpoint.config.label_set, triples=triples,
    )  # fmt: skip
    if args.no_truth and not listed:
        exchange_garments(data)
    evaluation = evaluate(model, data, settings, inception=inception, lpips=lpips)

    written = []
    if args.out:
        about = _about(args, listed, len(triples), inception, lpips)
        written += write_report(args.out, evaluation, about, true_maps=args.true_maps)
    for file in ([args.out / "sheet.png"] if args.out else []) + ([args.sheet] if args.sheet else []):
        last = "ground truth" if settings.truth else "pose of"
        rows = sample_rows(model, data, evaluation.summary["n"], args.rows, settings)
        im.write(file, contact_sheet(rows, (*COLUMNS[:-1], last)))
        written.append(file)
    for file in written:
        print(f"wrote {file}", file=sys.stderr)
    _print_summary(evaluation.summary, as_json=args.json)
    return 0


def _about(
    args: argparse.Namespace, listed: bool, triples: int, inception: Inception | None, lpips: LPIPS | None
) -> dict[str, str]:
    """What a report says of where its scores come from."""
    return {
        "command": f"`spgvton {shlex.join(sys.argv[1:])}`" if sys.argv[1:2] == ["evaluate"] else "(from Python)",
        "checkpoint": f"`{args.checkpoint}`, sha256 `{sha256(args.checkpoint)}`",
        "data": f"`{args.data}`, split {args.split}, {_garments(args, listed)}, {triples} triples",
        "semantic maps": "true" if args.true_maps else "predicted",
        **{
            name: f"`{path}`, sha256 `{network.sha256}`"
            for name, path, network in (
                ("Inception weights", args.inception_weights, inception),
                ("LPIPS weights", args.lpips_weights, lpips),
            )
            if network
        },
        "versions": ", ".join(f"{k} {v}" for k, v in {**versions(), "torch": torch.__version__}.items() if v),
    }


def _print_summary(summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(summary))
        return
    for key, mean, std in flatten(summary):
        print(f"{key:28} {number(mean, std)}")
    print(f"{'n':28} {summary['n']}")
    for key, reason in summary["missing_because"].items():
        print(f"{key:28} not measured: {reason}")


def parse_device(name: str | None) -> torch.device:
    """Raises UsageError for a device that torch does not know or this machine does not have."""
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as e:
        raise UsageError(f"--device {name}: {str(e).splitlines()[0]}; cpu always works") from e
    return device


def exchange_garments(data: MPV, seed: int = 0) -> None:
    """Give every triple of DATA the garment of another, in an order that SEED fixes; never the one its target wears."""
    order = list(range(len(data.triples)))
    random.Random(seed).shuffle(order)
    cloths = [data.triples[i].cloth for i in order]
    exchanged = []
    for i, triple in enumerate(data.triples):
        others = (cloths[(i + k) % len(cloths)] for k in range(len(cloths)))
        cloth = next((c for c in others if c != triple.cloth), None)
        if cloth is None:
            raise UsageError("--no-truth needs triples with at least two different garments")
        exchanged.append(replace(triple, cloth=cloth))
    data.triples = exchanged


def _garments(args: argparse.Namespace, listed: bool) -> str:
    if args.unpaired:
        return "garment changes (data_pair_unpaired.txt)"
    if args.no_truth:
        return f"garments without ground truth ({NO_TRUTH if listed else 'drawn at random from other triples'})"
    return "paired (data_pair.txt)"
