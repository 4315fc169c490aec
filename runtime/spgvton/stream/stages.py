"""The real perception and synthesis stages that `spgvton run` and `demo` put into the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError
from spgvton.live.tryon import why_not_live
from spgvton.perception.pose import PoseEstimator, why_unusable
from spgvton.stream.frames import Frame
from spgvton.stream.loop import Perception, Unusable

UInt8 = NDArray[np.uint8]
Keypoints = NDArray[np.float32]

MAX_TRIES: Final = 20


class TryOnSession(Protocol):
    """What the stage needs of spgvton.session.TryOn."""

    def set_person(self, picture: UInt8, *, keypoints: Keypoints | None = None) -> None: ...

    def __call__(self, target: Keypoints, frame_size: tuple[int, int] | None = None) -> UInt8: ...


class PoseStage:
    """Frame -> Perception, with one pose estimator that follows the person from frame to frame.

    live: for live mode, where a back is not dressed either, and a frame that is not dressed is shown itself.
    """

    def __init__(self, threads: int = 1, *, live: bool = False) -> None:
        self._estimate, self._live = PoseEstimator(threads=threads), live

    def __call__(self, frame: Frame) -> Perception:
        keypoints = self._estimate(frame.image, frame.timestamp)
        why = why_not_live if self._live else why_unusable
        reason = why(keypoints, (frame.image.shape[0], frame.image.shape[1]))
        return Perception(keypoints, reason, keep_last=not self._live)


class TryOnStage:
    """(Frame, keypoints) -> result. With `person_from_stream`, the first frame that can be parsed becomes the person.

    session: a TryOn whose garment is set, and whose person is, unless person_from_stream. on_person: told the index of
    the frame that became the person.
    """

    def __init__(
        self, session: TryOnSession, *, person_from_stream: bool = False, on_person: Callable[[int], None] | None = None
    ) -> None:
        self._session, self._wanted, self._on_person = session, person_from_stream, on_person
        self._tries = 0

    def __call__(self, frame: Frame, keypoints: Keypoints) -> UInt8:
        """Raises Unusable where the frame cannot become the person; after 20 such frames the SpgvtonError behind it."""
        if self._wanted:
            self._tries += 1
            try:
                self._session.set_person(frame.image, keypoints=keypoints)
            except SpgvtonError as e:
                if self._tries >= MAX_TRIES:
                    raise
                raise Unusable("no person that can be parsed") from e
            self._wanted = False
            if self._on_person:
                self._on_person(frame.index)
        return self._session(keypoints, (frame.image.shape[0], frame.image.shape[1]))
