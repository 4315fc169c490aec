"""Extension `residual_flow`: where the spline is too stiff, each pixel may look a little beside itself.

    C_w(x) = C_s(x + R(x)),  C_s = C warped by the spline

A 5x5 spline moves the garment as a whole; a sleeve that hangs differently from the torso beside it, or a hem that is two pixels
off, it cannot follow. R is found by comparing, at a quarter of the resolution, what the spline gave with where the clothes are to
be. It is bounded, and smooth by its loss (losses.flow_smoothness), so that prints stay straight.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spgvton import labels as lb
from spgvton.backends.contract import RESIDUAL_STRIDE
from spgvton.keypoints import NUM_KEYPOINTS
from spgvton_training.networks.generator import ConvNorm, ResidualBlock
from spgvton_training.networks.tps import tps_grid

LIMIT: Final = 0.125  # of R, in normalised coordinates: 16 rows of 256, 12 columns of 192
GAIN: Final = 8.0  # output of the last convolution at which tanh has reached three quarters of the limit, roughly
PIXELS: Final = 5  # channels at half resolution: C_s (3), its mask, M_p^C


class ResidualFlow(nn.Module):
    """R (N, 2, H/4, W/4): offsets (x, y) in normalised output coordinates, at most LIMIT."""

    def __init__(self, n: int) -> None:
        super().__init__()
        a, b, c, d = 2 * n, 4 * n, 6 * n, 8 * n
        self.enter = ConvNorm(4 * PIXELS + lb.NUM_LABELS + NUM_KEYPOINTS + 2, a, "batch")
        self.down = nn.ModuleList([ConvNorm(i, o, "batch", stride=2) for i, o in ((a, b), (b, c), (c, d))])
        self.blocks = nn.ModuleList([ResidualBlock(o, "batch") for o in (b, c, d)])
        self.narrow = nn.ModuleList([nn.Conv2d(i, o, 1) for i, o in ((d, c), (c, b), (b, a))])
        self.up = nn.ModuleList([ConvNorm(o, o, "batch") for o in (c, b, a)])
        self.leave = nn.Conv2d(a, 2, 3, 1, 1)
        with torch.no_grad():  # start as the spline alone
            self.leave.weight.zero_()
            assert self.leave.bias is not None
            self.leave.bias.zero_()

    def forward(self, warped: Tensor, mask: Tensor, semantic: Tensor, theta: Tensor, pose: Tensor) -> Tensor:
        """warped (N, 4, H, W): C_s and its mask. mask (N, 1, H, W): M_p^C. semantic (N, 20, H/2, W/2) or at full size: G1's
        probabilities. theta (N, 2, G*G). pose (N, 18, H/4, W/4)."""
        h, w = mask.shape[-2] // RESIDUAL_STRIDE, mask.shape[-1] // RESIDUAL_STRIDE
        pixels = F.pixel_unshuffle(F.avg_pool2d(torch.cat([warped, mask], 1), 2), 2)
        labels = F.avg_pool2d(semantic, semantic.shape[-1] // w)
        # Which part of the garment each pixel shows; at a quarter, since the basis is a constant in every graph.
        coarse = tps_grid(theta, (h // 4, w // 4), align_corners=False).permute(0, 3, 1, 2)
        looked_at = F.interpolate(coarse, scale_factor=4.0, mode="bilinear", align_corners=False)
        x = self.enter(torch.cat([pixels, labels, pose, looked_at], 1))
        passed = []
        for down, block in zip(self.down, self.blocks):
            passed.append(x)
            x = block(down(x))
        for narrow, up in zip(self.narrow, self.up):
            x = up(F.interpolate(narrow(x), scale_factor=2.0, mode="nearest") + passed.pop())
        return LIMIT * (self.leave(x).float() / GAIN).tanh()


def bend_grid(residual: Tensor, size: tuple[int, int]) -> Tensor:
    """x + R(x) for every pixel of SIZE (H, W): (N, H, W, 2), corners aligned. R (N, 2, H/4, W/4) is enlarged bilinearly."""
    h, w = size
    y, x = torch.linspace(-1, 1, h, device=residual.device), torch.linspace(-1, 1, w, device=residual.device)
    identity = torch.stack([x[None].expand(h, -1), y[:, None].expand(-1, w)])
    whole = F.interpolate(residual, scale_factor=float(RESIDUAL_STRIDE), mode="bilinear", align_corners=False)
    return (identity + whole).permute(0, 2, 3, 1)


def bend(image: Tensor, residual: Tensor) -> Tensor:
    """IMAGE (N, C, H, W) looked at through x + R(x)."""
    grid = bend_grid(residual, (image.shape[-2], image.shape[-1]))
    return F.grid_sample(image, grid, "bilinear", "border", align_corners=True)
