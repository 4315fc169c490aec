"""What people may do to a running mirror; the web page and its API are a thin layer over this.

Choices are written to disk before they are acted on, so that a process killed at any moment comes back with the garment
that the customer saw last.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from spgvton.errors import SpgvtonError
from spgvton.hints import code_of
from spgvton.kiosk.garments.catalogue import Catalogue, Garment
from spgvton.kiosk.garments.review import Review
from spgvton.kiosk.garments.uploads import Uploads
from spgvton.kiosk.mirror.consent import ConsentStep
from spgvton.kiosk.mirror.gesture import Gesture
from spgvton.kiosk.mirror.hand_watch import HandWatch
from spgvton.kiosk.mirror.looks import Look, Looks
from spgvton.kiosk.mirror.mirror import Mirror
from spgvton.kiosk.mirror.status import MirrorStatus, Seen
from spgvton.kiosk.mirror.touchless import Touchless
from spgvton.kiosk.service.language import ENGLISH, Offer, shipped
from spgvton.kiosk.service.moments import NOTHING, HandPlace, Moment, Moments
from spgvton.kiosk.service.recording import RecordingSink
from spgvton.kiosk.service.state import REVIEW, Saved, StateFile
from spgvton.kiosk.service.take_home import TakeHome
from spgvton.kiosk.service.web_sink import WebSink
from spgvton.stream.sinks import Sink

log = logging.getLogger(__name__)

UNSEEN_S: Final = 60.0  # for so long the language of somebody whom the camera never saw stays
RETRY_S: Final = 10.0  # between attempts to write what could not be written


class NotKept(SpgvtonError):
    """What was asked for is done, but could not be written down."""


class Kiosk:
    """A mirror, its catalogue and what is remembered. Methods may be called from any thread.

    recording: where recordings go, and how many minutes each may be long; None = there are none.
    languages: that a customer may choose from; None = English. take_home: holds the stills that customers asked for.
    ask: nobody is looked at before she has agreed. dwell_s: how long a raised hand is held still to choose; None = hands do not choose.
    hand_agrees: with both of them, before consent a raised hand is looked for, so that the page can take it for consent.
    """

    def __init__(
        self,
        mirror: Mirror,
        catalogue: Catalogue,
        state: StateFile,
        sink: WebSink,
        recording: tuple[Path, float] | None = None,
        languages: Offer | None = None,
        take_home: TakeHome | None = None,
        ask: bool = False,
        dwell_s: float | None = None,
        hand_agrees: bool = False,
    ) -> None:
        self.languages = languages or Offer(shipped(), ENGLISH, [ENGLISH])
        self._language: tuple[str, float] | None = None  # what the customer chose, and when
        self.looks, self.take_home = Looks(), take_home
        self.consent: ConsentStep | None = None
        self.moments = Moments()
        self.touchless = self._hands(dwell_s) if dwell_s else None
        mirror.when_forgotten(self._forget_customer)
        mirror.when_seen(self._seen)
        self.mirror, self.catalogue, self.sink = mirror, catalogue, sink
        self.recording = RecordingSink(*recording, lambda: mirror.set_recording(False)) if recording else None
        self.uploads = Uploads()
        self.review = Review(state.path.parent / REVIEW)
        self._state = state
        self._saved = state.read()
        self._kept: Saved | None = None if state.damaged else self._saved
        self._retry: threading.Timer | None = None
        self._choosing = threading.Lock()
        self.mirror.set_privacy(self._saved.privacy)
        self.hand_watch = HandWatch(dwell_s, self._hand_held) if ask and dwell_s and hand_agrees else None
        if self.hand_watch:
            mirror.when_waiting(self.hand_watch)
        self.consent = ConsentStep(self._set_waiting, lambda: mirror.state) if ask else None

    @property
    def garment(self) -> str | None:
        """Id of the garment that was chosen last."""
        return self._saved.garment

    @property
    def sinks(self) -> list[Sink]:
        """What the loop should write to."""
        return [self.sink, self.recording] if self.recording else [self.sink]

    @property
    def language(self) -> str:
        """Code of the language that is spoken now: the customer's, until she is forgotten."""
        chosen = self._language
        if chosen and time.monotonic() - chosen[1] > UNSEEN_S and self.mirror.state == "nobody":
            self._language = chosen = None
        return chosen[0] if chosen else self.languages.default

    def speak(self, code: str) -> None:
        """Speak the language CODE to this customer. Raises SpgvtonError where it is not offered."""
        if code not in self.languages.languages:
            raise SpgvtonError(f"there is no language {code!r}: there are {', '.join(self.languages.languages)}")
        self._language = (code, time.monotonic())
        log.info("language chosen", extra={"language": code})

    def _hands(self, dwell_s: float) -> Touchless:
        def rightwards() -> bool:
            return self.mirror.mirrored == (self.languages.languages[self.language].direction == "rtl")

        def garments() -> list[str]:
            return [entry.id for entry in self.catalogue.garments() if not entry.problem]

        return Touchless(dwell_s, garments, lambda: self.garment, self.choose, rightwards)

    def _seen(self, seen: Seen) -> None:
        """Called for each frame, by the loop."""
        moment = Moment(seen.state, code_of(seen.hint))
        if self.touchless:
            self.touchless.step(seen.customer, seen.captured)
            moment = replace(moment, hand=self._hand(self.touchless.gesture), choice=self.touchless.choices,
                             highlighted=self.touchless.highlighted)  # fmt: skip
        self.moments.show(moment)

    def _set_waiting(self, on: bool) -> None:
        if self.hand_watch:
            self.hand_watch.reset()
        self.mirror.set_waiting(on)
        self.moments.show(NOTHING)

    def _hand_held(self, share: float | None) -> None:
        """Before consent, from the camera's thread."""
        if self.consent and self.consent.asking:
            self.moments.show(replace(NOTHING, agreeing=share))

    def _hand(self, gesture: Gesture) -> HandPlace | None:
        if gesture.hand is None:
            return None
        x, y = self.mirror.place(gesture.hand)
        return HandPlace(round(x, 3), round(y, 3), round(gesture.progress, 2))

    def _forget_customer(self) -> None:
        self._language = None
        self.looks.wipe()
        if self.consent:
            self.consent.forgotten()
        if self.touchless:
            self.touchless.reset()
        self.moments.show(NOTHING)

    def keep_look(self) -> Look | None:
        """Keep a still of how the customer looks now, for as long as she is there; None where she is not dressed."""
        epoch = self.looks.epoch
        still = self.mirror.still()
        if still is None:
            return None
        entry = self.catalogue.get(still.garment)
        return self.looks.add(still, entry.name if entry else still.garment, epoch)

    def offer_still(self, look: str | None) -> str:
        """Let the customer's LOOK, or how she looks now, wait for her phone. Returns the still's secret. Raises SpgvtonError."""
        if self.take_home is None:
            raise SpgvtonError("stills are not given away here")
        epoch = self.take_home.epoch
        found = self.looks.get(look) if look else self.keep_look()
        if found is None:
            raise SpgvtonError("nobody is dressed now" if look is None else "this look is forgotten")
        return self.take_home.offer(found.data, self.language, epoch)

    def status(self) -> MirrorStatus:
        """The mirror's, and what went wrong with the last recording."""
        status = self.mirror.status()
        problem = self.state_problem or (self.recording.problem if self.recording else "")
        if problem and (self.state_problem or not status.last_error):
            return replace(status, last_error=problem)
        return status

    @property
    def state_problem(self) -> str:
        """What of the customers' decisions is not on disk, or was lost from it; "" while all is well. For staff."""
        return self._state.problem

    def restore(self) -> None:
        """Wear what was worn before the last stop; the first usable garment where that is gone. Nothing to wear is fine.

        Whatever somebody chooses meanwhile stays on.
        """
        wanted = [self._saved.garment] if self._saved.garment else []
        for garment in [*wanted, *(entry.id for entry in self.catalogue.garments() if not entry.problem)]:
            try:
                with self._choosing:
                    if self.mirror.garment is None:
                        self._wear(garment)
                return
            except SpgvtonError as e:
                log.warning("garment cannot be worn", extra={"garment": garment, "error": str(e)})

    def wear_something(self) -> None:
        """Called when the catalogue changed: an empty kiosk puts on the first garment that comes, a full one nothing."""
        if self._saved.garment is None:
            self.restore()

    def choose(self, garment: str) -> Garment:
        """Wear GARMENT from the next frame on. Raises SpgvtonError when it is not there or cannot be worn, NotKept when it
        is worn but would not be after a restart.
        """
        if garment != self.garment:
            self.keep_look()
        with self._choosing:
            entry, problem = self._wear(garment)
        log.info("garment chosen", extra={"garment": garment})
        if problem:
            raise problem
        return entry

    def _wear(self, garment: str) -> tuple[Garment, NotKept | None]:
        """Under _choosing. A full disk keeps no customer from their shirt: it is worn, and what could not be written is told."""
        picture, mask = self.catalogue.load(garment)
        entry = self.catalogue.get(garment)
        if entry is None:
            raise SpgvtonError(f"there is no garment '{garment}'")
        problem = self._keep(garment=garment)
        self.mirror.set_garment(garment, picture, mask)
        return entry, problem

    def _keep(self, **changed: Any) -> NotKept | None:
        """Remember what was decided, on disk too. Where that fails the answer says why, and it is tried again later."""
        self._saved = replace(self._saved, **changed)
        try:
            self._write()
        except SpgvtonError as e:
            log.error("state is not saved", extra={"error": str(e)})
            self._try_again()
            return NotKept(f"it is done, but not kept over a restart: {e}")
        return None

    def _write(self) -> None:
        if self._saved != self._kept:
            self._state.write(self._saved)
            self._kept = self._saved

    def _try_again(self) -> None:
        def write() -> None:
            with self._choosing:
                try:
                    self._write()
                    log.info("state is saved again")
                except SpgvtonError:
                    self._try_again()

        if self._retry:
            self._retry.cancel()
        self._retry = threading.Timer(RETRY_S, write)
        self._retry.daemon = True
        self._retry.start()

    def close(self) -> None:
        """Stop trying to write, and listening to hands; drop what waits for phones."""
        self.moments.end()
        if self.touchless:
            self.touchless.close()
        if self.take_home:
            self.take_home.wipe()
        if self.consent:
            self.consent.close()
        with self._choosing:
            if self._retry:
                self._retry.cancel()

    def retake(self) -> None:
        """Forget the person; the next good frame becomes the source."""
        self.mirror.retake()
        log.info("source retake")

    def set_privacy(self, on: bool) -> None:
        """ON: no camera picture is shown or kept until switched off again, also after a restart. Ends a recording.

        Raises NotKept where that could not be written down: it holds now, and is forgotten by a restart.
        """
        with self._choosing:
            if on:
                self._record(False)
            self.mirror.set_privacy(on)
            if on:
                self.sink.clear()
                if self.take_home:
                    self.take_home.wipe()
            log.info("privacy", extra={"on": on})
            self._state.damaged = ""  # somebody has decided
            problem = self._keep(privacy=on)
        if problem:
            raise problem

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
