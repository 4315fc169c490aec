"""A U-shaped residual network of dense 3x3 convolutions: what the human parser and the garment cut-out are made of.

Most of its work lies at a quarter of the resolution and below, where CPUs, INT8 and TensorRT are at their best; batch norm
folds into the convolutions.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from spgvton_training.networks.generator import ConvNorm, ResidualBlock

STRIDE: Final = 2  # pixels of the picture for each of what is decoded


class Encoded(NamedTuple):
    """Features (N, C, H / k, W / k) at each of the four scales."""

    half: Tensor
    quarter: Tensor
    eighth: Tensor
    sixteenth: Tensor


def upsample(x: Tensor) -> Tensor:
    """Twice the size: nearest neighbours, which every back end has."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class UShape(nn.Module):
    """encode() and decode() for networks that add their own heads. channels: at 1/2, 1/4, 1/8 and 1/16 of the resolution."""

    def __init__(self, channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = channels
        self.stem = ConvNorm(3 * STRIDE**2, half, "batch")
        self.down4 = ConvNorm(half, quarter, "batch", stride=2)
        self.trunk4 = ResidualBlock(quarter, "batch")
        self.down8 = ConvNorm(quarter, eighth, "batch", stride=2)
        self.trunk8 = ResidualBlock(eighth, "batch")
        self.down16 = ConvNorm(eighth, sixteenth, "batch", stride=2)
        self.trunk16 = nn.Sequential(*(ResidualBlock(sixteenth, "batch") for _ in range(2)))
        self.up8, self.up4, self.up2 = (
            nn.Conv2d(deep, shallow, 1)
            for deep, shallow in ((sixteenth, eighth), (eighth, quarter), (quarter, half))
        )  # fmt: skip
        self.merge8, self.merge4, self.merge2 = (ConvNorm(c, c, "batch") for c in (eighth, quarter, half))

    def encode(self, picture: Tensor, at_quarter: Tensor | None = None) -> Encoded:
        """PICTURE (N, 3, H, W), RGB in [-1, 1], sides multiples of 16. at_quarter: added to the features of that scale."""
        half = self.stem(F.pixel_unshuffle(picture, STRIDE))
        quarter = self.down4(half)
        quarter = self.trunk4(quarter if at_quarter is None else quarter + at_quarter)
        eighth = self.trunk8(self.down8(quarter))
        return Encoded(half, quarter, eighth, self.trunk16(self.down16(eighth)))

    def decode(self, x: Encoded) -> Tensor:
        """(N, channels[0], H / 2, W / 2)."""
        y8 = self.merge8(x.eighth + upsample(self.up8(x.sixteenth)))
        y4 = self.merge4(x.quarter + upsample(self.up4(y8)))
        y2: Tensor = self.merge2(x.half + upsample(self.up2(y4)))
        return y2
