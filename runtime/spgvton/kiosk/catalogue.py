"""The catalogue: a watched folder of garments.

    shirt.jpg          the garment: an in-shop picture on a plain background (an alpha channel serves as mask)
    shirt_mask.png     optional: white where the garment is; found on the picture otherwise
    shirt.txt          optional: the name that people read; otherwise the file's

Files may be added, exchanged and removed while the kiosk runs. A file that cannot be used is listed with its problem, and
is looked at again when it changes (so a copy under way becomes a garment once it is complete).
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import image
from spgvton.errors import SpgvtonError
from spgvton.files import make_folder, write_text
from spgvton.kiosk.uploads import jpeg, smaller
from spgvton.mask import read_mask
from spgvton.perception.garment_mask import garment_mask
from spgvton.stream.compose import card

log = logging.getLogger(__name__)
UInt8 = NDArray[np.uint8]
Stamp = tuple[tuple[int, int] | None, ...]  # (mtime_ns, size) of picture, mask and name

MASK: Final = "_mask"
MAX_GARMENTS: Final = 500
MAX_NAME: Final = 60
THUMBNAIL: Final = 240  # pixels
POLL_S: Final = 1.0
PREPARED: Final = 8  # garments whose pixels stay in memory
PREPARING: Final = 2  # at a time: a picture of 24 megapixels is 72 MB decoded


@dataclass(frozen=True)
class Garment:
    """One entry. thumbnail: JPEG, 240 x 240. problem: why it cannot be worn, or None."""

    id: str
    name: str
    picture: Path
    stamp: Stamp
    thumbnail: bytes
    problem: str | None = None


def slug(text: str) -> str:
    """TEXT as lower-case letters, digits and hyphens, at most 40; may be empty."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")


def garment_id(stem: str) -> str:
    """What a file is called in URLs: its own name where that is plain, otherwise with a hash that tells it apart."""
    plain = slug(stem)
    return plain if plain == stem else f"{plain or 'garment'}-{hashlib.sha256(stem.encode()).hexdigest()[:8]}"


def clean_name(text: str) -> str:
    """One printable line of at most 60 characters; may be empty."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MAX_NAME].strip()


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


class Catalogue:
    """The garments of FOLDER, which is created where it is missing. Thread-safe; watch() until close()."""

    def __init__(self, folder: Path) -> None:
        self.folder = make_folder(folder)
        self.problem: str | None = None  # of the folder itself
        self._garments: dict[str, Garment] = {}
        self._prepared: OrderedDict[tuple[str, Stamp], tuple[UInt8, UInt8]] = OrderedDict()
        self._checked: dict[str, Stamp] = {}  # garments that were loaded once
        self._lock = threading.Lock()  # of the three above
        self._looking = threading.Lock()
        self._writing = threading.Lock()
        self._preparing = threading.Semaphore(PREPARING)
        self._closing = threading.Event()
        self.refresh()

    def watch(self, on_change: Callable[[], None]) -> None:
        """Look at the folder every second until close(); ON_CHANGE is called after the list changed."""

        def look() -> None:
            told = ""
            while not self._closing.wait(POLL_S):
                try:
                    changed = self.refresh()
                    if self._check_next() or changed:
                        on_change()
                except Exception as e:  # one bad picture must not be the last that was looked at
                    if str(e) != told:
                        log.exception("the catalogue could not be looked at")
                    told = str(e)

        threading.Thread(target=look, name="spgvton-catalogue", daemon=True).start()

    def close(self) -> None:
        """Stop watching."""
        self._closing.set()

    def garments(self) -> list[Garment]:
        """All entries by name, unusable ones included."""
        with self._lock:
            return sorted(self._garments.values(), key=lambda g: (g.name.casefold(), g.id))

    def get(self, garment: str) -> Garment | None:
        with self._lock:
            return self._garments.get(garment)

    def refresh(self) -> bool:
        """Look at the folder now. True when the list changed."""
        with self._looking:
            return self._look()

    def _look(self) -> bool:
        try:
            files = sorted(
                p for p in self.folder.iterdir() if p.suffix.lower() in image.SUFFIXES and self._is_garment(p)
            )
        except OSError as e:
            problem = f"cannot read {self.folder}: {e.strerror or e}"
            changed, self.problem = problem != self.problem, problem
            return changed  # what is known stays: a network folder may come back
        self.problem = None
        if len(files) > MAX_GARMENTS:
            self.problem = f"{self.folder} has {len(files)} pictures; the first {MAX_GARMENTS} are shown"
        before = dict(self._garments)
        after: dict[str, Garment] = {}
        for path in files[:MAX_GARMENTS]:
            entry = self._entry(path, before.get(garment_id(path.stem)), after)
            after[entry.id] = entry
        with self._lock:
            self._garments = after
            self._checked = {key: stamp for key, stamp in self._checked.items() if key in after}
            self._prepared = OrderedDict(
                (key, value)
                for key, value in self._prepared.items()
                if key[0] in after and after[key[0]].stamp == key[1]
            )
        return after != before

    @staticmethod
    def _is_garment(path: Path) -> bool:
        return not path.name.startswith(".") and not path.stem.endswith(MASK) and path.is_file()

    def _entry(self, path: Path, known: Garment | None, taken: dict[str, Garment]) -> Garment:
        """The entry of PATH; what did not change is not read again."""
        own = garment_id(path.stem)
        if own in taken:
            own = garment_id(path.name)  # shirt.jpg and shirt.png
            known = self._garments.get(own)
        mask, name_file = self._mask_of(path), path.with_suffix(".txt")
        stamp = (_stamp(path), _stamp(mask), _stamp(name_file))
        if known and known.picture == path and known.stamp == stamp:
            return known
        name = clean_name(path.stem.replace("_", " ").replace("-", " ")).capitalize()
        if own in taken or any(g.picture.stem == path.stem for g in taken.values()):
            return Garment(own, name, path, stamp, b"", f"another picture is called {path.stem} too: rename one")
        try:
            if stamp[2]:
                name = clean_name(name_file.read_bytes()[:1000].decode("utf-8", "replace")) or name
            picture = image.read_colour(path, keep_alpha=True)
            return Garment(own, name, path, stamp, jpeg(card(smaller(picture, 2 * THUMBNAIL), THUMBNAIL)))
        except (SpgvtonError, OSError) as e:
            return Garment(own, name, path, stamp, b"", str(e).replace(f"{self.folder}/", ""))

    @staticmethod
    def _mask_of(picture: Path) -> Path:
        return picture.with_name(f"{picture.stem}{MASK}.png")

    def _check_next(self) -> bool:
        """Prepare one garment that nobody has worn yet, so that an unusable one is known before it is touched.

        True when one turned out unusable.
        """
        with self._lock:
            new = [g.id for g in self._garments.values() if not g.problem and self._checked.get(g.id) != g.stamp]
        if not new:
            return False
        try:
            self.load(new[0])
        except SpgvtonError:
            return True
        return False

    def load(self, garment: str) -> tuple[UInt8, UInt8]:
        """Picture RGB (H, W, 3) and mask (H, W), 255 = garment, at most 1200 pixels on a side.

        Raises SpgvtonError when there is no such garment, or its mask is neither given nor found; then it is listed so.
        """
        entry = self.get(garment)
        if entry is None:
            raise SpgvtonError(f"there is no garment '{garment}'")
        if entry.problem:
            raise SpgvtonError(f"{entry.name} cannot be worn: {entry.problem}")
        key = (entry.id, entry.stamp)
        with self._lock:
            if key in self._prepared:
                self._prepared.move_to_end(key)
                return self._prepared[key]
        try:
            with self._preparing:
                prepared = self._prepare(entry)
        except SpgvtonError as e:
            problem = str(e).replace("give --garment-mask", f"put {self._mask_of(entry.picture).name} beside it")
            problem = problem.replace(f"{self.folder}/", "")
            with self._lock:
                if self._garments.get(garment) is entry:
                    self._garments[garment] = replace(entry, problem=problem)
            raise SpgvtonError(f"{entry.name} cannot be worn: {problem}") from e
        with self._lock:
            self._checked[entry.id] = entry.stamp
            self._prepared[key] = prepared
            while len(self._prepared) > PREPARED:
                self._prepared.popitem(last=False)
        return prepared

    def _prepare(self, entry: Garment) -> tuple[UInt8, UInt8]:
        picture = image.read_colour(entry.picture, keep_alpha=True)
        given = self._mask_of(entry.picture)
        if not given.is_file():
            picture = smaller(picture)
            return np.ascontiguousarray(picture[..., :3]), garment_mask(picture)
        mask = read_mask(given, (picture.shape[0], picture.shape[1]))
        return np.ascontiguousarray(smaller(picture)[..., :3]), np.where(smaller(mask) > 127, 255, 0).astype(np.uint8)

    def save(self, picture: UInt8, mask: UInt8, name: str) -> Garment:
        """Add a garment: picture RGB (H, W, 3), mask (H, W). The file is named after NAME, never overwriting another.

        Raises SpgvtonError (full disk, read-only folder); then nothing of it stays.
        """
        name = clean_name(name)
        with self._writing:
            stem = self._free_stem(slug(name) or "garment")
            target = self.folder / f"{stem}.png"
            mask_file, name_file = self._mask_of(target), target.with_suffix(".txt")
            try:
                image.write(mask_file, mask)
                write_text(name_file, name or stem)
                image.write(target, picture)  # last: the garment is there once it is complete
            except SpgvtonError:
                mask_file.unlink(missing_ok=True)
                name_file.unlink(missing_ok=True)
                raise
        self.refresh()
        saved = self.get(stem)
        if saved is None:
            raise SpgvtonError(f"{target} was written but is not there: is {self.folder} changed by something else?")
        return saved

    def _free_stem(self, stem: str) -> str:
        used = {path.stem for path in self.folder.iterdir()}
        number = 2
        free = stem
        while free in used or f"{free}{MASK}" in used:
            free, number = f"{stem}-{number}", number + 1
        return free

    def remove(self, garment: str) -> bool:
        """Delete a garment's files; False when there is no such garment. Raises SpgvtonError."""
        entry = self.get(garment)
        if entry is None:
            return False
        try:
            for path in (entry.picture, self._mask_of(entry.picture), entry.picture.with_suffix(".txt")):
                path.unlink(missing_ok=True)
        except OSError as e:
            raise SpgvtonError(f"cannot remove {entry.picture.name}: {e.strerror or e}") from e
        self.refresh()
        return True
