"""A checkpoint of the cut-out network -> the ONNX file that the runtime opens, checked against PyTorch.

  python -m spgvton_export.cutout runs/cutout/model.safetensors runtime/spgvton/assets/models/garment_cutout.onnx

Batch normalisation is folded into the convolutions before it; weights are rounded to float16 and cast to float32 at load, so that
the file has half the size. Input `picture` float32 (n, 3, 256, 256), RGB 0...255; outputs are probabilities: `mask`
(n, 1, 256, 256), `kinds` and `sleeves` (n, number of them).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from spgvton.errors import SpgvtonError
from spgvton.files import write_bytes
from spgvton.perception.cutout import SIDE
from spgvton_export.folding import fold, remove_metadata, store_half
from spgvton_export.graphs import Graph
from spgvton_export.onnx_export import trace
from spgvton_training.cutout.checkpoint import CutoutCheckpoint
from spgvton_training.cutout.network import CutoutNetwork

Network = TypeVar("Network", bound=nn.Module)

OUTPUTS: Final = ("mask", "kinds", "sleeves")
TOLERANCE: Final = 0.02  # of a probability, by float16 weights


class Probabilities(nn.Module):
    """The network as it is exported."""

    def __init__(self, network: CutoutNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        answer = self.network(picture)
        return answer.mask.sigmoid(), answer.kind.softmax(1), answer.sleeve.softmax(1)


def fused(network: Network) -> Network:
    """NETWORK with each batch normalisation in the convolution before it."""
    for part in list(network.modules()):
        if isinstance(part, nn.Sequential):
            for i in range(len(part) - 1):
                convolution, norm = part[i], part[i + 1]
                if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    part[i], part[i + 1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
    return network


def export(checkpoint: CutoutCheckpoint, out: Path) -> float:
    """Write the network into OUT. Returns its largest difference from PyTorch; raises SpgvtonError above TOLERANCE."""
    return write_network(Probabilities(fused(checkpoint.network())).eval(), SIDE, OUTPUTS, out)


def write_network(module: nn.Module, side: int, outputs: tuple[str, ...], out: Path) -> float:
    """Write MODULE, of a `picture` (n, 3, SIDE, SIDE) of 0...255, into OUT, its weights in float16.

    Returns its largest difference from PyTorch on noise; raises SpgvtonError above TOLERANCE.
    """
    picture = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)) * 255
    model = trace(Graph(module, {"picture": picture}, outputs))
    fold(model)
    remove_metadata(model)
    store_half(model)
    data = model.SerializeToString(deterministic=True)
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    found = session.run(list(outputs), {"picture": picture.numpy()})
    with torch.inference_mode():
        made = module(picture)
    expected = [part.numpy() for part in (made if isinstance(made, tuple) else (made,))]
    difference = max(float(np.abs(a - b).max()) for a, b in zip(found, expected))
    if not difference <= TOLERANCE:
        raise SpgvtonError(f"{out.name} differs from PyTorch by {difference:.3g}: it is not written")
    write_bytes(out, data)
    return difference


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Exit codes: 0 fine, 1 failed."""
    return run("spgvton_export.cutout", __doc__, lambda file, out: export(CutoutCheckpoint.load(file), out), arguments)


def run(module: str, text: str | None, convert: Callable[[Path, Path], float], arguments: list[str] | None) -> int:
    """The command line of MODULE, described by TEXT: CONVERT a checkpoint into a file, and say how near it is to PyTorch."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}", description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args(arguments)
    try:
        difference = convert(args.checkpoint, args.out)
    except SpgvtonError as e:
        print(f"{module}: {e}", file=sys.stderr)
        return 1
    print(f"{args.out}: {args.out.stat().st_size} bytes, within {difference:.2g} of PyTorch", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
