"""The source picture: the best of the last few good frames, parsed once, in the background so that the view keeps moving."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError
from spgvton.image import SIZE
from spgvton.kiosk.mirror.guide import source_quality
from spgvton.perception.parsing import Parser
from spgvton.person import PersonRepresentation

LOG: Final = logging.getLogger(__name__)

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

GOOD_FRAMES: Final = 8
STUCK_S: Final = 120.0  # a parser that takes longer does not come back


@dataclass
class _Candidate:
    picture: UInt8
    keypoints: Float
    quality: float


class SourceCapture:
    """Collects good frames, and makes a PersonRepresentation of the best. One thread uses it; the parser runs in another.

    One parser at a time: while one still works on a picture that is not wanted any more, no other is started. offer() and
    poll() raise SpgvtonError when the parser has not returned for STUCK_S; only a new process can help then.

    parser: its label set is the bundle's. size: (height, width) of the network.
    problem: why the last attempt failed ("" otherwise).
    """

    def __init__(self, parser: Parser, size: tuple[int, int] = SIZE) -> None:
        self._parser, self._size = parser, size
        self.problem = ""
        self._last: tuple[threading.Event, float] | None = None  # the last job's end and begin; nothing of the customer
        self.reset()

    def reset(self) -> None:
        """Forget all pictures; what a parser at work will find is thrown away."""
        self._best: _Candidate | None = None
        self._seen = 0
        self._job: _Job | None = None

    @property
    def busy(self) -> bool:
        """A picture was chosen and is being parsed."""
        return self._job is not None

    def offer(self, picture: UInt8, keypoints: Float) -> None:
        """A good frame. The best one so far is kept; after GOOD_FRAMES of them it goes to the parser."""
        if self.busy or self._parsing():
            return
        self._seen += 1
        quality = source_quality(picture, keypoints)
        if self._best is None or quality > self._best.quality:
            self._best = _Candidate(picture, keypoints.copy(), quality)
        if self._seen >= GOOD_FRAMES:
            self._job = _Job(self._parser, self._best, self._size)
            self._last = (self._job.done, time.monotonic())
            self._best, self._seen = None, 0

    def poll(self) -> PersonRepresentation | None:
        """The person, once; None while there is none. After a failure new frames are wanted, and `problem` says why."""
        job = self._job
        if self._parsing() or job is None:
            return None
        self._job, self.problem = None, job.problem
        if job.problem:
            LOG.warning("the source picture could not be used: %s", job.problem)
        return job.person

    def _parsing(self) -> bool:
        """A parser is at work, be it in vain."""
        if self._last is None or self._last[0].is_set():
            return False
        if time.monotonic() - self._last[1] > STUCK_S:
            raise SpgvtonError(f"the parser has not returned for {STUCK_S:.0f} s: start again, or use another one")
        return True


class _Job:
    def __init__(self, parser: Parser, candidate: _Candidate, size: tuple[int, int]) -> None:
        self.done = threading.Event()
        self.person: PersonRepresentation | None = None
        self.problem = ""
        arguments = (parser, candidate, size)
        threading.Thread(target=self._run, args=arguments, name="spgvton-parser", daemon=True).start()

    def _run(self, parser: Parser, candidate: _Candidate, size: tuple[int, int]) -> None:
        try:
            labels = parser(candidate.picture, candidate.keypoints)
            self.person = PersonRepresentation.of(
                candidate.picture, labels, candidate.keypoints, label_set=parser.label_set, size=size
            )
        except SpgvtonError as e:
            self.problem = str(e)
        except Exception as e:  # a parser is the user's own network: the mirror must outlive it
            LOG.exception("the parser failed")
            self.problem = f"{type(e).__name__}: {e}"
        finally:
            self.done.set()
