"""What a training step takes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from spgvton_training.networks.joint import Inputs


class Batch(NamedTuple):
    """What a training step takes. Without a flow file `flow` is NaN."""

    inputs: Inputs
    target: Tensor  # I_t (N, 3, H, W) in [-1, 1]
    target_labels: Tensor  # (N, H, W) int64
    flow: Tensor  # (N, H, W, 2): normalised (x, y) on the garment picture, NaN outside the clothes

    def to(self, device: torch.device) -> Batch:
        return Batch(Inputs(*(t.to(device) for t in self.inputs)), *(t.to(device) for t in self[1:]))
