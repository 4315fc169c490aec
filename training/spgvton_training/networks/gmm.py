"""Geometric matching module: two masks -> thin-plate spline (section III-C; CP-VTON, after Rocco et al. [38])."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spgvton_training.networks.tps import control_points


class FeatureExtraction(nn.Sequential):
    """Four stride-2 convolutions and two more, then L2 normalisation per position: (N, C, H, W) -> (N, 8n, H/16, W/16)."""

    def __init__(self, in_channels: int, n: int) -> None:
        layers: list[nn.Module] = []
        for i, o in ((in_channels, n), (n, 2 * n), (2 * n, 4 * n), (4 * n, 8 * n)):
            layers += [nn.Conv2d(i, o, 4, 2, 1), nn.ReLU(inplace=True), nn.BatchNorm2d(o)]
        layers += [nn.Conv2d(8 * n, 8 * n, 3, 1, 1), nn.ReLU(inplace=True), nn.BatchNorm2d(8 * n)]
        layers += [nn.Conv2d(8 * n, 8 * n, 3, 1, 1), nn.ReLU(inplace=True)]
        super().__init__(*layers)

    def forward(self, x: Tensor) -> Tensor:
        features = super().forward(x)
        return features / (features.square().sum(1, keepdim=True) + 1e-6).sqrt()


def moments(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Centre and spread (standard deviation) of a mask (N, 1, H, W), each (N, 2) as (x, y) in normalised coordinates."""
    h, w = mask.shape[-2:]
    y = torch.linspace(-1, 1, h, device=mask.device)[:, None]
    x = torch.linspace(-1, 1, w, device=mask.device)[None]
    m = mask[:, 0].float() + 1e-6
    total = m.sum((1, 2))
    cx, cy = (m * x).sum((1, 2)) / total, (m * y).sum((1, 2)) / total
    vx = (m * (x - cx[:, None, None]).square()).sum((1, 2)) / total
    vy = (m * (y - cy[:, None, None]).square()).sum((1, 2)) / total
    return torch.stack([cx, cy], 1), torch.stack([vx, vy], 1).sqrt()


def moment_map(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift, each (N, 2): x * scale + shift takes positions of mask TARGET (N, 1, H, W) to those of SOURCE, so that
    centre and spread agree."""
    source_centre, source_spread = moments(source)
    target_centre, target_spread = moments(target)
    scale = (source_spread / target_spread.clamp_min(1e-3)).clamp(0.2, 5.0)
    return scale, source_centre - target_centre * scale


def moment_grid(scale: Tensor, shift: Tensor, size: tuple[int, int]) -> Tensor:
    """Sampling grid (N, h, w, 2) of moment_map() for pictures of SIZE, corners aligned."""
    h, w = size
    x = torch.linspace(-1, 1, w, device=scale.device) * scale[:, :1] + shift[:, :1]  # (N, w)
    y = torch.linspace(-1, 1, h, device=scale.device) * scale[:, 1:] + shift[:, 1:]  # (N, h)
    return torch.stack([x[:, None].expand(-1, h, -1), y[:, :, None].expand(-1, -1, w)], 3)


class GeometricMatching(nn.Module):
    """GMM: theta (N, 2, G*G) that warps what SOURCE shows onto what TARGET shows (tps.py states the convention).

    source (N, source_channels, H, W) and target (N, target_channels, H, W), values in [0, 1] or [-1, 1]; with
    moment_alignment channel 0 of each is a mask.
    moment_alignment: SOURCE is first scaled and shifted to TARGET's centre and spread, and theta is composed with that.
    regress_features: the regression sees both feature maps beside their correlation.
    bounded: offsets from the identity go through tanh, as in CP-VTON.
    """

    control: Tensor

    def __init__(
        self, size: tuple[int, int], n: int, grid_size: int, *, source_channels: int = 1, target_channels: int = 1,
        bounded: bool = True, moment_alignment: bool = False, regress_features: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.bounded, self.moment_alignment, self.regress_features = bounded, moment_alignment, regress_features
        self.source_features = FeatureExtraction(source_channels, n)
        self.target_features = FeatureExtraction(target_channels, n)
        h, w = size[0] // 16, size[1] // 16

        def block(i: int, o: int, kernel: int, stride: int) -> list[nn.Module]:
            return [nn.Conv2d(i, o, kernel, stride, 1), nn.BatchNorm2d(o), nn.ReLU(inplace=True)]

        # CP-VTON halves twice, for 16x12 positions; at half resolution (8x6) once is enough.
        twice = h >= 16
        self.regression = nn.Sequential(
            *block(h * w + (16 * n if regress_features else 0), 8 * n, 4, 2),
            *(block(8 * n, 4 * n, 4, 2) if twice else block(8 * n, 4 * n, 3, 1)),
            *block(4 * n, 2 * n, 3, 1), *block(2 * n, n, 3, 1),
        )  # fmt: skip
        stride = 4 if twice else 2
        self.linear = nn.Linear(n * (h // stride) * (w // stride), 2 * grid_size**2)
        with torch.no_grad():  # start near the identity
            self.linear.weight.mul_(0.1)
            self.linear.bias.zero_()
        self.register_buffer("control", torch.from_numpy(control_points(grid_size)).float(), persistent=False)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        if not self.moment_alignment:
            return self.control + self._offsets(source, target)
        with torch.no_grad():
            scale, shift = moment_map(source, target[:, :1])
            grid = moment_grid(scale, shift, (target.shape[2], target.shape[3]))
            aligned = F.grid_sample(source.float(), grid, "bilinear", "zeros", align_corners=True)
        theta = self.control + self._offsets(aligned, target)
        return theta * scale[:, :, None] + shift[:, :, None]  # an affine map of a TPS is the TPS of the mapped points

    def _offsets(self, source: Tensor, target: Tensor) -> Tensor:
        a, b = self.source_features(source), self.target_features(target)
        n, c, h, w = a.shape
        correlation = a.reshape(n, c, h * w).transpose(1, 2) @ b.reshape(n, c, h * w)
        x = correlation.reshape(n, h * w, h, w)
        if self.regress_features:
            scale = 0.5 * c**0.5  # unit vectors of c numbers, brought near the correlation's size
            x = torch.cat([x, a * scale, b * scale], 1)
        if torch.is_autocast_enabled(x.device.type):
            # It is small; and with AMX, oneDNN 3.12's bfloat16 convolution 4x4 makes NaN of maps 3 wide (96 pixels).
            with torch.autocast(x.device.type, enabled=False):
                offsets = self.linear(self.regression(x.float()).flatten(1))
        else:
            offsets = self.linear(self.regression(x).flatten(1)).float()
        return (offsets.tanh() if self.bounded else offsets).reshape(n, 2, -1)
