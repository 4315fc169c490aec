"""The thin-plate spline in numpy: its matrices, which training and export take from here, and where each pixel finds its cloth.

The convention is that of docs/tps-grid-sample.md: theta (2, G*G) maps OUTPUT to INPUT, normalised (x, y), -1 and 1 being the
centres of the first and the last pixel; control point k lies at column k mod G and row k div G of a regular grid.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spgvton.video import cv2

Float = NDArray[np.float32]


@cache
def control_points(grid_size: int = 5) -> NDArray[np.float64]:
    """Positions (2, G*G) of the control points, rows x and y, row-major."""
    axis = np.linspace(-1.0, 1.0, grid_size)
    x, y = np.meshgrid(axis, axis)
    return np.stack([x.ravel(), y.ravel()])


def _radial(r2: NDArray[np.float64]) -> NDArray[np.float64]:
    return r2 * np.log(np.where(r2 > 0, r2, 1.0))


@cache
def inverse(grid_size: int = 5) -> NDArray[np.float64]:
    """Matrix (G*G + 3, G*G) that turns the values at the control points into spline coefficients.

    The first G*G coefficients belong to the radial terms, the last three to 1, x and y.
    """
    p = control_points(grid_size)
    k = p.shape[1]
    system = np.zeros((k + 3, k + 3))
    system[:k, :k] = _radial(((p[:, :, None] - p[:, None, :]) ** 2).sum(0))
    affine = np.vstack([np.ones(k), p])
    system[k:, :k] = affine
    system[:k, k:] = affine.T
    return np.linalg.inv(system)[:, :k]


@cache
def basis(
    size: tuple[int, int], grid_size: int = 5, align_corners: bool = True, dtype: str = "float32"
) -> NDArray[np.floating[Any]]:
    """Influence (H*W, G*G) of every control value on every output pixel: grid = basis @ theta."""
    h, w = size
    axes = [np.linspace(-1.0, 1.0, n) if align_corners else (2 * np.arange(n) + 1) / n - 1 for n in (w, h)]
    if align_corners:
        axes = [a if len(a) > 1 else np.zeros(1) for a in axes]
    x, y = (a.ravel() for a in np.meshgrid(*axes))
    p = control_points(grid_size)
    u = _radial((x[:, None] - p[0]) ** 2 + (y[:, None] - p[1]) ** 2)
    return np.hstack([u, np.ones((h * w, 1)), x[:, None], y[:, None]]).dot(inverse(grid_size)).astype(dtype)


def cloth_positions(theta: Float, size: tuple[int, int]) -> Float:
    """Where each pixel of the network's frame finds its cloth: float32 (H, W, 2), (x, y) in pixels of the cloth picture.

    theta (2, G*G), SIZE (height, width) of frame and cloth picture alike. Raises ValueError where theta is not of that shape.
    """
    grid_size = round(theta.shape[-1] ** 0.5)
    if theta.shape != (2, grid_size**2) or not 2 <= grid_size <= 5:
        raise ValueError(f"theta must have shape (2, G*G) with G in 2..5, got {theta.shape}")
    h, w = size
    scale = np.array([(w - 1) / 2, (h - 1) / 2], np.float32)
    normalised = basis(size, grid_size) @ theta.T.astype(np.float32)
    return np.asarray((normalised + 1) * scale, np.float32).reshape(h, w, 2)


def bent(positions: Float, residual: Float) -> Float:
    """POSITIONS (H, W, 2) looked at through the residual flow: at pixel x stands what was at x + R(x).

    residual float32 (2, H/4, W/4): R, (x, y) in normalised coordinates of the frame, enlarged bilinearly.
    """
    h, w = positions.shape[:2]
    x, y = (
        cv2.resize(r, (w, h), interpolation=cv2.INTER_LINEAR) * np.float32((n - 1) / 2)
        for r, n in zip(residual, (w, h))
    )
    columns, rows = np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32)[:, None]
    return cv2.remap(  # type: ignore[return-value]
        positions, columns + x, rows + y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
