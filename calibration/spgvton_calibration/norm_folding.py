"""Batch norm behind a ReLU, folded into the INT8 convolutions before and behind it, so that both write int8.

The GMM's order, as the paper has it, is convolution, ReLU, batch norm, convolution. TensorRT fuses no norm behind a ReLU: the
first convolution writes float, and a kernel of its own normalises and rounds. With y = a relu(x) + b of each channel:

- |a| goes into the first convolution, since |a| relu(x) = relu(|a| x), and the sign of a into the second one's weights;
- b cannot go into the second one's bias: behind its zero padding there is no b. So the first convolution gets EXTRA channels
  more, whose weights are 0 and whose bias is a multiple of the step of what is quantised between the two: constants that int8
  holds exactly, with zeros round them as round every channel. The second one's weights for them make what its own weights make
  of b, tap by tap, at the edge as in the middle.

It is the same function but for where values are rounded: half a unit of the second convolution's own sums is the largest error of
that share. The step grows from amax / 127 to (amax + the largest b) / 127, since what is quantised is y without b.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from spgvton_calibration.network import Array, Float, GraphIndex
from spgvton_calibration.qdq import LEVELS, usable_scale

EXTRA: Final = (LEVELS, LEVELS, LEVELS, 1)  # levels of the constant channels; as many as keep channels a multiple of 4


class _Convolution(NamedTuple):
    """A Conv with the names of its int8 weight, of that one's scales and zero points, and of its bias."""

    node: onnx.NodeProto
    weight: str
    scale: str
    zero: str
    bias: str


class _Place(NamedTuple):
    first: _Convolution
    relu: onnx.NodeProto
    norm: onnx.NodeProto
    quantise: onnx.NodeProto
    second: _Convolution


class _Folded(NamedTuple):
    """What changes: the first one's weight, scale and bias, the step between the two, the second one's weight."""

    weight: NDArray[np.int8]
    scale: Float
    bias: Float
    step: Float
    second: NDArray[np.int8]


class _Graph(GraphIndex):
    def array(self, name: str) -> Array:
        return np.asarray(numpy_helper.to_array(self.tensors[name]))

    def replace(self, name: str, value: Array) -> None:
        """Constant NAME becomes VALUE, in the type that it has."""
        self.tensors[name].CopyFrom(numpy_helper.from_array(value.astype(self.array(name).dtype), name))

    def reader(self, value: str, operator: str) -> onnx.NodeProto | None:
        """The one node that reads VALUE, if it is an OPERATOR."""
        user = self.only_user(value)
        return user if user is not None and user.op_type == operator else None

    def convolution(self, node: onnx.NodeProto | None) -> _Convolution | None:
        """NODE with an int8 weight and a constant bias that it alone reads, as qdq.insert writes it; None for others."""
        if node is None or node.op_type != "Conv" or len(node.input) < 3:
            return None
        dq = self.made_by.get(node.input[1])
        if dq is None or dq.op_type != "DequantizeLinear":
            return None
        names = (*dq.input[:3], node.input[2])
        if any(name not in self.tensors or len(self.used_by[name]) != 1 for name in names):
            return None
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        return _Convolution(node, *names) if groups == 1 else None

    def places(self) -> list[_Place]:
        found = []
        for node in self.model.graph.node:
            first = self.convolution(node)
            relu = self.reader(node.output[0], "Relu") if first else None
            norm = self.reader(relu.output[0], "BatchNormalization") if relu else None
            quantise = self.reader(norm.output[0], "QuantizeLinear") if norm else None
            dequantise = self.reader(quantise.output[0], "DequantizeLinear") if quantise else None
            second = self.convolution(self.reader(dequantise.output[0], "Conv")) if dequantise else None
            if first and relu and norm and quantise and second:
                found.append(_Place(first, relu, norm, quantise, second))
        return found


def fold_norms_behind_relu(model: onnx.ModelProto) -> onnx.ModelProto:
    """MODEL, a graph of qdq.insert, changed in place: every batch norm between a ReLU and a convolution that can be folded is.

    Only between two INT8 convolutions that nothing else reads. One stays as it is, and writes float, where int8 weights cannot hold
    what its b makes, or float16 not its scales.
    """
    graph = _Graph(model)
    gone = []
    for place in graph.places():
        folded = _fold(graph, place)
        if folded is None:
            continue
        first, second = place.first, place.second
        graph.replace(first.weight, folded.weight)
        graph.replace(first.scale, folded.scale)
        graph.replace(first.zero, np.zeros(len(folded.scale), np.int8))
        graph.replace(first.bias, folded.bias)
        graph.replace(place.quantise.input[1], folded.step)
        graph.replace(second.weight, folded.second)
        place.relu.output[0] = place.norm.output[0]
        gone.append(place.norm)
    for norm in gone:
        model.graph.node.remove(norm)
    used = {i for n in model.graph.node for i in n.input}
    kept = [t for t in model.graph.initializer if t.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model


def _fold(graph: _Graph, place: _Place) -> _Folded | None:
    """None where int8 or the scales' type cannot hold it."""
    first, second = place.first, place.second
    kind = graph.tensors[first.scale].data_type
    gain, shift = _gain_and_shift(graph, place.norm)
    sign = np.where(gain < 0, -1, 1)
    amax = LEVELS * float(graph.array(place.quantise.input[1])) + max(0.0, float((-sign * shift).max()))
    step = usable_scale(amax, kind)

    scale = graph.array(first.scale).astype(np.float32) * np.abs(gain)
    weight = graph.array(first.weight)
    if (scale < usable_scale(0.0, kind)).any():
        return None
    own = graph.array(second.weight)
    made = np.einsum("oikl,i->okl", own.astype(np.float64), shift) / step  # in units of the second one's sums
    levels = _levels(made)
    if levels is None:
        return None
    extra = len(EXTRA)
    return _Folded(
        np.concatenate([weight, np.zeros((extra, *weight.shape[1:]), np.int8)]),
        np.concatenate([scale, np.ones(extra, np.float32)]),
        np.concatenate([graph.array(first.bias).astype(np.float32) * np.abs(gain), np.array(EXTRA, np.float32) * step]),
        step,
        np.concatenate([own * sign[None, :, None, None].astype(np.int8), levels], axis=1),
    )  # fmt: skip


def _levels(made: NDArray[np.float64]) -> NDArray[np.int8] | None:
    """Weights (O, EXTRA, kh, kw) whose sum, each times its channel's level, is MADE (O, kh, kw) rounded; None if it is too large."""
    left = np.rint(made).astype(np.int64)
    found = []
    for i, level in enumerate(EXTRA):
        alike = EXTRA[i:].count(level)  # channels of one level share what is left
        part = np.rint(left / (level * alike)).astype(np.int64)
        found.append(part)
        left = left - part * level
    weights = np.stack(found, axis=1)
    return weights.astype(np.int8) if not left.any() and np.abs(weights).max() <= LEVELS else None


def _gain_and_shift(graph: _Graph, norm: onnx.NodeProto) -> tuple[Float, Float]:
    """a and b (O,) of a batch norm, which computes a x + b."""
    epsilon = next((helper.get_attribute_value(a) for a in norm.attribute if a.name == "epsilon"), 1e-5)
    gain, shift, mean, variance = (graph.array(name).astype(np.float32) for name in norm.input[1:5])
    factor = gain / np.sqrt(variance + np.float32(epsilon))
    return factor, shift - mean * factor
