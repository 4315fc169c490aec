"""A trained cut-out network as a file (safetensors), with what made it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from spgvton_training.checkpoint import read_weights, with_weights, write_weights
from spgvton_training.cutout.network import CutoutNetwork

FORMAT: Final = "spgvton-cutout-1"


@dataclass
class CutoutCheckpoint:
    """Weights and where they come from (data, seed, iterations, hours, command)."""

    weights: dict[str, Tensor]
    provenance: dict[str, Any] = field(default_factory=dict)

    def network(self) -> CutoutNetwork:
        """The network with these weights, in evaluation mode. Raises SpgvtonError when they do not fit."""
        return with_weights(CutoutNetwork(), self.weights)

    def save(self, path: str | Path) -> None:
        """Write atomically. Raises SpgvtonError."""
        write_weights(path, FORMAT, {}, self.weights, self.provenance)

    @staticmethod
    def load(path: str | Path) -> CutoutCheckpoint:
        """Raises SpgvtonError for a missing, damaged or foreign file."""
        _, weights, provenance = read_weights(path, FORMAT)
        return CutoutCheckpoint(weights, provenance)
