"""The folder layout of the MPV data set [7]: its files, its lists of triples, and lists of what to leave out.

images/<item>/<photo>.jpg                      person and in-shop pictures
cloth_mask/<item>/<cloth>_mask.png             M^C, 255 = garment
parse_cihp/<item>/<photo>.png                  semantic map, label ids
pose_coco/<item>/<photo>_keypoints.json        OpenPose
flow/<item>/<photo>.png                        optional, synthetic only: where each clothes pixel lies on the garment
data_pair.txt                                  source <tab> target <tab> cloth <tab> train|test
data_pair_unpaired.txt                         same, target wears CLOTH but SOURCE something else
data_pair_no_truth.txt                         same, nobody wears CLOTH: TARGET gives the pose only (DeepFashion)

This module needs no torch, so that processes that only look at files start quickly.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from spgvton.errors import SpgvtonError
from spgvton.files import read_file

PAIRED: Final = "data_pair.txt"
UNPAIRED: Final = "data_pair_unpaired.txt"
NO_TRUTH: Final = "data_pair_no_truth.txt"
LISTS: Final = (PAIRED, UNPAIRED, NO_TRUTH)
SPLITS: Final = ("train", "test")
MAX_LIST: Final = 2**30  # bytes


@dataclass(frozen=True)
class Triple:
    """One line of data_pair.txt, paths relative to images/."""

    source: str
    target: str
    cloth: str

    @property
    def names(self) -> tuple[str, str, str]:
        return self.source, self.target, self.cloth


class Row(NamedTuple):
    """A line of a list of triples. triple: None where the line is malformed, and then PROBLEM says why."""

    file: str
    number: int
    text: str
    triple: Triple | None
    split: str
    problem: str = ""


class PhotoFiles(NamedTuple):
    """Where everything about one person picture lies. Only the flow may be missing."""

    picture: Path
    labels: Path
    keypoints: Path
    flow: Path

    @staticmethod
    def of(root: Path, name: str) -> PhotoFiles:
        stem = str(Path(name).with_suffix(""))
        return PhotoFiles(
            root / "images" / name,
            root / "parse_cihp" / f"{stem}.png",
            root / "pose_coco" / f"{stem}_keypoints.json",
            root / "flow" / f"{stem}.png",
        )


class ClothFiles(NamedTuple):
    """Where an in-shop picture and its mask lie."""

    picture: Path
    mask: Path

    @staticmethod
    def of(root: Path, name: str) -> ClothFiles:
        stem = str(Path(name).with_suffix(""))
        return ClothFiles(root / "images" / name, root / "cloth_mask" / f"{stem}_mask.png")


def lists(*, paired: bool = True, unpaired: bool = False, no_truth: bool = False) -> tuple[str, ...]:
    """The names of the chosen lists."""
    return tuple(name for name, chosen in zip(LISTS, (paired, unpaired, no_truth)) if chosen)


def hash_fraction(seed: int, name: str) -> float:
    """A number in [0, 1) from SEED and NAME alone: what is added to a set later moves nothing that is there."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def read_lines(path: Path, what: str) -> list[str]:
    """The lines of a text file, WHAT it should be in words. Raises SpgvtonError."""
    try:
        return read_file(path, MAX_LIST, "lists").decode("utf-8-sig").splitlines()  # Windows begins files with a BOM
    except SpgvtonError as e:
        raise SpgvtonError(f"{e}; {what}") from e
    except UnicodeDecodeError as e:
        raise SpgvtonError(f"{path} is not UTF-8 text; {what}") from e


def read_rows(root: Path, name: str) -> Iterator[Row]:
    """Every line of list NAME, malformed ones too (with their problem). Raises SpgvtonError where there is no list."""
    for number, text in enumerate(read_lines(root / name, "a data set in MPV layout has it"), 1):
        columns = text.split("\t")
        if not text.strip():
            continue
        if len(columns) != 4:
            yield Row(name, number, text, None, "", f"expected 4 tab-separated columns, got {len(columns)}")
        elif columns[3] not in SPLITS:
            yield Row(name, number, text, None, "", f"the last column must be train or test, got '{columns[3]}'")
        else:
            yield Row(name, number, text, Triple(*columns[:3]), columns[3])


def read_pairs(
    root: Path, split: str, *, paired: bool = True, unpaired: bool = False, no_truth: bool = False
) -> list[Triple]:
    """The triples of SPLIT. Raises SpgvtonError for a missing file, a malformed line, or none of this split."""
    names = lists(paired=paired, unpaired=unpaired, no_truth=no_truth)
    triples = []
    for name in names:
        for row in read_rows(root, name):
            if row.triple is None:
                raise SpgvtonError(f"{root / name} line {row.number}: {row.problem}")
            if row.split == split:
                triples.append(row.triple)
    if not triples:
        raise SpgvtonError(f"{root} has no {split} triples in {' or '.join(names)}")
    return triples


TASKS: Final = ("pose", "live", "both")
_POSE: Final = re.compile(r"@(\d+)=")


def exchanges_garment(triple: Triple) -> bool:
    """Source and target are one person in one pose, in two garments: by the names, <item>/<photo>@<pose>=<frame>.jpg.

    That is a row of the live task, whose source is the camera picture and whose target is the picture to show.
    """
    (item, photo), (other_item, other) = (Path(name).parts[-2:] for name in (triple.source, triple.target))
    poses = [_POSE.search(name) for name in (photo, other)]
    return item == other_item and photo != other and None not in poses and poses[0][1] == poses[1][1]  # type: ignore[index]


def of_task(triples: Iterable[Triple], task: str) -> list[Triple]:
    """Those of TRIPLES that TASK trains on. Raises SpgvtonError when there are none of "live"."""
    chosen = [t for t in triples if task != "live" or exchanges_garment(t)]
    if not chosen:
        raise SpgvtonError(
            f"the task 'live' needs rows in {UNPAIRED} that show one person in one pose in two garments: "
            "make them with spgvton synth --unpaired"
        )
    return chosen


@dataclass(frozen=True)
class Exclusions:
    """What to leave out of a data set, e.g. the triples that were found to be noise (section IV-A).

    A file with one entry a line: a picture's name, as the lists of triples have it (every triple with it goes), or a whole
    triple as three or four tab-separated columns (the split does not matter). Empty lines and lines that start with #
    say nothing.
    """

    path: Path
    names: dict[str, int]  # picture -> line number
    triples: dict[Triple, int]

    @staticmethod
    def read(path: str | Path) -> Exclusions:
        """Read a list. Raises SpgvtonError when it cannot be read or a line has another number of columns."""
        file, names, triples = Path(path), {}, {}
        for number, text in enumerate(read_lines(file, "--exclude takes a text file"), 1):
            columns = [c.strip() for c in text.split("\t")]
            if not text.strip() or text.startswith("#"):
                continue
            if len(columns) == 1:
                names[columns[0]] = number
            elif len(columns) in (3, 4):
                triples[Triple(*columns[:3])] = number
            else:
                raise SpgvtonError(f"{file} line {number}: give a picture's name, or 3 or 4 tab-separated columns")
        return Exclusions(file, names, triples)

    def __contains__(self, triple: Triple) -> bool:
        return triple in self.triples or any(name in self.names for name in triple.names)

    def unknown(self, known: Iterable[Triple]) -> list[str]:
        """The entries, with their line numbers, that name nothing among the KNOWN triples of the data set."""
        triples = set(known)
        pictures = {name for triple in triples for name in triple.names}
        lost = [(n, name) for name, n in self.names.items() if name not in pictures]
        lost += [(n, "  ".join(t.names)) for t, n in self.triples.items() if t not in triples]
        return [f"line {number}: {entry}" for number, entry in sorted(lost)]
