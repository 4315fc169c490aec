"""A checkpoint of the sleeve network -> the ONNX file that the runtime opens, checked against PyTorch.

  python -m spgvton_export.sleeves runs/sleeves.safetensors runtime/spgvton/assets/models/garment_sleeves.onnx

As spgvton_export.cutout does it. Input `picture` float32 (n, 3, 128, 128), RGB 0...255; output `maps` (n, 3, 64, 64):
probabilities of the sleeve's cloth, its armpit and its shoulder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from torch import Tensor, nn

from spgvton.errors import SpgvtonError
from spgvton.perception.garment_sleeves import SIDE
from spgvton_export.cutout import fused, write_network
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
    parser = argparse.ArgumentParser(
        prog="python -m spgvton_export.sleeves",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args(arguments)
    try:
        difference = export(SleeveCheckpoint.load(args.checkpoint), args.out)
    except SpgvtonError as e:
        print(f"spgvton_export.sleeves: {e}", file=sys.stderr)
        return 1
    print(f"{args.out}: {args.out.stat().st_size} bytes, within {difference:.2g} of PyTorch", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
