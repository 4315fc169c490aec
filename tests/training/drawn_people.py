"""Labelled pictures of a drawn person, small and quick to make, in both layouts that train-parser reads."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from spgvton import image as im
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton_training.parsing.sources import Labelled

SIZE = (128, 96)
_POINTS = {
    kp.NOSE: (48, 22), kp.NECK: (48, 40), kp.R_SHOULDER: (33, 41), kp.R_ELBOW: (27, 62), kp.R_WRIST: (26, 80),
    kp.L_SHOULDER: (63, 41), kp.L_ELBOW: (69, 62), kp.L_WRIST: (70, 80), kp.R_HIP: (40, 84), kp.L_HIP: (56, 84),
    kp.R_EYE: (45, 19), kp.L_EYE: (51, 19),
}  # fmt: skip
_COLOURS = {
    lb.BACKGROUND: (190, 200, 210), lb.HAIR: (60, 40, 30), lb.FACE: (220, 180, 150), lb.UPPER_CLOTHES: (180, 40, 60),
    lb.PANTS: (40, 60, 120), lb.LEFT_ARM: (215, 175, 145), lb.RIGHT_ARM: (215, 175, 145), lb.TORSO_SKIN: (210, 170, 140),
}  # fmt: skip


def draw(seed: int = 0) -> Labelled:
    """A person from head to thighs; SEED varies the colours."""
    labels = np.zeros(SIZE, np.uint8)
    cv2.rectangle(labels, (38, 84), (58, 127), (lb.PANTS,), -1)
    cv2.rectangle(labels, (22, 42), (30, 84), (lb.RIGHT_ARM,), -1)
    cv2.rectangle(labels, (66, 42), (74, 84), (lb.LEFT_ARM,), -1)
    cv2.rectangle(labels, (31, 40), (65, 83), (lb.UPPER_CLOTHES,), -1)
    cv2.rectangle(labels, (44, 32), (52, 42), (lb.TORSO_SKIN,), -1)
    cv2.ellipse(labels, (48, 19), (10, 13), 0, 0, 360, (lb.HAIR,), -1)
    cv2.ellipse(labels, (48, 22), (8, 11), 0, 0, 360, (lb.FACE,), -1)
    rng = np.random.default_rng(seed)
    palette = np.zeros((256, 3))
    for label, colour in _COLOURS.items():
        palette[label] = np.clip(np.array(colour) + rng.normal(0, 12, 3), 0, 255)
    keypoints = np.zeros((kp.NUM_KEYPOINTS, 3), np.float32)
    for index, (x, y) in _POINTS.items():
        keypoints[index] = (x, y, 0.9)
    noise = rng.normal(0, 3, (*SIZE, 3))
    return Labelled(np.clip(palette[labels] + noise, 0, 255).astype(np.uint8), labels, keypoints)


def _write(person: Labelled, picture: Path, labels: Path, keypoints: Path) -> None:
    for file in (picture, labels, keypoints):
        file.parent.mkdir(parents=True, exist_ok=True)
    im.write(picture, person.picture)
    assert cv2.imwrite(str(labels), person.labels)
    keypoints.write_text(kp.to_openpose(person.keypoints))


def write_folder(root: Path, count: int = 3) -> Path:
    """images/, labels/ and keypoints/ of COUNT people."""
    for i in range(count):
        _write(draw(i), root / f"images/p{i}.jpg", root / f"labels/p{i}.png", root / f"keypoints/p{i}_keypoints.json")
    return root


def write_mpv(root: Path, count: int = 3) -> Path:
    """COUNT people in MPV layout, with exact keypoints beside others."""
    for i in range(count):
        person = draw(i)
        files = (root / f"images/{i}/a.jpg", root / f"parse_cihp/{i}/a.png", root / f"pose_exact/{i}/a_keypoints.json")
        _write(person, *files)
        person.keypoints[:, 0] += 2 * (person.keypoints[:, 2] > 0)
        _write(person, *files[:2], root / f"pose_coco/{i}/a_keypoints.json")
    return root
