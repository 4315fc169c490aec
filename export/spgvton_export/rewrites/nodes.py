"""What the rewrites share: finding and making nodes of an onnx-graphsurgeon graph whose shapes are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray


def make(
    graph: gs.Graph, op: str, name: str, inputs: Sequence[gs.Tensor], shape: Sequence[int] | None, **attributes: Any
) -> gs.Variable:
    """Append node OP to GRAPH and return its float32 output NAME; ONNX is topologically sorted later."""
    output = gs.Variable(name, np.float32, shape)
    graph.nodes.append(gs.Node(op, name, attributes, list(inputs), [output]))
    return output


def constant(name: str, values: NDArray[Any] | Sequence[int]) -> gs.Constant:
    """VALUES as an initialiser: arrays keep their type, sequences of int become int64."""
    return gs.Constant(name, values if isinstance(values, np.ndarray) else np.array(values, np.int64))


def only_reader(tensor: gs.Tensor) -> bool:
    """Whether exactly one node reads TENSOR, which is no output of the graph's parts that anything else needs."""
    return len(tensor.outputs) == 1


def convolutions(graph: gs.Graph, kernel: int = 3) -> Iterator[gs.Node]:
    """The ungrouped, dense, same-padded convolutions of KERNEL x KERNEL and stride 1."""
    for node in list(graph.nodes):
        if node.op != "Conv":
            continue
        a = node.attrs
        same = list(a.get("pads", [0] * 4)) == [kernel // 2] * 4 and a.get("auto_pad", "NOTSET") == "NOTSET"
        plain = a.get("group", 1) == 1 and list(a.get("dilations", [1, 1])) == [1, 1]
        if same and plain and list(a.get("strides", [1, 1])) == [1, 1] and node.inputs[1].shape[2:] == [kernel, kernel]:
            yield node


def replace(node: gs.Node, output: gs.Variable) -> None:
    """Let OUTPUT, made by another node, take the place of NODE's first output: name, readers and all."""
    old = node.outputs[0]
    node.outputs = []
    maker = output.inputs[0]
    maker.outputs = [old]
