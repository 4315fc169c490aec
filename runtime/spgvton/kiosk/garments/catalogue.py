"""The catalogue: a watched folder of garments.

    shirt.jpg          the garment, photographed lying or hanging (an alpha channel serves as mask)
    shirt_mask.png     optional: white where the garment is; found on the picture otherwise
    shirt.txt          optional: the name that people read; otherwise the file's
    catalogue.csv      optional: names, categories, sizes, prices, SKUs of all of them (articles.py); or catalogue.yaml

Files may be added, exchanged and removed while the kiosk runs. A file that cannot be used is listed with its problem, and
is looked at again when it changes (so a copy under way becomes a garment once it is complete). Only ordinary files in the
folder itself are read: no pipe, device or link that leads out of it can stop the kiosk or be shown by it.

The list is there at once, however long; pictures are looked at one by one in the background (thumbnails.py), and not
before the mirror has had a second to show its first picture.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import image
from spgvton.errors import SpgvtonError
from spgvton.files import make_folder, printable, read_file, write_text
from spgvton.kiosk.garments import articles
from spgvton.kiosk.garments.articles import UNLISTED, Article, Articles
from spgvton.kiosk.garments.garment import Garment, Stamp, clean_name, garment_id, readable, scan, slug
from spgvton.kiosk.garments.thumbnails import Thumbnails
from spgvton.kiosk.pictures import jpeg, smaller
from spgvton.mask import read_mask
from spgvton.perception.garment_mask import garment_mask
from spgvton.stream.compose import card

log = logging.getLogger(__name__)
UInt8 = NDArray[np.uint8]

MASK: Final = "_mask"
MAX_GARMENTS: Final = 5000
THUMBNAIL: Final = 240  # pixels
POLL_S: Final = 1.0
AT_ONCE_S: Final = 0.5  # what a look at the folder may take for new pictures; the others are left to the background
MIN_PAUSE_S: Final = 0.05  # between two garments that are looked at in the background
PREPARED: Final = 4  # garments whose pixels, up to 9 MB each, stay in memory
PREPARING: Final = 2  # at a time: a picture of 24 megapixels is 72 MB decoded


class Catalogue:
    """The garments of FOLDER, which is created where it is missing. Thread-safe; watch() until close().

    thumbnails: the folder where they are kept over restarts; None = in memory.
    """

    def __init__(self, folder: Path, thumbnails: Path | None = None) -> None:
        self.folder = make_folder(folder)
        self.problem: str | None = None  # of the folder itself
        self.list_problems: tuple[str, ...] = ()  # of the shop's list, one line each
        self._list: tuple[str, tuple[int, int]] | None = None  # name and stamp of the list that was read
        self._articles = articles.NOTHING
        self._thumbnails = Thumbnails(
            thumbnails, lambda picture: jpeg(card(smaller(picture, 2 * THUMBNAIL), THUMBNAIL))
        )
        self._garments: dict[str, Garment] = {}
        self._new: list[Garment] = []  # those without a thumbnail, the last one first; others may be among them
        self._prepared: OrderedDict[tuple[str, Stamp], tuple[UInt8, UInt8]] = OrderedDict()
        self._checked: dict[str, Stamp] = {}  # garments that were loaded once
        self._lock = threading.Lock()  # of the four above
        self._looking = threading.Lock()
        self._writing = threading.Lock()
        self._preparing = threading.Semaphore(PREPARING)
        self._closing = threading.Event()
        with self._looking:
            self._look()

    def watch(self, on_change: Callable[[], None]) -> None:
        """Look at the folder every second until close(); ON_CHANGE is called after the list changed."""

        def look() -> None:
            told = ""
            pause = POLL_S
            looked = time.monotonic()
            while not self._closing.wait(pause):
                pause = POLL_S
                try:
                    changed = False
                    if time.monotonic() - looked >= POLL_S:
                        changed = self.refresh()
                        looked = time.monotonic()
                    began = time.monotonic()
                    problem = self._check_next()
                    if problem is not None:  # there was one; the loop needs the processor, too
                        pause = min(POLL_S, max(MIN_PAUSE_S, time.monotonic() - began))
                    if problem or changed:
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
            changed = self._look()
            end = time.monotonic() + AT_ONCE_S
            while time.monotonic() < end and (new := self._next_without_thumbnail()):
                self._draw(new)
            return changed

    def _look(self) -> bool:
        try:
            found = scan(self.folder)
        except OSError as e:
            problem = printable(f"cannot read {self.folder}: {e.strerror or e}")
            changed, self.problem = problem != self.problem, problem
            return changed  # what is known stays: a network folder may come back
        self.problem = None
        names = sorted(name for name in found if self._is_garment(Path(name)))
        if len(names) > MAX_GARMENTS:
            self.problem = printable(f"{self.folder} has {len(names)} pictures; the first {MAX_GARMENTS} are shown")
        list_before = self.list_problems
        self._read_list(found)
        before = dict(self._garments)
        after: dict[str, Garment] = {}
        stems: set[str] = set()
        for name in names[:MAX_GARMENTS]:
            path = self.folder / name
            own = garment_id(path.stem)
            if own in after:
                own = garment_id(path.name)  # shirt.jpg and shirt.png
            after[own] = self._entry(own, path, found, before.get(own), twice=path.stem in stems or own in after)
            stems.add(path.stem)
        if self._list:
            self.list_problems = (*self.list_problems, *self._articles.without_picture(stems, self._list[0]))
        with self._lock:
            self._garments = after
            if after != before:
                self._new = list(after.values())[::-1]
            self._checked = {key: stamp for key, stamp in self._checked.items() if key in after}
            self._prepared = OrderedDict(
                (key, value)
                for key, value in self._prepared.items()
                if key[0] in after and after[key[0]].stamp == key[1]
            )
        if after != before:
            self._thumbnails.keep_only({entry.key for entry in after.values()})
        return after != before or self.list_problems != list_before

    def _read_list(self, found: dict[str, tuple[int, int]]) -> None:
        """Read the shop's list where it is among the files FOUND and is not known yet."""
        there = [name for name in articles.FILES if name in found]
        now = (there[0], found[there[0]]) if there else None
        if now != self._list:
            self._list, self._articles = now, articles.NOTHING
            if now:
                path = self.folder / now[0]
                linked = self._leads_out(path)
                self._articles = Articles({}, {}, (linked,)) if linked else articles.read(path)
        both = (f"{' and '.join(there)} are both there: {there[0]} is read, remove one",) if len(there) > 1 else ()
        self.list_problems = both + self._articles.problems

    def _leads_out(self, file: Path) -> str:
        """Why FILE is not read: it is a link to a file outside of the folder; "" where it is not."""
        if file.is_symlink() and self.folder.resolve() not in file.resolve().parents:
            return printable(f"{file.name} is a link to a file outside of the catalogue: copy the file itself")
        return ""

    def article(self, stem: str) -> Article:
        """What the shop's list says of the picture whose file has the name STEM, which need not be there yet."""
        return self._articles.by_picture.get(stem, UNLISTED)

    @staticmethod
    def _is_garment(path: Path) -> bool:
        return path.suffix.lower() in image.SUFFIXES and path.name[:1] != "." and not path.stem.endswith(MASK)

    def _entry(
        self, own: str, path: Path, found: dict[str, tuple[int, int]], known: Garment | None, *, twice: bool
    ) -> Garment:
        """The entry of PATH, one of the files FOUND; what did not change is not read again."""
        beside = (path, self._mask_of(path), path.with_suffix(".txt"))
        stamp = tuple(found.get(file.name) for file in beside)
        article = self.article(path.stem)
        if known and known.picture == path and known.stamp == stamp and known.article == article:
            return known
        name = article.name or readable(path.stem) or own
        entry = Garment(own, name, path, stamp, article=article)
        if twice:
            return replace(entry, problem=printable(f"another picture is called {path.stem} too: rename one"))
        for file, there in zip(beside, stamp):
            if there and (problem := self._leads_out(file)):
                return replace(entry, problem=problem)
        if stamp[2] and not article.name:
            try:
                entry = replace(
                    entry, name=clean_name(read_file(beside[2], 1000, head=True).decode("utf-8", "replace")) or name
                )
            except SpgvtonError as e:
                return replace(entry, problem=self._words(e))
        return entry

    def _words(self, error: Exception) -> str:
        """An error for people who know the folder."""
        return printable(str(error).replace(f"{self.folder}/", ""))

    @staticmethod
    def _mask_of(picture: Path) -> Path:
        return picture.with_name(f"{picture.stem}{MASK}.png")

    def _next_without_thumbnail(self) -> Garment | None:
        with self._lock:
            while self._new:
                entry = self._new[-1]
                if self._garments.get(entry.id) is entry and not entry.problem and entry.key not in self._thumbnails:
                    return entry
                self._new.pop()
        return None

    def _draw(self, entry: Garment) -> bytes:
        """The thumbnail of ENTRY, which is listed with its problem where its picture cannot be read: then it is empty."""
        with self._preparing:
            try:
                return self._thumbnails.get(entry.key, lambda: image.read(entry.picture))
            except SpgvtonError as e:
                self._refuse(entry, self._words(e))
                return b""

    def _refuse(self, entry: Garment, problem: str) -> None:
        with self._lock:
            if self._garments.get(entry.id) is entry:
                self._garments[entry.id] = replace(entry, problem=problem)

    def thumbnail(self, garment: str) -> bytes:
        """JPEG, 240 x 240 pixels; empty where there is no such garment, or it has a problem."""
        entry = self.get(garment)
        return self._draw(entry) if entry and not entry.problem else b""

    def _check_next(self) -> bool | None:
        """Look at one garment that nobody has looked at, so that an unusable one is known before it is touched.

        None when there is none left, True when it turned out unusable.
        """
        entry = self._next_without_thumbnail()
        if entry:
            return not self._draw(entry)
        with self._lock:
            new = [g for g in self._garments.values() if not g.problem and self._checked.get(g.id) != g.stamp]
            for known in [g for g in new if self._thumbnails.was_usable(g.key)]:
                self._checked[known.id] = known.stamp
                new.remove(known)
        if not new:
            return None
        try:
            self.load(new[0].id)
        except SpgvtonError:
            return True
        return False

    def load(self, garment: str) -> tuple[UInt8, UInt8]:
        """Picture RGB (H, W, 3) and mask (H, W), 255 = garment, at most 1536 pixels on a side.

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
            problem = self._words(e).replace(
                "give --garment-mask", printable(f"put {self._mask_of(entry.picture).name} beside it")
            )
            self._refuse(entry, problem)
            raise SpgvtonError(f"{entry.name} cannot be worn: {problem}") from e
        with self._lock:
            self._checked[entry.id] = entry.stamp
            self._prepared[key] = prepared
            while len(self._prepared) > PREPARED:
                self._prepared.popitem(last=False)
        self._thumbnails.set_usable(entry.key)
        return prepared

    def _prepare(self, entry: Garment) -> tuple[UInt8, UInt8]:
        picture = image.read_colour(entry.picture, keep_alpha=True)
        given = self._mask_of(entry.picture)
        if not entry.stamp[1]:
            picture = smaller(picture)
            return np.ascontiguousarray(picture[..., :3]), garment_mask(picture)
        mask = read_mask(given, (picture.shape[0], picture.shape[1]))
        return np.ascontiguousarray(smaller(picture)[..., :3]), np.where(smaller(mask) > 127, 255, 0).astype(np.uint8)

    def save(self, picture: UInt8, mask: UInt8, name: str, stem: str = "") -> Garment:
        """Add a garment: picture RGB (H, W, 3), mask (H, W). Never overwrites another.

        The file is called STEM, so that the shop's list finds it, or where that is empty or taken after NAME.

        Raises SpgvtonError (full disk, read-only folder); then nothing of it stays.
        """
        name = clean_name(name)
        with self._writing:
            stem = self._free_stem(stem or slug(name) or "garment")
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
        saved = self.get(garment_id(stem))
        if saved is None:
            raise SpgvtonError(f"{target} was written but is not there: is {self.folder} changed by something else?")
        return saved

    def _free_stem(self, stem: str) -> str:
        try:
            used = {path.stem for path in self.folder.iterdir()}
        except OSError as e:
            raise SpgvtonError(f"cannot read {self.folder}: {e.strerror or e}") from e
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
