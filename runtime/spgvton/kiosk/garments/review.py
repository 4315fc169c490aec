"""Garments that came in bulk and wait for staff to say that they are cut out rightly. On disk: they are the shop's pictures.

    ID.png         the photograph, at most 1536 pixels on a side
    ID_mask.png    white where the garment is; missing where none was found
    ID.json        where it came from and what the cut-out says; written last

An ID goes by the photograph's bytes, so that a folder may be imported again. Accepting and rejecting are the web page's
business (review_api.py), which corrects masks with what corrects those of uploads.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from spgvton import image
from spgvton.errors import SpgvtonError
from spgvton.files import make_folder, read_file, write_text
from spgvton.kiosk.garments.garment import safe_stem
from spgvton.kiosk.garments.uploads import Upload, garment_in
from spgvton.kiosk.pictures import jpeg, overlay, smaller
from spgvton.mask import read_mask

UInt8 = NDArray[np.uint8]

MOST: Final = 2000  # at a time, about 2 MB each
MAX_JSON: Final = 64 * 2**10
PREVIEW: Final = 480  # pixels


@dataclass(frozen=True)
class Waiting:
    """One photograph. stem: of its file. kind, sleeve, confidence: of the cut-out; "" and 0 where it found nothing, and
    `problem` says why. notes: what of a worn garment cannot be seen, or that the cut-out is unsure."""

    id: str
    stem: str
    kind: str = ""
    sleeve: str = ""
    confidence: float = 0.0
    notes: tuple[str, ...] = ()
    problem: str | None = None


WAITING: Final = TypeAdapter(Waiting)


class Review:
    """What waits in FOLDER, which is made at the first photograph. Thread-safe; other processes may add to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._known: dict[str, Waiting] = {}  # entries never change

    @staticmethod
    def id_of(data: bytes) -> str:
        """The ID of the photograph whose file holds DATA."""
        return base64.urlsafe_b64encode(hashlib.sha256(data).digest()[:12]).decode()

    def add(self, data: bytes, file: str, picture: UInt8) -> Waiting:
        """Cut the garment of PICTURE, RGB or RGBA, out; FILE and DATA are where it came from. One that waits is left as it is.

        Raises SpgvtonError where it cannot be written, or too many wait.
        """
        own = self.id_of(data)
        there = self.get(own)
        if there:
            return there
        if len(self._ids()) >= MOST:
            raise SpgvtonError(f"{MOST} photographs wait already: accept or reject some first")
        picture = smaller(picture)
        found, problem = garment_in(picture)
        stem = safe_stem(file) or "garment"
        if found:
            told = Waiting(own, stem, found.kind, found.sleeve, found.confidence, found.notes)
        else:
            told = Waiting(own, stem, problem=problem)
        make_folder(self.folder)
        image.write(self._path(own, ".png"), np.ascontiguousarray(picture[..., :3]))
        if found:
            image.write(self._path(own, "_mask.png"), found.mask)
        write_text(self._path(own, ".json"), json.dumps(asdict(told)))
        return told

    def waiting(self) -> list[Waiting]:
        """All of them by name; one that is damaged is left out."""
        found = [entry for own in self._ids() if (entry := self.get(own))]
        return sorted(found, key=lambda entry: (entry.stem.casefold(), entry.id))

    def get(self, own: str) -> Waiting | None:
        """The photograph of this ID, or None."""
        path = self._path(own, ".json")
        if not path.exists():
            return None
        with self._lock:
            if own in self._known:
                return self._known[own]
        try:
            entry = replace(WAITING.validate_json(read_file(path, MAX_JSON)), id=own)
        except (SpgvtonError, ValueError):
            return None
        with self._lock:
            self._known[own] = entry
        return entry

    def upload(self, entry: Waiting) -> Upload:
        """ENTRY as an upload whose mask can be corrected. Raises SpgvtonError."""
        picture = image.read(self._path(entry.id, ".png"))
        mask = None
        if not entry.problem:
            mask = read_mask(self._path(entry.id, "_mask.png"), (picture.shape[0], picture.shape[1]))
        return Upload(entry.id, picture, mask, entry.problem, time.monotonic(), notes=entry.notes)

    def preview(self, entry: Waiting) -> bytes:
        """JPEG of the photograph, dark where there is no garment; small. Raises SpgvtonError."""
        found = self.upload(entry)
        if found.mask is None:
            return jpeg(smaller(found.picture, PREVIEW))
        return jpeg(overlay(smaller(found.picture, PREVIEW), smaller(found.mask, PREVIEW)))

    def discard(self, own: str) -> bool:
        """Delete a photograph here; False when there was none. Raises SpgvtonError."""
        there = self._path(own, ".json").exists()
        with self._lock:
            self._known.pop(own, None)
        try:
            for suffix in (".json", "_mask.png", ".png"):
                self._path(own, suffix).unlink(missing_ok=True)
        except OSError as e:
            raise SpgvtonError(f"cannot delete a photograph that waits: {e.strerror or e}") from e
        return there

    def _ids(self) -> list[str]:
        return [path.stem for path in self.folder.glob("[!.]*.json")]

    def _path(self, own: str, rest: str) -> Path:
        return self.folder / f"{own}{rest}"
