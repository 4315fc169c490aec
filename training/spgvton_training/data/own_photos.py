"""A folder of one's own photos -> triples in MPV layout.

PHOTOS/<person>/*.jpg         one folder per person: file names are then free, and no two people can be mixed up because
                              one's name begins like the other's
PHOTOS/<person>/garment.txt   what is worn: a line "shirt" is the garment of all photos of the folder, a line
                              "photo.jpg <tab> shirt" that of one photo; # starts a comment
GARMENTS/shirt.jpg            in-shop picture; its mask is GARMENTS/shirt_mask.png, or its alpha channel, or found

Two photos of a person in the same garment make two lines of data_pair.txt, one each way; in different ones, two lines of
data_pair_unpaired.txt, of which each has the garment that its target wears.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Final, NamedTuple

from spgvton import files
from spgvton.errors import SpgvtonError
from spgvton_training.data import garments as gm
from spgvton_training.data.check import Rejected
from spgvton_training.data.layout import PAIRED, UNPAIRED, Triple, hash_fraction, read_lines
from spgvton_training.data.perceive import Job

WORN: Final = "garment.txt"


class Photo(NamedTuple):
    """A photo of PERSON in GARMENT (a name), and how it is made."""

    person: str
    garment: str
    job: Job


def list_photos(folder: Path, garments: dict[str, Path]) -> tuple[list[Photo], list[Rejected]]:
    """The photos under FOLDER, and the files that cannot be used. Raises SpgvtonError when there is no person's folder."""
    stray = [Rejected(str(f), "lies in no person's folder: make one per person") for f in gm.pictures(folder)]
    people = sorted(f for f in folder.iterdir() if f.is_dir() and f.name[:1] not in "._")
    if not people:
        raise SpgvtonError(f"{folder} has no folders: put the photos of each person into one folder, e.g. photos/anna/")
    photos: list[Photo] = []
    for person in people:
        found, rejected = _person(person, garments)
        photos += found
        stray += rejected
    return photos, stray


def _person(folder: Path, garments: dict[str, Path]) -> tuple[list[Photo], list[Rejected]]:
    default, worn, rejected = _worn(folder)
    photos: dict[str, Photo] = {}
    for file in gm.pictures(folder):
        name = f"{folder.name}/{file.stem}.jpg"
        garment = Path(worn.pop(file.name, "") or worn.pop(file.stem, "") or default)
        # With or without the suffix of the picture.
        known = next((g for g in (garment.name, garment.stem) if g in garments), None)
        if any(c in name for c in "\t\r\n"):
            rejected.append(Rejected(str(file).replace("\t", " "), "file name with a tab or line break: rename it"))
        elif name in photos:
            rejected.append(Rejected(str(file), f"same name as {photos[name].job.source.name}: rename one"))
        elif not garment.name:
            rejected.append(Rejected(str(file), f"garment unknown: {folder / WORN} does not say what is worn"))
        elif known is None:
            rejected.append(Rejected(str(file), f"garment missing: there is no picture of '{garment}'"))
        else:
            photos[name] = Photo(folder.name, known, Job(file, name, f"{folder.name}/{file.stem}.png"))
    rejected += [Rejected(f"{folder / WORN}: {name}", "no such photo") for name in worn]
    return list(photos.values()), rejected


def _worn(folder: Path) -> tuple[str, dict[str, str], list[Rejected]]:
    """What garment.txt says: the garment of all, of single photos, and the lines that say nothing."""
    default, worn, rejected = "", {}, []
    if (folder / WORN).exists():
        for number, text in enumerate(read_lines(folder / WORN, "write it as text"), 1):
            columns = [c.strip() for c in text.split("\t")]
            if not text.strip() or text.startswith("#"):
                continue
            if len(columns) == 1:
                default = columns[0]
            elif len(columns) == 2 and all(columns):
                worn[columns[0]] = columns[1]
            else:
                rejected.append(Rejected(f"{folder / WORN} line {number}", "malformed: photo <tab> garment expected"))
    return default, worn, rejected


# ------------------------------------------------------------------ pairs
def split_people(photos: Sequence[Photo], seed: int, test_fraction: float, *, share_garments: bool) -> dict[str, str]:
    """Person -> train or test. People who share a garment go together, unless SHARE_GARMENTS.

    A group's split depends on SEED and its names alone: people who are added later move nobody else, unless they join
    two groups by what they wear.
    """
    group = {photo.person: photo.person for photo in photos}  # person -> a member that stands for the group
    if not share_garments:
        first: dict[str, str] = {}
        for photo in photos:
            a, b = _root(group, photo.person), _root(group, first.setdefault(photo.garment, photo.person))
            group[max(a, b)] = min(a, b)
    return {
        person: "test" if hash_fraction(seed, _root(group, person)) < test_fraction else "train"
        for person in sorted(group)
    }


def _root(group: dict[str, str], person: str) -> str:
    while group[person] != person:
        person = group[person]
    return person


def pair_rows(photos: Sequence[Photo], split: dict[str, str]) -> dict[str, list[tuple[Triple, str]]]:
    """List name -> its rows: every ordered pair of photos of one person, with the garment that the target wears."""
    rows: dict[str, list[tuple[Triple, str]]] = {PAIRED: [], UNPAIRED: []}
    by_person: dict[str, list[Photo]] = {}
    for photo in photos:
        by_person.setdefault(photo.person, []).append(photo)
    for person, mine in sorted(by_person.items()):
        for source, target in permutations(mine, 2):
            triple = Triple(source.job.name, target.job.name, gm.cloth_name(target.garment))
            rows[PAIRED if source.garment == target.garment else UNPAIRED].append((triple, split[person]))
    return rows


def write_rows(root: Path, rows: dict[str, list[tuple[Triple, str]]]) -> None:
    """Write the lists of triples atomically. Raises SpgvtonError."""
    for name, lines in rows.items():
        files.write_text(root / name, "".join("\t".join((*triple.names, split)) + "\n" for triple, split in lines))
