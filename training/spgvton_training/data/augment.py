"""What is changed at random in a triple while it is trained on; the same draw for the same generator.

Flipping is in mpv.py, which must flip labels, keypoints and flow alike.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

_FACE: Final = [kp.NOSE, kp.R_EYE, kp.L_EYE, kp.R_EAR, kp.L_EAR]
_SAME_POSE: Final = 3.0  # median movement of the keypoints, in pixels of a picture 256 high


def add_noise(keypoints: Float, rng: np.random.Generator, *, sigma: float = 1.5, missing: float = 0.02) -> Float:
    """Keypoints with Gaussian noise of SIGMA pixels (half of it on the face) and each lost with probability MISSING."""
    spread = np.full((kp.NUM_KEYPOINTS, 1), sigma)
    spread[_FACE] *= 0.5
    out = keypoints.copy()
    out[:, :2] += rng.normal(size=(kp.NUM_KEYPOINTS, 2)) * spread
    out[rng.random(kp.NUM_KEYPOINTS) < missing] = 0
    out[keypoints[:, 2] <= 0] = 0
    return out.astype(np.float32)


def tone_curve(rng: np.random.Generator, strength: float) -> UInt8:
    """A random tone curve per channel, (1, 256, 3) for cv2.LUT: one gamma for all, a gain for each. The same for all
    pictures of a triple, so that the networks take skin and light from the picture and do not learn the renderer's.
    """
    gamma = np.exp(strength * rng.normal(0, 0.2))
    gains = np.exp(strength * rng.normal(0, 0.08, 3))
    levels = np.linspace(0, 1, 256)[:, None] ** gamma * gains
    return np.clip(np.rint(255 * levels), 0, 255).astype(np.uint8)[None]


def backdrop(pictures: list[tuple[UInt8, NDArray[np.bool_]]], rng: np.random.Generator, strength: float) -> list[UInt8]:
    """Paint over the background of PICTURES, alike, each (H, W, 3) with its background (H, W), by one random wall.

    A wall is one colour that gets lighter or darker from top to bottom. Rendered studios are light: without this the
    networks paint what nobody has seen light, in a dark room too. STRENGTH, 0 to 1, is the largest share of the colour.
    """
    colour = rng.integers(0, 256, 3).astype(np.float32) * 0.3 + np.float32(0.7 * rng.integers(0, 256))
    top, bottom = rng.uniform(0.6, 1.4, 2).tolist()
    light = np.linspace(top, bottom, len(pictures[0][0]), dtype=np.float32)[:, None, None]
    share = np.float32(strength * rng.random() ** 0.5)  # mostly large: of a little colour there is nothing to learn
    wall = colour * light
    painted = []
    for picture, background in pictures:
        soft = cv2.blur(background.astype(np.float32), (3, 3))[..., None]  # edges of the person are part background
        painted.append(np.clip(np.rint(picture + share * soft * (wall - picture)), 0, 255).astype(np.uint8))
    return painted


def same_pose(source: Float, target: Float, height: int) -> bool:
    """Keypoints (18, 3) of two pictures HEIGHT pixels high show one pose: half of the common ones moved by < 3/256."""
    both = (source[:, 2] > 0) & (target[:, 2] > 0)
    if not both.any():
        return False
    moved = np.linalg.norm(source[both, :2] - target[both, :2], axis=1)
    return bool(np.median(moved) < _SAME_POSE * height / 256)


def displace(labels: UInt8, rng: np.random.Generator, sigma: float) -> UInt8:
    """LABELS (H, W) pushed about by a smooth random field of SIGMA pixels: a parser's borders are not the renderer's."""
    h, w = labels.shape
    field = rng.normal(0, sigma, (2, -(-h // 24), -(-w // 24))).astype(np.float32)
    x, y = (cv2.resize(part, (w, h), interpolation=cv2.INTER_CUBIC) for part in field)
    x += np.arange(w, dtype=np.float32)
    y += np.arange(h, dtype=np.float32)[:, None]
    return cv2.remap(labels, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def overlay(
    pictures: list[tuple[UInt8, NDArray[np.bool_]]], foreign: UInt8, rng: np.random.Generator, strength: float
) -> list[UInt8]:
    """Blend one random cut of the picture FOREIGN into PICTURES, alike, each (H, W, 3) but where its mask (H, W) is true.

    For triples whose source already stands in the target's pose: nothing but copying can foretell what the mixture
    looks like there, so the networks learn to keep faces they could not draw. STRENGTH, 0 to 1, is the largest share.
    """
    h, w = pictures[0][1].shape
    size = [max(1, round(full * rng.uniform(0.15, 0.6))) for full in foreign.shape[:2]]
    # near the middle, where the other person is: a cut of plain background would teach nothing
    y, x = (round((full - part) * min(1, max(0, rng.normal(0.5, 0.2)))) for full, part in zip(foreign.shape, size))
    cut = cv2.resize(foreign[y : y + size[0], x : x + size[1]], (w, h)).astype(np.float32)
    share = np.float32(strength * rng.uniform(0.2, 1.0))
    return [
        np.where(spared[..., None], p, np.clip(np.rint(p + share * (cut - p)), 0, 255).astype(np.uint8))
        for p, spared in pictures
    ]
