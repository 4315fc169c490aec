"""Keeping to one customer, and what is seen of her: the real pose network on pictures with two people, and from behind."""

from __future__ import annotations

import numpy as np
import pytest

from spgvton import keypoints as kp
from spgvton.demo_assets import DemoAssets
from spgvton.kiosk.mirror.guide import face_hint, is_dark, place_hint, pose_hint, source_quality
from spgvton.kiosk.mirror.lock import PersonLock, clothes_colours, distance
from spgvton.perception.pose import PoseEstimator, person_present
from spgvton.stream.sources import open_source
from spgvton.video import cv2

ASSETS = DemoAssets.open()
SIZE = (512, 384)
SCALE = SIZE[0] / ASSETS.person()[0].shape[0]
EXACT = (ASSETS.keypoints() * np.array([SCALE, SCALE, 1])).astype(np.float32)  # of the clip at SIZE
WIDE = (512, 800)


@pytest.fixture(scope="module")
def clip() -> list[np.ndarray]:
    source = open_source(str(ASSETS.clip))
    frames = [np.asarray(cv2.resize(frame.image, SIZE[::-1])) for frame in iter(source.read, None)]
    source.close()
    return frames


@pytest.fixture(scope="module")
def stranger() -> tuple[np.ndarray, np.ndarray]:
    """The shipped person a little nearer and in a shirt of other colours, RGB (588, 441, 3), and her outline."""
    person, labels = ASSETS.person()
    shirt = np.isin(labels, (5, 6, 7))[..., None]
    person = np.where(shirt, person[..., ::-1] // 2 + np.array([110, 0, 60], np.uint8), person)
    size = (441, 588)
    outline = cv2.resize((labels > 0).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.resize(person, size)), np.asarray(outline)


def scene(frame: np.ndarray, stranger: tuple[np.ndarray, np.ndarray] | None, x: int) -> np.ndarray:
    """The clip's person on the left of a wider room, and the stranger in front of it, X pixels from its left."""
    out = np.empty((*WIDE, 3), np.uint8)
    out[:] = frame[0, 0]
    out[:, : SIZE[1]] = frame
    if stranger:
        picture, outline = (a[: WIDE[0]] for a in stranger)
        left, right = max(0, x), min(WIDE[1], x + picture.shape[1])
        if left < right:
            inside = outline[:, left - x : right - x, None] > 0
            out[:, left:right] = np.where(inside, picture[:, left - x : right - x], out[:, left:right])
    return out


def test_customer_is_kept_while_another_walks_past_in_front(
    clip: list[np.ndarray], stranger: tuple[np.ndarray, np.ndarray]
) -> None:
    """The pose network alone goes with the stranger; the lock does not take her for the customer in a single frame."""
    alone, ours, lock = PoseEstimator(), PoseEstimator(), PersonLock()
    switched = kept = 0
    followed: list[int] = []
    steps = [400, 300, 200, 120, 100, 60, 30, 0, -30, -60, -100, -140, -180, -220, -300, -400, -500, -500, -500]
    for i in range(4):
        picture = scene(clip[i], None, 0)
        k = ours(picture, i / 15)
        alone(picture, i / 15)
        lock.take(picture, k, i / 15)
    own = clothes_colours(scene(clip[0], None, 0), k)
    for i, x in enumerate(steps, start=4):
        picture, now = scene(clip[i], stranger, x), i / 15
        plain = alone(picture, now)
        if person_present(plain) and distance(own, clothes_colours(picture, plain)) > 0.75:
            switched += 1
        k = ours(picture, now)
        if lock.follows(picture, k, now):
            followed.append(x)
            kept += distance(own, clothes_colours(picture, k)) < 0.45
        elif person_present(k) and lock.keypoints is not None:
            ours.follow(lock.keypoints, WIDE)
    assert switched >= 3  # otherwise this test shows nothing
    assert kept == len(followed)
    assert 300 in followed  # she stands beside her
    assert followed[-1] == -500  # she is found again
    assert -60 not in followed


def test_lock_follows_through_the_whole_clip_and_knows_her_again(
    clip: list[np.ndarray], stranger: tuple[np.ndarray, np.ndarray]
) -> None:
    exact = EXACT
    lock = PersonLock()
    lock.take(clip[0], exact[0], 0.0)
    assert all(
        lock.follows(clip[i], exact[i], i / 5) for i in range(0, 180, 3)
    )  # 5 frames/s, moving three times as fast
    elsewhere = exact[0] + (np.arange(3) == 0) * 300 * (exact[0][:, 2:] > 0)
    room = np.concatenate([np.full((512, 300, 3), 230, np.uint8), clip[0]], axis=1)
    moved = PersonLock()
    moved.take(room[:, :384].copy(), exact[0], 0.0)
    lock.take(np.concatenate([clip[0], room[:, :300]], axis=1), exact[0], 100.0)
    assert not lock.follows(room, elsewhere.astype(np.float32), 100.05)  # nobody jumps
    assert lock.follows(room, elsewhere.astype(np.float32), 103.0)  # but she may come back elsewhere
    lock.clear()
    assert lock.keypoints is None
    assert not lock.follows(clip[0], exact[0], 104.0)


def test_lock_with_shoulders_missing_and_other_sizes(clip: list[np.ndarray]) -> None:
    exact = EXACT[0]
    lock = PersonLock()
    lock.take(clip[0], exact, 0.0)
    hidden = exact.copy()
    hidden[[kp.NECK, kp.R_SHOULDER]] = 0
    assert clothes_colours(clip[0], hidden) is None
    assert not lock.follows(clip[0], hidden, 0.1)
    half = np.asarray(cv2.resize(clip[0], (192, 256), interpolation=cv2.INTER_AREA))
    smaller = exact * (0.5, 0.5, 1)
    assert lock.follows(half, smaller.astype(np.float32), 0.1)  # the camera changed its resolution


def test_good_poses_have_no_hint_and_bad_ones_a_fitting_one() -> None:
    good = EXACT[0]
    assert place_hint(good, SIZE) is None
    assert pose_hint(good) is None

    def changed(change: dict[int, tuple[float, float]]) -> np.ndarray:
        k = good.copy()
        for i, (dx, dy) in change.items():
            k[i, :2] += dx, dy
        return k

    def without(*points: int) -> np.ndarray:
        k = good.copy()
        k[list(points)] = 0
        return k

    seen = good[:, 2:] > 0
    behind = np.where(seen, good * (-1, 1, 1) + (SIZE[1], 0, 0), 0).astype(np.float32)
    assert place_hint(np.zeros((18, 3), np.float32), SIZE) == "step in front of the mirror"
    assert place_hint(without(kp.R_HIP, kp.L_HIP), SIZE) == "step back"
    assert place_hint(without(kp.NECK, kp.R_SHOULDER), SIZE) == "step back"
    assert place_hint(good, (3000, 3000)) == "come closer"
    assert place_hint(good, (280, 384)) == "step back"
    assert place_hint(np.where(seen, good - (140, 0, 0), 0).astype(np.float32), SIZE) == "step to the middle"
    assert place_hint(without(kp.R_HIP), SIZE) == "step to the middle"
    assert face_hint(behind) == place_hint(behind, SIZE) == "turn to the mirror"
    assert face_hint(without(kp.NOSE, kp.R_EYE, kp.L_EYE)) == "turn to the mirror"
    assert pose_hint(without(kp.L_EYE)) == "face the mirror"
    assert pose_hint(changed({kp.R_SHOULDER: (0, 40)})) == "stand straight"
    assert pose_hint(changed({kp.R_HIP: (80, 0), kp.L_HIP: (80, 0)})) == "stand straight"
    assert pose_hint(changed({kp.L_WRIST: (-110, 0)})) == "arms a little away from the body"
    assert pose_hint(changed({kp.R_WRIST: (0, -200)})) == "let your arms hang"


def test_sharp_and_frontal_is_better(clip: list[np.ndarray]) -> None:
    k = ASSETS.keypoints().astype(np.float32)
    sharp = source_quality(clip[0], k[0])
    assert sharp > 3 * source_quality(np.asarray(cv2.GaussianBlur(clip[0], (0, 0), 3)), k[0])
    narrow = k[0].copy()
    narrow[kp.L_SHOULDER, 0] = narrow[kp.R_SHOULDER, 0] + 20
    assert sharp > source_quality(clip[0], narrow)
    assert np.isfinite(source_quality(clip[0], narrow))


def test_dark_frames(clip: list[np.ndarray]) -> None:
    assert is_dark(np.zeros((720, 1280, 3), np.uint8))
    assert is_dark(np.random.default_rng(0).integers(0, 12, (480, 640, 3), dtype=np.uint8))  # noise of a covered lens
    assert not is_dark(clip[0])
    assert not is_dark(clip[0] // 8)


def test_no_face_is_shown_of_a_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rendered person turns round before the real pose network."""
    import math
    from dataclasses import replace

    from spgvton_training.synthetic import clip as c
    from spgvton_training.synthetic.clothes.wardrobe import sample_garment

    person = c.Person(c.sample_identity(c._stream(3, 0)))
    garment = c.make_garment(sample_garment(c._stream(3, 1)), SIZE)
    studio, (pose, _) = c.sample_studio(c._stream(3, 5)), c.motion_at(0.0)
    camera = c.aim(person, c.pose_person(person, pose), c.FRAMING, SIZE)
    estimate = PoseEstimator(smooth=False)
    hints = {}
    for degrees in (0, 90, 180):
        skeleton = c.pose_person(person, replace(pose, yaw=math.radians(degrees)))
        picture = c.render(person, garment, skeleton, camera, studio, 7).image
        estimate.reset()
        k = estimate(np.ascontiguousarray(picture))
        assert person_present(k)
        hints[degrees] = face_hint(k)
    assert hints == {0: None, 90: "turn to the mirror", 180: "turn to the mirror"}


@pytest.mark.parametrize("pink", [(230, 20, 110), (255, 0, 200), (0, 255, 0)])
def test_vivid_clothes_have_colours(clip: list[np.ndarray], pink: tuple[int, int, int]) -> None:
    """Beyond what most clothes have; a histogram without them was empty, and its owner nobody's like."""
    k = PoseEstimator(smooth=False)(clip[0])
    own = clothes_colours(np.full_like(clip[0], pink), k)
    assert own is not None and own.sum() == pytest.approx(1)
    assert distance(own, own) == pytest.approx(0, abs=1e-3)
    assert distance(own, clothes_colours(np.full_like(clip[0], (40, 90, 160)), k)) > 0.75
