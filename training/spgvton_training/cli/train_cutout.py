"""Train the network that cuts garments out of photographs: mask, kind and sleeve length.

  spgvton train-cutout --photographs garments_cc0 --masks masks --held-out held_out.txt --sleeves sleeves.txt \\
      --people people --parser runs/parser/model.safetensors --rendered cache --out runs/cutout

--photographs: folders named t-shirt, longsleeve, shirt, dress, outwear (and, where you have them, trousers, shoes, worn,
nothing) with pictures. --masks: masks of some of them (white = garment), under the same names as .png; pictures without one
teach their kind alone. --held-out: a list of "folder/name" that is never looked at. --sleeves: lines "folder/name
none|short|long". --people: a folder with photographs of people, to be told from garments by themselves. --parser: a checkpoint of
`spgvton train-parser` whose layers it starts from; --init: one of this verb to go on from; neither: random weights.

Stopped at any time, the same command goes on from the last saved state in --out, which also holds log.jsonl, samples.jpg and
model.safetensors. Then: python -m spgvton_export.cutout OUT/model.safetensors garment_cutout.onnx
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

from spgvton import image
from spgvton.errors import UsageError
from spgvton.video import cv2
from spgvton_training.cutout import people, photographs, rendered
from spgvton_training.cutout.checkpoint import CutoutCheckpoint
from spgvton_training.cutout.network import CutoutNetwork
from spgvton_training.cutout.scenes import Library
from spgvton_training.cutout.train import Recipe, Trainer
from spgvton_training.fabric import PRECISIONS
from spgvton_training.parsing.checkpoint import ParserCheckpoint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `spgvton train-cutout`."""
    default = Recipe()
    parser.add_argument(
        "--photographs", type=Path, required=True, metavar="DIR", help="photographs in folders of kinds"
    )
    parser.add_argument("--masks", type=Path, metavar="DIR", help="masks of photographs, under the same names (.png)")
    parser.add_argument("--held-out", type=Path, metavar="FILE", help="list of photographs to leave out")
    parser.add_argument("--sleeves", type=Path, metavar="FILE", help="list of sleeve lengths")
    parser.add_argument("--people", type=Path, metavar="DIR", help="photographs of people, also in folders below")
    parser.add_argument("--rendered", type=Path, required=True, metavar="DIR", help="where rendered garments are kept")
    parser.add_argument("--rendered-count", type=int, default=400, metavar="N", help="rendered garments (default 400)")
    parser.add_argument("--parser", type=Path, metavar="FILE", help="a parser's checkpoint to start from")
    parser.add_argument("--init", type=Path, metavar="FILE", help="checkpoint to start from")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of this run")
    parser.add_argument("--iterations", type=int, default=default.iterations, help=f"default {default.iterations}")
    parser.add_argument(
        "--batch", type=int, default=default.batch, help=f"samples of one update (default {default.batch})"
    )
    parser.add_argument("--rate", type=float, default=default.rate, help=f"learning rate (default {default.rate})")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--precision", default="bf16-mixed", choices=PRECISIONS, help="default: bf16-mixed")
    parser.add_argument("--threads", type=int, help="CPU threads of PyTorch (default: all cores)")
    parser.add_argument("--save-every", type=int, default=100, help="iterations between saved states (default 100)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Run the verb. Raises SpgvtonError."""
    if args.parser and args.init:
        raise UsageError(
            "give --parser, to begin with a parser's layers, or --init, a checkpoint to go on from; not both"
        )
    for name in ("iterations", "batch", "save_every"):
        if getattr(args, name) < 1:
            raise UsageError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(args, name)}")
    if args.threads:
        torch.set_num_threads(args.threads)
        cv2.setNumThreads(args.threads)
    provenance: dict[str, Any] = {"command": "spgvton " + shlex.join(sys.argv[1:])}
    if args.init:
        started = CutoutCheckpoint.load(args.init)
        network, provenance["started_from"] = started.network(), started.provenance
    else:
        torch.manual_seed(args.seed)
        network = CutoutNetwork()
        if args.parser:
            parser = ParserCheckpoint.load(args.parser)
            provenance["started_from"] = {"parser": parser.provenance, "numbers": network.take_parser(parser.weights)}
    library, provenance["data"] = load(args)
    recipe = replace(
        Recipe(), iterations=args.iterations, batch=args.batch, rate=args.rate, seed=args.seed,
        bfloat16=args.precision == "bf16-mixed",
    )  # fmt: skip
    checkpoint = Trainer(network, library, recipe, args.out, provenance, args.save_every).fit()
    file = args.out / "model.safetensors"
    print(f"wrote {file} after {checkpoint.provenance['hours']} hours", file=sys.stderr)
    if args.json:
        print(json.dumps({"checkpoint": str(file), **checkpoint.provenance}))
    return 0


def load(args: argparse.Namespace) -> tuple[Library, dict[str, Any]]:
    """The samples' material that the options name, and what to remember of it. Raises SpgvtonError."""
    held_out = photographs.read_list(args.held_out) if args.held_out else {}
    sleeves = photographs.read_list(args.sleeves) if args.sleeves else {}
    names = photographs.names(args.photographs, held_out)
    pieces = photographs.read(args.photographs, args.masks, names, sleeves)
    files = sorted(f for f in args.people.rglob("*") if f.suffix.lower() in image.SUFFIXES) if args.people else []
    library = Library(pieces, rendered.load(args.rendered, args.rendered_count, args.seed), people.load(files))
    masks = [str(Path(piece.name).with_suffix(".png")) for piece in pieces if piece.mask is not None]
    return library, {
        "photographs": len(names), "photographs_sha256": photographs.digest(args.photographs, names), "held_out": len(held_out),
        "masks": len(masks), "masks_sha256": photographs.digest(args.masks, masks) if args.masks else None,
        "rendered": len(library.rendered), "people": len(files),
    }  # fmt: skip
