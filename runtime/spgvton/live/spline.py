"""The thin-plate spline of the networks, evaluated with numpy: where each pixel of the frame finds its cloth.

The convention is that of docs/tps-grid-sample.md: theta (2, G*G) maps OUTPUT to INPUT, normalised (x, y), -1 and 1 being the
centres of the first and the last pixel; control point k lies at column k mod G and row k div G of a regular grid.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


def _radial(r2: NDArray[np.float64]) -> NDArray[np.float64]:
    return r2 * np.log(np.where(r2 > 0, r2, 1.0))


@cache
def _basis(grid_size: int, size: tuple[int, int]) -> Float:
    """Influence (H*W, G*G) of every control value on every pixel."""
    axis = np.linspace(-1.0, 1.0, grid_size)
    x, y = (a.ravel() for a in np.meshgrid(axis, axis))
    n = grid_size**2
    affine = np.vstack([np.ones(n), x, y])
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = _radial((x[:, None] - x) ** 2 + (y[:, None] - y) ** 2)
    system[n:, :n], system[:n, n:] = affine, affine.T
    px, py = (a.ravel() for a in np.meshgrid(np.linspace(-1, 1, size[1]), np.linspace(-1, 1, size[0])))
    radial = _radial((px[:, None] - x) ** 2 + (py[:, None] - y) ** 2)
    terms = np.hstack([radial, np.stack([np.ones_like(px), px, py], 1)])
    return (terms @ np.linalg.inv(system)[:, :n]).astype(np.float32)


def cloth_positions(theta: Float, size: tuple[int, int]) -> Float:
    """Where each pixel of the network's frame finds its cloth: float32 (H, W, 2), (x, y) in pixels of the cloth picture.

    theta (2, G*G), SIZE (height, width) of frame and cloth picture alike. Raises ValueError where theta is not of that shape.
    """
    grid_size = round(theta.shape[-1] ** 0.5)
    if theta.shape != (2, grid_size**2) or not 2 <= grid_size <= 5:
        raise ValueError(f"theta must have shape (2, G*G) with G in 2..5, got {theta.shape}")
    h, w = size
    scale = np.array([(w - 1) / 2, (h - 1) / 2], np.float32)
    positions: Float = ((_basis(grid_size, size) @ theta.T.astype(np.float32) + 1) * scale).reshape(h, w, 2)
    return positions
