"""Lightning Fabric as a run needs it: one process on the CPU or a GPU, or one process per GPU started by torchrun."""

from __future__ import annotations

import os
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision

from spgvton.errors import UsageError

PRECISIONS = ("32-true", "bf16-mixed")  # float16 would need loss scaling for two optimisers; bfloat16 does not


class NetworksInBfloat16(MixedPrecision):
    """Autocast, but inputs stay as they are: in bfloat16 keypoints move by half a pixel and pictures lose their shades."""

    def convert_input(self, data: Any) -> Any:
        return data


def make_fabric(accelerator: str = "auto", precision: str = "32-true") -> Fabric:
    """Fabric for the processes that torchrun started, or for this one alone. Raises UsageError."""
    local, world = (int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    on_gpu = accelerator != "cpu" and torch.cuda.is_available()
    how = NetworksInBfloat16("bf16-mixed", "cuda" if on_gpu else "cpu") if precision == "bf16-mixed" else None
    try:
        fabric = Fabric(accelerator=accelerator, devices=local, num_nodes=world // local, plugins=how)
    except Exception as e:  # Fabric raises many kinds for a device that is not there
        raise UsageError(f"cannot train on '{accelerator}' with {precision}: {' '.join(str(e).split())}") from e
    fabric.launch()
    return fabric
