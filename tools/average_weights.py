"""Weights between those of a network and of the same one trained on: what is new, and most of what it knew before.

    python tools/average_weights.py old.safetensors new.safetensors out.safetensors --share 0.8     # a parser's checkpoints
    python tools/average_weights.py old.onnx new.onnx out.onnx --share 0.5                          # exported files

Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022 (WiSE-FT). NEW must have been trained from OLD.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import write_bytes
from spgvton_training.parsing.checkpoint import ParserCheckpoint

OTHER: str = "the two are of different networks: give one, and what was trained from it"


def of_checkpoints(old: ParserCheckpoint, new: ParserCheckpoint, share: float) -> ParserCheckpoint:
    """SHARE of NEW, the rest of OLD. Raises SpgvtonError for other networks."""
    if old.config != new.config:
        raise SpgvtonError(OTHER)
    weights = {
        name: old.weights[name].lerp(value, share) if value.is_floating_point() else value
        for name, value in new.weights.items()
    }
    return ParserCheckpoint(new.config, weights, {**new.provenance, "share_of_new": share, "old": old.provenance})


def of_graphs(old: onnx.ModelProto, new: onnx.ModelProto, share: float) -> onnx.ModelProto:
    """The graph of NEW with SHARE of its floating-point weights, the rest of OLD's. Raises SpgvtonError for other graphs."""
    before = {t.name: numpy_helper.to_array(t) for t in old.graph.initializer}
    out = onnx.ModelProto()
    out.CopyFrom(new)
    for tensor in out.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if tensor.name not in before or before[tensor.name].shape != value.shape:
            raise SpgvtonError(OTHER)
        if np.issubdtype(value.dtype, np.floating):
            mixed = before[tensor.name].astype(np.float64) * (1 - share) + value.astype(np.float64) * share
            tensor.CopyFrom(numpy_helper.from_array(mixed.astype(value.dtype), tensor.name))
    return out


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the new weights (default 0.5)")
    args = parser.parse_args()
    if not 0 <= args.share <= 1:
        raise UsageError(f"--share must be between 0 and 1, got {args.share}")
    if args.new.suffix == ".onnx":
        made = of_graphs(onnx.load(args.old), onnx.load(args.new), args.share)
        write_bytes(args.out, made.SerializeToString(deterministic=True))
    else:
        of_checkpoints(ParserCheckpoint.load(args.old), ParserCheckpoint.load(args.new), args.share).save(args.out)


if __name__ == "__main__":
    main()
