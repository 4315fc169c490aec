"""The synthesis stage of a mirror in live mode: a LiveStage whose garment is exchanged, and which is opened anew when it fails."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError
from spgvton.hints import Hint
from spgvton.image import Letterbox
from spgvton.kiosk.mirror.dresser import MAX_FAILED, TELL_S
from spgvton.kiosk.mirror.still import Shown
from spgvton.live.garment import LiveGarment
from spgvton.live.tryon import LiveTryOn, Undressable
from spgvton.perception.parse import Parse, framed
from spgvton.perception.parsing import Parser
from spgvton.stream.frames import Frame
from spgvton.stream.latency import RateMeter
from spgvton.stream.live_stage import LiveStage
from spgvton.stream.loop import Unusable

LOG: Final = logging.getLogger(__name__)

KEPT: Final = 4  # garments that need not be prepared again; each has a texture of up to 7 MB
FOR_CUSTOMERS: Final = (Hint.TOO_CLOSE, Hint.CROWDED)  # what she can mend herself
STUCK_S: Final = 120.0  # a parser or network that takes longer does not come back

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Made = TypeVar("Made")


class Stuck(SpgvtonError):
    """Only a new process can help."""


class OutlivedParser:
    """PARSER, whose errors of any kind mean that this frame cannot be dressed: it may be the user's own network."""

    def __init__(self, parser: Parser) -> None:
        self._parser = parser
        self.label_set: str = parser.label_set
        if hasattr(parser, "free"):
            self.free: Callable[[UInt8], UInt8] = lambda picture: self._try(lambda: parser.free(picture))
        if hasattr(parser, "maps"):
            self.maps: Callable[..., UInt8] = lambda *view: self._try(lambda: parser.maps(*view))

    def __call__(self, image: UInt8, keypoints: Float) -> UInt8:
        return self._try(lambda: self._parser(image, keypoints))

    def framed(self, picture: UInt8, keypoints: Float, box: Letterbox) -> Parse:
        return self._try(lambda: framed(self._parser, picture, keypoints, box))

    @staticmethod
    def _try(call: Callable[[], Made]) -> Made:
        try:
            return call()
        except SpgvtonError as e:
            raise Undressable(str(e)) from e
        except Exception as e:
            raise Undressable(f"the parser failed: {type(e).__name__}: {e}") from e


class LiveDresser:
    """(Frame, keypoints) -> the frame, dressed. Methods may be called from any thread.

    open_live: opens the try-on; called again when the back end fails. latest, max_age_s: see LiveStage. rebuilds: how often it was
    opened again. problem: why the last frame could not be dressed, for staff; "" where it could. shown: the last result.
    """

    def __init__(self, open_live: Callable[[], LiveTryOn], *, latest: bool, max_age_s: float | None = None) -> None:
        self._open_live, self._latest, self._max_age_s = open_live, latest, max_age_s
        self._live = open_live()
        self.size = self._live.network.size
        self.rebuilds = 0
        self.problem = ""
        self.shown: Shown | None = None
        self._rate = RateMeter()
        self._stage: LiveStage | None = None
        self._given_before = 0  # answers of earlier stages
        self._counted = 0  # answers, for the rate
        self._failed = 0  # answers in a row that the network refused
        self._last_refusal: BaseException | None = None
        self._on_probation = False  # opened anew, and has not dressed anybody yet
        self._untold, self._told = 0, float("-inf")  # answers, and when the log was told
        self._lock = threading.RLock()  # of the stage
        self._garment: LiveGarment | None = None
        self._worn: LiveGarment | None = None  # what the stage knows of
        self._prepared: dict[bytes, LiveGarment] = {}  # the one that was chosen last comes last
        self._preparing = threading.Lock()
        self._forgotten = float("-inf")  # no frame from before is dressed

    def describe(self) -> dict[str, str]:
        """The back end: name, version, device."""
        return self._live.describe()

    def answers_per_s(self, since: float) -> float:
        """How often the networks answered since SINCE (monotonic seconds)."""
        return self._rate.rate(since=since)

    @property
    def answers(self) -> int:
        """Of the networks so far."""
        return self._given_before + (self._stage.answers if self._stage else 0)

    @property
    def times_s(self) -> dict[str, float]:
        """Seconds that parser, network and compositing took of the last frame."""
        return self._stage.times_s if self._stage else {}

    @property
    def interval_s(self) -> float:
        """See LiveStage."""
        return self._stage.interval_s if self._stage else 0.0

    def prepare(self, picture: UInt8, mask: UInt8) -> LiveGarment:
        """The garment of a picture RGB (H, W, 3) and mask (H, W), 255 = garment; the last few are kept. Raises SpgvtonError."""
        key = hashlib.blake2b(picture.tobytes() + mask.tobytes() + repr(picture.shape).encode()).digest()
        with self._preparing:
            garment = self._prepared.pop(key, None) or LiveGarment.of(picture, mask, self.size)
            self._prepared[key] = garment
            while len(self._prepared) > KEPT:
                del self._prepared[next(iter(self._prepared))]
        return garment

    def set_garment(self, garment: LiveGarment) -> None:
        """Wear GARMENT as soon as the networks have seen it."""
        self._garment = garment

    def forget_person(self) -> None:
        """Drop what is held of the customer and the room; nothing of frames taken before is used any more.

        Waits for the compositing of a frame, not for parser and network.
        """
        with self._lock:
            self._forgotten = time.monotonic()
            self._last_refusal, self.problem, self.shown = None, "", None
            if self._stage:
                self._stage.forget()

    def learn_empty_room(self, frame: Frame) -> None:
        """FRAME shows the room without a customer."""
        with self._lock:
            if frame.captured > self._forgotten:
                self._watch(lambda: self._opened().learn_empty_room(frame))

    def close(self) -> None:
        """Forget all, and end the stage's thread; the next frame begins a new one."""
        with self._lock:
            self.forget_person()
            self._drop_stage()

    def _drop_stage(self) -> None:
        if self._stage:
            self._stage.close()
            self._given_before, self._stage = self.answers, None

    def __call__(self, frame: Frame, keypoints: Float) -> UInt8:
        """RGB uint8 of the frame's size. Raises Unusable where the frame is to be shown as it is.

        A back end that fails, or refuses MAX_FAILED answers in a row, is opened anew; where it then fails again before anybody was
        dressed, its error is raised here.
        """
        with self._lock:
            if frame.captured <= self._forgotten:
                raise Unusable("")
            if self._garment is None:
                raise Unusable(Hint.CHOOSE)
            picture = self._watch(lambda: self._dress(frame, keypoints))
            if picture is None:
                raise Unusable(Hint.WAIT)
            return picture

    def _opened(self) -> LiveStage:
        if self._stage is None:
            self._stage = LiveStage(self._live, latest=self._latest, max_age_s=self._max_age_s)
            self._worn = None
        if self._worn is not self._garment and self._garment is not None:
            self._stage.set_garment(self._garment)
            self._worn = self._garment
        if self._stage.busy_s > STUCK_S:
            raise Stuck(f"parser or network have not returned for {STUCK_S:.0f} s: start again")
        return self._stage

    def _watch(self, call: Callable[[], Made]) -> Made | None:
        """What CALL returns; None where it failed and the back end was opened anew."""
        try:
            return call()
        except (Unusable, Stuck):
            raise
        except Exception:
            if self._on_probation:
                raise
            LOG.exception("the back end failed and is opened anew")
            self._reopen()
            return None

    def _reopen(self) -> None:
        self.rebuilds += 1
        self._on_probation, self._failed, self._last_refusal = True, 0, None
        with suppress(Exception):  # it is broken; what it holds of a GPU should be free before the next one
            self.close()
            self._live.close()
        self._drop_stage()
        self._live = self._open_live()

    def _dress(self, frame: Frame, keypoints: Float) -> UInt8:
        stage = self._opened()
        try:
            picture = stage(frame, keypoints)
        except Unusable as e:
            if not isinstance(e.__cause__, SpgvtonError):
                raise
            self._refused(e.__cause__)
            raise Unusable(str(e) if str(e) in FOR_CUSTOMERS else Hint.WAIT) from e.__cause__
        finally:
            self._count()
        self.shown = Shown(stage.worn, picture, frame.captured)
        self._failed, self._last_refusal, self.problem = 0, None, ""
        self._on_probation = False
        return picture

    def _count(self) -> None:
        now, answers = time.monotonic(), self.answers
        for _ in range(answers - self._counted):
            self._rate.add(now)
        self._counted = answers

    def _refused(self, error: SpgvtonError) -> None:
        """Note why an answer dresses nobody; many frames tell of the same one. Raises ERROR when the network does it too often."""
        if error is self._last_refusal:
            return
        self._last_refusal = error
        self.problem = "" if str(error) in FOR_CUSTOMERS else str(error)
        self._tell(error)
        if isinstance(error, Undressable):
            return
        self._failed += 1
        if self._failed >= MAX_FAILED:
            raise error

    def _tell(self, error: SpgvtonError) -> None:
        """Log why; seldom, for it may be every second frame for weeks."""
        self._untold += 1
        if time.monotonic() - self._told > TELL_S:
            LOG.warning("%d times the customer could not be dressed: %s", self._untold, error)
            self._untold, self._told = 0, time.monotonic()
