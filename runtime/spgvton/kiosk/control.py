"""What people may do to a running mirror; the web page and its API are a thin layer over this.

Choices are written to disk before they are acted on, so that a process killed at any moment comes back with the garment
that the customer saw last.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from pathlib import Path

from spgvton.errors import SpgvtonError
from spgvton.kiosk.catalogue import Catalogue, Garment
from spgvton.kiosk.mirror import Mirror, MirrorStatus
from spgvton.kiosk.recording import RecordingSink
from spgvton.kiosk.state import Saved, StateFile
from spgvton.kiosk.uploads import Uploads
from spgvton.kiosk.web_sink import WebSink
from spgvton.stream.sinks import Sink

log = logging.getLogger(__name__)


class Kiosk:
    """A mirror, its catalogue and what is remembered. Methods may be called from any thread.

    recording: where recordings go, and how many minutes each may be long; None = there are none.
    """

    def __init__(
        self,
        mirror: Mirror,
        catalogue: Catalogue,
        state: StateFile,
        sink: WebSink,
        recording: tuple[Path, float] | None = None,
    ) -> None:
        self.mirror, self.catalogue, self.sink = mirror, catalogue, sink
        self.recording = RecordingSink(*recording, lambda: mirror.set_recording(False)) if recording else None
        self.uploads = Uploads()
        self._state = state
        self._saved = state.read()
        self._choosing = threading.Lock()
        self.mirror.set_privacy(self._saved.privacy)

    @property
    def garment(self) -> str | None:
        """Id of the garment that was chosen last."""
        return self._saved.garment

    @property
    def sinks(self) -> list[Sink]:
        """What the loop should write to."""
        return [self.sink, self.recording] if self.recording else [self.sink]

    def status(self) -> MirrorStatus:
        """The mirror's, and what went wrong with the last recording."""
        status = self.mirror.status()
        if not status.last_error and self.recording and self.recording.problem:
            return replace(status, last_error=self.recording.problem)
        return status

    def restore(self) -> None:
        """Wear what was worn before the last stop; the first usable garment where that is gone. Nothing to wear is fine."""
        wanted = [self._saved.garment] if self._saved.garment else []
        for garment in [*wanted, *(entry.id for entry in self.catalogue.garments() if not entry.problem)]:
            try:
                self._wear(garment)
                return
            except SpgvtonError as e:
                log.warning("garment cannot be worn", extra={"garment": garment, "error": str(e)})

    def wear_something(self) -> None:
        """Called when the catalogue changed: an empty kiosk puts on the first garment that comes, a full one nothing."""
        if self._saved.garment is None:
            self.restore()

    def choose(self, garment: str) -> Garment:
        """Wear GARMENT from the next frame on. Raises SpgvtonError when it is not there or cannot be worn."""
        entry = self._wear(garment)
        log.info("garment chosen", extra={"garment": garment})
        return entry

    def _wear(self, garment: str) -> Garment:
        with self._choosing:
            picture, mask = self.catalogue.load(garment)
            entry = self.catalogue.get(garment)
            if entry is None:
                raise SpgvtonError(f"there is no garment '{garment}'")
            self._save(Saved(garment, self._saved.privacy))
            self.mirror.set_garment(garment, picture, mask)
            return entry

    def _save(self, saved: Saved) -> None:
        """A full disk must not keep a customer from her shirt: it is logged, and the last choice stays on disk."""
        if saved != self._saved:
            try:
                self._state.write(saved)
            except SpgvtonError as e:
                log.error("state is not saved", extra={"error": str(e)})
            self._saved = saved

    def retake(self) -> None:
        """Forget the person; the next good frame becomes the source."""
        self.mirror.retake()
        log.info("source retake")

    def set_privacy(self, on: bool) -> None:
        """ON: no camera picture is shown or kept until switched off again, also after a restart. Ends a recording."""
        with self._choosing:
            if on:
                self._record(False)
            self.mirror.set_privacy(on)
            if on:
                self.sink.clear()
            self._save(Saved(self._saved.garment, on))
        log.info("privacy", extra={"on": on})

    def set_recording(self, on: bool) -> None:
        """Raises SpgvtonError where recordings have no folder, or the mirror is private."""
        with self._choosing:
            if on and not self.recording:
                raise SpgvtonError("recording has no folder: set recording.folder in kiosk.yaml")
            if on and self._saved.privacy:
                raise SpgvtonError("the mirror is private: switch that off first")
            self._record(on)

    def _record(self, on: bool) -> None:
        """The badge is there before the first picture is stored, and until after the last."""
        if self.recording and on:
            self.mirror.set_recording(True)
            self.recording.start()
        elif self.recording:
            self.recording.stop()
            self.mirror.set_recording(False)
