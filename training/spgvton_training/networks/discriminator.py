"""The discriminators of Table I, multi-scale as in pix2pixHD [3]: D1, D2, Dg and Dl share this structure.

Table I prints Conv1 as 3x1 without padding and Conv4 as stride 2; the sizes beside them only come out with 1x1 and
stride 1, which is what is built here.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1, *, norm: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2)]
    if norm:
        layers.append(nn.InstanceNorm2d(out_channels))
    return nn.Sequential(*layers, nn.LeakyReLU(0.2))


class PatchDiscriminator(nn.Sequential):
    """Discriminator D_i of Table I: (N, in_channels, H, W) -> realness of patches (N, 1, H / 4, W / 4), linear."""

    def __init__(self, in_channels: int, ndf: int) -> None:
        super().__init__(
            _conv(in_channels, ndf, 1, norm=False),  # as in pix2pixHD, the first convolution has no norm
            _conv(ndf, ndf, 3),
            _conv(ndf, ndf, 3, 2),
            _conv(ndf, ndf, 3),
            _conv(ndf, 2 * ndf, 3, 2),
            nn.Conv2d(2 * ndf, 1, 1),
        )


class MultiScaleDiscriminator(nn.Module):
    """SCALES patch discriminators, each on the input halved once more. Returns one float32 map per scale, finest first."""

    def __init__(self, in_channels: int, ndf: int = 32, scales: int = 3) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(in_channels, ndf) for _ in range(scales))

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for i, discriminator in enumerate(self.scales):
            if i:
                x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
            maps.append(discriminator(x).float())
        return maps
