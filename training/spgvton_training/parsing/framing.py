"""Pictures as the runtime frames them (spgvton.person.framing, live.framing), with jitter."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.image import Letterbox
from spgvton.live.framing import CLOSE, FAR
from spgvton.person import place
from spgvton.video import cv2
from spgvton_training.parsing.sources import UNKNOWN, Labelled

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

NECK_ROW: Final = 80.0  # person.framing's, at height 256
NEAREST_TORSO: Final = 190.0  # pixels at height 256
SMALLEST_TORSO: Final = 45.0
FAR_TORSO: Final = 14.0
FLOATING: Final = 0.12  # of the pictures may be smaller than the frame, with borders that show nothing


def draw_torso(rng: np.random.Generator, *, far: bool = False) -> float:
    """Length of the torso in pixels at height 256: mostly live mode's two, sometimes anything. far: of people across a room."""
    if far:
        return float(np.exp(rng.uniform(np.log(FAR_TORSO), np.log(FAR))))
    kind = rng.random()
    if kind < 0.5:
        return float(CLOSE * np.exp(rng.normal(0, 0.15)))
    if kind < 0.7:
        return float(FAR * np.exp(rng.normal(0, 0.12)))
    return float(np.exp(rng.uniform(np.log(SMALLEST_TORSO), np.log(NEAREST_TORSO))))


def draw_matrix(
    rng: np.random.Generator, keypoints: Float, source: tuple[int, int], size: tuple[int, int], *, far: bool = False
) -> Float:
    """2x3 matrix from pixels of SOURCE (height, width) to the frame of SIZE. far: they stand anywhere in it, and small."""
    (h, w), (rows, columns), unit = source, size, size[0] / 256
    fits = max(rows / h, columns / w)
    torso = kp.torso_length(keypoints)
    scale = draw_torso(rng, far=far) * unit / torso if torso > 1 else fits * rng.uniform(1.0, 1.5)
    if not far and rng.random() > FLOATING:
        scale = max(scale, fits)
    seen = keypoints[keypoints[:, 2] > 0, :2]
    neck = (
        keypoints[kp.NECK, :2] if keypoints[kp.NECK, 2] > 0 else seen.mean(0) if len(seen) else np.array([w / 2, h / 3])
    )
    to = ((columns - 1) / 2 + rng.normal(0, 9) * unit, (NECK_ROW + rng.normal(0, 10)) * unit)
    if far:
        to = (rng.uniform(0.1, 0.9) * columns, rng.uniform(0.15, 0.75) * rows)
        pad = tuple(float(t + 0.5 - scale * (n + 0.5)) for t, n in zip(to, neck))
        box = Letterbox(source, size, scale, (pad[0], pad[1]))
    else:
        box = Letterbox.around(source, scale, (float(neck[0]), float(neck[1])), to, size)
    angle, stretch = np.deg2rad(rng.normal(0, 3.5)), np.exp(rng.normal(0, 0.05))
    turn = np.array([[np.cos(angle) * stretch, -np.sin(angle)], [np.sin(angle) * stretch, np.cos(angle)]])
    centre = box.matrix[:, :2] @ neck + box.matrix[:, 2]
    out = np.empty((2, 3))
    out[:, :2] = turn @ box.matrix[:, :2]
    out[:, 2] = turn @ (box.matrix[:, 2] - centre) + centre
    return out.astype(np.float32)


def warp(person: Labelled, matrix: Float, size: tuple[int, int]) -> tuple[Labelled, NDArray[np.bool_]]:
    """PERSON in a frame of SIZE, and where that lies outside of the picture (H, W)."""
    picture, scale = person.picture, float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    moved = matrix.copy()
    if scale < 0.6:  # area-average first, as Letterbox.apply() does
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        factor = np.array([picture.shape[1] / small.shape[1], picture.shape[0] / small.shape[0]])
        moved[:, 2] = matrix[:, 2] + matrix[:, :2] @ (0.5 * factor - 0.5)
        moved[:, :2] = matrix[:, :2] * factor
        picture = np.asarray(small, np.uint8)
    where = size[::-1]
    seen = cv2.warpAffine(picture, moved, where, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    # ids are moved up by one, so that 0 is outside; UNKNOWN becomes 0 as well, which one look at the mask tells apart
    known = np.where(person.labels == UNKNOWN, 254, person.labels).astype(np.uint8) + np.uint8(1)
    labels = cv2.warpAffine(
        known, matrix, where, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=(0,)
    )
    outside = labels == 0
    labels = np.where(labels == 255, UNKNOWN, np.maximum(labels, 1) - 1).astype(np.uint8)
    return Labelled(np.asarray(seen, np.uint8), labels, _points(person.keypoints, matrix)), outside


def _points(keypoints: Float, matrix: Float) -> Float:
    out = keypoints.copy()
    out[:, :2] = keypoints[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    out[keypoints[:, 2] <= 0] = 0
    return out.astype(np.float32)


def flipped(person: Labelled) -> Labelled:
    """Left and right exchanged, labels and keypoints, too."""
    table = np.arange(256, dtype=np.uint8)
    table[: lb.NUM_LABELS] = lb.FLIP
    labels = table[cv2.flip(person.labels, 1)]
    return Labelled(
        np.asarray(cv2.flip(person.picture, 1), np.uint8), labels, kp.flip(person.keypoints, labels.shape[1])
    )


def boxed(person: Labelled, box: Letterbox) -> Labelled:
    """PERSON in the frame of BOX, as the runtime frames without any jitter."""
    return Labelled(
        np.asarray(box.apply(person.picture), np.uint8),
        np.asarray(box.apply(person.labels, border=lb.BACKGROUND, nearest=True), np.uint8),
        place(person.keypoints, box),
    )
