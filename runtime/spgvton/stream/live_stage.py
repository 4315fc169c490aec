"""Live mode's synthesis stage: the compositor for every frame, the networks for as many as they can follow.

For a file (`latest` off) each frame waits for its own answer. For a camera parser and network have a thread of their own, which always
takes the newest frame; every frame is composited at once with the last answer, moved to where the customer stands now.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError
from spgvton.hints import Hint
from spgvton.live.garment import LiveGarment
from spgvton.live.layers import Answer
from spgvton.live.tryon import LiveTryOn
from spgvton.nvtx_ranges import span
from spgvton.stream.frames import Frame
from spgvton.stream.loop import COMPOSE, PARSE, SYNTHESIS, Unusable
from spgvton.stream.pace import Pace
from spgvton.stream.slot import Closed, Slot

UInt8 = NDArray[np.uint8]
Keypoints = NDArray[np.float32]

ANSWER: Final = "answer"  # parser and network of one frame
MAX_AGE_S: Final = 3.0  # of an answer; an older one shows where clothes were, not where they are
LEARN_EVERY_S: Final = 0.4  # the clean plate need not see every frame
EMPTY_EVERY_S: Final = 0.5  # nor of an empty room
JOIN_S: Final = 5.0  # an answer on a busy machine; a process that ends inside a network is aborted


@dataclass(frozen=True)
class _Said:
    """An answer, or why there is none; captured: time.monotonic() of its frame. times_s: seconds of parser and network."""

    captured: float
    answer: Answer | None
    reason: str = ""
    error: SpgvtonError | None = None
    times_s: dict[str, float] = field(default_factory=dict)


class _Job(NamedTuple):
    """keypoints: None where the frame shows an empty room to be learnt. epoch: whose customer's it is, see forget()."""

    frame: Frame
    keypoints: Keypoints | None
    epoch: int


class LiveStage:
    """(Frame, keypoints) -> RGB uint8 of the frame's size. Raises Unusable where the frame is to be shown as it is.

    The Unusable's __cause__ is the SpgvtonError of parser or network where there was one. live: whose garment is set, or will be;
    from now on only this stage calls it. latest: see above. max_age_s: the oldest answer that is used. times_s: seconds that the last
    frame's parser, network and compositing took. answers: how many the networks gave so far. worn: the garment of the last frame.
    set_garment(), forget() and learn_empty_room()
    may be called from any thread. close() ends the stage's own.
    """

    def __init__(self, live: LiveTryOn, *, latest: bool, max_age_s: float | None = None) -> None:
        self._live, self._max_age_s = live, max_age_s or MAX_AGE_S
        self._learnt = float("-inf")
        self._room_seen = float("-inf")  # when an empty room was last handed over
        self._said: _Said | None = None
        self._last: Answer | None = None
        self._wanted: LiveGarment | None = None
        self._asked: Slot[_Job] = Slot("latest")
        self._error: BaseException | None = None
        self._lock = threading.Lock()  # of the next two, and of what is said
        self._epoch = 0  # times that all was forgotten: what belongs to an earlier one is not used
        self._busy_since: float | None = None
        self._pace = Pace()
        self.answers = 0
        self.times_s: dict[str, float] = {}
        self.worn: LiveGarment | None = None
        self._thread = (
            threading.Thread(target=self._answer_all, name="spgvton-answers", daemon=True) if latest else None
        )
        if self._thread:
            self._thread.start()

    @property
    def interval_s(self) -> float:
        """Seconds that should lie between two frames, so that parser and networks keep their share of the processor."""
        return self._pace.interval_s if self._thread else 0.0

    @property
    def busy_s(self) -> float:
        """For how long parser or network have been at work on one frame; 0 while they are not."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def set_garment(self, garment: LiveGarment) -> None:
        """GARMENT from the next answer on; until then the last one is worn."""
        self._wanted = garment

    def __call__(self, frame: Frame, keypoints: Keypoints) -> UInt8:
        epoch = self._epoch
        self._hand_over(_Job(frame, keypoints, epoch))
        said = self._said or _Said(frame.captured, None, Hint.WAIT)
        if said.answer is None:
            raise Unusable(said.reason) from said.error
        if frame.captured - said.captured > self._max_age_s:
            raise Unusable(Hint.WAIT)
        start = time.monotonic()
        with span(COMPOSE):
            picture = self._live.compose(frame.image, said.answer, keypoints)
        self.times_s = {**said.times_s, COMPOSE: time.monotonic() - start}
        self.worn = said.answer.garment
        # Of the frame itself: the answer is of another size, or the customer is somewhere else altogether.
        if epoch != self._epoch or picture is frame.image:
            raise Unusable(Hint.WAIT)
        return picture

    def learn_empty_room(self, frame: Frame) -> None:
        """Take FRAME, in which no customer was found, into the clean plate; of many frames one now and then."""
        if frame.captured - self._room_seen > EMPTY_EVERY_S:
            self._room_seen = frame.captured
            self._hand_over(_Job(frame, None, self._epoch))

    def forget(self) -> None:
        """Drop what is held of the customer and the room, at once; what parser or network are at work on is never used."""
        with self._lock:
            self._epoch += 1
            self._said = self._last = None
            self._live.forget_pictures()
            if self._busy_since is None:
                self._live.forget()

    def close(self) -> None:
        """End the thread, after the frame that it is at."""
        self._asked.close(discard=True)
        if self._thread:
            self._thread.join(JOIN_S)

    def _hand_over(self, job: _Job) -> None:
        """JOB to the thread; where there is none it is done here."""
        if self._thread is None:
            self._do(job)
            return
        if self._error is not None:
            raise self._error
        with suppress(Closed):
            self._asked.put(job)

    def _do(self, job: _Job) -> None:
        """One answer, or one look at the room; nothing of it stays where all was to be forgotten meanwhile."""
        with self._lock:
            if job.epoch != self._epoch:
                return
            self._busy_since = time.monotonic()
        said: _Said | None = None
        try:
            if job.keypoints is None:
                self._look(job.frame)
            else:
                said = self._ask(job.frame, job.keypoints)
        finally:
            with self._lock:
                self._busy_since = None
                if job.epoch == self._epoch:
                    self._said = said
                else:
                    self._last = None
                    self._live.forget()  # what the work has left there since

    def _look(self, frame: Frame) -> None:
        with suppress(SpgvtonError):  # the room can be learnt from the next frame
            self._live.learn_empty_room(frame.image)

    def _ask(self, frame: Frame, keypoints: Keypoints) -> _Said:
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            self._live.use_garment(wanted)
        begun = time.monotonic()
        try:
            with span(ANSWER):
                answer = self._live.answer(frame.image, keypoints)
        except SpgvtonError as e:
            return _Said(frame.captured, None, str(e), e)
        self._pace.answered(time.monotonic() - begun)
        self.answers += answer is not self._last  # the same one where the customer stands still
        self._last = answer
        times = dict(zip((PARSE, SYNTHESIS), self._live.times_s))
        if time.monotonic() - self._learnt > LEARN_EVERY_S:
            self._learnt = time.monotonic()
            self._live.learn_room(frame.image, answer)
        return _Said(frame.captured, answer, times_s=times)

    def _answer_all(self) -> None:
        """Thread body."""
        try:
            while True:
                job = self._asked.get()
                assert job is not None  # no timeout was given
                self._do(job)
        except Closed:
            pass
        except BaseException as e:  # noqa: BLE001 - raised again by the next frame
            self._error = e
