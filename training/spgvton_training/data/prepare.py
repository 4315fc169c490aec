"""Make a data set in MPV layout from one's own photos, or from DeepFashion; what `spgvton prepare` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from spgvton import files, image
from spgvton.errors import SpgvtonError
from spgvton_training.data import deepfashion, own_photos
from spgvton_training.data import garments as gm
from spgvton_training.data.check import Rejected, write_rejected
from spgvton_training.data.layout import NO_TRUTH, SPLITS, Exclusions, Triple, read_pairs
from spgvton_training.data.overlays import Entry, write_sheets
from spgvton_training.data.perceive import SETTINGS, Settings, check_settings, is_made, make_photos

REJECTED: Final = "rejected_photos.tsv"
README: Final = "no_truth.txt"
_NO_TRUTH_NOTE: Final = f"""\
{NO_TRUTH}: source, target, cloth, split. TARGET gives the pose only: nobody here wears CLOTH, so there is no true
picture of the try-on. Evaluate with IS and FID; SSIM, PSNR and the like would compare with the wrong garment.
"""


class Prepared(NamedTuple):
    """What was made. rows: "train" and "test" -> triples in all lists."""

    photos: int
    rejected: list[Rejected]
    rows: dict[str, int]
    sheets: list[Path]

    def summary(self, root: Path) -> str:
        train, test = (self.rows.get(split, 0) for split in SPLITS)
        text = f"{root}: {self.photos} photos, {train} train and {test} test triples"
        if self.rejected:
            text += f"; {len(self.rejected)} files refused, see {root / REJECTED}"
        return text


def _finish(
    root: Path, entries: Sequence[Entry], rows: dict[str, list[tuple[Triple, str]]], rejected: list[Rejected]
) -> Prepared:
    """Write overlays, lists and refusals."""
    sheets = write_sheets(root, entries)
    own_photos.write_rows(root, rows)
    write_rejected(root, rejected, REJECTED)
    count = {split: sum(s == split for lines in rows.values() for _, s in lines) for split in SPLITS}
    return Prepared(len(entries), rejected, count, sheets)


def prepare_photos(
    photos: str | Path, garments: str | Path, out: str | Path, settings: Settings, *, seed: int = 0,
    test_fraction: float = 0.2, share_garments: bool = False, exclude: str | Path | None = None, workers: int = 1,
) -> Prepared:  # fmt: skip
    """PHOTOS/<person>/* and GARMENTS/* -> OUT in MPV layout; see own_photos for the two folders.

    exclude: a list of photos (names as in overlays/index.tsv) that a human has rejected. Photos that are there already
    are not made again; the lists are written anew. Raises SpgvtonError when a folder cannot be read or written, UsageError
    when OUT was prepared with other settings.
    """
    root = Path(out)
    known = gm.list_garments(Path(garments))
    if not known:
        raise SpgvtonError(f"{garments} has no garment pictures ({', '.join(sorted(image.SUFFIXES))})")
    wanted, rejected = own_photos.list_photos(Path(photos), known)
    unwanted = Exclusions.read(exclude).names if exclude is not None else {}
    files.own_folder(root, SETTINGS)
    check_settings(root, settings)

    worn = {photo.garment for photo in wanted}
    bad = gm.make_garments(root, {name: source for name, source in known.items() if name in worn}, settings.size)
    refused = {Path(r.what).stem: r.reason for r in bad}
    rejected += bad
    rejected += [
        Rejected(str(p.job.source), f"garment unusable: {refused[p.garment]}") for p in wanted if p.garment in refused
    ]
    wanted = [p for p in wanted if p.garment not in refused]
    rejected += make_photos(root, [p.job for p in wanted], settings, workers=workers)
    shown = [p for p in wanted if is_made(root, p.job.name)]
    good = [p for p in shown if p.job.name not in unwanted]
    rejected += [Rejected(str(p.job.source), f"excluded: by {exclude}") for p in shown if p.job.name in unwanted]
    names = {p.job.name for p in shown}
    rejected += [Rejected(f"{exclude}: {name}", "no such photo") for name in unwanted if name not in names]

    split = own_photos.split_people(good, seed, test_fraction, share_garments=share_garments)
    entries = [(p.job.name, gm.cloth_name(p.garment)) for p in shown]
    return _finish(root, entries, own_photos.pair_rows(good, split), rejected)


def prepare_deepfashion(
    folder: str | Path, garments: str | Path, out: str | Path, settings: Settings, *, count: int = 10_000,
    train_count: int = 0, seed: int = 0, test_fraction: float = 0.2, workers: int = 1,
) -> Prepared:  # fmt: skip
    """COUNT test (and TRAIN_COUNT train) triples of DeepFashion FOLDER with garments of the test split of the MPV data
    set GARMENTS -> OUT, without ground truth (data_pair_no_truth.txt); see deepfashion.

    Raises SpgvtonError when a folder cannot be read or written, UsageError when OUT was prepared with other settings.
    """
    root, other = Path(out), Path(garments)
    views = deepfashion.list_views(Path(folder))
    partition = deepfashion.read_partition(Path(folder))
    cloths = sorted({triple.cloth for triple in read_pairs(other, "test")})
    files.own_folder(root, SETTINGS)
    check_settings(root, settings)
    usable, rejected = gm.link_garments(root, other, cloths)
    if not usable:
        raise SpgvtonError(f"{other} has no usable garment in its test split: {rejected[0].reason}")
    rows: list[tuple[Triple, str]] = []
    for split, mine in deepfashion.by_split(views, partition, seed, test_fraction).items():
        wanted = count if split == "test" else train_count
        if wanted:
            triples, refused = deepfashion.draw_pairs(
                root, mine, usable, settings, count=wanted, seed=seed, workers=workers
            )
            rows += [(triple, split) for triple in triples]
            rejected += refused
    files.write_text(root / README, _NO_TRUTH_NOTE)
    photos = sorted({name for triple, _ in rows for name in (triple.source, triple.target)})
    return _finish(root, [(name, "") for name in photos], {NO_TRUTH: rows}, rejected)
