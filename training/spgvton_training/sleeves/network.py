"""The sleeve network: the human parser's U-shape, narrow, with three maps; and its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from spgvton_training.checkpoint import read_weights, with_weights, write_weights
from spgvton_training.networks.ushape import UShape

CHANNELS: Final = (16, 32, 48, 64)
FORMAT: Final = "spgvton-sleeves-1"


class SleeveNetwork(UShape):
    """Picture (n, 3, H, W), RGB 0...255, H and W multiples of 16 -> logits (n, 3, H / 2, W / 2): cloth, armpit, shoulder."""

    def __init__(self) -> None:
        super().__init__(CHANNELS)
        self.maps = nn.Conv2d(CHANNELS[0], 3, 3, padding=1)

    def forward(self, picture: Tensor) -> Tensor:
        maps: Tensor = self.maps(self.decode(self.encode((picture - 127.5) / 127.5)))
        return maps


@dataclass
class SleeveCheckpoint:
    """Weights and where they come from (data, seed, iterations, hours, command)."""

    weights: dict[str, Tensor]
    provenance: dict[str, Any] = field(default_factory=dict)

    def network(self) -> SleeveNetwork:
        """The network with these weights, in evaluation mode. Raises SpgvtonError when they do not fit."""
        return with_weights(SleeveNetwork(), self.weights)

    def save(self, path: str | Path) -> None:
        """Write atomically. Raises SpgvtonError."""
        write_weights(path, FORMAT, {}, self.weights, self.provenance)

    @staticmethod
    def load(path: str | Path) -> SleeveCheckpoint:
        """Raises SpgvtonError for a missing, damaged or foreign file."""
        _, weights, provenance = read_weights(path, FORMAT)
        return SleeveCheckpoint(weights, provenance)
