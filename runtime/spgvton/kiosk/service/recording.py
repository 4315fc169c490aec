"""Recording what the mirror shows: off until someone switches it on, and off again by itself after some minutes."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError
from spgvton.files import make_folder
from spgvton.stream.sinks import FileSink, Sink

log = logging.getLogger(__name__)
UInt8 = NDArray[np.uint8]

FPS: Final = 15.0  # of the file; frames are repeated where fewer came


class RecordingSink(Sink):
    """Writes mirror-DATE-TIME.mkv into FOLDER between start() and stop(), at most MINUTES long.

    on_end: called in the sink's thread when a recording ended by itself: after MINUTES, or because it could not be
    written; `problem` then says why.
    """

    name = "recording"

    def __init__(self, folder: Path, minutes: float, on_end: Callable[[], None]) -> None:
        self.folder = make_folder(folder)
        self.problem: str | None = None
        self._rescue()
        self._limit_s, self._on_end = minutes * 60, on_end
        self._wanted = threading.Event()
        self._file: FileSink | None = None
        self._began = 0.0

    def start(self) -> None:
        self.problem, self._began = None, 0.0
        self._wanted.set()

    def stop(self) -> None:
        self._wanted.clear()

    def write(self, image: UInt8, timestamp: float) -> None:
        if not self._wanted.is_set():
            self._finish()
            return
        try:
            if self._file is not None and self._file.size != image.shape[:2]:
                self._finish()  # the camera has changed its resolution: on in another file
            if self._file is None:
                # The time of day comes twice when clocks are set back.
                path = self._free_path(time.strftime("mirror-%Y%m%d-%H%M%S"))
                self._file = FileSink(path, (image.shape[0], image.shape[1]), FPS, keep_time=True)
                self._began = self._began or time.monotonic()
                log.info("recording", extra={"path": str(path)})
            self._file.write(image, timestamp)
            if time.monotonic() - self._began > self._limit_s:
                self._end(None)
        except SpgvtonError as e:
            self._end(str(e))

    def _free_path(self, stem: str) -> Path:
        """STEM.mkv, or with a number where there is one already."""
        path, number = self.folder / f"{stem}.mkv", 1
        while path.exists():
            number += 1
            path = self.folder / f"{stem}-{number}.mkv"
        return path

    def _rescue(self) -> None:
        """Give what a killed process was writing a name that people see: such a file can be played, and must not hide."""
        for part in self.folder.glob(".mirror-*.part.mkv"):
            stem, _, process = part.name.removesuffix(".part.mkv").rpartition(".")
            if process != str(os.getpid()) and Path("/proc", process).exists():
                continue  # another kiosk's, which is at work
            try:
                if part.stat().st_size:
                    path = part.rename(self._free_path(f"{stem[1:]}-cut"))
                    log.warning("a recording was cut off", extra={"path": str(path)})
                else:
                    part.unlink()
            except OSError as e:
                log.error("a recording that was cut off is still hidden", extra={"path": str(part), "error": str(e)})

    def idle(self) -> None:
        if not self._wanted.is_set():
            self._finish()

    def close(self) -> None:
        self._wanted.clear()
        self._finish()

    def _end(self, problem: str | None) -> None:
        self._wanted.clear()
        self._finish()
        self.problem = problem or self.problem
        if problem:
            log.error("recording ended", extra={"error": problem})
        self._on_end()

    def _finish(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.close()
            log.info("recorded", extra={"path": str(file.path), "frames": file.frames})
        except SpgvtonError as e:
            self.problem = str(e)
            log.error("recording is damaged", extra={"error": str(e)})
