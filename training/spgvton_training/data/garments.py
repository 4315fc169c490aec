"""In-shop pictures of one's own -> the MPV layout: mask found or given, letterboxed, white around, as the runtime does."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import numpy as np

from spgvton import files, image
from spgvton.errors import SpgvtonError
from spgvton.mask import read_mask
from spgvton.perception.garment_mask import garment_mask
from spgvton_training.data.check import Rejected, why_bad_cloth
from spgvton_training.data.layout import ClothFiles

ITEM: Final = "_garments"  # the folder of all of them under images/; no person is called so
JPEG_QUALITY: Final = 97


def pictures(folder: Path) -> list[Path]:
    """The picture files of FOLDER by name; hidden ones are left out. Raises SpgvtonError where there is no folder."""
    try:
        found = sorted(folder.iterdir())
    except OSError as e:
        raise SpgvtonError(f"cannot read folder {folder}: {e.strerror or e}") from e
    return [f for f in found if f.is_file() and f.suffix.lower() in image.SUFFIXES and not f.name.startswith(".")]


def cloth_name(stem: str) -> str:
    """Name under images/ of the garment called STEM."""
    return f"{ITEM}/{stem}=cloth_front.jpg"


def list_garments(folder: Path) -> dict[str, Path]:
    """Name -> in-shop picture; <name>_mask.* beside it is its mask and no garment. Raises SpgvtonError for two of a name."""
    found: dict[str, Path] = {}
    for file in pictures(folder):
        if file.stem.endswith("_mask"):
            continue
        if file.stem in found:
            raise SpgvtonError(f"{folder} has {found[file.stem].name} and {file.name}: give each garment its own name")
        found[file.stem] = file
    return found


def make_garment(root: Path, source: Path, size: tuple[int, int]) -> str | None:
    """Write the picture and mask of one garment, the picture last. Returns why not; raises SpgvtonError on writing."""
    paths = ClothFiles.of(root, cloth_name(source.stem))
    if paths.picture.is_file() and paths.mask.is_file():
        return None
    given = [
        f for f in (source.with_name(f"{source.stem}_mask{suffix}") for suffix in sorted(image.SUFFIXES)) if f.is_file()
    ]
    try:
        picture = image.read_colour(source, keep_alpha=not given)
        mask = read_mask(given[0], (picture.shape[0], picture.shape[1])) if given else garment_mask(picture)
    except SpgvtonError as e:
        return str(e).replace("--garment-mask", f"its mask as {source.stem}_mask.png")
    box = image.Letterbox.fit((picture.shape[0], picture.shape[1]), size)
    fitted = np.asarray(box.apply(np.ascontiguousarray(picture[..., :3])), np.uint8)
    alpha = np.asarray(box.apply(mask, border=0), np.uint8)
    fitted[alpha == 0] = 255  # as the networks see it; the loader blends the outline
    for path in paths:
        files.make_folder(path.parent)
    image.write(paths.mask, alpha)
    image.write(paths.picture, fitted, quality=JPEG_QUALITY)
    return None


def make_garments(root: Path, garments: dict[str, Path], size: tuple[int, int]) -> list[Rejected]:
    """Make all GARMENTS (name -> picture). Returns what was refused. Raises SpgvtonError when ROOT cannot be written."""
    reasons = ((source, make_garment(root, source, size)) for source in garments.values())
    return [Rejected(str(source), reason) for source, reason in reasons if reason]


def link_garments(root: Path, other: Path, names: list[str]) -> tuple[list[str], list[Rejected]]:
    """Take garments NAMES over from OTHER, a data set in MPV layout: hard links, or copies on another disk.

    Returns the names that can be used, and what is refused. Raises SpgvtonError when ROOT cannot be written.
    """
    good, rejected = [], []
    for name in names:
        reason = why_bad_cloth(other, name)
        if reason:
            rejected.append(Rejected(name, reason))
            continue
        for old, new in zip(ClothFiles.of(other, name), ClothFiles.of(root, name)):
            files.make_folder(new.parent)
            if not new.exists():
                with files.atomic_path(new) as temporary:
                    try:
                        os.link(old, temporary)
                    except OSError:
                        shutil.copyfile(old, temporary)
        good.append(name)
    return good, rejected
