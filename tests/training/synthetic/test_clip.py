"""The demo's clip: its motion, its person and the files that are shipped."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.demo_assets import DemoAssets
from spgvton.errors import UsageError
from spgvton.video import cv2
from spgvton_training.synthetic import clip
from spgvton_training.synthetic.render.room import room


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float64, (5, 1), elements=st.floats(-2, 2)), st.floats(0, 24))
def test_motion_keeps_between_its_key_poses(values: NDArray[np.float64], t: float) -> None:
    times = np.array([0.0, 1, 4, 5, 9.5])
    for at, value in zip(times, values):
        np.testing.assert_allclose(clip.interpolate_loop(times, values, 12.0, at), value, atol=1e-9)
    i = int(np.searchsorted(times, t % 12, side="right")) - 1
    ends = values[i], values[(i + 1) % 5]
    found = clip.interpolate_loop(times, values, 12.0, t)
    assert min(ends) - 1e-9 <= found <= max(ends) + 1e-9
    np.testing.assert_allclose(clip.interpolate_loop(times, values, 12.0, t + 12), found, atol=1e-6)


def test_motion_has_no_jumps_and_makes_whole_loops() -> None:
    motion = [clip.motion_at(p) for p in clip.phases(720, 60)]
    values = np.stack([np.append(clip._pack(pose), step) for pose, step in motion])
    steps = np.roll(values, -1, 0) - values  # the last one leads back to the first frame
    assert np.abs(steps).max() < 0.1
    assert np.abs(np.roll(steps, -1, 0) - steps).max() < 0.012
    np.testing.assert_allclose(clip.phases(180, 15), np.arange(180) / 180)
    np.testing.assert_allclose(clip.phases(720, 30), np.arange(720) * 2 / 720 % 1)
    np.testing.assert_allclose(clip.phases(3, 15), np.arange(3) / 3)
    with pytest.raises(UsageError):
        clip.render_clip(0, frames=0)


def test_demo_files(tmp_path: Path) -> None:
    small = clip.render_clip(3, frames=2, size=(64, 48))
    clip.write_demo(tmp_path / "new", small, clip.demo_garments((64, 48)))
    made, shipped = ({p.name for p in folder.iterdir()} for folder in (tmp_path / "new", DemoAssets.open().folder))
    assert made == shipped
    written = DemoAssets(tmp_path / "new")
    np.testing.assert_array_equal(written.person()[1], small.labels[0])
    np.testing.assert_allclose(written.keypoints(), small.keypoints, atol=0.006)
    assert np.abs(written.room().astype(int) - small.room).mean() < 3
    wall = cv2.erode((small.labels[0] == 0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    np.testing.assert_array_equal(small.frames[0][wall], small.room[wall])


def test_the_person_steps_aside_and_back() -> None:
    person = clip.Person(clip.sample_identity(np.random.default_rng(1)))
    steps = [clip.motion_at(p)[1] for p in clip.phases(48, 4)]
    assert min(steps) == 0 and max(steps) == pytest.approx(0.8)
    aside = int(np.argmax(steps))
    skeleton = clip.skeleton_at(person, aside / 48)
    posed = clip.pose_person(person, clip.motion_at(aside / 48)[0])
    np.testing.assert_allclose(
        skeleton.heads - posed.heads, np.tile([steps[aside], 0, 0], (len(posed.heads), 1)), atol=1e-5
    )


def test_the_room_is_a_picture_of_any_size() -> None:
    wall = room((120, 90))
    assert wall.shape == (120, 90, 3) and wall.dtype == np.float32
    assert wall.min() >= 0 and wall.max() <= 255 and wall.std() > 20
    np.testing.assert_allclose(cv2.resize(room((240, 180)), (90, 120), interpolation=cv2.INTER_AREA), wall, atol=12)


def test_shipped_demo_fits_together() -> None:
    """The shipped files are of one clip."""
    shipped = DemoAssets.open()
    picture, semantic = shipped.person()
    points = shipped.keypoints()
    assert points.shape == (clip.FRAMES, 18, 3)
    assert clip.largest_step(points) < 35
    for point, label in ((kp.NOSE, lb.FACE), (kp.L_WRIST, lb.LEFT_ARM), (kp.R_WRIST, lb.RIGHT_ARM)):
        x, y = np.rint(points[0, point, :2]).astype(int)
        assert semantic[y, x] == label
    assert shipped.clip.stat().st_size < 3e6

    video = cv2.VideoCapture(str(shipped.clip))
    assert (video.get(cv2.CAP_PROP_FRAME_COUNT), video.get(cv2.CAP_PROP_FPS)) == (clip.FRAMES, clip.FPS)
    first = video.read()[1]
    assert first.shape == (*clip.SIZE, 3)
    assert np.abs(first[..., ::-1].astype(float) - picture).mean() < 6
    for number in (1, 2, 3):
        shown, mask = shipped.garment(number)
        assert shown.shape[:2] == mask.shape == clip.GARMENT_SIZE
        assert np.abs(shown[mask == 0].astype(float) - 255).mean() < 3


def test_a_clip_keeps_its_person_and_its_motion() -> None:
    """Every frame shows the same person and garment; a loop of three frames is the same however it is asked for."""
    made = clip.render_clip(clip.SEED, frames=3, size=(128, 96))
    again = clip.render_clip(clip.SEED, frames=3, size=(128, 96))
    np.testing.assert_array_equal(made.labels, again.labels)
    np.testing.assert_array_equal(made.keypoints, again.keypoints)
    worn = lb.UPPER_CLOTHES
    colours = [made.frames[i][made.labels[i] == worn].mean(0) for i in range(3)]
    np.testing.assert_allclose(colours, np.broadcast_to(np.mean(colours, 0), (3, 3)), atol=25)
    shares = (made.labels == worn).mean((1, 2))
    assert shares.min() > 0.1
    assert (made.labels == lb.DRESS).sum() == 0
