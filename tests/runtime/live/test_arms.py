"""Bare arms are forgotten down to the wrists; hands, and arms whose bones are not known, stay."""

from __future__ import annotations

import numpy as np
import pytest

from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.live.arms import forget_arms
from spgvton.video import cv2

Points = dict[int, tuple[float, float]]
HANGING: Points = {kp.R_SHOULDER: (60, 80), kp.R_ELBOW: (50, 130), kp.R_WRIST: (48, 175)}
RAISED: Points = {kp.R_SHOULDER: (60, 80), kp.R_ELBOW: (56, 130), kp.R_WRIST: (70, 90)}  # hand beside her own shoulder


def drawn(points: Points) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A right arm drawn along POINTS: labels (256, 192), keypoints (18, 3), and where its hand is."""
    labels = np.zeros((256, 192), np.uint8)
    keypoints = np.zeros((18, 3), np.float32)
    for i, at in points.items():
        keypoints[i] = (*at, 1)
    shoulder, elbow, wrist = (np.array(points[i]) for i in (kp.R_SHOULDER, kp.R_ELBOW, kp.R_WRIST))
    tip = wrist + 0.6 * (wrist - elbow)
    for a, b in ((shoulder, elbow), (elbow, wrist), (wrist, tip)):
        cv2.line(labels, a.astype(int).tolist(), b.astype(int).tolist(), lb.RIGHT_ARM, 11)
    hand = np.zeros_like(labels)
    start = wrist + 0.2 * (tip - wrist)  # well beyond the wrist
    cv2.line(hand, start.astype(int).tolist(), tip.astype(int).tolist(), 1, 5)
    return labels, keypoints, hand > 0


@pytest.mark.parametrize("points", [HANGING, RAISED])
def test_arm_is_forgotten_and_hand_stays(points: Points) -> None:
    labels, keypoints, hand = drawn(points)
    before = labels.copy()
    out = forget_arms(labels, keypoints)
    assert np.array_equal(labels, before), "the map that was given is not changed"
    assert (out[hand] == lb.RIGHT_ARM).all()
    shoulder, elbow, wrist = (np.array(points[i]) for i in (kp.R_SHOULDER, kp.R_ELBOW, kp.R_WRIST))
    for a, b in ((shoulder, elbow), (elbow, wrist)):
        for share in (0.1, 0.5, 0.8):
            x, y = np.rint(a + share * (b - a)).astype(int)
            assert out[y, x] == lb.UPPER_CLOTHES or hand[y, x], (a, b, share)
    others = labels != lb.RIGHT_ARM
    assert np.array_equal(out[others], labels[others])


def test_other_labels_stay_whatever_the_pose() -> None:
    _, keypoints, _ = drawn(HANGING)
    labels = np.random.default_rng(0).integers(0, lb.NUM_LABELS, (256, 192)).astype(np.uint8)
    out = forget_arms(labels, keypoints)
    changed = out != labels
    assert (labels[changed] == lb.RIGHT_ARM).all(), "the left arm has no keypoints here"
    assert (out[changed] == lb.UPPER_CLOTHES).all() and changed.any()


def test_unknown_bones() -> None:
    labels, keypoints, _ = drawn(HANGING)
    for missing in (kp.R_SHOULDER, kp.R_ELBOW):
        fewer = keypoints.copy()
        fewer[missing] = 0
        assert np.array_equal(forget_arms(labels, fewer), labels)
    keypoints[kp.R_WRIST] = 0
    out = forget_arms(labels, keypoints)
    assert out[105, 55] == lb.UPPER_CLOTHES, "the upper arm ends at the elbow"
    assert out[150, 49] == lb.RIGHT_ARM, "where the hand begins is not known"


def test_forearm_towards_the_camera() -> None:
    labels, keypoints, _ = drawn({**HANGING, kp.R_WRIST: (50, 130)})
    out = forget_arms(labels, keypoints)
    assert out[130, 50] == lb.RIGHT_ARM and out[90, 58] == lb.UPPER_CLOTHES
