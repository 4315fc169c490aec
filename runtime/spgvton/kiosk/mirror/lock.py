"""Keeps to one customer while others walk by.

The pose network answers for one person only, and jumps to another who comes nearer. Two things tell them apart: nobody
moves or grows faster than a body can, and the colours of the clothes stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

# In torso lengths: how far the neck may be from where it was, at once and per second (a torso is half a metre).
JUMP: Final = 0.35
SPEED: Final = 4.0
GROWTH: Final = 1.35  # of the torso, at once
LONGEST_S: Final = 0.5  # time after which more patience does not allow for more movement
OTHER_CLOTHES: Final = (
    0.75  # Hellinger distance of the colours: above it, not even a person at the same place is the same
)
SAME_CLOTHES: Final = 0.45  # below it, a person at another place may be
LEARNING: Final = 0.05  # how fast the remembered colours follow light and pose
_SIDE: Final = 24
_BINS: Final = (6, 10, 10)  # lightness, and the two colour axes of CIE Lab
_LOW, _HIGH = 64, 192  # of the colour axes: few clothes lie beyond


def clothes_colours(picture: UInt8, k: Float) -> Float | None:
    """Colour histogram of the torso of KEYPOINTS (18, 3) in PICTURE, RGB (H, W, 3); None where shoulders are missing."""
    if k[kp.NECK, 2] <= 0:
        return None
    right, left = k[kp.R_SHOULDER, :2], k[kp.L_SHOULDER, :2]
    hips = [k[i, :2] for i in (kp.R_HIP, kp.L_HIP) if k[i, 2] > 0]
    down = np.mean(hips, axis=0) - k[kp.NECK, :2] if hips else np.array([0.0, kp.torso_length(k)])
    u, v = np.meshgrid(np.linspace(0.15, 0.85, _SIDE), np.linspace(0.15, 0.9, _SIDE))
    points = right + u[..., None] * (left - right) + v[..., None] * down
    at = np.rint(points).astype(int)
    h, w = picture.shape[:2]
    inside = (at >= 0).all(axis=-1) & (at[..., 0] < w) & (at[..., 1] < h)
    if inside.sum() < 0.3 * inside.size:
        return None
    colours = picture[at[..., 1][inside], at[..., 0][inside]]
    lab = cv2.cvtColor(colours[None], cv2.COLOR_RGB2LAB)
    lab[..., 1:] = lab[..., 1:].clip(_LOW, _HIGH - 1)  # a vivid pink lies beyond, and would be no colour at all
    histogram = cv2.calcHist([lab], [0, 1, 2], None, list(_BINS), [0, 256, *(_LOW, _HIGH) * 2])
    smooth = cv2.GaussianBlur(histogram.reshape(_BINS[0], -1), (1, 3), 0.6).ravel()  # a little light more is no change
    return np.asarray(smooth / max(float(smooth.sum()), 1e-9), np.float32)


def distance(a: Float | None, b: Float | None) -> float:
    """Hellinger distance of two histograms in [0, 1]; 0 where one is unknown."""
    if a is None or b is None:
        return 0.0
    return float(np.sqrt(max(0.0, 1.0 - float(np.sqrt(a * b).sum()))))


@dataclass
class _Seen:
    keypoints: Float
    time: float
    size: tuple[int, int]


class PersonLock:
    """One customer: where she was last and what she wears. Holds keypoints and a histogram, no picture."""

    def __init__(self) -> None:
        self._last: _Seen | None = None
        self._colours: Float | None = None

    @property
    def keypoints(self) -> Float | None:
        """Of the last frame in which she was seen; None without a customer."""
        return None if self._last is None else self._last.keypoints

    def clear(self) -> None:
        """Forget her."""
        self._last, self._colours = None, None

    def take(self, picture: UInt8, k: Float, now: float) -> None:
        """KEYPOINTS (18, 3) of PICTURE at NOW (seconds) are the customer from now on."""
        colours = clothes_colours(picture, k)
        if self._colours is None:
            self._colours = colours
        elif colours is not None:
            self._colours = (1 - LEARNING) * self._colours + LEARNING * colours
        self._last = _Seen(k.copy(), now, (picture.shape[0], picture.shape[1]))

    def follows(self, picture: UInt8, k: Float, now: float) -> bool:
        """Whether KEYPOINTS, found in PICTURE at NOW, are the customer's; if so she is there now."""
        if self._last is None or k[kp.NECK, 2] <= 0:
            return False
        look = distance(self._colours, clothes_colours(picture, k))
        near = self._near(k, now, (picture.shape[0], picture.shape[1]))
        same = look < OTHER_CLOTHES if near else look < SAME_CLOTHES and now - self._last.time > LONGEST_S
        if same:
            self.take(picture, k, now)
        return same

    def _near(self, k: Float, now: float, size: tuple[int, int]) -> bool:
        assert self._last is not None
        before, passed = self._last, min(max(now - self._last.time, 0.0), LONGEST_S)
        if before.size != size:  # the camera changed its resolution: only the clothes count
            return True
        torso, earlier = kp.torso_length(k), kp.torso_length(before.keypoints)
        if min(torso, earlier) <= 0:
            return False
        moved = float(np.linalg.norm(k[kp.NECK, :2] - before.keypoints[kp.NECK, :2])) / max(torso, earlier)
        growth = max(torso / earlier, earlier / torso)
        return moved < JUMP + SPEED * passed and growth < GROWTH + passed
