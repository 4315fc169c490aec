"""Turn your own photos, or DeepFashion, into a data set in MPV layout for `spgvton train` and `evaluate`.

  spgvton prepare --photos photos --garments garments --out data/own
  spgvton prepare --photos photos --garments garments --out data/own --parser schp.onnx --label-set lip
  spgvton prepare --deepfashion In-shop --garments data/mpv --out data/deepfashion --count 10000

Own photos: PHOTOS/<person>/*.jpg, one folder per person, and in it garment.txt that says what is worn: "shirt" for all
photos of the folder, or lines "photo.jpg <tab> shirt". GARMENTS/shirt.jpg is the in-shop picture; its mask is
shirt_mask.png beside it, or its alpha channel, or is found. Pose, semantic map, garment mask and framing are those of
`spgvton run`. People are divided into train and test by the seed; people who share a garment stay together, unless
--share-garments. Then look at OUT/overlays: write the names of bad photos into a text file and call again with --exclude.

DeepFashion (In-shop Clothes Retrieval Benchmark): pairs of one person in two poses, each with a random garment of the
test split of --garments, a data set in MPV layout. There is no true picture of the result, so the list is
data_pair_no_truth.txt, for IS and FID only.

Photos that cannot be used are listed with reasons in OUT/rejected_photos.tsv. Stopped at any time, the same command goes
on where it was. Exit code 1: in the end there is no triple.

Everything stays on this machine: nothing is sent anywhere. Photos of people are personal data: have their consent, and
delete OUT (framed copies, overlays) together with the photos.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from spgvton import image
from spgvton.cli import parser_options
from spgvton.errors import UsageError
from spgvton.labels import LABEL_SETS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `spgvton prepare`."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--photos", type=Path, metavar="DIR", help="one folder of photos per person")
    what.add_argument("--deepfashion", type=Path, metavar="DIR", help="DeepFashion's In-shop benchmark")
    parser.add_argument(
        "--garments",
        type=Path,
        required=True,
        metavar="DIR",
        help="in-shop pictures; with --deepfashion an MPV data set",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DATA", help="folder of the data set")
    how = parser.add_mutually_exclusive_group()
    parser_options.add_choice(how)
    how.add_argument("--parsing", metavar="DIR", help="label maps: DIR/<person>/<photo>.png")
    parser.add_argument("--label-set", choices=tuple(LABEL_SETS), default="cihp", help="of the maps (default cihp)")
    parser_options.add_arguments(parser)
    parser.add_argument("--size", default="256x192", metavar="HxW", help="height x width (default 256x192)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of split and pairs (default 0)")
    parser.add_argument("--test-fraction", type=float, default=0.2, metavar="F", help="of the people (default 0.2)")
    parser.add_argument("--share-garments", action="store_true", help="the same garment may be in train and test")
    parser.add_argument("--exclude", type=Path, metavar="FILE", help="own photos to leave out, one name a line")
    parser.add_argument("--count", type=int, default=10_000, metavar="N", help="DeepFashion test triples (10000)")
    parser.add_argument("--train-count", type=int, default=0, metavar="N", help="DeepFashion train triples (0)")
    parser.add_argument("--workers", type=int, default=1, metavar="W", help="processes (default 1)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")


def check_arguments(args: argparse.Namespace) -> None:
    """Raises UsageError for what is out of range or does not go together."""
    for name, least in (("count", 1), ("train_count", 0), ("workers", 1), ("seed", 0)):
        if getattr(args, name) < least:
            raise UsageError(f"--{name.replace('_', '-')} must be at least {least}, got {getattr(args, name)}")
    if not 0 <= args.test_fraction <= 1:
        raise UsageError(f"--test-fraction must be from 0 to 1, got {args.test_fraction}")
    if args.label_set != "cihp" and not (args.parser or args.parsing):
        raise UsageError("the shipped parser gives cihp labels: --label-set belongs to --parser or --parsing")
    if args.deepfashion and (args.exclude or args.share_garments):
        raise UsageError("--exclude and --share-garments belong to --photos")
    source = args.photos or args.deepfashion
    if args.out.resolve() == source.resolve() or source.resolve() in args.out.resolve().parents:
        raise UsageError(f"--out {args.out} lies in {source}: give a folder outside of it")


def run(args: argparse.Namespace) -> int:
    """Run the verb. Raises SpgvtonError."""
    # Read by numpy when it loads in the workers: its threads only get in the way of the processes.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from spgvton_training.cli.synth import parse_size
    from spgvton_training.data.perceive import Settings
    from spgvton_training.data.prepare import REJECTED, prepare_deepfashion, prepare_photos

    check_arguments(args)
    size = image.SIZE if args.size == "256x192" else parse_size(args.size)
    settings = Settings(size, args.label_set, args.parser, args.parsing, parser_options.options(args))
    if args.photos:
        made = prepare_photos(
            args.photos, args.garments, args.out, settings, seed=args.seed, test_fraction=args.test_fraction,
            share_garments=args.share_garments, exclude=args.exclude, workers=args.workers,
        )  # fmt: skip
    else:
        made = prepare_deepfashion(
            args.deepfashion, args.garments, args.out, settings, count=args.count, train_count=args.train_count,
            seed=args.seed, test_fraction=args.test_fraction, workers=args.workers,
        )  # fmt: skip
    print(made.summary(args.out), file=sys.stderr)
    if made.sheets:
        print(f"look at {made.sheets[0].parent} and reject what is wrong (--exclude)", file=sys.stderr)
    missing = [split for split, rows in made.rows.items() if not rows]
    if args.photos and missing:
        print(
            f"no {' nor '.join(missing)} triples: more people (or --share-garments, --test-fraction, --seed) are needed",
            file=sys.stderr,
        )
    if args.json:
        result = {
            "out": str(args.out), "photos": made.photos, "rejected": len(made.rejected), **made.rows,
            "rejected_list": str(args.out / REJECTED), "overlays": [str(sheet) for sheet in made.sheets],
        }  # fmt: skip
        print(json.dumps(result))
    return 0 if any(made.rows.values()) else 1
