"""Contact sheets of what was found on each photo, so that a human can reject what perception got wrong.

OVERLAYS/sheet_0000.jpg ... show photo, skeleton, semantic map, garment and garment mask of 12 photos each, with their
names; OVERLAYS/index.tsv lists sheet <tab> photo. A name copied from there into a text file is what `--exclude` takes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from spgvton import files, image
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.stream.compose import draw_keypoints, fit, text
from spgvton.video import cv2
from spgvton_training.data.layout import ClothFiles, PhotoFiles

UInt8 = NDArray[np.uint8]
Entry = tuple[str, str]  # photo and garment, names under images/; garment "" = none

FOLDER: Final = "overlays"
COLUMNS, ROWS = 2, 6
PER_SHEET: Final = COLUMNS * ROWS
CELL: Final = (256, 192)
CELLS: Final = 5
HEAD: Final = 20
PAPER: Final = 24


def draw(root: Path, entry: Entry) -> UInt8:
    """The strip (H, W, 3) of one photo. Raises SpgvtonError when a file of it cannot be read."""
    photo, cloth = entry
    paths = PhotoFiles.of(root, photo)
    picture = image.read(paths.picture)
    labels = image.read(paths.labels, flags=cv2.IMREAD_UNCHANGED)
    skeleton = (picture * 0.5).astype(np.uint8)
    draw_keypoints(skeleton, kp.load_openpose(paths.keypoints))
    blended = np.where(labels[..., None] > 0, 0.35 * picture + 0.65 * lb.colourise(labels), 0.35 * picture)
    cells = [picture, skeleton, blended.astype(np.uint8)]
    if cloth:
        garment = ClothFiles.of(root, cloth)
        cells += [image.read(garment.picture), image.read(garment.mask)]
    strip = np.full((HEAD + CELL[0], CELLS * CELL[1], 3), PAPER, np.uint8)
    for i, cell in enumerate(cells):
        strip[HEAD:, i * CELL[1] : (i + 1) * CELL[1]] = fit(cell, CELL)
    text(strip, f"{photo}   {cloth}", (4, 14), size=0.42)
    return strip


def _newest(root: Path, entry: Entry) -> int:
    photo, cloth = entry
    paths = [*PhotoFiles.of(root, photo)[:3], *(ClothFiles.of(root, cloth) if cloth else ())]
    return max(path.stat().st_mtime_ns for path in paths)


def write_sheets(root: Path, entries: Sequence[Entry]) -> list[Path]:
    """Write the sheets of ENTRIES and their index; what is up to date stays. Returns their paths. Raises SpgvtonError."""
    folder = files.make_folder(root / FOLDER)
    pages = [list(entries[i : i + PER_SHEET]) for i in range(0, len(entries), PER_SHEET)]
    sheets = [folder / f"sheet_{number:04d}.jpg" for number in range(len(pages))]
    index = folder / "index.tsv"
    shown: dict[str, list[str]] = {}
    for line in index.read_text().splitlines() if index.exists() else []:
        name, _, rest = line.partition("\t")
        shown.setdefault(name, []).append(rest)
    for sheet, page in zip(sheets, tqdm(pages, desc="overlays", unit="sheet", file=sys.stderr, disable=not pages)):
        current = sheet.exists() and shown.get(sheet.name) == ["\t".join(entry) for entry in page]
        if current and sheet.stat().st_mtime_ns >= max(_newest(root, entry) for entry in page):
            continue
        strips = [draw(root, entry) for entry in page]
        strips += [np.full_like(strips[0], PAPER)] * (-len(strips) % COLUMNS)
        rows = [np.hstack(strips[i : i + COLUMNS]) for i in range(0, len(strips), COLUMNS)]
        image.write(sheet, np.vstack(rows), quality=90)
    for old in set(folder.glob("sheet_*.jpg")) - set(sheets):
        old.unlink()
    lines = (f"{sheet.name}\t{photo}\t{cloth}\n" for sheet, page in zip(sheets, pages) for photo, cloth in page)
    files.write_text(index, "".join(lines))
    return sheets
