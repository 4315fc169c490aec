"""Train the network that finds the sleeves of a garment's picture, on rendered garments. Some 20 minutes on one core.

  python -m spgvton_training.sleeves --out runs/sleeves.safetensors --fabrics garments_cc0
  python -m spgvton_export.sleeves runs/sleeves.safetensors garment_sleeves.onnx

--fabrics: photographs of cloth; half of the garments are then made of it.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from spgvton.errors import SpgvtonError
from spgvton.video import cv2
from spgvton_training.sleeves.rendered import make_flat
from spgvton_training.sleeves.train import Recipe, train
from spgvton_training.synthetic.clothes.fabric import Fabrics


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Exit codes: 0 fine, 1 failed, 2 wrong use."""
    parser = argparse.ArgumentParser(
        prog="python -m spgvton_training.sleeves",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    recipe = Recipe()
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="checkpoint (.safetensors)")
    parser.add_argument("--garments", type=int, default=600, metavar="N", help="rendered garments (default 600)")
    parser.add_argument("--fabrics", type=Path, metavar="DIR", help="photographs of cloth")
    parser.add_argument("--iterations", type=int, default=recipe.iterations, help=f"default {recipe.iterations}")
    parser.add_argument("--seed", type=int, default=recipe.seed)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    args = parser.parse_args(arguments)
    if min(args.garments, args.iterations, args.threads) < 1:
        parser.error("--garments, --iterations and --threads must be at least 1")
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    try:
        fabrics = Fabrics.of(args.fabrics, "train") if args.fabrics else None
        seeds = tqdm(range(args.garments), desc="garments", unit="garment")
        flats = [make_flat(np.random.default_rng([args.seed, i]), fabrics) for i in seeds]
        provenance = {
            "command": "python -m spgvton_training.sleeves " + shlex.join(sys.argv[1:] if arguments is None else arguments),
            "fabrics": fabrics.digest() if fabrics else None,
        }  # fmt: skip
        checkpoint = train(flats, replace(recipe, iterations=args.iterations, seed=args.seed), provenance)
        checkpoint.save(args.out)
    except SpgvtonError as e:
        print(f"spgvton_training.sleeves: {e}", file=sys.stderr)
        return 1
    print(
        f"wrote {args.out} after {checkpoint.provenance['hours']} hours: {checkpoint.provenance['losses']}",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
