"""Colours, cloth, light and camera of a training picture, at random: what the network must not rely on."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

UPPER: Final = lb.clothes("cihp")
LOWER: Final = (lb.PANTS, lb.SKIRT)
HEAD: Final = (lb.HAIR, lb.HAT)
SKIN: Final = (lb.FACE, lb.TORSO_SKIN, lb.LEFT_ARM, lb.RIGHT_ARM, lb.LEFT_LEG, lb.RIGHT_LEG)
SHOES: Final = (lb.LEFT_SHOE, lb.RIGHT_SHOE, lb.SOCKS, lb.GLOVE, lb.SCARF)


def soft(mask: Mask) -> Float:
    """A mask (H, W) with a soft edge of a pixel, float32 (H, W, 1) in [0, 1]."""
    return np.asarray(cv2.blur(mask.astype(np.float32), (3, 3)))[..., None]


def noise(rng: np.random.Generator, size: tuple[int, int], channels: int = 1) -> Float:
    """Smooth noise of several octaves, (H, W, channels), standard deviation about 1.5."""
    out = np.zeros((*size, channels), np.float32)
    strength = 1.0
    for cells in (2, 4, 9, 18, 40):
        grid = rng.normal(size=(cells + 2, max(2, cells * size[1] // size[0]) + 2, channels)).astype(np.float32)
        out += strength * cv2.resize(grid, size[::-1], interpolation=cv2.INTER_CUBIC).reshape(out.shape)
        strength *= rng.uniform(0.4, 0.9)
    return out


def recolour(picture: UInt8, labels: UInt8, rng: np.random.Generator, strength: float) -> UInt8:
    """Another hue, saturation and brightness for upper clothes, lower clothes, shoes, hair and skin. STRENGTH, 0 to 1: how far."""
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV).astype(np.int16)
    shift, gain = np.zeros((256, 1), np.float32), np.ones((256, 2), np.float32)
    alike = rng.random() < 0.12  # shirt and trousers change alike: a dress of two parts, a suit
    draw = None
    for ids, hue, saturation, value in (
        (UPPER, 90, 0.7, 0.5),
        (LOWER, 90, 0.7, 0.5),
        (SHOES, 90, 0.6, 0.5),
        (HEAD, 14, 0.5, 0.6),
        (SKIN, 5, 0.35, 0.35),
    ):
        if draw is None or ids is not LOWER or not alike:
            draw = rng.uniform(-hue, hue), np.exp(rng.normal(0, saturation)), np.exp(rng.normal(0, value))
        shift[list(ids)] = draw[0] * strength
        gain[list(ids)] = draw[1] ** strength, draw[2] ** strength
    hsv[..., 0] = (hsv[..., 0] + shift[labels][..., 0].astype(np.int16)) % 180
    hsv[..., 1:] = np.clip(hsv[..., 1:] * gain[labels], 0, 255)
    out = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)
    edge = soft((labels > 0) & (labels < lb.NUM_LABELS))
    return np.asarray(np.rint(picture + edge * (out.astype(np.float32) - picture)), np.uint8)


def clothe(picture: UInt8, mask: Mask, cloth: UInt8, rng: np.random.Generator) -> UInt8:
    """CLOTH, a picture (h, w, 3), in place of the colours of the MASK (H, W); the light of the picture stays."""
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    if min(w, h) < 4:
        return picture
    part = picture[y : y + h, x : x + w].astype(np.float32)
    grey, inside = part.mean(axis=2), mask[y : y + h, x : x + w]
    light = cv2.GaussianBlur(grey, (0, 0), rng.uniform(1.0, 2.5))[..., None] / max(8.0, float(grey[inside].mean()))
    fitted = cv2.resize(cloth, (w, h), interpolation=cv2.INTER_AREA).astype(np.float32) * np.clip(
        light, 0.3, 1.8
    ) ** rng.uniform(0.5, 1.0)
    out = picture.copy()
    part += soft(inside) * (fitted - part)
    out[y : y + h, x : x + w] = np.clip(np.rint(part), 0, 255)
    return out


def pattern(rng: np.random.Generator) -> UInt8:
    """A cloth of stripes, checks, blocks or noise, uint8 (96, 96, 3)."""
    y, x = np.mgrid[:96, :96].astype(np.float32)
    a, b = rng.integers(0, 256, (2, 3)).astype(np.float32)
    kind, period, slant = rng.integers(5), rng.uniform(4, 40), rng.normal(0, 0.3)
    if kind == 0:
        share = (np.sin((y + slant * x) * 2 * np.pi / period) > rng.uniform(-0.7, 0.7)).astype(np.float32)
    elif kind == 1:
        share = ((np.sin(x * 2 * np.pi / period) > 0).astype(np.float32) + (np.sin(y * 2 * np.pi / period) > 0)) / 2
    elif kind == 2:
        share = (y + slant * x > rng.uniform(20, 76)).astype(np.float32)
    elif kind == 3:
        share = (x + slant * y > rng.uniform(20, 76)).astype(np.float32)
    else:
        share = np.clip(noise(rng, (96, 96))[..., 0] * 0.7 + 0.5, 0, 1)
    return np.asarray(np.rint(a + share[..., None] * (b - a)), np.uint8)


def open_coat(picture: UInt8, labels: UInt8, k: Float, cloth: UInt8, rng: np.random.Generator) -> tuple[UInt8, UInt8]:
    """The upper clothes become an open coat over a shirt, whose front is a wedge of another CLOTH."""
    neck, hips = k[kp.NECK], k[[kp.R_HIP, kp.L_HIP]]
    if neck[2] <= 0 or (hips[:, 2] <= 0).any():
        return picture, labels
    middle, width = hips[:, :2].mean(0), float(np.linalg.norm(k[kp.R_SHOULDER, :2] - k[kp.L_SHOULDER, :2]))
    above, below = rng.uniform(0.05, 0.2) * width, rng.uniform(0.05, 0.45) * width
    low = middle + 0.8 * (middle - neck[:2])
    corners = np.stack([neck[:2], neck[:2], low, low])
    corners[:, 0] += (-above, above, below, -below)
    wedge = np.zeros(labels.shape, np.uint8)
    cv2.fillPoly(wedge, [np.rint(corners).astype(np.int32)], (1,))
    worn = labels == lb.UPPER_CLOTHES
    inside = worn & (wedge > 0)
    labels = np.where(worn & ~inside, np.uint8(lb.COAT), labels)
    return clothe(picture, inside, cloth, rng), labels


def tucked(picture: UInt8, labels: UInt8, k: Float, rng: np.random.Generator) -> tuple[UInt8, UInt8]:
    """A top with bare arms tucked into trousers or a skirt, whose waistband then lies where bodies have their waist.

    Rendered tops hang to the hips; without this a network learns that trousers begin there. What is below the new line becomes
    the lower garment, in the cloth that its thighs show, with a belt or a shadow at the line.
    """
    neck, hips, knees = k[kp.NECK], k[[kp.R_HIP, kp.L_HIP]], k[[kp.R_KNEE, kp.L_KNEE]]
    lower = max(LOWER, key=lambda label: int((labels == label).sum()))
    below = labels == lower
    if neck[2] <= 0 or (hips[:, 2] <= 0).any() or below.sum() < 50 or not _arms_bare(labels):
        return picture, labels
    middle, torso = hips[:, :2].mean(0), kp.torso_length(k)
    down = (middle - neck[:2]) / max(1e-6, float(np.linalg.norm(middle - neck[:2])))
    tilt = rng.normal(0, 0.06)
    down = np.array([down[0] - tilt * down[1], down[1] + tilt * down[0]])
    line = float(rng.uniform(0.62, 0.95)) * torso
    y, x = np.mgrid[: labels.shape[0], : labels.shape[1]].astype(np.float32)
    depth = (x - neck[0]) * down[0] + (y - neck[1]) * down[1] - line  # pixels below the waistband
    gained = (labels == lb.UPPER_CLOTHES) & (depth > 0)
    if not gained.any():
        return picture, labels
    thigh = 0.6 * hips[0, :2] + 0.4 * (knees[0, :2] if knees[0, 2] > 0 else hips[0, :2] + 0.6 * torso * down)
    half = max(2.0, 0.08 * torso)
    (left, top), (right, bottom) = (np.clip(thigh + d * half, 0, labels.shape[::-1]).astype(int) for d in (-1, 1))
    cloth = picture[top:bottom, left:right]
    if cloth.size == 0 or below[top:bottom, left:right].mean() < 0.9:
        return picture, labels
    picture = clothe(picture, gained, np.ascontiguousarray(cloth), rng)
    labels = np.where(gained, np.uint8(lower), labels)
    band = (labels == lower) & (depth > 0) & (depth < rng.uniform(0.02, 0.09) * torso)
    colour = rng.integers(0, 256, 3) if rng.random() < 0.4 else picture[band].mean(0) * rng.uniform(0.5, 1.2)
    share = soft(band) * np.float32(rng.choice([0.0, 0.5, 0.9]))
    mixed = picture + share * (np.asarray(colour, np.float32) - picture)
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8), labels


def _arms_bare(labels: UInt8) -> bool:
    """Whether long sleeves are out of the question: they are upper clothes, too, and hang below any waist."""
    arms = np.isin(labels, (lb.LEFT_ARM, lb.RIGHT_ARM)).sum()
    return bool(arms > 0.12 * (labels == lb.UPPER_CLOTHES).sum())


def dark_hair(picture: UInt8, labels: UInt8, rng: np.random.Generator) -> UInt8:
    """Hair darkened to next to black, a little of its shine kept."""
    hair = labels == lb.HAIR
    if not hair.any():
        return picture
    own = picture.astype(np.float32)
    level = float(own[hair].mean())
    gain = np.float32(min(1.0, rng.uniform(8, 55) / max(1.0, level)))
    mixed = own + soft(hair) * (own * gain - own)
    return np.asarray(np.rint(mixed), np.uint8)


def light(picture: Float, rng: np.random.Generator) -> Float:
    """Soft shading, light from one side, and the hard shadow of something."""
    h, w = picture.shape[:2]
    if rng.random() < 0.6:
        picture = picture * np.exp(noise(rng, (h, w)) * np.float32(rng.uniform(0, 0.2)))
    if rng.random() < 0.4:
        angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.8)
        y, x = np.ogrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
        picture = picture * np.exp(strength * (np.cos(angle) * x + np.sin(angle) * y)).astype(np.float32)[..., None]
    if rng.random() < 0.2:
        shade = np.zeros((h, w), np.uint8)
        cv2.fillPoly(
            shade, [rng.integers((-w // 2, -h // 2), (3 * w // 2, 3 * h // 2), (3, 2)).astype(np.int32)], (255,)
        )
        edge = cv2.GaussianBlur(shade, (0, 0), rng.uniform(0.5, 6)).astype(np.float32)[..., None] / 255
        picture = picture * (1 - edge * np.float32(rng.uniform(0.2, 0.65)))
    return picture


def _streak(reach: float, angle: float) -> Float:
    """Kernel (9, 9) of a blur by motion: REACH pixels both ways along ANGLE."""
    along, across = np.cos(angle), np.sin(angle)
    y, x = np.mgrid[-4:5, -4:5].astype(np.float32)
    on = (np.abs(x * along + y * across) <= reach) & (np.abs(y * along - x * across) < 0.71)
    return np.asarray(on / on.sum(), np.float32)


def camera(picture: Float, rng: np.random.Generator) -> UInt8:
    """Exposure, white balance, blur, noise and compression of cheap cameras; PICTURE (H, W, 3), about 0 to 255."""
    h, w = picture.shape[:2]
    gamma, gains = np.exp(rng.normal(0, 0.3)), np.exp(rng.normal(0, 0.16) + rng.normal(0, 0.07, 3))
    contrast, offset = np.exp(rng.normal(0, 0.15)), rng.normal(0, 6)
    out = (np.clip(picture, 0, 255) / 255) ** np.float32(gamma) * (255 * gains * contrast).astype(np.float32)
    out += np.float32(128 * (1 - contrast) + offset)
    kind = rng.random()
    if kind < 0.3:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.3, 1.6))
    elif kind < 0.4:
        out = cv2.filter2D(out, -1, _streak(rng.uniform(1, 4), rng.uniform(0, np.pi)))
    elif kind < 0.6:
        factor = rng.uniform(0.35, 1)
        out = cv2.resize(cv2.resize(out, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), (w, h))
    if rng.random() < 0.4:
        out = out + rng.normal(0, 1, (h, w, 3)).astype(np.float32) * np.float32(rng.uniform(0, 12))
    if rng.random() < 0.06:
        out = np.repeat(out.mean(2, keepdims=True), 3, 2)
    seen = np.clip(np.rint(out), 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        seen = cv2.imdecode(cv2.imencode(".jpg", seen, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))])[1], 1)
    return np.asarray(seen, np.uint8)


def worse_keypoints(keypoints: Float, rng: np.random.Generator, unit: float) -> Float:
    """KEYPOINTS as an estimator gives them: off, higher or lower on the body than the renderer's, some missing."""
    out = keypoints.copy()
    sigma = rng.uniform(0, 4) * unit
    out[:, :2] += rng.normal(0, 1, (kp.NUM_KEYPOINTS, 2)) * sigma
    if rng.random() < 0.4:  # estimators put shoulders higher, hips elsewhere
        out[[kp.NECK, kp.R_SHOULDER, kp.L_SHOULDER], 1] += rng.uniform(-9, 3) * unit
        out[[kp.R_HIP, kp.L_HIP], 1] += rng.normal(0, 5) * unit
    gone = rng.random(kp.NUM_KEYPOINTS) < rng.choice([0.0, 0.03, 0.15])
    gone |= keypoints[:, 2] <= 0
    out[gone] = 0
    return out.astype(np.float32)
