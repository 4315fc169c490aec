"""A checkpoint of any method, SPG-VTON or one of its comparison -> one ONNX graph, checked against PyTorch.

  python -m spgvton_export.comparison runs/viton/model.safetensors viton.onnx
  python -m spgvton_export.comparison runs/viton/model.safetensors viton.onnx --data data/tiny

Inputs as tryon.onnx has them (those that the method reads), outputs `image` float32 (n, 3, height, width) in [-1, 1] and `theta`.
The warp is the node spgvton::TpsGridSample with its function body. It is a graph to measure, not a bundle: the runtime does
not take it. The two are compared on the shipped demo, or on two test triples of --data.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import Tensor, nn

from spgvton.backends.onnxruntime import session_options
from spgvton.errors import SpgvtonError
from spgvton.files import write_bytes
from spgvton_export import tps_op
from spgvton_export.folding import fold, remove_metadata
from spgvton_export.graphs import Graph
from spgvton_export.onnx_export import trace
from spgvton_export.parity import differences
from spgvton_export.samples import Sample, data_samples, demo_samples
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.comparison.method import Method
from spgvton_training.networks.joint import Inputs, JointModel

OUTPUTS: Final = ("image", "theta")


class Whole(nn.Module):
    """A method's whole inference path."""

    def __init__(self, network: JointModel | Method) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, reference_map: Tensor, head: Tensor, body: Tensor, source_keypoints: Tensor, cloth: Tensor,
        cloth_mask: Tensor, keypoints: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """The tensors of Inputs, each by itself: so the exporter names them."""
        made = self.network.stages(Inputs(reference_map, head, body, source_keypoints, cloth, cloth_mask, keypoints))
        return made.final.image, made.theta


def as_onnx(network: JointModel | Method, inputs: Inputs) -> onnx.ModelProto:
    """NETWORK, in evaluation mode, with its weights inside; the batch is dynamic, INPUTS of two or more are an example."""
    config = network.config

    def warp(image: Tensor, theta: Tensor) -> Tensor:
        return tps_op.symbolic(image, theta, config.grid_size)

    network.warp = warp  # type: ignore[assignment,method-assign]
    try:
        model = trace(Graph(Whole(network), inputs._asdict(), OUTPUTS))
    finally:
        del network.warp
    fold(model)
    remove_metadata(model)
    unread = [i for i in model.graph.input if not any(i.name in node.input for node in model.graph.node)]
    for i in unread:
        model.graph.input.remove(i)
    tps_op.attach(model)
    return model


def export_method(checkpoint: Checkpoint, out: Path, samples: list[Sample]) -> dict[str, dict[str, float]]:
    """Write OUT. Returns its differences from PyTorch on SAMPLES, see parity.differences(), which says what is too much.

    Raises SpgvtonError for too much, and leaves no file then.
    """
    network = checkpoint.network()
    inputs = Inputs(*(torch.from_numpy(np.concatenate([s[name] for s in samples])) for name in Inputs._fields))
    data = as_onnx(network, inputs).SerializeToString(deterministic=True)
    session = ort.InferenceSession(data, session_options(None), providers=["CPUExecutionProvider"])
    read = {i.name for i in session.get_inputs()}
    found = session.run(list(OUTPUTS), {k: v.numpy() for k, v in inputs._asdict().items() if k in read})
    with torch.inference_mode():
        expected = Whole(network)(*inputs)
    errors = differences(
        dict(zip(OUTPUTS, found)), {k: v.numpy() for k, v in zip(OUTPUTS, expected)}, f"{out.name} differs from PyTorch"
    )
    write_bytes(out, data)
    return errors


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Exit codes: 0 fine, 1 failed."""
    parser = argparse.ArgumentParser(
        prog="python -m spgvton_export.comparison",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, metavar="DIR", help="data set in MPV layout (default: the shipped demo)")
    args = parser.parse_args(arguments)
    try:
        checkpoint = Checkpoint.load(args.checkpoint, any_method=True)
        c = checkpoint.config
        samples = (
            data_samples(args.data, 2, c.size, c.label_set) if args.data else demo_samples(c.size, c.label_set)[:2]
        )
        errors = export_method(checkpoint, args.out, samples)
    except SpgvtonError as e:
        print(f"spgvton_export.comparison: {e}", file=sys.stderr)
        return 1
    worst = ", ".join(f"{name} within {error['max']:.2g}" for name, error in errors.items())
    print(f"{args.out}: {c.method}, {args.out.stat().st_size} bytes, {worst} of PyTorch", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
