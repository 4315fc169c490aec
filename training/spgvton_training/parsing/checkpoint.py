"""A trained parser network as a file (safetensors), with what made it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from spgvton_training.checkpoint import read_weights, with_weights, write_weights
from spgvton_training.parsing.network import ParserConfig, ParserNetwork

FORMAT: Final = "spgvton-parser-1"


@dataclass
class ParserCheckpoint:
    """A network, its weights, and where they come from (data, seed, iterations, hours, command)."""

    config: ParserConfig
    weights: dict[str, Tensor]
    provenance: dict[str, Any] = field(default_factory=dict)

    def network(self) -> ParserNetwork:
        """The network with these weights, in evaluation mode. Raises SpgvtonError when they do not fit."""
        return with_weights(ParserNetwork(self.config), self.weights)

    def save(self, path: str | Path) -> None:
        """Write atomically. Raises SpgvtonError."""
        write_weights(path, FORMAT, self.config.to_dict(), self.weights, self.provenance)

    @staticmethod
    def load(path: str | Path) -> ParserCheckpoint:
        """Raises SpgvtonError for a missing, damaged or foreign file."""
        config, weights, provenance = read_weights(path, FORMAT)
        return ParserCheckpoint(ParserConfig.from_dict(config), weights, provenance)
