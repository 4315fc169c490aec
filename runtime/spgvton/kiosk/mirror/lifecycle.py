"""A customer before the mirror: nobody -> approaching -> capturing -> live -> left -> nobody.

    nobody       nobody is seen.
    approaching  somebody is, and is told where to stand.
    capturing    she stands well; good frames are collected and the best one is parsed.
    live         she is dressed. Frames whose pose cannot be dressed show the last good image and a hint.
    left         she is not seen; her last image waits for her for wipe_after_s, then everything about her is wiped.

In live mode there is no source picture and so no "capturing", and no last image either: frames that cannot be dressed show the camera.

Time is what the caller says (time.monotonic() at capture), so a wall clock that is set changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton.hints import Hint
from spgvton.kiosk.mirror.dresser import Dresser
from spgvton.kiosk.mirror.guide import face_hint, is_dark, place_hint, pose_hint
from spgvton.kiosk.mirror.live_dresser import LiveDresser
from spgvton.kiosk.mirror.lock import PersonLock
from spgvton.kiosk.mirror.source_capture import SourceCapture
from spgvton.perception.pose import person_present, why_unusable
from spgvton.stream.loop import Perception

LOG: Final = logging.getLogger(__name__)

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
State = Literal["nobody", "approaching", "capturing", "live", "left"]

APPEAR_S: Final = 0.3  # for so long somebody must be seen, against flashes of a pose where nobody is
LOST_S: Final = 1.0  # for so long she may be unseen before she has left
PATIENT_S: Final = 4.0  # after so long in "capturing" a pose that is not ideal will do
STRANGER_S: Final = 3.0  # someone else stands there for so long: the customer does not come back


class Lifecycle:
    """State of one mirror; used under its lock.

    capture: makes the source picture; None in live mode. empty: the last frame showed a lit room without a customer.
    follow: tells the pose estimator to look where the customer was: keypoints (18, 3), (height, width) of the frame.
    forget: drops the last try-on.
    """

    def __init__(
        self,
        capture: SourceCapture | None,
        dresser: Dresser | LiveDresser,
        follow: Callable[[Float, tuple[int, int]], None],
        forget: Callable[[], None],
        *,
        wipe_after_s: float,
    ) -> None:
        self.state: State = "nobody"
        self.hint = ""
        self.dark = False  # the last frame showed nothing
        self.empty = False
        self._followed = False  # the last frame's keypoints are the customer's
        self._capture, self._dresser, self._follow, self._forget = capture, dresser, follow, forget
        self._wipe_after_s = wipe_after_s
        self._lock = PersonLock()
        self._clear_times()

    def _clear_times(self) -> None:
        self._seen = float("-inf")  # the customer, last
        self._somebody_since: float | None = None  # somebody who is not the customer
        self._capturing_since: float | None = None

    def _go(self, state: State) -> None:
        if state != self.state:
            LOG.info("%s -> %s", self.state, state)
            self.state = state

    @property
    def problem(self) -> str:
        """Why the last source picture, or in live mode the last frame, could not be used; "" where it could."""
        return self._dresser.problem if isinstance(self._dresser, LiveDresser) else self._capture_problem

    @property
    def _capture_problem(self) -> str:
        return self._capture.problem if self._capture else ""

    @property
    def dressed(self) -> bool:
        """Whether the last frame's keypoints are those of a customer who is being dressed."""
        return self._followed and self.state == "live"

    def _forget_captured(self) -> None:
        if self._capture:
            self._capture.reset()

    def wipe(self) -> None:
        """Forget the customer: pictures, map, keypoints, colours."""
        self._forget_captured()
        self._dresser.forget_person()
        self._forget()
        self._lock.clear()
        self._clear_times()
        self.hint = ""
        self._go("nobody")

    def retake(self) -> None:
        """Take the customer's picture anew; without a customer that happens anyway."""
        if self.state in ("live", "left"):
            self._forget_captured()
            self._dresser.forget_person()
            self._capturing_since = None
            self._go("approaching")

    def tick(self, now: float) -> None:
        """Let time pass without a frame (the camera is away): whoever left is wiped in time all the same."""
        if self.state == "nobody":
            return
        if now - self._seen > LOST_S:
            self._leave()
        if self.state == "left" and now - self._seen > LOST_S + self._wipe_after_s:
            self.wipe()

    def _leave(self) -> None:
        if self.state == "live":
            self._go("left")
        elif self.state != "left":
            self.wipe()

    def step(self, picture: UInt8, keypoints: Float, now: float) -> Perception:
        """One frame: PICTURE, RGB uint8 (H, W, 3), captured at NOW, and the keypoints (18, 3) found in it."""
        hint: str | None
        self._followed = False
        dark = self._look_for_light(picture)
        present = not dark and person_present(keypoints)
        if self.state == "nobody":
            hint = self._nobody(picture, keypoints, now, present)
        else:
            hint = self._somebody(picture, keypoints, now, present)
        self.tick(now)
        if self.state == "nobody":
            hint = ""
        if dark:
            hint = Hint.DARK
        self.hint = hint or ""
        self.empty = not dark and not present and self.state in ("nobody", "left")
        return Perception(keypoints, hint, keep_last=self._capture is not None and self.state in ("live", "left"))

    def _look_for_light(self, picture: UInt8) -> bool:
        """True where PICTURE shows nothing; the log is told when that begins and ends."""
        dark = is_dark(picture)
        if dark != self.dark:
            LOG.log(logging.WARNING if dark else logging.INFO, str(Hint.DARK) if dark else "the camera sees again")
            self.dark = dark
        return dark

    def _nobody(self, picture: UInt8, k: Float, now: float, present: bool) -> str:
        if self._stays(present, now, APPEAR_S):
            self._lock.take(picture, k, now)
            self._seen, self._somebody_since = now, None
            self._go("approaching")
        return ""

    def _stays(self, somebody: bool, now: float, seconds: float) -> bool:
        """True once SOMEBODY was true for SECONDS on end."""
        if not somebody:
            self._somebody_since = None
            return False
        if self._somebody_since is None:
            self._somebody_since = now
        return now - self._somebody_since >= seconds

    def _somebody(self, picture: UInt8, k: Float, now: float, present: bool) -> str | None:
        """The hint for a frame in which the customer was known before; None where she can be dressed."""
        shoulders = bool(k[kp.NECK, 2] > 0)
        if present and not shoulders and self.state in ("approaching", "capturing"):
            self._seen = now  # so near that there are no clothes to know her by
            return place_hint(k, (picture.shape[0], picture.shape[1]), hips=self._capture is not None)
        if present and self._lock.follows(picture, k, now):
            self._seen, self._somebody_since, self._followed = now, None, True
            if self.state == "left":
                self._go("live")
            return self._live(picture, k) if self.state == "live" else self._guide(picture, k, now)
        stranger = present and shoulders
        if self._stays(stranger, now, STRANGER_S) and self.state == "left":
            self.wipe()
            return ""
        if self.state == "left":
            return Hint.COME_BACK
        if stranger and self._lock.keypoints is not None:
            self._follow(self._lock.keypoints, (picture.shape[0], picture.shape[1]))
            return Hint.OTHERS
        return Hint.STEP_IN_FRONT if self.state == "live" else self.hint

    def _live(self, picture: UInt8, k: Float) -> str | None:
        return why_unusable(k, (picture.shape[0], picture.shape[1])) or face_hint(k)

    def _guide(self, picture: UInt8, k: Float, now: float) -> str | None:
        """Before she is live: where and how to stand; good frames go to the capture."""
        size = (picture.shape[0], picture.shape[1])
        if self._capture is None:
            hint = place_hint(k, size, hips=False)
            self._go("live" if hint is None else "approaching")
            return hint or self._live(picture, k)
        person = self._capture.poll()
        if person is not None:
            assert isinstance(self._dresser, Dresser)
            self._dresser.set_person(person)
            self._go("live")
            return self._live(picture, k)
        hint = place_hint(k, size)
        if hint is not None:
            self._capturing_since = None
            self._go("approaching")
            return hint
        self._go("capturing")
        if self._capturing_since is None:
            self._capturing_since = now
        if self._capture.busy:
            return Hint.WAIT
        hint = pose_hint(k)
        if hint is None or now - self._capturing_since > PATIENT_S:
            self._capture.offer(picture, k)
        return hint or Hint.HOLD_STILL
