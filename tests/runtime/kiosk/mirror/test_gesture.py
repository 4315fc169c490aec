"""The raised hand, on people made of keypoints and on the shipped clip; time is what the test tells."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kiosk_hands import Float, fidgeter, noisy, passer_by, person

from spgvton import keypoints as kp
from spgvton.demo_assets import DemoAssets
from spgvton.kiosk.mirror import gesture as g
from spgvton.kiosk.mirror.gesture import IDLE, Gesture, GestureReader

DWELL_S = 1.5
UP = (0.1, 0.45)  # a hand beside the head
HOUR_S = 3600


class Customer:
    """Frames of one who is told what to do, at FPS."""

    def __init__(self, fps: float = 30.0, dwell_s: float = DWELL_S) -> None:
        self.fps, self.now = fps, 100.0
        self.reader = GestureReader(dwell_s)
        self.choosable = True

    def does(self, k: Float | None, seconds: float) -> list[Gesture]:
        """K for SECONDS, at least a frame."""
        found = []
        for _ in range(max(1, round(seconds * self.fps))):
            self.now += 1 / self.fps
            found.append(self.reader.step(k, self.now, self.choosable))
        return found

    def raised(self) -> Customer:
        """Stands, then has a hand up that counts."""
        self.does(person(), 1)
        assert self.does(person(UP), 0.3)[-1].phase in ("moving", "holding")
        return self


def fired(gestures: Iterable[Gesture]) -> int:
    return sum(each.fired for each in gestures)


@pytest.mark.parametrize("fps", [10, 15, 30, 60])
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_raised_hand_is_seen_within_200_ms(fps: float, side: str) -> None:
    customer = Customer(fps)
    assert customer.does(person(), 1)[-1] is IDLE
    up = person(UP) if side == "right" else person(left=UP)
    found = customer.does(up, 1)
    frames = [each.hand is None for each in found].index(False)
    assert frames / fps <= 0.2
    x, y = found[-1].hand or (0, 0)
    wrist = up[kp.R_WRIST if side == "right" else kp.L_WRIST]
    assert y < wrist[1] and abs(x - wrist[0]) < 30  # at the hand, beyond the wrist


@pytest.mark.parametrize("fps", [10, 30])
def test_a_movement_steps_in_the_second_frame_that_shows_it(fps: float) -> None:
    customer = Customer(fps).raised()
    outwards = customer.does(person((UP[0] + g.STEP, UP[1])), 2 / fps)
    assert [each.steps for each in outwards] == [0, -1]  # her right is the left of the camera's picture
    assert customer.does(person(UP), 2 / fps)[-1].steps == 0
    assert (
        customer.does(person((UP[0] - 1.1 * g.STEP, UP[1])), 2 / fps)[-1].steps == 1
    )  # once raised it may come inside


def test_a_hand_far_out_goes_on_by_itself() -> None:
    customer = Customer().raised()
    far = customer.does(person((UP[0] + 2.5 * g.STEP, UP[1])), 3 * g.REPEAT_S + 0.1)
    assert sorted({each.steps for each in far}, reverse=True) == [0, -2, -3, -4, -5]
    assert not fired(far) and {each.progress for each in far[2:]} == {0.0}
    assert customer.does(person((UP[0] + g.STEP, UP[1])), 0.1)[-1].steps == far[-1].steps + 1


def test_a_hand_that_is_held_chooses_once() -> None:
    customer = Customer().raised()
    held = customer.does(person((UP[0] + g.STEP, UP[1])), DWELL_S + 0.1)[2:]
    assert fired(held) == 1 and held[-1].phase == "chosen" and held[-1].progress == 1
    ring = [each.progress for each in held]
    assert ring == sorted(ring) and 0.4 < ring[len(ring) // 2] < 0.6
    assert fired(customer.does(person((UP[0] + g.STEP, UP[1])), 5)) == 0
    assert fired(customer.does(person(UP), DWELL_S + 0.1)) == 1  # it goes on without being lowered


def test_what_cannot_be_chosen_has_no_ring() -> None:
    customer = Customer().raised()
    customer.choosable = False
    held = customer.does(person(UP), 3)
    assert {(each.phase, each.progress) for each in held[1:]} == {("moving", 0.0)}


def test_a_hand_that_moves_is_not_held() -> None:
    customer = Customer().raised()
    found = []
    for number in range(60):
        found += customer.does(person((UP[0] + 0.02, UP[1] - 0.17 * (number % 2))), 0.2)
    assert not fired(found) and max(each.progress for each in found) < 0.35
    assert {each.steps for each in found} == {0}


def test_lowered_hands_and_lost_hands_end_it() -> None:
    customer = Customer().raised()
    assert customer.does(person(), 0.1)[-1] is IDLE
    customer.raised()
    blink = customer.does(None, 0.2)
    assert all(each.hand for each in blink) and not fired(blink)
    assert customer.does(person(UP), 0)[-1].hand
    assert customer.does(None, 2 * g.LOST_S)[-1] is IDLE
    customer.raised().reader.reset()
    assert customer.does(person(UP), 0)[-1] is IDLE


def test_another_persons_arm_is_none() -> None:
    customer = Customer()
    customer.does(person(), 1)
    foreign = person(UP)
    foreign[kp.R_WRIST, 0] -= 1.2 * 200  # somebody else's wrist beside her
    assert set(customer.does(foreign, 2)) == {IDLE}


def test_both_hands_are_no_hand() -> None:
    customer = Customer()
    customer.does(person(), 1)
    assert set(customer.does(person(UP, UP), 2)) == {IDLE}


def test_who_walks_off_takes_the_hand_along() -> None:
    customer = Customer().raised()
    found: list[Gesture] = []
    for number in range(30):
        found += customer.does(person(UP, at=(360 + 12 * number, 400)), 0)
    assert found[-1] is IDLE and not fired(found)


def test_somebody_who_comes_nearer_raises_nothing() -> None:
    customer = Customer()
    found: list[Gesture] = []
    for number in range(75):  # 1 m/s, from 4 m on
        found += customer.does(person(UP, torso=400 / (4 - number / 30)), 0)
    assert set(found) == {IDLE}


def alarms(frames: Iterable[Float], fps: float) -> tuple[int, int]:
    """How often a hand counts as raised, and chooses, where FRAMES show none."""
    reader, raised, chosen, before = GestureReader(DWELL_S), 0, 0, False
    for number, k in enumerate(frames):
        found = reader.step(k, 100 + number / fps)
        raised += bool(found.hand) and not before
        chosen += found.fired
        before = found.hand is not None
    return raised, chosen


def people_who_pass(fps: float) -> Iterable[Float]:
    rng, frames = np.random.default_rng(7), 0
    while frames < HOUR_S * fps:
        for k in passer_by(rng, fps):
            frames += 1
            yield noisy(k, rng)


def people_who_fidget(fps: float) -> Iterable[Float]:
    rng = np.random.default_rng(8)
    return (noisy(k, rng) for k in fidgeter(rng, fps, HOUR_S))


def the_clip(fps: float) -> Iterable[Float]:
    """Whose arms go up to the shoulders, as a pose network sees it."""
    rng, clip = np.random.default_rng(9), DemoAssets.open().keypoints()
    return (noisy(clip[number % len(clip)], rng) for number in range(round(HOUR_S * fps)))


@pytest.mark.parametrize(
    ("people", "fps", "may_raise"),
    [(people_who_pass, 8, 1), (the_clip, 8, 1), (people_who_fidget, 8, 15)],  # a new fidget every 3 s, 1200 in all
    ids=["passers-by", "synthetic stream", "fidgeters"],
)
def test_an_hour_without_a_raised_hand(people: Callable[[float], Iterable[Float]], fps: float, may_raise: int) -> None:
    raised, chosen = alarms(people(fps), fps)
    assert raised <= may_raise and chosen <= 1, (raised, chosen)


def test_a_noisy_hand_still_chooses() -> None:
    """What the noise costs those who do mean it."""
    chosen = 0
    for seed in range(20):
        rng, reader = np.random.default_rng(seed), GestureReader(DWELL_S)
        ks = [person()] * 30 + [person(UP)] * 10 + [person((UP[0] + 1.1 * g.STEP, UP[1]))] * 75
        found = [reader.step(noisy(k, rng), number / 15) for number, k in enumerate(ks)]
        chosen += fired(found) == 1
    assert chosen >= 18


points = st.lists(
    st.tuples(st.floats(0, 720), st.floats(0, 1280), st.sampled_from([0.0, 0.3, 1.0])), min_size=18, max_size=18
)
frames = st.lists(st.tuples(st.one_of(st.none(), points), st.floats(0.001, 0.5), st.booleans()), max_size=40)


@settings(max_examples=60, deadline=None)
@given(frames)
def test_whatever_is_seen_the_answer_holds_together(
    seen: list[tuple[list[tuple[float, ...]] | None, float, bool]],
) -> None:
    reader, now, before = GestureReader(0.5), 0.0, IDLE
    for points, passed, choosable in seen:
        now += passed
        k = None if points is None else np.array(points, np.float32)
        found = reader.step(k, now, choosable)
        assert (found.hand is None) == (found.phase == "idle") == (found is IDLE)
        assert 0 <= found.progress <= 1 and (found.progress == 1) == (found.phase == "chosen")
        assert not found.fired or (found.phase == "chosen" and choosable and before.phase != "idle")
        assert not (found.fired and before.fired)
        before = found


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-0.6, 0.6), st.floats(0.25, 0.5)), min_size=1, max_size=30), st.sampled_from([10, 30])
)
def test_a_hand_chooses_only_after_it_was_held(places: list[tuple[float, float]], fps: int) -> None:
    customer = Customer(fps).raised()
    since, last = customer.now, UP
    for place in places:
        found = customer.does(person((UP[0] + place[0], place[1])), 0.1)
        if abs(place[0] - last[0]) > g.STILL or abs(place[1] - last[1]) > g.STILL:
            since, last = customer.now - 0.1, place
        if fired(found):
            assert customer.now - since >= DWELL_S - 0.35  # what was held while it was raised counts
            return
