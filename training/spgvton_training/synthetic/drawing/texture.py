"""Noise, blotchy pictures, and bilinear lookup."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spgvton.video import cv2
from spgvton_training.synthetic.drawing.arrays import Float

_COLUMNS = 1024  # remap refuses more than 32766 rows, so long point lists are folded


def noise(rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 3) -> Float:
    """Smooth value noise (height, width) of about unit variance; CELL is the size in pixels of its coarsest octave."""
    out = np.zeros((height, width), np.float32)
    amplitude = 1.0
    for _ in range(octaves):
        shape = (max(2, int(height / cell) + 2), max(2, int(width / cell) + 2))
        grid = rng.standard_normal(shape, dtype=np.float32)
        out += amplitude * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        amplitude, cell = amplitude / 2, max(2.0, cell / 2)
    return out / np.float32(1.75)


def blotches(rng: np.random.Generator, size: int = 256) -> Float:
    """A colourful abstract print (size, size, 3) in [0, 255]."""
    colours = rng.uniform(25, 235, (4, 3)).astype(np.float32)
    out = np.broadcast_to(colours[0], (size, size, 3)).astype(np.float32)
    for cell, colour in zip((40, 28, 60), colours[1:]):
        level = rng.uniform(-0.2, 0.4)
        mask = (noise(rng, size, size, cell * size / 256, 4) > level).astype(np.float32)
        mask = cv2.GaussianBlur(mask, (0, 0), 0.8)[..., None]
        out = out * (1 - mask) + colour * mask
    return out


def lookup(picture: Float | NDArray[np.uint8], x: Float, y: Float) -> Float:
    """Bilinear samples (n,) or (n, c) of PICTURE at pixel coordinates x, y (n,), centres at integers, clamped; type as PICTURE."""
    n = len(x)
    if n == 0:
        return np.zeros((0, *picture.shape[2:]), picture.dtype)
    padded = -(-n // _COLUMNS) * _COLUMNS
    maps = np.zeros((2, padded), np.float32)
    maps[0, :n], maps[1, :n] = x, y
    out = cv2.remap(
        picture, maps[0].reshape(-1, _COLUMNS), maps[1].reshape(-1, _COLUMNS), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return out.reshape(padded, *picture.shape[2:])[:n]


def colour_array(*rgb: tuple[float, float, float]) -> Float:
    """Colours (n, 3) in [0, 255]."""
    return np.array(rgb, np.float32)
