"""Live mode's synthesis stage: the compositor for every frame, the networks for as many as they can follow.

For a file (`latest` off) each frame waits for its own answer. For a camera parser and network have a thread of their own, which always
takes the newest frame; every frame is composited at once with the last answer, moved to where the customer stands now.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError
from spgvton.live.garment import LiveGarment
from spgvton.live.layers import Answer
from spgvton.live.tryon import LiveTryOn
from spgvton.stream.loop import COMPOSE, PARSE, SYNTHESIS, Unusable
from spgvton.stream.slot import Closed, Slot
from spgvton.stream.sources import Frame

UInt8 = NDArray[np.uint8]
Keypoints = NDArray[np.float32]

WAIT: Final = "one moment, please"
MAX_AGE_S: Final = 1.0  # of an answer; an older one shows where clothes were, not where they are
LEARN_EVERY_S: Final = 0.4  # the clean plate need not see every frame
JOIN_S: Final = 2.0


@dataclass(frozen=True)
class _Said:
    """An answer, or why there is none; captured: time.monotonic() of its frame. times_s: seconds of parser and network."""

    captured: float
    answer: Answer | None
    reason: str = ""
    times_s: dict[str, float] = field(default_factory=dict)


class LiveStage:
    """(Frame, keypoints) -> RGB uint8 of the frame's size. Raises Unusable where the frame is to be shown as it is.

    live: whose garment is set, or will be; from now on only this stage calls it. latest: see above. max_age_s: the oldest answer that
    is used. times_s: seconds that the last frame's parser, network and compositing took. answers: how many the networks gave so far.
    wear(), forget() and learn_empty_room() may be called from any thread. close() ends the stage's own.
    """

    def __init__(self, live: LiveTryOn, *, latest: bool, max_age_s: float | None = None) -> None:
        self._live, self._max_age_s = live, max_age_s or MAX_AGE_S
        self._learnt = float("-inf")
        self._said: _Said | None = None
        self._asked: Slot[tuple[int, Frame, Keypoints]] = Slot("latest")
        self._error: BaseException | None = None
        self._busy = threading.Lock()  # held while the networks, or what LiveTryOn remembers, are at work
        self._customers = 0  # forgotten so far: an answer about an earlier one is not used
        self._wanted: LiveGarment | None = None
        self._last: Answer | None = None
        self.answers = 0
        self.times_s: dict[str, float] = {}
        self._thread = (
            threading.Thread(target=self._answer_all, name="spgvton-answers", daemon=True) if latest else None
        )
        if self._thread:
            self._thread.start()

    def __call__(self, frame: Frame, keypoints: Keypoints) -> UInt8:
        customer = self._customers
        if self._thread is None:
            said = self._ask(frame, keypoints)
        else:
            if self._error is not None:
                raise self._error
            self._asked.put((customer, frame, keypoints))
            said = self._said or _Said(frame.captured, None, WAIT)
        if said.answer is None:
            raise Unusable(said.reason)
        if frame.captured - said.captured > self._max_age_s:
            raise Unusable(WAIT)
        start = time.monotonic()
        picture = self._live.compose(frame.image, said.answer, keypoints)
        self.times_s = {**said.times_s, COMPOSE: time.monotonic() - start}
        if customer != self._customers:
            self._live.forget_layers()
            raise Unusable(WAIT)
        if picture is frame.image:  # the answer is of another size, or the customer is somewhere else altogether
            raise Unusable(WAIT)
        return picture

    def wear(self, garment: LiveGarment) -> None:
        """GARMENT from the next answer on; until then the last one is worn."""
        self._wanted = garment

    def forget(self) -> None:
        """Drop what is held of the customer and the room; waits for an answer under way, which is not used."""
        self._customers += 1
        with self._busy:
            self._said = self._last = None
            self._live.forget()

    def learn_empty_room(self, frame: UInt8) -> None:
        """Let the clean plate see FRAME, RGB uint8 (h, w, 3), in which nobody was found; nothing happens while the networks are busy."""
        now = time.monotonic()
        if now - self._learnt < LEARN_EVERY_S or not self._busy.acquire(blocking=False):
            return
        try:
            self._learnt = now
            self._live.learn_empty_room(frame)
        finally:
            self._busy.release()

    def close(self) -> None:
        """End the thread, after the frame that it is at."""
        self._asked.close(discard=True)
        if self._thread:
            self._thread.join(JOIN_S)

    def _ask(self, frame: Frame, keypoints: Keypoints) -> _Said:
        with self._busy:
            wanted, self._wanted = self._wanted, None
            if wanted is not None:
                self._live.use_garment(wanted)
            try:
                answer = self._live.answer(frame.image, keypoints)
            except SpgvtonError as e:
                return _Said(frame.captured, None, str(e))
            self.answers += answer is not self._last  # the same one where the customer stands still
            self._last = answer
            times = dict(zip((PARSE, SYNTHESIS), self._live.times_s))
            if time.monotonic() - self._learnt > LEARN_EVERY_S:
                self._learnt = time.monotonic()
                self._live.learn_room(frame.image, answer)
            return _Said(frame.captured, answer, "", times)

    def _answer_all(self) -> None:
        """Thread body."""
        try:
            while True:
                asked = self._asked.get()
                assert asked is not None  # no timeout was given
                customer, frame, keypoints = asked
                if customer != self._customers:
                    continue
                said = self._ask(frame, keypoints)
                with self._busy:
                    if customer == self._customers:
                        self._said = said
                    else:
                        self._last = None
                        self._live.forget()  # what the answer has left there since
        except Closed:
            pass
        except BaseException as e:  # noqa: BLE001 - raised again by the next frame
            self._error = e
