"""`spgvton kiosk import`: folders of photographs are cut out, and wait on the kiosk's review page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from spgvton import image
from spgvton.errors import SpgvtonError
from spgvton.kiosk.garments import articles
from spgvton.kiosk.garments.garment import safe_stem
from spgvton.kiosk.garments.review import Review
from spgvton.kiosk.service.config import KioskConfig
from spgvton.kiosk.service.state import REVIEW


def import_photographs(config: KioskConfig, photographs: Sequence[Path]) -> dict[str, int]:
    """Cut the garments of PHOTOGRAPHS out for CONFIG's kiosk, which may be running.

    What is refused, and rows of the shop's list that are wrong, are told on stderr, one line each. Returns how many are
    {waiting, without_garment, already, refused}. Raises SpgvtonError on a full disk.
    """
    review = Review(config.state / REVIEW)
    counts = {"waiting": 0, "without_garment": 0, "already": 0, "refused": 0}
    there = {path.stem for path in config.catalogue.glob("*") if path.suffix.lower() in image.SUFFIXES}
    for problem in _list_problems(config.catalogue):
        _tell(problem)
    for path in tqdm(photographs, unit="picture", desc="import", disable=None, leave=False):
        if safe_stem(path.name) in there:
            counts["already"] += 1
            _tell(f"{path}: the catalogue has a picture of this name already")
            continue
        try:
            data = image.read_bytes(path)
            picture = image.decode_colour(data, str(path), keep_alpha=True)
        except SpgvtonError as e:
            counts["refused"] += 1
            _tell(str(e))
            continue
        entry = review.add(data, path.name, picture)
        counts["without_garment" if entry.problem else "waiting"] += 1
        if entry.problem:
            _tell(f"{path}: {entry.problem}")
    return counts


def _list_problems(folder: Path) -> tuple[str, ...]:
    there = [folder / name for name in articles.FILES if (folder / name).exists()]
    return articles.read(there[0]).problems if there else ()


def _tell(words: str) -> None:
    tqdm.write(f"spgvton kiosk import: {words}", file=sys.stderr)
