"""Checkpoints: weights with what made them (safetensors), and the trainer's own state beside it for resuming."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor, nn

from spgvton.errors import SpgvtonError
from spgvton.files import atomic_path, write_bytes
from spgvton_training.comparison.method import Method
from spgvton_training.comparison.registry import build_network
from spgvton_training.networks.config import METHODS, NetworkConfig
from spgvton_training.networks.joint import JointModel, build_model

FORMAT = "spgvton-checkpoint-1"
Network = TypeVar("Network", bound=nn.Module)


@dataclass
class Checkpoint:
    """A network, its weights, and where they come from (data, seed, iterations, hours, command)."""

    config: NetworkConfig
    weights: dict[str, Tensor]
    provenance: dict[str, Any] = field(default_factory=dict)

    def model(self) -> JointModel:
        """The joint model with these weights, in evaluation mode. Raises SpgvtonError when they do not fit."""
        return with_weights(build_model(self.config), self.weights)

    def network(self) -> JointModel | Method:
        """model(), of whichever method."""
        return with_weights(build_network(self.config), self.weights)

    def save(self, path: str | Path, *, half: bool = False) -> None:
        """Write atomically. HALF stores floating-point weights as float16 (half the size; loaded as float32)."""
        weights = {k: v.half() if half and v.is_floating_point() else v for k, v in self.weights.items()}
        write_weights(path, FORMAT, self.config.to_dict(), weights, self.provenance)

    @staticmethod
    def load(path: str | Path, *, any_method: bool = False) -> Checkpoint:
        """Raises SpgvtonError for a missing, damaged or foreign file, and, but for ANY_METHOD, for one of the comparison."""
        config, weights, provenance = read_weights(path, FORMAT)
        network = NetworkConfig.from_dict(config)
        if network.method != METHODS[0] and not any_method:
            raise SpgvtonError(
                f"{path} is a checkpoint of {network.method}, which is there to compare with and is not run live: spgvton "
                f"evaluate and python -m spgvton_export.comparison take it; here give one of {METHODS[0]}"
            )
        return Checkpoint(network, weights, provenance)


def started_from(checkpoint: Checkpoint, config: NetworkConfig) -> JointModel | Method:
    """A network of CONFIG with the weights of CHECKPOINT; a residual flow that it has not starts as none. Raises SpgvtonError."""
    network = build_network(config)
    new = {k: v for k, v in network.state_dict().items() if k.startswith("residual.")}
    return with_weights(network, new | checkpoint.weights)


def with_weights(network: Network, weights: dict[str, Tensor]) -> Network:
    """NETWORK with WEIGHTS, in its own precision, in evaluation mode. Raises SpgvtonError when they do not fit."""
    own = network.state_dict()
    try:
        network.load_state_dict({k: v.to(own[k].dtype) for k, v in weights.items()})
    except (RuntimeError, KeyError) as e:
        raise SpgvtonError(f"the checkpoint's weights do not fit its network: {str(e).splitlines()[0]}") from e
    return network.eval()


def write_weights(
    path: str | Path, form: str, config: dict[str, Any], weights: dict[str, Tensor], provenance: dict[str, Any]
) -> None:
    """Write a safetensors file atomically, whose header says its FORM, and the network's CONFIG and PROVENANCE as JSON."""
    header = {"format": form, "config": json.dumps(config), "provenance": json.dumps(provenance)}
    write_bytes(path, serialise({k: v.detach().cpu().contiguous() for k, v in weights.items()}, header))


def read_weights(path: str | Path, form: str) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    """(config, weights, provenance) of a file of FORM. Raises SpgvtonError for a missing, damaged or foreign file."""
    try:
        with safe_open(path, framework="pt") as f:
            header = f.metadata() or {}
            if header.get("format") != form:
                raise SpgvtonError(
                    f"{path} is no checkpoint of this kind: its format is {header.get('format')}, not {form}"
                )
            weights = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118
        return json.loads(header["config"]), weights, json.loads(header["provenance"])
    except (OSError, SafetensorError, KeyError, ValueError) as e:
        raise SpgvtonError(f"cannot load checkpoint {path}: {e}") from e


def save_state(path: str | Path, state: dict[str, Any]) -> None:
    """Write the trainer's state (tensors and plain values) atomically."""
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def load_state(path: str | Path) -> dict[str, Any]:
    """Read what save_state() wrote; never unpickles code. Raises SpgvtonError."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # torch raises many kinds for a damaged file
        raise SpgvtonError(f"cannot resume from {path}: {e}") from e
    return state
