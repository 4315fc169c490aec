"""A checkpoint of the sleeve network -> the ONNX file that the runtime opens, checked against PyTorch.

  python -m spgvton_export.sleeves runs/sleeves.safetensors runtime/spgvton/assets/models/garment_sleeves.onnx

As spgvton_export.cutout does it. Input `picture` float32 (n, 3, 128, 128), RGB 0...255; output `maps` (n, 3, 64, 64):
probabilities of the sleeve's cloth, its armpit and its shoulder.
"""

from __future__ import annotations

import sys
from pathlib import Path

from torch import Tensor, nn

from spgvton.perception.garment_sleeves import SIDE
from spgvton_export.cutout import fused, run, write_network
from spgvton_training.sleeves.network import SleeveCheckpoint, SleeveNetwork


class Probabilities(nn.Module):
    """The network as it is exported."""

    def __init__(self, network: SleeveNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> Tensor:
        maps: Tensor = self.network(picture)
        return maps.sigmoid()


def export(checkpoint: SleeveCheckpoint, out: Path) -> float:
    """Write the network into OUT. Returns its largest difference from PyTorch; raises SpgvtonError where it is too large."""
    return write_network(Probabilities(fused(checkpoint.network())).eval(), SIDE, ("maps",), out)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Exit codes: 0 fine, 1 failed."""
    return run("spgvton_export.sleeves", __doc__, lambda file, out: export(SleeveCheckpoint.load(file), out), arguments)


if __name__ == "__main__":
    sys.exit(main())
