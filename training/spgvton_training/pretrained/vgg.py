"""The convolutions of VGG [46] with torchvision's layer numbers, so that the names in its weight files fit."""

from __future__ import annotations

from typing import Final

from torch import nn

CHANNELS: Final = (64, 128, 256, 512, 512)


def vgg(*convolutions: int) -> tuple[list[nn.Module], dict[str, int]]:
    """Layers of VGG with CONVOLUTIONS in each of its blocks, and the places of relu1_1, relu2_1, ... in them."""
    layers: list[nn.Module] = []
    taps: dict[str, int] = {}
    channels = 3
    for block, (count, width) in enumerate(zip(convolutions, CHANNELS), start=1):
        if block > 1:
            layers.append(nn.MaxPool2d(2))
        for i in range(count):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
            if i == 0:
                taps[f"relu{block}_1"] = len(layers) - 1
    return layers, taps
