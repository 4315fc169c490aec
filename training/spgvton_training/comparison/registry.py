"""The methods by name."""

from __future__ import annotations

from typing import Final

from spgvton_training.comparison.cp_vton import CpVton
from spgvton_training.comparison.method import Method
from spgvton_training.comparison.mg_vton import MgVton
from spgvton_training.comparison.viton import Viton
from spgvton_training.networks.config import NetworkConfig
from spgvton_training.networks.joint import JointModel, build_model

COMPARED: Final[dict[str, type[Method]]] = {"viton": Viton, "cp-vton": CpVton, "mg-vton": MgVton}


def build_network(config: NetworkConfig) -> JointModel | Method:
    """The network of CONFIG's method, as networks.joint.build_model() builds SPG-VTON's."""
    return build_model(config) if config.method not in COMPARED else COMPARED[config.method](config)
