"""Skip when still, early exit under overload: what is made anew, what is shown again, and that reports tell them apart."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_loop import KEYPOINTS, FakeSource, ListSink, compose, perceive

from spgvton.cli import main
from spgvton.demo_assets import DemoAssets
from spgvton.economy import EarlyExit, Economy, StillRule, largest_move
from spgvton.errors import SpgvtonError, UsageError
from spgvton.session import TryOn
from spgvton.stream.frames import Frame
from spgvton.stream.loop import Perception, run_loop

ASSETS = DemoAssets.open()
POSE = ASSETS.keypoints()[0]
FRAME = ASSETS.person()[1].shape
UNIT = FRAME[0] / 512  # so many camera pixels are half a network pixel


def moved(dx: float, joint: int = 4, pose: np.ndarray = POSE) -> np.ndarray:
    """POSE with one JOINT DX half network pixels to the right."""
    out = pose.copy()
    out[joint, 0] += dx * UNIT
    return out


@pytest.fixture
def session(tiny_bundle: Path) -> TryOn:
    out = TryOn(tiny_bundle, threads=1, economy=Economy(still_threshold=0.5))
    person, labels = ASSETS.person()
    out.set_person(person, keypoints=POSE, labels=labels)
    out.set_garment(*ASSETS.garment(1)[:1], mask=ASSETS.garment(1).mask)
    return out


def test_a_picture_is_made_when_a_joint_has_moved_further_than_the_threshold(session: TryOn) -> None:
    first = session(POSE, FRAME)
    assert session(moved(0.9), FRAME) is first  # 0.45 network pixels
    assert session(moved(-0.9), FRAME) is first
    second = session(moved(1.1), FRAME)
    assert second is not first
    assert session(moved(1.1 + 0.9), FRAME) is second


def test_slow_drift_is_not_swallowed(session: TryOn) -> None:
    """0.2 network pixels a frame: compared with the frame before, no picture would ever be made again."""
    made = {id(p): p for p in [session(moved(0.4 * i), FRAME) for i in range(31)]}
    assert len(made) == 11  # every third frame, the first included


def test_without_the_rule_every_frame_is_made(tiny_bundle: Path) -> None:
    session = TryOn(tiny_bundle, threads=1)
    person, labels = ASSETS.person()
    session.set_person(person, keypoints=POSE, labels=labels)
    session.set_garment(ASSETS.garment(1).picture, mask=ASSETS.garment(1).mask)
    assert session(POSE, FRAME) is not session(POSE, FRAME)


def test_another_garment_or_person_is_another_picture(session: TryOn) -> None:
    first = session(POSE, FRAME)
    other = ASSETS.garment(2)
    session.set_garment(other.picture, mask=other.mask)
    second = session(POSE, FRAME)
    assert np.abs(second.astype(int) - first).max() > 20
    session.forget_person()
    with pytest.raises(SpgvtonError, match="no person is set yet"):  # and not the customer's last picture
        session(POSE, FRAME)


def test_a_keypoint_that_comes_or_goes_is_a_motion() -> None:
    gone = POSE.copy()
    gone[4] = 0
    assert largest_move(POSE, gone) == largest_move(gone, POSE) == np.inf
    assert largest_move(POSE, POSE) == 0
    assert largest_move(np.zeros((18, 3), np.float32), np.zeros((18, 3), np.float32)) == 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 17), st.floats(-3, 3, width=32)), min_size=1, max_size=40), st.floats(0.05, 2.0)
)
def test_what_is_shown_is_never_further_from_the_pose_than_the_threshold(
    steps: list[tuple[int, float]], threshold: float
) -> None:
    rule: StillRule[object] = StillRule(threshold)
    pose, shown_pose = np.ones((18, 3), np.float32), None
    for joint, dx in steps:
        pose = pose.copy()
        pose[joint, 0] += dx
        if rule.same(pose) is None:
            rule.made(pose, np.zeros((1, 1, 3), np.uint8))
            shown_pose = pose
        assert shown_pose is not None
        assert np.linalg.norm((pose - shown_pose)[:, :2], axis=1).max() <= threshold + 1e-5


@given(st.lists(st.floats(0, 2), max_size=30))
def test_early_exit_never_twice_in_a_row_and_never_for_a_young_frame(ages: list[float]) -> None:
    rule = EarlyExit(0.5)
    passed = [rule(age) for age in ages]
    assert not any(a and b for a, b in itertools.pairwise(passed))
    assert all(age > 0.5 for age, p in zip(ages, passed) if p)
    for before, age, p in zip([False, *passed], ages, passed):
        assert p == (age > 0.5 and not before)
    off = EarlyExit(None)
    assert not any(off(age) for age in ages)


@pytest.mark.parametrize("wrong", [{"still_threshold": -1}, {"still_threshold": float("nan")}, {"max_age_s": 0}])
def test_settings_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="give from"):
        Economy(**wrong)  # type: ignore[arg-type]


class OldFrames(FakeSource):
    """Frames that say they were captured AGE_S seconds ago."""

    age_s = 3.0

    def read(self) -> Frame | None:
        frame = super().read()
        return frame and replace(frame, captured=frame.captured - self.age_s)


def test_old_frames_show_the_last_picture_and_are_counted() -> None:
    made: list[int] = []

    def stage(frame: Frame, keypoints: np.ndarray) -> np.ndarray:
        made.append(frame.index)
        return frame.image + 100

    sink = ListSink()
    report = run_loop(OldFrames(9), perceive, stage, compose, [sink], max_age_s=2.0)
    assert made == [0, 2, 4, 6, 8]  # the first in any case: there is no last picture
    assert sink.seen == [100, 100, 102, 102, 104, 104, 106, 106, 108]
    assert (report.frames_out, report.frames_synthesised, report.again) == (9, 5, {"overload": 4})
    assert run_loop(OldFrames(9), perceive, stage, compose, [ListSink()], max_age_s=10.0).again == {}
    assert run_loop(OldFrames(9), perceive, stage, compose, [ListSink()]).frames_synthesised == 9


def test_nothing_is_shown_again_after_it_was_to_be_forgotten() -> None:
    """Frame 4 is another person's: what follows is made, however old it is."""

    def pose(frame: Frame) -> Perception:
        return Perception(KEYPOINTS, "no", keep_last=False) if frame.index == 4 else Perception(KEYPOINTS)

    sink = ListSink()
    run_loop(OldFrames(7), pose, lambda frame, k: frame.image + 100, compose, [sink], max_age_s=1.0)
    assert sink.seen == [100, 100, 102, 102, 0, 105, 106]  # 6: the frame passed over before it was 3, not 5


def test_still_frames_are_counted_and_the_rate_says_so() -> None:
    pictures = [np.full((32, 24, 3), 10 * i, np.uint8) for i in range(3)]
    report = run_loop(
        FakeSource(9), perceive, lambda frame, k: pictures[frame.index // 3], compose, [sink := ListSink()]
    )
    assert sink.seen == [0, 0, 0, 10, 10, 10, 20, 20, 20]
    assert (report.frames_synthesised, report.again) == (3, {"still": 6})
    data = json.loads(json.dumps(report.as_dict()))
    assert data["fps_synthesised"] == pytest.approx(data["fps"] / 3, rel=0.01)
    assert "6 shown again (still)" in report.summary() and "of them synthesised" in report.summary()


def test_run_shows_a_person_who_stands_still_again(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = str(ASSETS.folder / "person.jpg")
    frames = tmp_path / "frames"
    frames.mkdir()
    for i in range(5):
        (frames / f"{i}.jpg").write_bytes(Path(picture).read_bytes())
    arguments = ["run", "--source", str(frames), "--garment", str(ASSETS.folder / "garment_1.jpg"), "--garment-mask",
                 str(ASSETS.folder / "garment_1_mask.png"), "--person", picture, "--parsing",
                 str(ASSETS.folder / "person_parsing.png"), "--bundle", str(tiny_bundle), "--sink", "null", "--threads",
                 "1", "--json"]  # fmt: skip
    assert main([*arguments, "--still-threshold", "0.5"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["frames_out"], data["frames_synthesised"], data["again"]) == (5, 1, {"still": 4})
    assert main(arguments) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["frames_out"], data["frames_synthesised"], data["again"]) == (5, 5, {})
    for wrong in (["--still-threshold", "9"], ["--max-age", "0"]):
        assert main([*arguments, *wrong]) == 2
        assert "give from" in capsys.readouterr().err
    assert main([*arguments, "--max-age", "300"]) == 2
    assert "--max-age is for live streams" in capsys.readouterr().err


def test_a_mirror_counts_what_it_shows_again(tiny_bundle: Path) -> None:
    from test_mirror import MapParser, Running, Shown

    from spgvton.kiosk.mirror.mirror import Mirror

    economy = Economy(still_threshold=8.0, max_age_s=1e-6, steady=True)  # every frame is too old
    mirror = Mirror("synthetic://", tiny_bundle, mode="pose", threads=1, parser=MapParser(), economy=economy)
    mirror.set_garment("one", *ASSETS.garment(1))
    running = Running(mirror, Shown())
    try:
        status = running.until(lambda s: s.frames_again.get("overload", 0) > 3 and s.frames_synthesised > 2)
        assert status.frames_synthesised + sum(status.frames_again.values()) < status.frames_out
    finally:
        running.end()
