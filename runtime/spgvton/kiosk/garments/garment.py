"""One garment of the catalogue: what it is called by files, addresses and people."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from spgvton.kiosk.garments.articles import UNLISTED, Article

Stamp = tuple[tuple[int, int] | None, ...]  # (mtime_ns, size) of picture, mask and name

MAX_NAME: Final = 60


@dataclass(frozen=True)
class Garment:
    """One entry. problem: why it cannot be worn, or None (also while nobody has looked at its picture yet). article: the shop's words."""

    id: str
    name: str
    picture: Path
    stamp: Stamp
    problem: str | None = None
    article: Article = UNLISTED

    @cached_property
    def key(self) -> str:
        """Changes with the files."""
        text = os.fsencode(self.picture) + repr(self.stamp).encode()
        return hashlib.sha256(text).hexdigest()[:32]


def slug(text: str) -> str:
    """TEXT as lower-case letters, digits and hyphens, at most 40; may be empty."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")


def garment_id(stem: str) -> str:
    """What a file is called in URLs: its own name where that is plain, otherwise with a hash that tells it apart."""
    plain = slug(stem)
    return plain if plain == stem else f"{plain or 'garment'}-{hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]}"


def clean_name(text: str) -> str:
    """One printable line of at most 60 characters; may be empty."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MAX_NAME].strip()


def safe_stem(file: str) -> str:
    """FILE, as a browser or a folder names it, without folders, suffix and what no file of the catalogue may have; may be empty."""
    stem = Path(file.replace("\\", "/")).stem.encode("utf-8", "replace").decode()
    stem = "".join(c for c in stem if c.isprintable() and c != "/").lstrip(". ")[:80].rstrip(". ")
    return stem.removesuffix("_mask")


def readable(stem: str) -> str:
    """The name for people of a file that is called STEM; may be empty."""
    return clean_name(stem.replace("_", " ").replace("-", " ")).capitalize()


def scan(folder: Path) -> dict[str, tuple[int, int]]:
    """(mtime_ns, size) of the ordinary files in FOLDER, by name. Raises OSError."""
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                status = entry.stat()
            except OSError:  # a link to nothing, or in a circle
                continue
            if stat.S_ISREG(status.st_mode):
                found[entry.name] = (status.st_mtime_ns, status.st_size)
    return found
