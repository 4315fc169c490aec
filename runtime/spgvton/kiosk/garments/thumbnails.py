"""Thumbnails of garments, made once and kept on disk; and which garments were found to be usable, so that is asked once.

    KEY.jpg    the thumbnail
    KEY.ok     empty: the garment has a mask

A key stands for a picture with its mask as they are: it changes with them. This is a cache: what cannot be written is
made again, and the folder may be deleted at any time.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError
from spgvton.files import make_folder, read_file, write_bytes

log = logging.getLogger(__name__)
UInt8 = NDArray[np.uint8]

IN_MEMORY: Final = 256
MAX_BYTES: Final = 2**20


class Thumbnails:
    """The thumbnails in FOLDER (None = in memory alone), drawn by DRAW from an RGB picture (H, W, 3). Thread-safe."""

    def __init__(self, folder: Path | None, draw: Callable[[UInt8], bytes]) -> None:
        self._folder, self._draw = folder, draw
        self._lock = threading.Lock()
        self._recent: OrderedDict[str, bytes] = OrderedDict()
        self._names: set[str] = set()  # of the files in the folder
        if folder is not None:
            try:
                self._names = set(os.listdir(make_folder(folder)))
            except (SpgvtonError, OSError) as e:
                self._give_up(e)

    def _give_up(self, error: Exception) -> None:
        """Go on in memory: thumbnails that cannot be kept are no reason to have none."""
        log.warning("thumbnails are not kept", extra={"folder": str(self._folder), "error": str(error)})
        self._folder = None

    def __contains__(self, key: str) -> bool:
        with self._lock:
            return key in self._recent or f"{key}.jpg" in self._names

    def get(self, key: str, read: Callable[[], UInt8]) -> bytes:
        """The thumbnail of KEY, drawn from what READ gives where there is none yet. Raises what READ raises."""
        data = self._known(key)
        if data is None:
            data = self._draw(read())
            with self._lock:
                self._recent[key] = data
                while self._folder is not None and len(self._recent) > IN_MEMORY:
                    self._recent.popitem(last=False)
            self._write(f"{key}.jpg", data)
        return data

    def _known(self, key: str) -> bytes | None:
        with self._lock:
            if key in self._recent:
                self._recent.move_to_end(key)
                return self._recent[key]
            folder = self._folder if f"{key}.jpg" in self._names else None
        if folder is None:
            return None
        try:
            data = read_file(folder / f"{key}.jpg", MAX_BYTES)
        except SpgvtonError:
            data = b""
        if data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9"):
            return data
        with self._lock:
            self._names.discard(f"{key}.jpg")  # deleted, or damaged
        return None

    def _write(self, name: str, data: bytes) -> None:
        folder = self._folder
        if folder is None:
            return
        try:
            write_bytes(folder / name, data)
        except SpgvtonError as e:
            self._give_up(e)
            return
        with self._lock:
            self._names.add(name)

    def was_usable(self, key: str) -> bool:
        """Whether set_usable() was called for KEY, perhaps before the last restart."""
        with self._lock:
            return f"{key}.ok" in self._names

    def set_usable(self, key: str) -> None:
        """The garment of KEY can be worn."""
        if not self.was_usable(key):
            self._write(f"{key}.ok", b"")

    def keep_only(self, keys: set[str]) -> None:
        """Forget, and delete, what belongs to none of KEYS."""
        with self._lock:
            for key in [key for key in self._recent if key not in keys]:
                del self._recent[key]
            old = {
                name for name in self._names if name.partition(".")[0] not in keys and name.endswith((".jpg", ".ok"))
            }
            self._names -= old
        for name in old:
            if self._folder is not None:
                try:
                    (self._folder / name).unlink(missing_ok=True)
                except OSError as e:
                    log.warning("a thumbnail is not deleted", extra={"error": str(e)})
