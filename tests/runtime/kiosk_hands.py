"""People made of keypoints: who stands, walks, raises a hand, scratches their head. Lengths in torso lengths, time in seconds.

And a film of one who raises a hand, for the pose network.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton.demo_assets import DemoAssets
from spgvton.perception.pose import PoseEstimator
from spgvton.stream.capture import open_file

Float = NDArray[np.float32]
UInt8 = NDArray[np.uint8]
TORSO = 200.0  # pixels
SIZE = (1280, 720)  # of the frame
# Offsets from the neck of a person who faces the camera, arms down; her right is the picture's left.
REST = {
    kp.NOSE: (0, -0.4), kp.NECK: (0, 0), kp.R_SHOULDER: (-0.35, 0), kp.L_SHOULDER: (0.35, 0),
    kp.R_ELBOW: (-0.42, 0.55), kp.R_WRIST: (-0.45, 1.05), kp.L_ELBOW: (0.42, 0.55), kp.L_WRIST: (0.45, 1.05),
    kp.R_HIP: (-0.2, 1), kp.L_HIP: (0.2, 1), kp.R_KNEE: (-0.2, 1.8), kp.L_KNEE: (0.2, 1.8),
    kp.R_ANKLE: (-0.2, 2.6), kp.L_ANKLE: (0.2, 2.6), kp.R_EYE: (-0.07, -0.47), kp.L_EYE: (0.07, -0.47),
    kp.R_EAR: (-0.14, -0.43), kp.L_EAR: (0.14, -0.43),
}  # fmt: skip
RIGHT, LEFT = (kp.R_ELBOW, kp.R_WRIST), (kp.L_ELBOW, kp.L_WRIST)


def person(
    right: tuple[float, float] | None = None,
    left: tuple[float, float] | None = None,
    *,
    at: tuple[float, float] = (360, 400),
    torso: float = TORSO,
) -> Float:
    """Keypoints (18, 3). right, left: where the wrist is from its shoulder, (outwards, up); None = the arm hangs. at: of the neck."""
    offsets = dict(REST)
    for wrist, outwards, (elbow_at, wrist_at), shoulder in (
        (right, -1, RIGHT, kp.R_SHOULDER), (left, 1, LEFT, kp.L_SHOULDER),
    ):  # fmt: skip
        if wrist is not None:
            x, y = REST[shoulder]
            offsets[wrist_at] = (x + outwards * wrist[0], y - wrist[1])
            offsets[elbow_at] = (x + outwards * (0.2 + 0.4 * wrist[0]), y + 0.3)
    k = np.ones((18, 3), np.float32)
    for joint, (x, y) in offsets.items():
        k[joint, :2] = at[0] + torso * x, at[1] + torso * y
    return k


def noisy(k: Float, rng: np.random.Generator, sigma: float = 0.02, wild: float = 0.01, lost: float = 0.02) -> Float:
    """K as a pose network sees it: every point a little off, some wildly, some not at all."""
    torso = kp.torso_length(k)
    k = k.copy()
    k[:, :2] += rng.normal(0, sigma * torso, (18, 2))
    outliers = rng.random(18) < wild
    k[outliers, :2] += rng.normal(0, torso, (outliers.sum(), 2))
    k[rng.random(18) < lost] = 0
    return k.astype(np.float32)


def passer_by(rng: np.random.Generator, fps: float) -> Iterator[Float]:
    """One who crosses the picture, at 0.6 to 1.8 m/s (1.2 to 3.6 torsos), near or far, with arms that swing or wave."""
    torso = rng.uniform(90, 260)
    speed = rng.uniform(1.2, 3.6) * torso * rng.choice([-1, 1])
    x = 0.0 if speed > 0 else SIZE[1]
    lively, phase = rng.uniform(0.1, 1.3), rng.uniform(0, 6)
    step = 0.0
    while -50 <= x <= SIZE[1] + 50:
        step += 1 / fps
        swing = np.sin(2 * np.pi * 0.9 * step + phase)
        right, left = (0.1 + 0.3 * abs(swing), -1 + lively * max(0, swing)), (0.1, -1 + lively * max(0, -swing))
        yield person(right, left, at=(x, 400 + 5 * swing), torso=torso)
        x += speed / fps


def fidgeter(rng: np.random.Generator, fps: float, seconds: float) -> Iterator[Float]:
    """One who stands and now and then scratches their head, telephones, folds or stretches both arms, points aside, waves low."""
    hands: list[tuple[tuple[float, float] | None, tuple[float, float] | None]] = [
        (None, None), (None, None), ((-0.25, 0.6), None), ((-0.12, 0.4), None), ((0.3, 0.9), (0.3, 0.9)),
        ((-0.3, -0.5), (-0.3, -0.5)), ((0.9, 0.05), None), (None, (0.5, -0.2)), (None, (0.7, 0.1)),
    ]  # fmt: skip
    end = 0.0
    moment, now, then = 0.0, person(), person()
    for number in range(int(seconds * fps)):
        moment = number / fps
        if moment >= end:
            now, then = then, person(*hands[rng.integers(len(hands))], at=(360 + rng.normal(0, 20), 400))
            began, end = moment, moment + rng.uniform(1, 5)
        share = min(1.0, (moment - began) / 0.6)
        yield (1 - share) * now + share * then


def raised(picture: UInt8, room: UInt8) -> UInt8:
    """PICTURE, RGB, of the demo's person with her right arm cut out, turned at shoulder and elbow, and put back before ROOM."""
    k = PoseEstimator(smooth=False)(picture)
    torso = kp.torso_length(k)
    shoulder, elbow, wrist = (k[joint, :2] for joint in (kp.R_SHOULDER, kp.R_ELBOW, kp.R_WRIST))
    up = shoulder + np.array([-0.3, 0.15]) * torso, shoulder + np.array([-0.3, -0.33]) * torso
    person = (np.abs(picture.astype(int) - room).max(axis=2) > 24).astype(np.uint8)

    def limb(*points: NDArray[np.floating]) -> UInt8:
        along = np.array(points, np.int32)
        return cv2.polylines(np.zeros_like(person), [along], False, 1, int(0.3 * torso)) & person  # type: ignore[return-value]

    parts = (
        (limb(shoulder + np.array((0, 6)), elbow), shoulder, elbow, shoulder, up[0]),
        (limb(elbow, wrist, wrist + 0.75 * (wrist - elbow) - np.array((6, 0))), elbow, wrist, *up),
    )
    gone = cv2.dilate(parts[0][0] | parts[1][0], np.ones((9, 9)))
    gone[:, int(shoulder[0]) + 12 :] = 0
    out = np.where(gone[..., None] > 0, room, picture)
    for mask, start, end, new_start, new_end in parts:
        turn = complex(*(new_end - new_start)) / complex(*(end - start))
        linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
        affine = np.column_stack([linear, new_start - linear @ start])
        size = (picture.shape[1], picture.shape[0])
        moved, there = cv2.warpAffine(picture, affine, size), cv2.warpAffine(mask, affine, size)
        out = np.where(there[..., None] > 0, moved, out)
    return out


def film(path: Path, *scenes: tuple[bool, float], fps: float = 15.0) -> Path:
    """A film at PATH (.avi): for each scene, whether the hand is up and for how many seconds."""
    assets = DemoAssets.open()
    clip = open_file(assets.clip, realtime=False)
    first = clip.read()
    clip.close()
    assert first is not None
    pictures = {False: first.image, True: raised(first.image, assets.room())}
    height, width = first.image.shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (width, height))
    for up, seconds in scenes:
        for _ in range(round(fps * seconds)):
            writer.write(cv2.cvtColor(pictures[up], cv2.COLOR_RGB2BGR))
    writer.release()
    return path
