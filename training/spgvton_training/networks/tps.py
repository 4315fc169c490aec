"""Thin-plate spline warp, the reference implementation of the operator spgvton::TpsGridSample.

Convention
    The spline maps OUTPUT to INPUT (backward warping). Normalised coordinates are (x, y), x right, y down. With
    align_corners=True (the default here) -1 and 1 are the centres of the first and the last pixel; with False they are
    the outer edges of those pixels. The same rule holds for the output grid and for the input sampling.
    Control point k of a G x G grid lies at x = -1 + 2 (k mod G) / (G - 1), y = -1 + 2 (k div G) / (G - 1) of the output.
    theta (N, 2, G*G): theta[:, 0, k], theta[:, 1, k] are the normalised (x, y) input position that is sampled there:
    absolute positions, not offsets. The identity is theta = control_points(G).
    Radial basis U(r) = r^2 log r^2, plus an affine part, no regularisation [Bookstein 1989; paper, reference 36].
    All of it is computed in float32 (float64 for float64 images), also inside a half-precision network.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from spgvton.live.spline import basis, control_points, inverse

__all__ = ["basis", "control_points", "inverse", "tps_grid", "tps_grid_sample"]


def tps_grid(theta: Tensor, size: tuple[int, int], align_corners: bool = True) -> Tensor:
    """Sampling grid (N, H, W, 2) of normalised (x, y) for theta (N, 2, G*G)."""
    grid_size = round(theta.shape[-1] ** 0.5)
    if theta.ndim != 3 or theta.shape[1] != 2 or grid_size**2 != theta.shape[2] or not 2 <= grid_size <= 5:
        raise ValueError(f"theta must have shape (N, 2, G*G) with G in 2..5, got {tuple(theta.shape)}")
    dtype = torch.float64 if theta.dtype == torch.float64 else torch.float32
    matrix = basis(size, grid_size, align_corners, str(dtype).removeprefix("torch."))
    # One product for the batch; influence @ theta of shape (N, G*G, 2) would first copy `influence` N times.
    values, influence = theta.to(dtype).reshape(-1, grid_size**2), torch.from_numpy(matrix).to(theta.device)
    if torch.is_autocast_enabled(theta.device.type):  # in bfloat16 every pixel would move by up to half of one
        with torch.autocast(theta.device.type, enabled=False):
            grid = values @ influence.T
    else:
        grid = values @ influence.T
    return grid.reshape(-1, 2, *size).permute(0, 2, 3, 1)


def tps_grid_sample(
    image: Tensor, theta: Tensor, grid_size: int = 5, align_corners: bool = True, padding: str = "border"
) -> Tensor:
    """Warp image (N, C, H, W) by theta (N, 2, G*G), bilinear; PADDING is "border" or "zeros". Returns image's dtype."""
    if theta.shape[-1] != grid_size**2:
        raise ValueError(
            f"theta has {theta.shape[-1]} control points, a {grid_size}x{grid_size} grid has {grid_size**2}"
        )
    h, w = image.shape[-2:]
    grid = tps_grid(theta, (h, w), align_corners)
    warped = F.grid_sample(image.to(grid.dtype), grid, "bilinear", padding, align_corners)
    return warped.to(image.dtype)
