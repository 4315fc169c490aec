"""Which triples of a data set can be used: every file is opened once, and what is wrong with it is named.

A photo is refused when a file of it is missing, damaged or of another size, when its map holds ids above 19, nobody, or
no clothes, and when its keypoints are too few or do not lie on the person of the map (those of another resolution do not).
A garment is refused without a mask, or with one that is empty or covers everything. A triple is refused with any of its
parts, when it stands in the list twice, and, in the training split, when its person or garment is in the test split too.

What was found is remembered in DATA/.checked.json with the sizes and times of the files, so a second check reads none.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tqdm import tqdm

from spgvton import files, image
from spgvton import keypoints as kp
from spgvton.errors import SpgvtonError
from spgvton.mask import read_mask
from spgvton.perception.plausibility import why_inconsistent
from spgvton.perception.png_indices import read_labels
from spgvton.video import cv2
from spgvton_training.data.layout import (
    LISTS,
    ClothFiles,
    Exclusions,
    PhotoFiles,
    Row,
    Triple,
    lists,
    read_rows,
)
from spgvton_training.synthetic.flow import read_flow
from spgvton_training.workers import process_pool

REJECTED: Final = "rejected.tsv"
CACHE: Final = ".checked.json"
VERSION: Final = 2  # raise it when the rules change
_SMALL: Final = 64  # files; fewer are not worth starting processes for

Asset = tuple[str, str]  # "photo" or "cloth", and its name


class Rejected(NamedTuple):
    """A triple, or a line of a list that is none, and why it cannot be used."""

    what: str
    reason: str


class Report(NamedTuple):
    good: list[Triple]
    bad: list[Rejected]

    def summary(self) -> str:
        """The count and the commonest kinds of reasons, one line."""
        kinds = Counter(rejected.reason.partition(": ")[0] for rejected in self.bad)
        most = ", ".join(f"{count} x {kind}" for kind, count in kinds.most_common(4))
        if not self.bad:
            return f"{len(self.good)} triples, all good"
        return f"{len(self.bad)} of {len(self.bad) + len(self.good)} triples cannot be used ({most})"


# ------------------------------------------------------------------ one file at a time
def why_bad_photo(root: Path, name: str, label_set: str = "cihp") -> str | None:
    """Why photo NAME cannot be used, as "kind: details"; None where it can."""
    paths = PhotoFiles.of(root, name)
    try:
        picture = image.read(paths.picture)
    except SpgvtonError as e:
        return f"photo unreadable: {e}"
    try:
        labels = read_labels(paths.labels)
    except SpgvtonError as e:
        return f"semantic map unusable: {e}"
    if labels.shape != picture.shape[:2]:
        return f"sizes differ: {paths.labels} is {labels.shape}, its picture {picture.shape[:2]}"
    try:
        points = kp.load_openpose(paths.keypoints)
    except SpgvtonError as e:
        return f"keypoints unusable: {e}"
    reason = why_inconsistent(labels, points, label_set)
    if reason:
        return f"{reason} ({paths.labels}, {paths.keypoints})"
    if paths.flow.exists():
        try:
            flow = read_flow(paths.flow)
        except SpgvtonError as e:
            return f"flow unusable: {e}"
        if flow.shape[:2] != labels.shape:
            return f"sizes differ: {paths.flow} is {flow.shape[:2]}, its picture {labels.shape}"
    return None


def why_bad_cloth(root: Path, name: str) -> str | None:
    """Why garment NAME cannot be used, as "kind: details"; None where it can."""
    paths = ClothFiles.of(root, name)
    try:
        picture = image.read(paths.picture)
    except SpgvtonError as e:
        return f"garment unreadable: {e}"
    try:
        read_mask(paths.mask, (picture.shape[0], picture.shape[1]))
    except SpgvtonError as e:
        return str(e) if str(e).startswith(("garment mask", "sizes differ")) else f"garment unreadable: {e}"
    return None


def _check(job: tuple[Path, Asset, str]) -> str | None:
    root, (kind, name), label_set = job
    cv2.setNumThreads(1)
    return why_bad_photo(root, name, label_set) if kind == "photo" else why_bad_cloth(root, name)


# ------------------------------------------------------------------ all files
def _stamp(root: Path, asset: Asset) -> str:
    """Sizes and times of the files of ASSET, condensed. Missing files count as such."""
    kind, name = asset
    text = ""
    for path in PhotoFiles.of(root, name) if kind == "photo" else ClothFiles.of(root, name):
        try:
            status = os.stat(path)
            text += f"{status.st_size} {status.st_mtime_ns};"
        except OSError:
            text += "-;"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _load_cache(path: Path, label_set: str) -> dict[str, list[str | None]]:
    """What an earlier check found: "kind:name" -> [stamp, reason]. Empty where there is none of these rules."""
    try:
        found = json.loads(path.read_text())
        if found["version"] == VERSION and found["label_set"] == label_set:
            assets: dict[str, list[str | None]] = found["assets"]
            return assets
    except (OSError, ValueError, KeyError, TypeError):
        pass  # a cache: whatever is wrong with it, the files themselves are read
    return {}


def check_assets(root: Path, assets: Sequence[Asset], *, workers: int = 1, label_set: str = "cihp") -> dict[Asset, str]:
    """The ASSETS that cannot be used, with the reason. Shows a progress bar on stderr. Reads only files that changed."""
    cache_file = root / CACHE
    cache = _load_cache(cache_file, label_set)
    stamps = {asset: _stamp(root, asset) for asset in assets}
    todo = [a for a in assets if cache.get(":".join(a), [None])[0] != stamps[a]]
    jobs = [(root, asset, label_set) for asset in todo]
    bar = tqdm(total=len(jobs), desc="check data", unit="file", file=sys.stderr, disable=not jobs, mininterval=0.5)
    with bar:
        for asset, reason in zip(todo, _map(_check, jobs, workers if len(jobs) >= _SMALL else 1)):
            cache[":".join(asset)] = [stamps[asset], reason]
            bar.update()
    if todo and os.access(root, os.W_OK):  # a read-only data set is checked at every start
        content = {"version": VERSION, "label_set": label_set, "assets": cache}
        files.write_text(cache_file, json.dumps(content, separators=(",", ":")))
    found = {asset: cache[":".join(asset)][1] for asset in assets}
    return {asset: reason for asset, reason in found.items() if reason is not None}


def _map(
    work: Callable[[tuple[Path, Asset, str]], str | None], jobs: list[tuple[Path, Asset, str]], workers: int
) -> Iterator[str | None]:
    """WORK of each job in order, here or in WORKERS processes."""
    if workers <= 1:
        yield from map(work, jobs)
        return
    pool = process_pool(workers)
    try:
        yield from pool.map(work, jobs, chunksize=16)
    finally:
        pool.shutdown(cancel_futures=True)


def check_triples(root: str | Path, triples: Iterable[Triple], *, workers: int = 1, label_set: str = "cihp") -> Report:
    """Open every file of TRIPLES once, in WORKERS processes; repeated triples count as bad.

    Returns what is good, in the order given, and what is bad with its reason. Raises SpgvtonError only where the cache
    cannot be written.
    """
    folder, wanted = Path(root), list(triples)
    assets: dict[Asset, None] = {}
    for triple in wanted:
        assets.update({("photo", triple.source): None, ("photo", triple.target): None, ("cloth", triple.cloth): None})
    wrong = check_assets(folder, list(assets), workers=workers, label_set=label_set)
    report, met = Report([], []), set()
    for triple in wanted:
        parts: tuple[Asset, ...] = (("photo", triple.source), ("photo", triple.target), ("cloth", triple.cloth))
        reasons = list(dict.fromkeys(wrong[part] for part in parts if part in wrong))
        if triple in met:
            reasons.append("duplicate: the same triple stands in the lists before")
        met.add(triple)
        if reasons:
            report.bad.append(Rejected("\t".join(triple.names), "; ".join(reasons)))
        else:
            report.good.append(triple)
    return report


# ------------------------------------------------------------------ one split of a data set
def identity(photo: str) -> str:
    """The item of a photo: MPV and everything in its layout keep the pictures of one person in one folder."""
    return photo.rpartition("/")[0] or photo


def _apart(train: list[Triple], test: list[Triple]) -> tuple[list[Triple], list[Rejected]]:
    """TRAIN without what shows a person or garment of TEST; and that, with the reason."""
    people = {identity(name) for t in test for name in (t.source, t.target)}
    garments = {t.cloth for t in test}
    apart, shared = [], []
    for t in train:
        known = [identity(name) for name in (t.source, t.target) if identity(name) in people]
        if known:
            shared.append(Rejected("\t".join(t.names), f"person in train and test: {known[0]}"))
        elif t.cloth in garments:
            shared.append(Rejected("\t".join(t.names), f"garment in train and test: {t.cloth}"))
        else:
            apart.append(t)
    return apart, shared


def examine(
    root: str | Path, split: str, *, paired: bool = True, unpaired: bool = False, no_truth: bool = False,
    exclude: str | Path | None = None, strict: bool = False, allow_overlap: bool = False, workers: int = 1,
    label_set: str = "cihp",
) -> Report:  # fmt: skip
    """What of SPLIT can be used and what cannot; see select_triples(). STRICT concerns the list EXCLUDE only.

    Raises SpgvtonError when a list cannot be read.
    """
    folder = Path(root)
    chosen = lists(paired=paired, unpaired=unpaired, no_truth=no_truth)
    rows = [row for name in LISTS if name in chosen or (folder / name).exists() for row in read_rows(folder, name)]
    mine = [row for row in rows if row.file in chosen]
    malformed = [
        Rejected(f"{row.file} line {row.number}: {row.text}", f"malformed line: {row.problem}")
        for row in mine
        if row.problem
    ]
    wanted = [row.triple for row in mine if row.triple and row.split == split]
    if exclude is not None:
        wanted = _without(Exclusions.read(exclude), wanted, rows, strict=strict)
    overlapping: list[Rejected] = []
    if split == "train" and not allow_overlap:
        wanted, overlapping = _apart(wanted, [row.triple for row in rows if row.triple and row.split == "test"])
    checked = check_triples(folder, wanted, workers=workers, label_set=label_set)
    return Report(checked.good, malformed + overlapping + checked.bad)


def select_triples(root: str | Path, split: str, *, strict: bool = False, **options: Any) -> list[Triple]:
    """The triples of SPLIT that can be used, for `MPV(..., triples=...)`; counts of the others go to stderr.

    strict: refuse instead of skip. OPTIONS are those of examine(): paired, unpaired, no_truth: the lists; exclude: a
    noise list, see layout.Exclusions; allow_overlap: keep training triples whose person or garment is in the test split;
    workers; label_set. What is skipped is listed in DATA/rejected.tsv where that can be written.
    Raises SpgvtonError for a missing list, in strict mode for anything bad, and where nothing is left.
    """
    report = examine(root, split, strict=strict, **options)
    if report.bad:
        tell(Path(root), report, strict=strict)
    if not report.good:
        raise SpgvtonError(f"{root} has no {split} triple that can be used: {report.summary()}")
    return report.good


def _without(exclusions: Exclusions, wanted: list[Triple], rows: Sequence[Row], *, strict: bool) -> list[Triple]:
    """WANTED without what is excluded; entries that name nothing in the data set are named."""
    unknown = exclusions.unknown(row.triple for row in rows if row.triple)
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        words = (
            f"{exclusions.path}: {len(unknown)} entries name nothing in the data set: {'; '.join(unknown[:5])}{more}"
        )
        if strict:
            raise SpgvtonError(words)
        print(words, file=sys.stderr)
    kept = [triple for triple in wanted if triple not in exclusions]
    print(f"{exclusions.path}: {len(wanted) - len(kept)} of {len(wanted)} triples are left out", file=sys.stderr)
    return kept


def tell(root: Path, report: Report, *, strict: bool) -> None:
    """Write the full list and say where. Raises SpgvtonError in strict mode."""
    try:
        where = f"; see {write_rejected(root, report.bad)}"
    except SpgvtonError as e:
        where = f"; the list is not written: {e}"
    if strict:
        raise SpgvtonError(f"{root}: {report.summary()}{where}")
    print(f"{root}: skipped: {report.summary()}{where}", file=sys.stderr)


def write_rejected(root: Path, rejected: Iterable[Rejected], name: str = REJECTED) -> Path:
    """Write DATA/rejected.tsv atomically: reason first, then the columns of the triple. Raises SpgvtonError."""
    path = root / name
    files.write_text(path, "".join(f"{r.reason.replace(chr(9), ' ')}\t{r.what}\n" for r in rejected))
    return path
