"""Touchless choice, the state machine: a raised hand that moves sideways goes from garment to garment, one that is held still chooses.

    idle     no hand is raised.
    moving   a hand is: its place says how many garments it has moved.
    holding  it is still, on something that can be chosen: a ring fills for dwell_s.
    chosen   the ring was full. The hand goes on with a movement, or is lowered.

Pure: it is told the keypoints of each frame that are the customer's, and the time. Lengths are in torso lengths (half a
metre), so that distance does not matter. Somebody who walks by, scratches their head, telephones or stretches both arms
raises no hand:

- the body stands (the neck, over STANDING_S), and both its shoulders are seen;
- the wrist is clearly above the shoulder and the elbow, outside of the shoulder, and at the end of an arm of human length;
- the other hand is not up as well, nor was just before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import hypot, inf
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp

Float = NDArray[np.float32]
Phase = Literal["idle", "moving", "holding", "chosen"]

RAISED_S: Final = 0.08  # for so long a hand is up, and comes no further than ARRIVED, before it counts
ARRIVED: Final = 0.12
UP: Final = 0.2  # of the wrist above the shoulder, to begin
STILL_UP: Final = -0.1  # and to go on: arms grow heavy
ABOVE_ELBOW: Final = 0.2
INSIDE: Final = 0.05  # so far inside the shoulder a wrist may begin: further in are ears and hair
LIMB: Final = (0.1, 0.9)  # of forearm and upper arm, as the camera sees them
REACH: Final = 0.35  # of a hand beyond its wrist, in forearms: where the ring is drawn
STEP: Final = 0.24  # of sideways movement from one garment to the next
SLACK: Final = 0.65  # of a step after which it is made: no flicker between two
FAR: Final = 2  # steps from where the hand began; there it goes on by itself
REPEAT_S: Final = 0.45
STILL: Final = 0.12  # radius within which a hand is held still
STANDING_S: Final = 0.4
STANDING: Final = 0.25  # that the neck moves meanwhile
GROWTH: Final = 1.1  # of the torso meanwhile: nobody comes nearer
LEAVING: Final = 2.0  # times STANDING ends it
BOTH_S: Final = 0.5  # after the other hand was up
LOST_S: Final = 0.3  # for so long a hand may be unseen
MEDIAN: Final = 3  # frames
_ARMS: Final = ((kp.R_SHOULDER, kp.R_ELBOW, kp.R_WRIST), (kp.L_SHOULDER, kp.L_ELBOW, kp.L_WRIST))


@dataclass(frozen=True)
class Gesture:
    """One frame of it. hand: (x, y) in pixels of the camera's frame. steps: made since the hand was raised, to the right of the
    camera's frame; progress: of the ring, in [0, 1]; fired: this frame chooses.
    """

    phase: Phase = "idle"
    hand: tuple[float, float] | None = None
    steps: int = 0
    progress: float = 0.0
    fired: bool = False


IDLE: Final = Gesture()


class _Body(NamedTuple):
    time: float
    x: float  # of the neck
    y: float
    torso: float


class _Arm(NamedTuple):
    """Of one frame. up: of the wrist (x, y) above the shoulder. begins: it is a raised hand. hand: where the ring is drawn."""

    x: float
    y: float
    up: float
    begins: bool
    hand: tuple[float, float]


def _arm(k: Float, joints: tuple[int, int, int], torso: float, outwards: float) -> _Arm | None:
    """The arm of JOINTS where it is seen and a human one. outwards: sign of x away from the body."""
    (sx, sy, s), (ex, ey, e), (wx, wy, w) = k[list(joints)].tolist()
    if min(s, e, w) <= 0:
        return None
    upper, fore = hypot(ex - sx, ey - sy) / torso, hypot(wx - ex, wy - ey) / torso
    if max(upper, fore) > LIMB[1] or fore < LIMB[0]:
        return None
    up = (sy - wy) / torso
    raised = up > UP and (ey - wy) / torso > ABOVE_ELBOW and outwards * (wx - sx) / torso > -INSIDE
    return _Arm(wx, wy, up, raised, (wx + REACH * (wx - ex), wy + REACH * (wy - ey)))


def _middle(values: Iterable[float]) -> float:
    """The median, the upper one of two: a pose network is wildly wrong for single frames."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


class GestureReader:
    """One customer's hands. dwell_s: how long a hand is held still to choose."""

    def __init__(self, dwell_s: float) -> None:
        self._dwell_s = dwell_s
        self._bodies: deque[_Body] = deque()
        self._now = 0.0
        self.reset()

    def reset(self) -> None:
        """Forget the customer."""
        self._bodies.clear()
        self._up = [-inf, -inf]  # when the right and the left hand were up last
        self._lower()

    def _lower(self) -> None:
        self._side: int | None = None  # of the hand that is up, or may be
        self._since = self._seen = 0.0  # when it went up, and was seen last
        self._last = IDLE  # until the hand counts
        self._arms: deque[_Arm] = deque(maxlen=MEDIAN)
        self._began = 0.0  # x of the wrist
        self._anchor, self._anchored = (0.0, 0.0), 0.0  # where it is held, and since when
        self._level = self._beyond = 0  # steps by place, and by staying far out
        self._repeated = 0.0

    def step(self, k: Float | None, now: float, choosable: bool = True) -> Gesture:
        """KEYPOINTS (18, 3) of the customer in a frame captured at NOW (seconds, increasing); None where she is not seen.

        choosable: whether what the hand has moved to can be chosen; otherwise no ring fills.
        """
        passed, self._now = now - self._now, now
        torso = 0.0 if k is None else kp.torso_length(k)
        if k is None or torso <= 0 or min(k[kp.R_SHOULDER, 2], k[kp.L_SHOULDER, 2]) <= 0:
            return self._unseen(passed)
        self._remember(_Body(now, float(k[kp.NECK, 0]), float(k[kp.NECK, 1]), torso))
        outwards = 1.0 if k[kp.L_SHOULDER, 0] > k[kp.R_SHOULDER, 0] else -1.0  # of the left arm
        arms = [_arm(k, joints, torso, sign * outwards) for joints, sign in zip(_ARMS, (-1, 1))]
        self._up = [now if arm and arm.up > 0 else before for arm, before in zip(arms, self._up)]
        moved = self._moved()
        if self._last is IDLE and not self._is_raised(arms, torso, moved):
            return IDLE
        assert self._side is not None
        arm = arms[self._side]
        if arm is None:
            return self._unseen(passed)
        self._arms.append(arm)
        self._seen = now
        if moved > LEAVING * STANDING or _middle(each.up for each in self._arms) < STILL_UP:
            self._lower()
            return IDLE
        if self._last is IDLE and now - self._since < RAISED_S:
            return IDLE
        return self._follow(arm.hand, choosable)

    def _unseen(self, passed: float) -> Gesture:
        if self._now - self._seen > LOST_S or self._last is IDLE:
            self._lower()
        else:
            self._anchored += passed  # what is not seen does not hold still
            self._last = replace(self._last, fired=False)
        return self._last

    def _remember(self, body: _Body) -> None:
        self._bodies.append(body)
        while len(self._bodies) > 2 and self._bodies[1].time <= body.time - STANDING_S:
            self._bodies.popleft()

    def _moved(self) -> float:
        """How far the neck has come within STANDING_S; without end where that is not known, or the body comes nearer."""
        bodies = self._bodies
        seconds = bodies[-1].time - bodies[0].time
        if not 0.9 * STANDING_S <= seconds <= 3 * STANDING_S:
            return inf
        early, late = list(bodies)[:MEDIAN], list(bodies)[-MEDIAN:]
        torso = _middle(body.torso for body in late)
        if not 1 / GROWTH < torso / _middle(body.torso for body in early) < GROWTH:
            return inf
        x = _middle(body.x for body in late) - _middle(body.x for body in early)
        y = _middle(body.y for body in late) - _middle(body.y for body in early)
        return hypot(x, y) / torso

    def _is_raised(self, arms: list[_Arm | None], torso: float, moved: float) -> bool:
        """Whether one hand, and no other, is up in this frame; begins anew with another one, or one that is on its way."""
        up = [side for side in (0, 1) if (arm := arms[side]) and arm.begins]
        if len(up) != 1 or self._now - self._up[1 - up[0]] < BOTH_S or moved >= STANDING:
            self._lower()
            return False
        arm = arms[up[0]]
        assert arm is not None
        if self._side != up[0] or hypot(arm.x - self._anchor[0], arm.y - self._anchor[1]) > ARRIVED * torso:
            self._lower()
            self._side, self._since, self._anchor = up[0], self._now, (arm.x, arm.y)
        return True

    def _follow(self, hand: tuple[float, float], choosable: bool) -> Gesture:
        x, y = _middle(arm.x for arm in self._arms), _middle(arm.y for arm in self._arms)
        torso = _middle(body.torso for body in list(self._bodies)[-MEDIAN:])
        if self._last is IDLE:
            self._began, self._anchor, self._anchored = x, (x, y), self._now
        steps = self._steps((x - self._began) / (STEP * torso))
        moved = steps != self._last.steps
        away = hypot(x - self._anchor[0], y - self._anchor[1]) / torso > STILL
        if self._last.phase == "chosen" and not moved:
            self._last = Gesture("chosen", hand, steps, 1.0)
            return self._last
        if moved or away or not choosable or abs(self._level) >= FAR:
            self._anchor, self._anchored = (x, y), self._now
        progress = min(1.0, (self._now - self._anchored) / self._dwell_s)
        fired = progress >= 1.0
        phase: Phase = "chosen" if fired else "holding" if progress > 0 else "moving"
        self._last = Gesture(phase, hand, steps, progress, fired)
        return self._last

    def _steps(self, offset: float) -> int:
        """Steps made so far, with the hand OFFSET steps from where it began."""
        offset = max(-FAR, min(FAR, offset))
        if abs(offset - self._level) > SLACK:
            self._level, self._repeated = round(offset), self._now
        elif abs(self._level) >= FAR and self._now - self._repeated >= REPEAT_S:
            self._beyond += 1 if self._level > 0 else -1
            self._repeated = self._now
        return self._level + self._beyond
