"""Keypoints of people: on pictures, on pictures without people, and the geometry of the tracked crop."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spgvton import keypoints as kp
from spgvton.errors import SpgvtonError
from spgvton.image import read
from spgvton.perception import pose
from spgvton.perception.onnx_session import open_session, shipped_model
from spgvton.perception.pose import PoseEstimator, Region, crop, next_region, person_present, why_unusable
from spgvton.video import cv2

DATA = Path(__file__).parents[1] / "data"
# Marked by hand in person_front.jpg, whose shoulders are 110 pixels apart.
MARKED = {
    kp.NOSE: (116, 66), kp.R_EYE: (104, 54), kp.L_EYE: (127, 54), kp.R_SHOULDER: (60, 122), kp.L_SHOULDER: (172, 120),
    kp.R_ELBOW: (57, 203), kp.L_ELBOW: (183, 200), kp.R_WRIST: (57, 275), kp.L_WRIST: (185, 265), kp.R_KNEE: (98, 372),
    kp.L_KNEE: (165, 372), kp.R_ANKLE: (107, 456), kp.L_ANKLE: (168, 458),
}  # fmt: skip


@pytest.fixture(scope="module")
def front():
    return read(DATA / "person_front.jpg")


@pytest.fixture(scope="module")
def back():
    return read(DATA / "person_back.jpg")


@pytest.fixture(scope="module")
def estimator():
    return PoseEstimator(smooth=False)


def estimate(estimator, picture):
    estimator.reset()
    return estimator(np.ascontiguousarray(picture))


def test_frontal_person(estimator, front):
    k = estimate(estimator, front)
    assert k.shape == (18, 3) and k.dtype == np.float32
    assert (k[:, 2] > 0.3).all() and (k[:, 2] <= 1).all()
    assert why_unusable(k, front.shape[:2]) is None
    assert k[kp.R_SHOULDER, 0] < k[kp.NECK, 0] < k[kp.L_SHOULDER, 0]  # their right stands left in the picture
    order = [kp.NOSE, kp.NECK, kp.R_HIP, kp.R_KNEE, kp.R_ANKLE]
    assert (np.diff(k[order, 1]) > 20).all()
    np.testing.assert_allclose(k[kp.NECK, :2], k[[kp.R_SHOULDER, kp.L_SHOULDER], :2].mean(0), atol=1e-3)
    for i, place in MARKED.items():
        assert np.hypot(*(k[i, :2] - place)) < 12, kp.NAMES[i]


def test_a_flipped_picture_gives_flipped_keypoints(estimator, front):
    k = estimate(estimator, front)
    flipped = kp.flip(estimate(estimator, front[:, ::-1]), front.shape[1])
    assert np.median(np.hypot(*(k - flipped)[:, :2].T)) < 4


def test_keypoints_scale_with_the_picture(estimator, front):
    k = estimate(estimator, front)
    large = cv2.resize(front, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    difference = (estimate(estimator, large)[:, :2] + 0.5) / 3 - 0.5 - k[:, :2]
    assert np.median(np.hypot(*difference.T)) < 2


def test_a_face_seen_from_behind_is_dropped(estimator, back):
    k = estimate(estimator, back)
    assert pose.seen_from_behind(k)
    assert (k[[kp.NOSE, kp.R_EYE, kp.L_EYE]] == 0).all()
    assert why_unusable(k, back.shape[:2]) is None
    assert k[kp.R_SHOULDER, 0] > k[kp.L_SHOULDER, 0]


@pytest.mark.parametrize("kind", ["black", "white", "noise", "blobs", "leaves"])
def test_pictures_without_a_person(estimator, front, kind):
    rng = np.random.default_rng(0)
    picture = {
        "black": np.zeros((240, 320, 3), np.uint8),
        "white": np.full((240, 320, 3), 255, np.uint8),
        "noise": rng.integers(0, 256, (240, 320, 3), dtype=np.uint8),
        "blobs": cv2.resize(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8), (320, 240)),
        "leaves": np.tile(front[400:, :60], (2, 4, 1)),
    }[kind]
    k = estimate(estimator, picture)
    assert not person_present(k)
    assert why_unusable(k, picture.shape[:2]) == "no person in the picture"
    assert (k[k[:, 2] == 0] == 0).all()


def test_unusable_people(estimator, front):
    k = estimate(estimator, front)
    without_shoulder = k.copy()
    without_shoulder[[kp.NECK, kp.L_SHOULDER]] = 0
    assert why_unusable(without_shoulder, front.shape[:2]) == "shoulders not visible"
    face_only = np.zeros_like(k)
    face_only[[kp.NOSE, kp.R_EYE, kp.L_EYE, kp.R_EAR]] = k[[kp.NOSE, kp.R_EYE, kp.L_EYE, kp.R_EAR]]
    assert why_unusable(face_only, front.shape[:2]) == "shoulders not visible"
    assert why_unusable(k, (6000, 6000)) == "person too small"
    assert why_unusable(np.zeros((18, 3), np.float32), (100, 100)) == "no person in the picture"


def test_the_crop_follows_a_small_person_and_is_given_up_when_they_leave(front):
    estimator = PoseEstimator(smooth=False)
    small = cv2.resize(front, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    h, w = small.shape[:2]
    for i in range(4):
        frame = np.full((540, 960, 3), 127, np.uint8)
        x, y = 500 + 20 * i, 200
        frame[y : y + h, x : x + w] = small
        k = estimator(frame, i / 30)
        nose = np.array(MARKED[kp.NOSE]) / 2 + (x, y)
        assert np.hypot(*(k[kp.NOSE, :2] - nose)) < 10
        assert estimator._region is not None and estimator._region.side < 500
    k = estimator(np.full((540, 960, 3), 127, np.uint8), 1.0)
    assert estimator._region is None and not person_present(k)


def test_smoothing_calms_a_noisy_still(front):
    rng = np.random.default_rng(0)
    raw, smooth = PoseEstimator(smooth=False), PoseEstimator()
    tracks: dict[str, list] = {"raw": [], "smooth": []}
    for i in range(24):
        frame = np.clip(front + rng.normal(0, 12, front.shape), 0, 255).astype(np.uint8)
        tracks["raw"].append(raw(frame, i / 30))
        tracks["smooth"].append(smooth(frame, i / 30))
    jitter = {k: np.abs(np.diff(np.array(v)[4:, :, :2], axis=0)).mean() for k, v in tracks.items()}
    assert jitter["smooth"] < 0.6 * jitter["raw"]


def test_another_frame_size_starts_anew_and_time_must_increase(front):
    estimator = PoseEstimator()
    estimator(front, 1.0)
    with pytest.raises(SpgvtonError, match="time stamps must increase"):
        estimator(front, 0.5)
    estimator(np.ascontiguousarray(front[:-10]), 0.5)  # a new stream
    estimator(np.ascontiguousarray(front[:-10]))  # by default, the clock's time


@pytest.mark.parametrize(
    "frame", [np.zeros((64, 64), np.uint8), np.zeros((64, 64, 4), np.uint8), np.zeros((64, 64, 3))]
)
def test_other_frames_are_refused(estimator, frame):
    with pytest.raises(SpgvtonError, match="RGB uint8"):
        estimator(frame)


@settings(max_examples=40, deadline=None)
@given(st.floats(40, 160), st.floats(40, 120), st.floats(24, 700))
def test_crop_and_its_coordinates_agree(x, y, side):
    """A bright dot shows up in the crop where the crop's own mapping says."""
    frame = np.zeros((160, 200, 3), np.uint8)
    dot = (90, 70)
    cv2.circle(frame, dot, max(2, int(side / 48)), (255, 255, 255), -1)
    region = Region(x, y, side)
    picture = crop(frame, region, 192).astype(float)[..., 0]
    if picture.sum() == 0 or picture[[0, -1]].any() or picture[:, [0, -1]].any():
        return  # outside, or cut
    v, u = np.indices(picture.shape)
    centre = np.array([(u * picture).sum(), (v * picture).sum()]) / picture.sum()
    back = (centre + 0.5) / 192 * side + (x - side / 2, y - side / 2)
    assert np.abs(back - dot).max() < max(0.6, 0.006 * side)


def test_a_crop_outside_the_frame_is_black():
    assert not crop(np.full((50, 50, 3), 9, np.uint8), Region(500, 500, 40), 192).any()


def test_next_region():
    k = np.zeros((18, 3), np.float32)
    assert next_region(k, (480, 640)) is None
    k[kp.R_SHOULDER], k[kp.L_SHOULDER] = (300, 100, 0.9), (340, 100, 0.9)
    k[kp.NOSE], k[kp.R_EYE] = (320, 70, 0.9), (315, 65, 0.9)
    region = next_region(k, (480, 640))
    assert region is not None and region.y > 100 and region.side >= 200  # room for a body that is not seen yet
    k[kp.R_HIP], k[kp.L_HIP] = (305, 200, 0.9), (335, 200, 0.9)
    region = next_region(k, (480, 640))
    assert region is not None and (round(region.x), round(region.y)) == (320, 200) and region.side == pytest.approx(380)
    k[kp.R_ANKLE] = (320, 470, 0.9)
    assert next_region(k, (480, 640)) == Region.whole((480, 640))  # larger than the frame


def test_shipped_models_are_the_documented_ones():
    text = shipped_model("README.md").read_text()
    sums = dict(reversed(line.split()) for line in re.findall(r"^[0-9a-f]{64}  \S+\.onnx$", text, re.MULTILINE))
    models = {f.name for f in shipped_model("README.md").parent.glob("*.onnx")}
    assert models == set(sums)
    for name, digest in sums.items():
        assert hashlib.sha256(shipped_model(name).read_bytes()).hexdigest() == digest


def test_models_that_cannot_be_loaded(tmp_path):
    with pytest.raises(SpgvtonError, match="missing"):
        open_session(tmp_path / "nothing.onnx")
    with pytest.raises(SpgvtonError, match="missing"):
        shipped_model("nothing.onnx")
