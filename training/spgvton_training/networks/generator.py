"""The generator of Table I, which G1, G2 and G3 share."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from spgvton_training.networks.config import NetworkConfig


def norm_layer(channels: int, norm: str) -> nn.Module:
    return nn.BatchNorm2d(channels, momentum=0.05) if norm == "batch" else nn.InstanceNorm2d(channels)


class ConvNorm(nn.Sequential):
    """3x3 convolution, normalisation, ReLU. The norm makes a bias redundant."""

    def __init__(self, in_channels: int, out_channels: int, norm: str, *, stride: int = 1, relu: bool = True) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
            norm_layer(out_channels, norm),
        ]
        super().__init__(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class SeparableConvNorm(nn.Sequential):
    """Extension `separable_blocks`: a 3x3 convolution of each channel alone, then a 1x1 one [Howard et al., MobileNets]."""

    def __init__(self, channels: int, norm: str, *, relu: bool = True) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False),
            norm_layer(channels, norm),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 1, bias=False),
            norm_layer(channels, norm),
        ]
        super().__init__(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class ResidualBlock(nn.Module):
    """Resblock of Table I: two 3x3 convolutions and the identity; ReLU after the sum. SEPARABLE: see SeparableConvNorm."""

    def __init__(self, channels: int, norm: str, *, separable: bool = False) -> None:
        super().__init__()
        self.conv_a: nn.Module
        self.conv_b: nn.Module
        if separable:
            self.conv_a = SeparableConvNorm(channels, norm)
            self.conv_b = SeparableConvNorm(channels, norm, relu=False)
        else:
            self.conv_a = ConvNorm(channels, channels, norm)
            self.conv_b = ConvNorm(channels, channels, norm, relu=False)
        self.residual = nn.Identity()  # what the sum reads of x: spgvton_training.qat quantises it

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.residual(x) + self.conv_b(self.conv_a(x)))


def _upsample(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class Generator(nn.Module):
    """Table I: (N, in_channels, H, W) -> (N, out_channels, H, W), linear output (non-linearities belong to the caller).

    With SPACE_TO_DEPTH the caller packs 2x2 pixels into channels: input and output are at half resolution, Conv1 to
    Conv3 become one convolution, and the last upsampling is the caller's pixel shuffle. Other options: NetworkConfig.
    """

    def __init__(self, in_channels: int, out_channels: int, config: NetworkConfig, *, space_to_depth: bool) -> None:
        super().__init__()
        n, norm = config.ngf, config.norm
        self.space_to_depth = space_to_depth
        if space_to_depth:
            self.conv1 = ConvNorm(in_channels, 2 * n, norm)
        else:
            self.conv1 = ConvNorm(in_channels, n, norm)
            self.conv2 = ConvNorm(n, 2 * n, norm)
            self.conv3 = ConvNorm(2 * n, 2 * n, norm, stride=2)
        block = partial(ResidualBlock, norm=norm, separable=config.separable_blocks)
        self.res3 = block(2 * n) if config.first_block else nn.Identity()
        self.conv4 = ConvNorm(2 * n, 4 * n, norm, stride=2)
        self.res4 = block(4 * n)
        self.conv5 = ConvNorm(4 * n, 8 * n, norm, stride=2)
        self.res5 = nn.Sequential(*(block(8 * n) for _ in range(config.trunk_blocks)))
        self.conv6 = ConvNorm(8 * n, 4 * n, norm)
        self.conv7 = ConvNorm(4 * n, 2 * n, norm)
        last = 2 * n
        if not space_to_depth:
            self.conv8 = ConvNorm(2 * n, n, norm)
            last = n
        tail = last if config.wide_tail else out_channels
        self.conv9 = nn.Conv2d(last, tail, 3, 1, 1)
        self.conv10 = nn.Conv2d(tail, tail, 3, 1, 1) if config.second_tail_convolution else nn.Identity()
        self.conv11 = nn.Conv2d(tail, out_channels, 1)
        self.skips = config.skips
        if config.skips:
            self.skip4 = nn.Conv2d(4 * n, 4 * n, 1)
            self.skip3 = nn.Conv2d(2 * n, 2 * n, 1)
            self.residual4, self.residual3 = nn.Identity(), nn.Identity()  # as ResidualBlock's
            if not space_to_depth:
                self.skip1 = nn.Conv2d(n, n, 1)
                self.residual1 = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv1(x)
        high = self.res3(first if self.space_to_depth else self.conv3(self.conv2(first)))
        middle = self.res4(self.conv4(high))
        y = self.res5(self.conv5(middle))
        y = self.conv6(_upsample(y))
        if self.skips:
            y = self.residual4(y) + self.skip4(middle)
        y = self.conv7(_upsample(y))
        if self.skips:
            y = self.residual3(y) + self.skip3(high)
        if not self.space_to_depth:
            y = self.conv8(_upsample(y))
            if self.skips:
                y = self.residual1(y) + self.skip1(first)
        return self.conv11(self.conv10(F.relu(self.conv9(y))).tanh())
