"""The synthesis stage of a mirror: a session whose garment and person are exchanged between two frames."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError
from spgvton.hints import Hint
from spgvton.kiosk.mirror.still import Shown
from spgvton.person import Garment, PersonRepresentation
from spgvton.stream.frames import Frame
from spgvton.stream.loop import Unusable

LOG: Final = logging.getLogger(__name__)

MAX_FAILED: Final = 10  # frames in a row
TELL_S: Final = 10.0  # between two lines in the log about frames that could not be dressed

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]


class Session(Protocol):
    """What is needed of spgvton.session.TryOn."""

    @property
    def size(self) -> tuple[int, int]: ...

    def describe(self) -> dict[str, str]: ...

    def use_person(self, person: PersonRepresentation) -> None: ...

    def use_garment(self, garment: Garment) -> None: ...

    def forget_person(self) -> None: ...

    def close(self) -> None: ...

    def __call__(self, target: Float, frame_size: tuple[int, int] | None = None) -> UInt8: ...


class Dresser:
    """(Frame, keypoints) -> try-on. Methods may be called from any thread.

    open_session: opens the session; called again when the back end fails. rebuilds: how often that was. shown: the last result.
    """

    def __init__(self, open_session: Callable[[], Session]) -> None:
        self._open_session = open_session
        self._session = open_session()
        self.size = self._session.size
        self.rebuilds = 0
        self._failed = 0  # frames in a row
        self._untold, self._told = 0, float("-inf")  # frames, and when the log was told
        self._lock = threading.Lock()  # of the session
        self._garment: Garment | None = None
        self._person: PersonRepresentation | None = None
        self._set: tuple[Garment | None, PersonRepresentation | None] = (None, None)  # what the session has
        self.shown: Shown | None = None

    def describe(self) -> dict[str, str]:
        """The back end: name, version, device."""
        return self._session.describe()

    def prepare(self, picture: UInt8, mask: UInt8) -> Garment:
        """The garment of a picture RGB (H, W, 3) and mask (H, W), 255 = garment. Raises SpgvtonError."""
        return Garment.of(picture, mask, size=self.size)

    def set_garment(self, garment: Garment) -> None:
        """Wear GARMENT from the next frame on."""
        self._garment = garment

    def set_person(self, person: PersonRepresentation) -> None:
        """Dress PERSON from the next frame on."""
        self._person = person

    def forget_person(self) -> None:
        """Overwrite the person, also in the session. Waits for a frame under way."""
        with self._lock:
            self._person = self.shown = None
            if self._set[1] is not None:
                self._session.forget_person()
                self._set = (self._set[0], None)

    def __call__(self, frame: Frame, keypoints: Float) -> UInt8:
        """RGB uint8 of the network's size. Raises Unusable where there is nobody, nothing to wear, or the session refuses.

        A back end that fails, or refuses MAX_FAILED frames in a row, is opened anew; what it raises then is raised here.
        """
        with self._lock:
            garment, person = self._garment, self._person
            if person is None:
                raise Unusable("")
            if garment is None:
                raise Unusable(Hint.CHOOSE)
            try:
                return self._show(garment, person, keypoints, frame)
            except Exception as e:
                self._failed += 1
                if isinstance(e, SpgvtonError) and self._failed < MAX_FAILED:
                    self._tell(e)
                    raise Unusable(Hint.WAIT) from e
                LOG.exception("the back end failed and is opened anew")
                self.rebuilds += 1
                with suppress(Exception):  # it is broken; what it holds of a GPU should be free before the next one
                    self._session.close()
                self._session, self._set = self._open_session(), (None, None)
                return self._show(garment, person, keypoints, frame)

    def _show(self, garment: Garment, person: PersonRepresentation, keypoints: Float, frame: Frame) -> UInt8:
        picture = self._run(garment, person, keypoints, (frame.image.shape[0], frame.image.shape[1]))
        self.shown = Shown(garment, picture, frame.captured)
        return picture

    def _tell(self, error: SpgvtonError) -> None:
        """Log why a frame could not be dressed; seldom, for it may be every second frame for weeks."""
        self._untold += 1
        if time.monotonic() - self._told > TELL_S:
            LOG.warning("%d frames could not be dressed: %s", self._untold, error)
            self._untold, self._told = 0, time.monotonic()

    def _run(self, garment: Garment, person: PersonRepresentation, keypoints: Float, size: tuple[int, int]) -> UInt8:
        if self._set[0] is not garment:
            self._session.use_garment(garment)
        if self._set[1] is not person:
            self._session.use_person(person)
        self._set = (garment, person)
        result = self._session(keypoints, size)
        self._failed = 0
        return result
