"""What the samples are made of, in memory: photographs with and without masks, rendered garments, pictures of people."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import image
from spgvton.errors import SpgvtonError
from spgvton.perception.cutout import KINDS, SLEEVES
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]

SIDE: Final = 320  # pixels on the long side of what is kept
FOLDERS: Final = {
    "t-shirt": "t-shirt", "longsleeve": "long sleeve", "shirt": "shirt", "dress": "dress", "outwear": "outerwear",
    "trousers": "trousers", "shoes": "shoes", "worn": "worn", "nothing": "nothing",
}  # fmt: skip
UNKNOWN: Final = -1


@dataclass(frozen=True)
class Piece:
    """picture: RGB uint8 (h, w, 3). mask: uint8 (h, w), 255 = garment; None where nobody has drawn one.
    kind, sleeve: indices of KINDS and SLEEVES, or UNKNOWN."""

    picture: UInt8
    mask: UInt8 | None
    kind: int
    sleeve: int
    name: str = ""

    def drawn(self) -> UInt8:
        """The mask of a piece that has one."""
        assert self.mask is not None
        return self.mask


def shrink(picture: UInt8, side: int = SIDE) -> UInt8:
    """PICTURE with its long side at most SIDE."""
    scale = min(1.0, side / max(picture.shape[:2]))
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return np.ascontiguousarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def read_list(path: Path) -> dict[str, str]:
    """Lines "folder/name.jpg value", or a CSV table -> {name: value}; without a value, "". Raises SpgvtonError."""
    try:
        text = path.read_text().replace(",", " ")
        lines = [line.split() for line in text.splitlines() if line.strip() and line[0] != "#"]
    except OSError as e:
        raise SpgvtonError(f"cannot read {path}: {e.strerror or e}") from e
    return {words[0]: " ".join(words[1:]) for words in lines}


def names(root: Path, leave_out: Iterable[str]) -> list[str]:
    """The photographs "folder/name" under ROOT's folders of kinds (FOLDERS), but for those of LEAVE_OUT. Raises SpgvtonError."""
    out = set(leave_out)
    found = sorted(
        f"{folder}/{file.name}"
        for folder in FOLDERS
        for file in (root / folder).glob("*")
        if file.suffix.lower() in image.SUFFIXES
    )
    kept = [name for name in found if name not in out]
    if not kept:
        raise SpgvtonError(f"{root} holds no photographs in folders named {', '.join(FOLDERS)}")
    return kept


def read(root: Path, masks: Path | None, listed: Sequence[str], sleeves: dict[str, str]) -> list[Piece]:
    """The photographs LISTED under ROOT, with masks of the same name (.png) under MASKS where there are any."""
    pieces = []
    for name in listed:
        picture = image.read_colour(root / name, keep_alpha=False)
        mask = None
        file = masks / Path(name).with_suffix(".png") if masks else None
        if file is not None and file.is_file():
            found = np.asarray(image.read_colour(file, keep_alpha=False))[..., 0]
            mask = shrink(np.ascontiguousarray(cv2.resize(found, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)))
        sleeve = sleeves.get(name, "?")
        pieces.append(
            Piece(
                shrink(picture),
                mask,
                KINDS.index(FOLDERS[name.split("/")[0]]),
                SLEEVES.index(sleeve) if sleeve in SLEEVES else UNKNOWN,
                name,
            )
        )
    return pieces


def digest(root: Path, listed: Sequence[str]) -> str:
    """SHA-256 over names and bytes of the files LISTED under ROOT, for provenance."""
    total = hashlib.sha256()
    for name in sorted(listed):
        total.update(name.encode() + b"\0" + hashlib.sha256((root / name).read_bytes()).digest())
    return total.hexdigest()
