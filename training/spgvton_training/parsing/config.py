"""What a run of `spgvton train-parser` is: typed, readable from and written to YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, TypeAdapter

from spgvton.errors import UsageError
from spgvton_training.config import merge, read_yaml, validated
from spgvton_training.parsing.data import PHOTOS, RENDERED, SceneConfig
from spgvton_training.parsing.network import ParserConfig


@dataclass(frozen=True)
class ParserRun:
    """One run: everything but where its data and outputs lie."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    network: ParserConfig = field(default_factory=ParserConfig)
    rendered: SceneConfig = RENDERED  # what is changed in pictures of folders in MPV layout
    photos: SceneConfig = PHOTOS  # and of all others
    label_set: str = "cihp"
    shares: tuple[float, ...] = ()  # how often each folder of --data is drawn; default: by the square root of its size
    rare: float = 0.3  # share of the samples whose picture holds a hat, glasses, a dress, a skirt ... (data.RARE)
    iterations: int = 6000
    batch_size: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warm_up: int = 100  # iterations
    clip: float = 5.0  # largest gradient norm
    ema: float = 0.998  # decay of the running average of the weights, which is what is saved
    seed: int = 0

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.batch_size < 1:
            raise UsageError(f"iterations and batch_size must be positive, got {self.iterations} and {self.batch_size}")
        if not 0 < self.ema < 1:
            raise UsageError(f"ema must be between 0 and 1, got {self.ema}")

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as YAML and JSON have them."""
        plain: dict[str, Any] = TypeAdapter(ParserRun).dump_python(self, mode="json")
        return plain

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.to_dict(), sort_keys=False, default_flow_style=None, width=120)

    def with_values(self, *trees: dict[str, Any]) -> ParserRun:
        """This run with the values of TREES, each of some of its fields, in place of its own. Raises UsageError."""
        return validated(ParserRun, reduce(merge, trees, self.to_dict()), "configuration")


def load(path: str | Path) -> ParserRun:
    """Read a YAML file. Raises SpgvtonError when it cannot be read, UsageError naming the field that is wrong."""
    return validated(ParserRun, read_yaml(path), str(path))
