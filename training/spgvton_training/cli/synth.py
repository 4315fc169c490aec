"""Make a synthetic data set in MPV layout: photos of dressed people, labels, keypoints, garments, exact warps.

Example: spgvton synth --out data/synthetic --count 2000 --seed 1 --unpaired --workers 4
         spgvton synth --out data/synthetic --count 200 --seed 1 --unpaired --split test --contact-sheet
         spgvton synth --out data/synthetic --count 2000 --seed 1 --unpaired --workers 4 --estimate-pose
         spgvton synth --out data/synthetic --count 20000 --seed 1 --unpaired --fabrics cloth --shard 3/16

With --estimate-pose the keypoints are those that the runtime's pose estimator sees in the pictures, which is what a
network that will be used with it should be trained on; the exact ones are kept in pose_exact/.

With --fabrics three garments in five are made of real cloth: of the middle of a photograph in that folder, or of a cut-out
(RGBA). One picture in eight belongs to the test split.

Each item is made from its seed, split and index alone, so a run may be stopped and called again: items that are there
are not made again, and --shard lets several machines share the work.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from spgvton.errors import UsageError

if TYPE_CHECKING:
    from spgvton_training.synthetic.clothes.fabric import Fabrics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `spgvton synth`."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the data set")
    parser.add_argument("--count", type=int, required=True, metavar="N", help="number of items (A, B and a garment)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the data set (default 0)")
    parser.add_argument("--split", choices=("train", "test"), default="train", help="no person or garment is in both")
    parser.add_argument("--size", default="256x192", metavar="HxW", help="height x width (default 256x192)")
    parser.add_argument("--start", type=int, default=0, metavar="I", help="index of the first item (default 0)")
    parser.add_argument("--shard", metavar="I/N", help="only every Nth item, from the Ith: 1/N to N/N make them all")
    parser.add_argument("--fabrics", type=Path, metavar="DIR", help="photographs of cloth that garments are made of")
    parser.add_argument("--unpaired", action="store_true", help="also photo C: the person of B in another garment")
    parser.add_argument("--workers", type=int, default=1, metavar="W", help="processes (default 1)")
    parser.add_argument("--contact-sheet", action="store_true", help="write DIR/contact_sheet.png of the first 8 items")
    parser.add_argument("--estimate-pose", action="store_true", help="keypoints by the runtime's estimator")
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")


def parse_size(text: str) -> tuple[int, int]:
    """ "256x192" -> (256, 192). Raises UsageError."""
    from spgvton_training.synthetic.dataset import SIZE_LIMITS

    low, high = SIZE_LIMITS
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isdecimal() for p in parts) or not all(low <= int(p) <= high for p in parts):
        raise UsageError(f"--size {text}: give HEIGHTxWIDTH, each from {low} to {high}, for example 256x192")
    return int(parts[0]), int(parts[1])


def parse_shard(text: str | None) -> tuple[int, int]:
    """ "3/16" -> (3, 16); None is all, (1, 1). Raises UsageError."""
    parts = (text or "1/1").split("/")
    if len(parts) != 2 or not all(p.isdecimal() for p in parts) or not 1 <= int(parts[0]) <= int(parts[1]):
        raise UsageError(f"--shard {text}: give I/N, I from 1 to N, for example 3/16")
    return int(parts[0]), int(parts[1])


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    # Read by numpy when it loads, here and in the workers: its threads only get in the way of the processes.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from tqdm import tqdm

    from spgvton import files, image
    from spgvton_training.synthetic import contact_sheet, dataset
    from spgvton_training.synthetic.clothes.fabric import Fabrics

    size = parse_size(args.size)
    for name, least in (("count", 1), ("workers", 1), ("start", 0), ("seed", 0)):
        if getattr(args, name) < least:
            raise UsageError(f"--{name} must be at least {least}, got {getattr(args, name)}")
    first, step = parse_shard(args.shard)
    fabrics = Fabrics.of(args.fabrics, args.split) if args.fabrics else None
    root: Path = files.own_folder(args.out, dataset.SETTINGS)
    dataset.check_settings(root, size, fabrics)

    indices = range(args.start, args.start + args.count)[first - 1 :: step]
    names = [dataset.item_name(args.seed, args.split, i) for i in indices]
    todo = [i for i, n in zip(indices, names) if not dataset.is_complete(root, n, unpaired=args.unpaired)]
    jobs = [Job(str(root), args.seed, args.split, i, size, args.unpaired, fabrics) for i in todo]
    workers = min(args.workers, max(1, len(jobs)))
    began = time.perf_counter()
    for _ in tqdm(_map(jobs, workers), total=len(jobs), unit="item", file=sys.stderr, mininterval=1.0):
        pass
    seconds = time.perf_counter() - began
    dataset.write_pairs(root)
    if args.estimate_pose:
        from spgvton_training.data.estimate_pose import estimate_poses

        estimate_poses(root)
    if args.contact_sheet:
        image.write(root / "contact_sheet.png", contact_sheet.contact_sheet(root, names[:8]))

    speed = len(jobs) / seconds / workers if jobs else None
    if args.json:
        result = {
            "count": len(indices),
            "made": len(jobs),
            "seconds": round(seconds, 3),
            "triplets_per_second_per_core": round(speed, 3) if speed else None,
            "out": str(root),
        }
        print(json.dumps(result))
    else:
        rate = f", {speed:.2f} triplets per second and core" if speed else ""
        print(f"{root}: {len(jobs)} items made, {len(indices) - len(jobs)} were there; {seconds:.1f} s{rate}")
    return 0


class Job(NamedTuple):
    """One item to be made."""

    root: str
    seed: int
    split: str
    item: int
    size: tuple[int, int]
    unpaired: bool
    fabrics: Fabrics | None


def _map(jobs: list[Job], workers: int) -> Iterator[None]:
    """Do the jobs, here or in WORKERS processes; yields once per finished job."""
    if workers == 1:
        yield from map(_work, jobs)
        return
    from concurrent.futures import as_completed

    from spgvton_training.workers import process_pool

    pool = process_pool(workers)
    try:
        for done in as_completed([pool.submit(_work, job) for job in jobs]):
            done.result()
            yield
    finally:
        pool.shutdown(cancel_futures=True)


def _work(job: Job) -> None:
    from spgvton.video import cv2
    from spgvton_training.synthetic import dataset

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        item = dataset.make_item(
            job.seed, job.split, job.item, size=job.size, unpaired=job.unpaired, fabrics=job.fabrics
        )
        dataset.write_item(Path(job.root), item)
    finally:
        cv2.setNumThreads(threads)
