"""DeepFashion, In-shop Clothes Retrieval Benchmark [20] -> triples without ground truth, in MPV layout (section IV-A).

DIR/img/WOMEN/<category>/id_00000001/02_1_front.jpg     item, colour, number of the view, view
DIR/Eval/list_eval_partition.txt                        (or DIR/) image, item, train | query | gallery

As MG-VTON [7] and the paper do: two pictures of one person (one item in one colour) in different poses, and a random
in-shop garment of MPV's test set. Nobody wears that garment, so the list is data_pair_no_truth.txt, which neither trains
nor gives SSIM: IS and FID only. The benchmark names items, not people; the same model may appear in several items.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from tqdm import tqdm

from spgvton.errors import SpgvtonError
from spgvton_training.data.check import Rejected
from spgvton_training.data.layout import SPLITS, Triple, hash_fraction, read_lines
from spgvton_training.data.perceive import Job, Settings, is_made, make_photos

PARTITION: Final = "list_eval_partition.txt"
_SPLIT: Final = {"train": "train", "query": "test", "gallery": "test"}
_VIEW: Final = re.compile(r"(\d+)_(\d+)_([a-z]+)\.(?:jpg|jpeg|png)", re.IGNORECASE)
_NO_PERSON: Final = ("flat",)  # the garment alone


class View(NamedTuple):
    """One picture. item: "WOMEN-Dresses-id_00000002"; outfit: the item in one colour, i.e. one person."""

    file: Path
    item: str
    outfit: str

    @property
    def name(self) -> str:
        """Name under images/."""
        return f"{self.item}/{self.file.stem}.jpg"


def list_views(folder: Path) -> list[View]:
    """The pictures of people in the benchmark, sorted. Raises SpgvtonError when there are none."""
    base = folder / "img" if (folder / "img").is_dir() else folder
    views = []
    for file in sorted(base.glob("*/*/id_*/*")):
        match = _VIEW.fullmatch(file.name)
        if match and match[3].lower() not in _NO_PERSON:
            item = "-".join(file.parts[-4:-1])
            views.append(View(file, item, f"{item}/{match[1]}"))
    if not views:
        raise SpgvtonError(f"{folder} has no img/*/*/id_*/01_1_front.jpg: is it DeepFashion's In-shop benchmark?")
    return views


def read_partition(folder: Path) -> dict[str, str]:
    """Item id -> split, from list_eval_partition.txt; {} where there is none. Raises SpgvtonError for a malformed one."""
    path = next((p for p in (folder / "Eval" / PARTITION, folder / PARTITION) if p.exists()), None)
    split: dict[str, str] = {}
    for number, line in enumerate(read_lines(path, "part of the benchmark") if path else [], 1):
        columns = line.split()
        if number <= 2 or not columns:  # the count, and the titles
            continue
        if len(columns) != 3 or columns[2] not in _SPLIT:
            raise SpgvtonError(f"{path} line {number}: expected image, item, train|query|gallery")
        split[columns[1]] = _SPLIT[columns[2]]
    return split


def split_of(item: str, partition: dict[str, str], seed: int, test_fraction: float) -> str:
    """The benchmark's split of an item; one drawn from SEED and the item's name where it does not say."""
    known = partition.get(item.rsplit("-", 1)[-1])
    return known or ("test" if hash_fraction(seed, item) < test_fraction else "train")


def draw_pairs(
    root: Path, views: Sequence[View], garments: Sequence[str], settings: Settings, *, count: int, seed: int,
    workers: int = 1,
) -> tuple[list[Triple], list[Rejected]]:  # fmt: skip
    """Draw COUNT triples (fewer where there are not so many), perceive the photos they need, and leave out bad ones.

    views: of one split. garments: names under images/. Order and garments come from SEED alone, so that an interrupted
    run goes on with the same ones. Returns the triples and the refused photos. Raises SpgvtonError.
    """
    outfits: dict[str, list[View]] = {}
    for view in views:
        outfits.setdefault(view.outfit, []).append(view)
    pairs = [pair for outfit in sorted(outfits) for pair in permutations(outfits[outfit], 2)]
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pairs))
    chosen = rng.integers(len(garments), size=len(pairs))

    triples: list[Triple] = []
    refused: dict[str, Rejected] = {}
    at = 0
    with tqdm(total=count, desc="pairs", unit="pair") as bar:
        while len(triples) < count and at < len(order):
            step = order[at : at + max(8, count - len(triples))]
            wanted = {v.name: v for i in step for v in pairs[i] if v.name not in refused}
            jobs = [Job(v.file, v.name, f"{Path(v.name).with_suffix('.png')}") for v in wanted.values()]
            rejected = make_photos(root, jobs, settings, workers=workers, quiet=True)
            by_file = {str(v.file): v.name for v in wanted.values()}
            refused.update({by_file[r.what]: r for r in rejected})
            for i in step:
                source, target = pairs[i]
                if len(triples) < count and is_made(root, source.name) and is_made(root, target.name):
                    triples.append(Triple(source.name, target.name, garments[chosen[i]]))
                    bar.update()
            at += len(step)
    return triples, list(refused.values())


def by_split(views: Sequence[View], partition: dict[str, str], seed: int, fraction: float) -> dict[str, list[View]]:
    """The views of each split; one item is in one of them."""
    found: dict[str, list[View]] = {split: [] for split in SPLITS}
    for view in views:
        found[split_of(view.item, partition, seed, fraction)].append(view)
    return found
