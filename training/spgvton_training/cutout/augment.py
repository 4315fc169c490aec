"""How the same scene looks to another camera, in another light, held another way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spgvton.video import cv2
from spgvton_training.synthetic.drawing.arrays import Float
from spgvton_training.synthetic.drawing.texture import noise

UInt8 = NDArray[np.uint8]


def placement(rng: np.random.Generator, size: tuple[int, int], side: int, *, free: bool) -> Float:
    """Affine matrix (2, 3) that puts a picture of SIZE (height, width) into a square of SIDE; FREE: of any size and angle."""
    h, w = size
    scale = side / max(h, w) * (rng.uniform(0.5, 1.15) if free else np.exp(rng.normal(0, 0.14)))
    angle = rng.normal(0, 12)
    if rng.random() < 0.1:
        angle += 90 * int(rng.integers(1, 4))
    matrix = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), angle, scale)
    matrix[:, :2] @= np.eye(2) + rng.normal(0, 0.04, (2, 2))
    if rng.random() < 0.5:
        matrix[:, 0] *= -1
    middle = matrix[:, :2] @ [(w - 1) / 2, (h - 1) / 2]
    spread = 0.1 if free else 0.05
    matrix[:, 2] = side / 2 - 0.5 - middle + rng.normal(0, spread, 2) * side
    return matrix.astype(np.float32)


def warp(picture: UInt8, matrix: Float, side: int, border: int) -> UInt8:
    """PICTURE through MATRIX into (side, side[, 3]); BORDER outside of it."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < 0.7:  # linear interpolation would skip pixels
        picture = cv2.GaussianBlur(picture, (0, 0), 0.4 / scale)  # type: ignore[assignment]
    return np.asarray(cv2.warpAffine(picture, matrix, (side, side), borderValue=(border,) * 3), np.uint8)


def recolour(rng: np.random.Generator, picture: UInt8, *, hue: float) -> UInt8:
    """PICTURE with its hue turned by up to HUE (0...1 of a turn), its saturation and its brightness changed."""
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    turned = (hsv[..., 0].astype(np.int32) + int(180 * rng.uniform(-hue, hue))) % 180
    saturated = np.clip(hsv[..., 1] * rng.uniform(0.4, 1.4), 0, 255)
    bright = 255 * (hsv[..., 2] / np.float32(255)) ** np.float32(np.exp(rng.normal(0, 0.3)))
    return np.asarray(cv2.cvtColor(np.dstack([turned, saturated, bright]).astype(np.uint8), cv2.COLOR_HSV2RGB))


def light(rng: np.random.Generator, picture: UInt8) -> UInt8:
    """A lamp's colour, a gradient or a cast shadow, exposure and contrast."""
    side = len(picture)
    out = picture.astype(np.float32)
    if rng.random() < 0.35:
        y, x = np.mgrid[-0.5 : 0.5 : side * 1j, -0.5 : 0.5 : side * 1j].astype(np.float32)
        out *= (1 + rng.normal(0, 0.35) * x + rng.normal(0, 0.35) * y)[..., None]
    if rng.random() < 0.2:
        edge = np.tanh(noise(rng, side, side, side / 1.5, 1) * rng.uniform(2, 30))
        out *= (1 - rng.uniform(0.05, 0.25) * (1 + edge))[..., None]
    out *= np.exp(rng.normal(0, 0.06, 3)).astype(np.float32)
    grey = out.mean()
    out = (out - grey) * np.float32(np.exp(rng.normal(0, 0.18))) + grey * np.float32(np.exp(rng.normal(0, 0.18)))
    return np.clip(out, 0, 255).astype(np.uint8)


def camera(rng: np.random.Generator, picture: UInt8) -> UInt8:
    """Blur, few pixels, noise and JPEG of cheap cameras."""
    if rng.random() < 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.4))  # type: ignore[assignment]
    if rng.random() < 0.3:
        noisy = picture + rng.normal(0, rng.uniform(1, 9), picture.shape).astype(np.float32)
        picture = np.clip(noisy, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])[1]
        picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED))
    if rng.random() < 0.06:
        picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    return picture
