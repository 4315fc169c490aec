"""A shipped ONNX file of the human parser or the garment cut-out -> a checkpoint to train on from.

  python -m spgvton_export.read_back runtime/spgvton/assets/models/human_parser.onnx parser.safetensors
  python -m spgvton_export.read_back runtime/spgvton/assets/models/garment_cutout.onnx cutout.safetensors --photographs garments_cc0

The parser's file has everything in it. The cut-out's holds each batch normalisation inside the convolution before it, and training
needs it apart: means and variances are measured on --photographs, scale and offset follow, and the checkpoint answers as the file does.
Weights are as the files have them, rounded to float16.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from spgvton import image
from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import make_folder
from spgvton.perception.cutout import letterbox
from spgvton_training.checkpoint import with_weights
from spgvton_training.cutout.checkpoint import CutoutCheckpoint
from spgvton_training.cutout.network import CutoutNetwork
from spgvton_training.parsing.checkpoint import ParserCheckpoint
from spgvton_training.parsing.network import ParserNetwork

MOST: Final = 96  # photographs that are looked at
BATCH: Final = 16
Norms = list[nn.BatchNorm2d]


def stored_weights(file: Path) -> dict[str, Tensor]:
    """The weights in FILE under the names that they have in the network. Raises SpgvtonError for a file that is no ONNX graph."""
    try:
        model = onnx.load(file)
    except Exception as e:  # onnx raises many kinds for a damaged file
        raise SpgvtonError(f"cannot read {file}: {' '.join(str(e).split())[:200]}") from e
    arrays = {t.name.removesuffix(".f16"): numpy_helper.to_array(t) for t in model.graph.initializer}
    return {
        name.partition(".")[2]: torch.from_numpy(array.astype(np.float32))
        for name, array in arrays.items()
        if name.startswith(("parser.", "network."))
    }


def unfold(network: CutoutNetwork, stored: dict[str, Tensor]) -> Norms:
    """Add to STORED the normalisations that NETWORK has and the file has not: they do nothing but add the convolution's bias.

    Returns them.
    """
    norms: Norms = []
    for name, norm in network.named_modules():
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        parent, _, index = name.rpartition(".")
        convolution = f"{parent}.{int(index) - 1}"
        bias = stored.pop(f"{convolution}.bias")
        one = torch.ones_like(bias)
        stored |= {
            f"{name}.weight": one, f"{name}.bias": bias, f"{name}.running_mean": 0 * one,
            f"{name}.running_var": one - norm.eps, f"{name}.num_batches_tracked": torch.tensor(0),
        }  # fmt: skip
        norms.append(norm)
    return norms


@torch.no_grad()
def measure(network: CutoutNetwork, norms: Norms, batches: list[Tensor]) -> None:
    """Give each normalisation of NORMS, which only adds a bias, its convolution's mean and variance over BATCHES; what NETWORK
    answers stays."""
    sums = {norm: torch.zeros(2, len(norm.bias)) for norm in norms}

    def look(norm: nn.Module, given: tuple[Tensor, ...], _: Any) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        sums[norm] += torch.stack([given[0].mean((0, 2, 3)), given[0].square().mean((0, 2, 3))]) / len(batches)

    hooks = [norm.register_forward_hook(look) for norm in norms]
    for batch in batches:
        network(batch)
    for hook in hooks:
        hook.remove()
    for norm, (mean, square) in sums.items():
        variance = (square - mean * mean).clamp_min(0)
        norm.load_state_dict({
            "weight": (variance + norm.eps).sqrt(), "bias": norm.bias + mean, "running_mean": mean, "running_var": variance,
            "num_batches_tracked": torch.tensor(0),
        })  # fmt: skip


def batches_of(folder: Path) -> list[Tensor]:
    """The photographs under FOLDER as the cut-out network sees them. Raises SpgvtonError."""
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in image.SUFFIXES)
    if not files:
        raise SpgvtonError(f"{folder} holds no photograph")
    files = files[:: -(-len(files) // MOST)]
    squares = np.stack([letterbox(image.read_colour(f, keep_alpha=False))[0] for f in files])
    return list(torch.from_numpy(squares).permute(0, 3, 1, 2).float().split(BATCH))


def read_back(file: Path, photographs: Path | None) -> ParserCheckpoint | CutoutCheckpoint:
    """The checkpoint of FILE. Raises SpgvtonError; UsageError where PHOTOGRAPHS are needed."""
    stored = stored_weights(file)
    provenance = {"read_back_from": file.name}
    if "pose.weight" in stored:
        parser = ParserNetwork()
        tracked = {k: v for k, v in parser.state_dict().items() if k.endswith("num_batches_tracked")}
        return ParserCheckpoint(parser.config, with_weights(parser, stored | tracked).state_dict(), provenance)
    if photographs is None:
        raise UsageError("give --photographs, a folder on which means and variances are measured")
    network = CutoutNetwork()
    try:
        norms = unfold(network, stored)
    except KeyError as e:
        raise SpgvtonError(f"{file} is no garment cut-out: it has no {e}") from e
    with_weights(network, stored)
    measure(network, norms, batches_of(photographs))
    return CutoutCheckpoint(network.state_dict(), provenance)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Exit codes: 0 fine, 1 failed, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m spgvton_export.read_back",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="human_parser.onnx or garment_cutout.onnx")
    parser.add_argument("out", type=Path, help="checkpoint to write (safetensors)")
    parser.add_argument("--photographs", type=Path, metavar="DIR", help="what the cut-out is measured on")
    args = parser.parse_args(arguments)
    try:
        checkpoint = read_back(args.file, args.photographs)
        make_folder(args.out.parent)
        checkpoint.save(args.out)
    except SpgvtonError as e:
        print(f"spgvton_export.read_back: {e}", file=sys.stderr)
        return 2 if isinstance(e, UsageError) else 1
    print(f"wrote {args.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
