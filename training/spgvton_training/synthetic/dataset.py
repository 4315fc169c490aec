"""A data set of synthetic items in the folder layout of MPV.

An item is one person with two poses and two tops (or two dresses), in one studio: photo A is pose 1 in top a, B pose 2 in top a, and, on
request, C pose 2 in top b: the true picture of a try-on between A or B and garment b, which no real set has.

    images/<item>/<item>-a@1=person_half_front.jpg      A
    images/<item>/<item>-a@2=person_half_front.jpg      B
    images/<item>/<item>-b@2=person_half_front.jpg      C (person_whole_front where the feet are in the frame)
    images/<item>/<item>-a@0=cloth_front.jpg            in-shop picture of top a (and b)
    cloth_mask/<item>/<cloth stem>_mask.png             0 or 255
    parse_cihp/<item>/<photo stem>.png                  label ids, and <photo stem>_vis.png in colours
    pose_coco/<item>/<photo stem>_keypoints.json        OpenPose JSON
    flow/<item>/<photo stem>.png                        worn -> flat map, see flow.py
    data_pair.txt                                       A, B, cloth a, split: tab-separated, paths under images/
    data_pair_unpaired.txt                              source, ground truth, cloth, split

One integer seeds one item: seed, split and index give every random stream of it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import files, image, keypoints, labels
from spgvton.errors import UsageError
from spgvton_training.synthetic import RENDERER_VERSION
from spgvton_training.synthetic.clothes.fabric import Fabrics
from spgvton_training.synthetic.clothes.garment import Garment, make_garment
from spgvton_training.synthetic.clothes.wardrobe import sample_dress, sample_garment
from spgvton_training.synthetic.flow import write_flow
from spgvton_training.synthetic.people.identity import Identity, sample_identity
from spgvton_training.synthetic.people.pose import sample_pose
from spgvton_training.synthetic.render.lens import sample_lens
from spgvton_training.synthetic.render.person import Person
from spgvton_training.synthetic.render.scene import Framing, Photo, aim, pose_person, render, sample_framing
from spgvton_training.synthetic.render.shading import sample_studio

SPLITS: Final = {"train": "r", "test": "e"}
JPEG_QUALITY: Final = 97
SIZE_LIMITS: Final = (64, 1024)
# shares of the women: both garments are dresses; one is, and she wears it over the trousers that go with the other
_DRESSES, _MIXED = 0.15, 0.17
_OTHER_SLEEVES: Final = 0.6  # of the pairs whose sleeves are alike get a garment b whose sleeves are not
SETTINGS: Final = "synthetic.json"
_ITEM: Final = re.compile(r"s([re])\d+i\d{6,}")
_FRAMES: Final = ("person_half_front", "person_whole_front")
_PHOTOS: Final = {"A": ("a", 1), "B": ("a", 2), "C": ("b", 2)}  # photo -> garment, pose


@dataclass(frozen=True, eq=False)
class Item:
    """One rendered item."""

    name: str
    garments: dict[str, Garment]  # a, and b for unpaired
    photos: dict[str, Photo]  # A, B, and C for unpaired


def item_name(seed: int, split: str, index: int) -> str:
    """Name of an item, unique over seeds and splits: "sr7i000012" is index 12 of seed 7, train."""
    return f"s{SPLITS[split]}{seed}i{index:06d}"


def make_item(
    seed: int, split: str, index: int, *, size: tuple[int, int] = image.SIZE, unpaired: bool = False,
    fabrics: Fabrics | None = None,
) -> Item:  # fmt: skip
    """Render item INDEX of SPLIT at SIZE (height, width). The same arguments give the same item."""

    def stream(purpose: int) -> np.random.Generator:
        return np.random.default_rng([seed, list(SPLITS).index(split), index, purpose])

    identity, dresses = _dress(sample_identity(stream(0)), stream(7))
    person = Person(identity)
    specs = {name: (sample_dress if name in dresses else sample_garment)(stream(i)) for i, name in enumerate("ab", 1)}
    if specs["a"].long == specs["b"].long and stream(10).random() < _OTHER_SLEEVES:
        rng, sample = stream(10), sample_dress if "b" in dresses else sample_garment
        while specs["a"].long == specs["b"].long:
            specs["b"] = sample(rng)
    if fabrics is not None:
        rng = stream(8)
        specs = {name: replace(spec, design=spec.design.of(fabrics.sample(rng))) for name, spec in specs.items()}
    poses = {1: sample_pose(stream(3)), 2: sample_pose(stream(4))}
    studio = sample_studio(stream(5))
    rng = stream(6)
    first, second = sample_framing(rng), sample_framing(rng)
    if rng.random() < 0.75:  # mostly the camera stays where it is
        second = Framing(first.visible * rng.uniform(0.95, 1.05), second.top, second.shift)
    framings = {1: first, 2: second}
    grain = int(rng.integers(1 << 30))
    lens = sample_lens(stream(9))

    chosen = {name: at for name, at in _PHOTOS.items() if unpaired or name != "C"}
    garments = {name: make_garment(specs[name], size) for name in sorted({g for g, _ in chosen.values()})}
    skeletons = {i: pose_person(person, pose) for i, pose in poses.items()}
    cameras = {i: aim(person, skeletons[i], framings[i], size) for i in poses}
    photos = {
        # B and C are one moment in two garments: beside these not a pixel differs, not even in its noise
        name: render(
            person, garments[garment], skeletons[pose], cameras[pose], studio, grain + k, lens=lens, film=grain + pose
        )
        for k, (name, (garment, pose)) in enumerate(chosen.items())
    }
    return Item(item_name(seed, split, index), garments, photos)


def _dress(identity: Identity, rng: np.random.Generator) -> tuple[Identity, str]:
    """Which of the garments "a" and "b" are dresses, and the person with what is worn below one.

    Where a dress is exchanged for a top, trousers show below both: from a photo of a dress alone they could not be known.
    """
    chance, first, layered = rng.random(), rng.random() < 0.5, rng.random() < 0.25
    if not identity.female or chance >= _DRESSES + _MIXED:
        return identity, ""
    if chance < _DRESSES:
        return replace(identity, layered=bool(layered)), "ab"
    return replace(identity, layered=True, bottom="pants"), "a" if first else "b"


# ------------------------------------------------------------------ files
def _cloth_stem(item: str, garment: str) -> str:
    return f"{item}-{garment}@0=cloth_front"


def _photo_stem(item: str, photo: str, frame: str) -> str:
    garment, pose = _PHOTOS[photo]
    return f"{item}-{garment}@{pose}={frame}"


def write_item(root: Path, item: Item) -> None:
    """Write all files of ITEM under ROOT, each atomically. Raises SpgvtonError."""
    folder = {kind: files.make_folder(root / kind / item.name) for kind in _KINDS}
    for name, garment in item.garments.items():
        stem = _cloth_stem(item.name, name)
        image.write(folder["images"] / f"{stem}.jpg", garment.picture, quality=JPEG_QUALITY)
        image.write(folder["cloth_mask"] / f"{stem}_mask.png", garment.mask)
    for name, photo in item.photos.items():
        stem = _photo_stem(item.name, name, _FRAMES[photo.whole])
        write_photo_labels(folder["parse_cihp"] / f"{stem}.png", photo.labels)
        points = keypoints.to_openpose(photo.keypoints)
        files.write_text(folder["pose_coco"] / f"{stem}_keypoints.json", points + "\n")
        write_flow(folder["flow"] / f"{stem}.png", photo.flow)
        image.write(folder["images"] / f"{stem}.jpg", photo.image, quality=JPEG_QUALITY)


def write_photo_labels(path: Path, semantic: NDArray[np.uint8]) -> None:
    """Write label ids to PATH (PNG) and their colours to <stem>_vis.png beside it."""
    image.write(path, semantic)
    image.write(path.with_name(f"{path.stem}_vis.png"), labels.colourise(semantic))


_KINDS: Final = ("images", "cloth_mask", "parse_cihp", "pose_coco", "flow")


def find_item(root: Path, item: str) -> dict[str, str]:
    """Paths under images/ of the complete parts of an item: photos "A", "B", "C", garments "a", "b"."""
    have = {kind: _names(root / kind / item) for kind in _KINDS}
    found = {}
    for garment in "ab":
        stem = _cloth_stem(item, garment)
        if f"{stem}.jpg" in have["images"] and f"{stem}_mask.png" in have["cloth_mask"]:
            found[garment] = f"{item}/{stem}.jpg"
    for photo in _PHOTOS:
        for frame in _FRAMES:
            stem = _photo_stem(item, photo, frame)
            complete = (
                f"{stem}.jpg" in have["images"]
                and {f"{stem}.png", f"{stem}_vis.png"} <= have["parse_cihp"]
                and f"{stem}_keypoints.json" in have["pose_coco"]
                and f"{stem}.png" in have["flow"]
            )
            if complete:
                found[photo] = f"{item}/{stem}.jpg"
    return found


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except FileNotFoundError:
        return set()


def is_complete(root: Path, item: str, *, unpaired: bool) -> bool:
    """All files of ITEM are there."""
    return set("aABbC" if unpaired else "aAB") <= find_item(root, item).keys()


# ------------------------------------------------------------------ pairs
def pairs(found: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Source, target, cloth of the paired rows of an item."""
    if {"A", "B", "a"} <= found.keys():
        yield found["A"], found["B"], found["a"]
        yield found["B"], found["A"], found["a"]


def unpaired_rows(found: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Source, ground truth, cloth of the rows where the person changes the garment."""
    if {"A", "B", "C", "a", "b"} <= found.keys():
        for source, truth, cloth in (("A", "C", "b"), ("B", "C", "b"), ("C", "A", "a"), ("C", "B", "a")):
            yield found[source], found[truth], found[cloth]


def write_pairs(root: Path) -> None:
    """Rebuild the pair lists from what lies under ROOT; rows of other data in the same lists stay."""
    letters = {letter: split for split, letter in SPLITS.items()}
    items = sorted(name for name in _names(root / "images") if _ITEM.fullmatch(name))
    found = {name: find_item(root, name) for name in items}
    for file, rows_of in (("data_pair.txt", pairs), ("data_pair_unpaired.txt", unpaired_rows)):
        path = root / file
        kept = [
            line
            for line in (path.read_text().splitlines() if path.exists() else [])
            if line.strip() and not _ITEM.fullmatch(line.split("/")[0])
        ]
        rows = ["\t".join((*row, letters[name[1]])) for name in items for row in rows_of(found[name])]
        if kept or rows:
            files.write_text(path, "\n".join(kept + rows) + "\n")


def check_settings(root: Path, size: tuple[int, int], fabrics: Fabrics | None = None) -> None:
    """Record size, renderer version and fabrics in ROOT; refuse to mix them. Raises UsageError."""
    path = root / SETTINGS
    wanted: dict[str, object] = {"height": size[0], "width": size[1], "renderer": RENDERER_VERSION}
    if fabrics is not None:
        wanted["fabrics"] = fabrics.digest()
    if path.exists():
        try:
            present = json.loads(path.read_text())
        except ValueError:
            present = "something unreadable"
        if present != wanted:
            raise UsageError(f"{root} holds another data set ({present}, asked for {wanted}): choose another --out")
    else:
        files.write_text(path, json.dumps(wanted) + "\n")
