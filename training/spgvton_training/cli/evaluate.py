"""Score a checkpoint on the test split of a data set: SSIM, PSNR, Mask-SSIM, mask and map IoU, and a contact sheet.

  spgvton evaluate --data data/test
  spgvton evaluate --checkpoint runs/mini/model.safetensors --data data/test --limit 200 --sheet results.png

Semantic maps are predicted, as at inference. Metrics that need pretrained weights are listed as missing.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from spgvton import image as im
from spgvton.bundle import WEIGHTS, shipped
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.data.mpv import MPV, collate
from spgvton_training.evaluate import evaluate
from spgvton_training.sheet import contact_sheet, stages


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, help="data set in MPV layout")
    parser.add_argument("--checkpoint", type=Path, default=shipped() / WEIGHTS, help="default: the shipped weights")
    parser.add_argument("--split", default="test", choices=("train", "test"))
    parser.add_argument(
        "--unpaired", action="store_true", help="score data_pair_unpaired.txt (garment changes) instead"
    )
    parser.add_argument("--limit", type=int, help="number of triples (default: all)")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet (PNG) of --rows samples")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--json", action="store_true", help="print the scores as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    checkpoint = Checkpoint.load(args.checkpoint)
    model = checkpoint.model()
    data = MPV(
        args.data, args.split, size=checkpoint.config.size, label_set=checkpoint.config.label_set,
        paired=not args.unpaired, unpaired=args.unpaired,
    )  # fmt: skip
    scores = evaluate(model, data, limit=args.limit)
    if args.sheet:
        count = min(args.rows, len(data))
        chosen = [int(i * len(data) / count) for i in range(count)]  # spread over the split
        rows = [row for i in chosen for row in stages(model, collate([data[i]]))]
        im.write(args.sheet, contact_sheet(rows))
        print(f"wrote {args.sheet}", file=sys.stderr)
    if args.json:
        print(json.dumps(scores))
    else:
        for key, value in scores.items():
            print(f"{key:28} {value}")
    return 0
