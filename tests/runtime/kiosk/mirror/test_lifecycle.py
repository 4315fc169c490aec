"""A customer's way through the states, with the shipped clip's exact keypoints and time that the test tells."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from spgvton import keypoints as kp
from spgvton.demo_assets import DemoAssets
from spgvton.errors import SpgvtonError
from spgvton.hints import Hint
from spgvton.kiosk.mirror import lifecycle as lc
from spgvton.kiosk.mirror import source_capture
from spgvton.kiosk.mirror.dresser import MAX_FAILED, Dresser
from spgvton.kiosk.mirror.lifecycle import Lifecycle
from spgvton.kiosk.mirror.source_capture import GOOD_FRAMES, SourceCapture
from spgvton.person import Garment, PersonRepresentation
from spgvton.stream.frames import Frame
from spgvton.stream.loop import Perception, Unusable
from spgvton.video import cv2

ASSETS = DemoAssets.open()
PERSON, LABELS = ASSETS.person()
GOOD = ASSETS.keypoints()[0].astype(np.float32)
NOBODY = np.zeros((18, 3), np.float32)
EMPTY = np.full_like(PERSON, 230)
FPS = 8.0  # exact in binary


class Parser:
    """Gives the shipped map, when it is let."""

    label_set = "cihp"

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.seen: list[np.ndarray] = []
        self.error: Exception | None = None

    def __call__(self, image: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
        self.seen.append(image)
        self.go.wait(10)
        if self.error:
            raise self.error
        return LABELS


class Session:
    """Remembers what it is given; the picture it makes tells the garment's and the person's mean."""

    size = (256, 192)

    def __init__(self) -> None:
        self.person: PersonRepresentation | None = None
        self.garment: Garment | None = None
        self.fail: Exception | None = None
        self.forgotten = 0
        self.closed = False

    def describe(self) -> dict[str, str]:
        return {"backend": "test"}

    def use_person(self, person: PersonRepresentation) -> None:
        self.person = person

    def use_garment(self, garment: Garment) -> None:
        self.garment = garment

    def forget_person(self) -> None:
        self.person, self.forgotten = None, self.forgotten + 1

    def close(self) -> None:
        self.closed = True

    def __call__(self, target: np.ndarray, frame_size: tuple[int, int] | None = None) -> np.ndarray:
        if self.fail:
            raise self.fail
        assert self.person is not None
        assert self.garment is not None
        return np.full((*self.size, 3), round(100 * float(self.garment.mask.mean())), np.uint8)


class Kiosk:
    """A lifecycle whose clock is turned by hand."""

    def __init__(self, wipe_after_s: float = 5.0) -> None:
        self.now, self.parser, self.session = 1000.0, Parser(), Session()
        self.capture = SourceCapture(self.parser)
        self.dresser = Dresser(lambda: self.session)
        self.followed: list[np.ndarray] = []
        self.forgotten = 0  # last images
        self.life = Lifecycle(
            self.capture, self.dresser, lambda k, size: self.followed.append(k), self.forget, wipe_after_s=wipe_after_s
        )

    def forget(self) -> None:
        self.forgotten += 1

    def show(self, picture: np.ndarray, k: np.ndarray, seconds: float) -> Perception:
        """SECONDS of the same frame; what is said of the last one."""
        for _ in range(round(seconds * FPS)):
            self.now += 1 / FPS
            said = self.life.step(picture, k, self.now)
        return said

    def until_parsed(self) -> None:
        deadline = time.monotonic() + 10
        while self.capture._job and not self.capture._job.done.is_set():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def go_live(self) -> None:
        self.show(PERSON, GOOD, 2.0)
        assert self.capture.busy or self.life.state == "live"
        self.until_parsed()
        self.show(PERSON, GOOD, 1 / FPS)
        assert self.life.state == "live"


@pytest.fixture
def kiosk() -> Iterator[Kiosk]:
    out = Kiosk()
    yield out
    out.parser.go.set()


def test_the_whole_way(kiosk: Kiosk) -> None:
    life = kiosk.life
    said = kiosk.show(EMPTY, NOBODY, 1.0)
    assert (life.state, said.unusable, said.keep_last) == ("nobody", "", False)
    kiosk.show(PERSON, GOOD, 0.25)
    assert life.state == "nobody"  # a flash is nobody
    kiosk.show(PERSON, GOOD, 0.25)
    assert life.state == "approaching"
    kiosk.parser.go.clear()
    said = kiosk.show(PERSON, GOOD, 0.25)
    assert (life.state, said.unusable) == ("capturing", "stand straight and hold still")
    said = kiosk.show(PERSON, GOOD, 1.25)
    assert (life.state, said.unusable, said.keep_last) == ("capturing", "one moment, please", False)
    assert len(kiosk.parser.seen) == 1
    said = kiosk.show(PERSON, GOOD, 5.0)  # a slow parser holds up nobody, and is asked once
    assert said.unusable == "one moment, please"
    kiosk.parser.go.set()
    kiosk.until_parsed()
    said = kiosk.show(PERSON, GOOD, 1 / FPS)
    assert (life.state, said.unusable) == ("live", None)
    assert len(kiosk.parser.seen) == 1
    said = kiosk.show(EMPTY, NOBODY, 0.8)
    assert (life.state, said.unusable, said.keep_last) == ("live", "step in front of the mirror", True)
    said = kiosk.show(EMPTY, NOBODY, 0.5)
    assert (life.state, said.unusable, said.keep_last) == ("left", Hint.COME_BACK, True)
    said = kiosk.show(PERSON, GOOD, 0.25)
    assert (life.state, said.unusable) == ("live", None)  # she is known again
    said = kiosk.show(EMPTY, NOBODY, 6.5)
    assert (life.state, said.unusable, said.keep_last) == ("nobody", "", False)
    assert kiosk.life._lock.keypoints is None
    assert kiosk.forgotten == 1
    with pytest.raises(Unusable):
        kiosk.dresser(Frame(PERSON, 0, 0.0, 0.0), GOOD)


def test_the_sharpest_of_the_good_frames_is_parsed(kiosk: Kiosk) -> None:
    blurred = np.asarray(cv2.GaussianBlur(PERSON, (0, 0), 1.5))
    while kiosk.life.state != "capturing":
        kiosk.show(blurred, GOOD, 1 / FPS)
    for i in range(GOOD_FRAMES):
        kiosk.show(PERSON if i == 3 else blurred, GOOD, 1 / FPS)
    kiosk.until_parsed()
    assert len(kiosk.parser.seen) == 1
    assert kiosk.parser.seen[0] is PERSON


def test_hints_guide_until_the_pose_is_good_and_give_in_after_a_while(kiosk: Kiosk) -> None:
    arms = GOOD.copy()
    arms[kp.L_WRIST, 0] = arms[kp.L_HIP, 0]
    said = kiosk.show(PERSON, arms, 2.0)
    assert (kiosk.life.state, said.unusable) == ("capturing", "arms a little away from the body")
    assert not kiosk.capture.busy
    far = (GOOD * (0.2, 0.2, 1)).astype(np.float32)
    near = GOOD.copy()
    near[[kp.R_HIP, kp.L_HIP]] = 0
    said = kiosk.show(PERSON, near, 0.3)
    assert (kiosk.life.state, said.unusable) == ("approaching", "step back")
    kiosk.show(PERSON, arms, lc.PATIENT_S + 2)
    assert len(kiosk.parser.seen) == 1
    other = Kiosk()
    said = other.show(PERSON, far, 1.0)
    assert (other.life.state, said.unusable) == ("approaching", "come closer")


def test_parser_that_fails_gets_new_frames_and_the_mirror_goes_on(kiosk: Kiosk) -> None:
    for error in (SpgvtonError("too small"), RuntimeError("out of memory")):
        kiosk.parser.error = error
        count = len(kiosk.parser.seen)
        while len(kiosk.parser.seen) == count:
            kiosk.show(PERSON, GOOD, 1 / FPS)
        kiosk.until_parsed()
        kiosk.show(PERSON, GOOD, 1 / FPS)
        assert str(error) in kiosk.capture.problem
        assert kiosk.life.state == "capturing"
    kiosk.parser.error = None
    kiosk.go_live()
    assert kiosk.capture.problem == ""


def test_back_and_side_show_the_last_image_and_a_hint(kiosk: Kiosk) -> None:
    kiosk.go_live()
    turned = GOOD.copy()
    turned[[kp.R_SHOULDER, kp.L_SHOULDER]] = GOOD[[kp.L_SHOULDER, kp.R_SHOULDER]]
    said = kiosk.show(PERSON, turned, 3.0)  # however long
    assert (kiosk.life.state, said.unusable, said.keep_last) == ("live", "turn to the mirror", True)


def test_black_frames_are_told_and_wiped_in_time_like_any_absence(
    kiosk: Kiosk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    kiosk.go_live()
    black = np.zeros_like(PERSON)
    said = kiosk.show(black, GOOD, 0.5)  # the pose network finds someone anywhere
    assert (kiosk.life.state, said.unusable, said.keep_last) == ("live", Hint.DARK, True)
    kiosk.show(black, GOOD, 6.5)
    assert kiosk.life.state == "nobody" and kiosk.life.dark
    kiosk.show(PERSON, GOOD, 1.0)
    assert kiosk.life.state != "nobody" and not kiosk.life.dark
    words = [r.getMessage() for r in caplog.records if "sees" in r.getMessage()]
    assert words == [Hint.DARK, "the camera sees again"]  # once each, not once a frame


def recoloured() -> np.ndarray:
    return np.where(np.isin(LABELS, (5, 6, 7))[..., None], PERSON[..., ::-1] // 2 + np.uint8(110), PERSON)


def test_stranger_in_front_of_a_live_customer(kiosk: Kiosk) -> None:
    kiosk.go_live()
    assert kiosk.life.dressed
    said = kiosk.show(recoloured(), GOOD, 0.5)  # at the very same place
    assert not kiosk.life.dressed  # whose hands choose nothing
    assert (kiosk.life.state, said.unusable, said.keep_last) == ("live", Hint.OTHERS, True)
    assert len(kiosk.followed) == 4
    assert np.array_equal(kiosk.followed[0], GOOD)
    said = kiosk.show(PERSON, GOOD, 1 / FPS)
    assert said.unusable is None
    kiosk.show(recoloured(), GOOD, 1.5)
    assert kiosk.life.state == "left"
    kiosk.show(PERSON, GOOD, 1 / FPS)
    assert kiosk.life.state == "live"


def test_stranger_who_stays_never_sees_the_customer_before(kiosk: Kiosk) -> None:
    kiosk.go_live()
    kiosk.dresser.set_garment(Garment.of(*ASSETS.garment(1)))
    kiosk.dresser(Frame(PERSON, 0, 0.0, 0.0), GOOD)
    kiosk.show(EMPTY, NOBODY, 1.5)
    assert kiosk.life.state == "left"
    said = kiosk.show(recoloured(), GOOD, lc.STRANGER_S + 0.2)
    assert not said.keep_last
    assert kiosk.session.person is None
    assert kiosk.session.forgotten == 1
    kiosk.show(recoloured(), GOOD, 3.0)
    kiosk.until_parsed()
    kiosk.show(recoloured(), GOOD, 1 / FPS)
    assert kiosk.life.state == "live"
    assert len(kiosk.parser.seen) == 2


def test_time_passes_without_frames(kiosk: Kiosk) -> None:
    kiosk.go_live()
    kiosk.life.tick(kiosk.now + 0.5)
    assert kiosk.life.state == "live"
    kiosk.life.tick(kiosk.now + 2)
    assert kiosk.life.state == "left"
    kiosk.life.tick(kiosk.now + 6.5)
    assert kiosk.life.state == "nobody"


def test_retake_and_wipe_throw_a_parse_under_way_away(kiosk: Kiosk) -> None:
    kiosk.go_live()
    kiosk.life.retake()
    said = kiosk.show(PERSON, GOOD, 1 / FPS)
    assert (kiosk.life.state, said.keep_last) == ("capturing", False)
    kiosk.parser.go.clear()
    kiosk.show(PERSON, GOOD, 1.5)
    assert kiosk.capture.busy
    kiosk.life.wipe()
    kiosk.parser.go.set()
    time.sleep(0.05)
    kiosk.show(EMPTY, NOBODY, 0.5)
    assert kiosk.capture.poll() is None
    kiosk.life.retake()  # nobody is there: nothing to take
    assert kiosk.life.state == "nobody"


def test_parser_that_never_returns_is_one_thread_and_then_an_error(
    kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch
) -> None:
    kiosk.parser.go.clear()
    threads = threading.active_count()
    for _ in range(4):  # customers who wait for it, and leave
        kiosk.show(PERSON, GOOD, 4.0)
        assert kiosk.life.state == "capturing"
        kiosk.show(EMPTY, NOBODY, 8.0)
        assert kiosk.life.state == "nobody"
    assert threading.active_count() == threads + 1
    assert kiosk.capture._job is None  # of those who left nothing is kept
    monkeypatch.setattr(source_capture, "STUCK_S", 0.0)
    with pytest.raises(SpgvtonError, match="the parser has not returned"):
        kiosk.show(PERSON, GOOD, 4.0)


def test_face_so_near_that_no_shoulder_is_seen(kiosk: Kiosk) -> None:
    portrait = GOOD.copy()
    portrait[kp.NECK] = portrait[kp.R_SHOULDER] = portrait[kp.R_ELBOW] = 0
    said = kiosk.show(PERSON, portrait, 3.0)
    assert (kiosk.life.state, said.unusable) == ("approaching", "step back")
    kiosk.show(PERSON, GOOD, 0.5)
    assert kiosk.life.state == "capturing"


def test_dresser_swaps_garments_between_two_frames_and_needs_both(kiosk: Kiosk) -> None:
    frame = Frame(PERSON, 0, 0.0, 0.0)
    with pytest.raises(Unusable, match=r"^$"):
        kiosk.dresser(frame, GOOD)
    kiosk.go_live()
    with pytest.raises(Unusable, match=Hint.CHOOSE):
        kiosk.dresser(frame, GOOD)
    garments = [Garment.of(*ASSETS.garment(i)) for i in (1, 3)]
    seen = []
    for garment in garments * 2:
        kiosk.dresser.set_garment(garment)
        seen.append(int(kiosk.dresser(frame, GOOD)[0, 0, 0]))
        assert kiosk.session.garment is garment
    assert seen[0] == seen[2] != seen[1] == seen[3]


def test_back_end_that_fails_is_opened_anew_once(kiosk: Kiosk) -> None:
    kiosk.go_live()
    kiosk.dresser.set_garment(Garment.of(*ASSETS.garment(1)))
    frame = Frame(PERSON, 0, 0.0, 0.0)
    kiosk.dresser(frame, GOOD)
    kiosk.session.fail = SpgvtonError("keypoints hold NaN")
    for _ in range(MAX_FAILED - 1):
        with pytest.raises(Unusable, match=Hint.WAIT):
            kiosk.dresser(frame, GOOD)
    assert kiosk.dresser.rebuilds == 0
    kiosk.session.fail = None
    kiosk.dresser(frame, GOOD)  # one good frame, and they are not in a row any more
    kiosk.session.fail = SpgvtonError("keypoints hold NaN")
    with pytest.raises(Unusable, match=Hint.WAIT):
        kiosk.dresser(frame, GOOD)
    kiosk.session.fail = RuntimeError("CUDA error 700")
    broken, kiosk.session = kiosk.session, Session()
    assert kiosk.dresser(frame, GOOD).shape == (256, 192, 3)
    assert kiosk.dresser.rebuilds == 1
    assert broken.closed
    assert kiosk.session.person is broken.person  # person and garment are given to the new one
    kiosk.session.fail = RuntimeError("again")
    with pytest.raises(RuntimeError, match="again"):
        kiosk.dresser(frame, GOOD)


def test_every_second_frame_refused_does_not_fill_the_log(kiosk: Kiosk, caplog: pytest.LogCaptureFixture) -> None:
    kiosk.go_live()
    kiosk.dresser.set_garment(Garment.of(*ASSETS.garment(1)))
    frame = Frame(PERSON, 0, 0.0, 0.0)
    for n in range(40):
        kiosk.session.fail = None if n % 2 else SpgvtonError("the pose is odd")
        with contextlib.suppress(Unusable):
            kiosk.dresser(frame, GOOD)
    assert [r.getMessage() for r in caplog.records if "odd" in r.getMessage()] == [
        "1 frames could not be dressed: the pose is odd"
    ]
    assert kiosk.dresser.rebuilds == 0


def test_back_end_that_refuses_every_frame_is_opened_anew(kiosk: Kiosk) -> None:
    kiosk.go_live()
    kiosk.dresser.set_garment(Garment.of(*ASSETS.garment(1)))
    frame = Frame(PERSON, 0, 0.0, 0.0)
    kiosk.session.fail = SpgvtonError("the GPU is lost")
    for _ in range(MAX_FAILED - 1):
        with pytest.raises(Unusable):
            kiosk.dresser(frame, GOOD)
    kiosk.session = Session()
    assert kiosk.dresser(frame, GOOD).shape == (256, 192, 3)
    assert kiosk.dresser.rebuilds == 1
