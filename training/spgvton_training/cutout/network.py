"""The cut-out network: the human parser's U-shape, two scales deeper, with heads for the mask, the kind and the sleeves."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spgvton.errors import SpgvtonError
from spgvton.perception.cutout import KINDS, SLEEVES
from spgvton_training.networks.generator import ConvNorm, ResidualBlock
from spgvton_training.networks.ushape import UShape, upsample

CHANNELS: Final = (24, 48, 96, 128)  # the parser's, whose layers fit
DEEP: Final = 160  # channels at 1/32
HIDDEN: Final = 128


class Answer(NamedTuple):
    """mask: logits (n, 1, H, W). kind: logits (n, len(KINDS)). sleeve: logits (n, len(SLEEVES))."""

    mask: Tensor
    kind: Tensor
    sleeve: Tensor


class CutoutNetwork(UShape):
    """Picture (n, 3, H, W), RGB 0...255, H and W multiples of 32 -> Answer."""

    def __init__(self) -> None:
        super().__init__(CHANNELS)
        half, sixteenth = CHANNELS[0], CHANNELS[3]
        self.down32 = ConvNorm(sixteenth, DEEP, "batch", stride=2)
        self.trunk32 = nn.Sequential(*(ResidualBlock(DEEP, "batch") for _ in range(2)))
        self.context = nn.Linear(DEEP, DEEP)  # of the whole picture, into every place of it
        self.up16 = nn.Conv2d(DEEP, sixteenth, 1)
        self.mask = nn.Conv2d(half, 4, 3, padding=1)  # the four pixels of each place of 1/2 size
        self.head = nn.Sequential(nn.Linear(2 * DEEP, HIDDEN), nn.ReLU(), nn.Dropout(0.1))
        self.kind, self.sleeve = nn.Linear(HIDDEN, len(KINDS)), nn.Linear(HIDDEN, len(SLEEVES))

    def forward(self, picture: Tensor) -> Answer:
        x = self.encode((picture - 127.5) / 127.5)
        deep = self.trunk32(self.down32(x.sixteenth))
        whole = deep.mean((2, 3))
        seen = deep + self.context(whole)[:, :, None, None]
        mask = self.mask(self.decode(x._replace(sixteenth=x.sixteenth + upsample(self.up16(seen)))))
        mask = F.pixel_shuffle(mask, 2)
        # what the garment itself looks like, beside what the whole picture does
        inside = F.avg_pool2d(mask.detach().float().sigmoid(), 32).to(deep.dtype)
        garment = (deep * inside).sum((2, 3)) / (inside.sum((2, 3)) + 0.5)
        features = self.head(torch.cat([whole, garment], 1))
        return Answer(mask, self.kind(features), self.sleeve(features))

    def take_parser(self, weights: dict[str, Tensor]) -> int:
        """Start from a parser's WEIGHTS wherever names and shapes are the same: it knows cloth, skin and rooms.

        Returns how many numbers were taken. Raises SpgvtonError where the shared U-shape is not among them.
        """
        shared = set(UShape(CHANNELS).state_dict())
        own = self.state_dict()
        if any(name not in weights or weights[name].shape != own[name].shape for name in shared):
            raise SpgvtonError(
                "the parser has another shape than the cut-out network: give one trained with its defaults"
            )
        self.load_state_dict({name: weights[name] for name in shared}, strict=False)
        return sum(weights[name].numel() for name in shared)
