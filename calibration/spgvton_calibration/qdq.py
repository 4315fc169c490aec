"""Q/DQ nodes as TensorRT's parser takes them (TensorRT developer guide, "Explicit Quantization"); nothing implicit.

- symmetric: zero points are 0, activations int8 per tensor, weights int8 per output channel;
- weights are int8 constants with a DequantizeLinear, batch norm folded in; the bias stays float (an INT32 bias behind a
  DequantizeLinear is refused by the parser);
- no Q/DQ between a convolution and its batch norm, ReLU or Add, so that they fuse; the other input of that Add is
  quantised (the residual is then read as int8); where the next layer is quantised its Q follows the ReLU;
- Q/DQ stand directly before the convolution, also behind an upsampling: before it would be the same values from fewer
  pixels, but TensorRT-RTX 1.7 moves no float16 Q/DQ through it, and the convolution would be computed in float16;
- scales have the type that the layer computes in (FLOAT or FLOAT16, hence opset 19).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from spgvton_calibration.network import Float, Layer, Network

OPSET: Final = (
    19  # the first whose Q/DQ takes float16 scales; 20 renames GridSample's modes, which TensorRT 10.3 misreads
)
LEVELS: Final = 127  # symmetric: -128 is not used


@dataclass(frozen=True)
class Int8Weight:
    """values (O, I, kh, kw) int8 and scale (O,): the weight is values * scale. bias (O,) float32."""

    values: NDArray[np.int8]
    scale: Float
    bias: Float


def usable_scale(amax: Float | float, element_type: int) -> Float:
    """amax / 127 as the graph can hold it in ELEMENT_TYPE (FLOAT or FLOAT16): not zero.

    Subnormal float16 numbers are used, small folded weights need them: the rounding of a scale does no harm, since values
    are divided by the rounded one. The least is 64 times the smallest subnormal, so that it is within 1% all the same.
    """
    dtype = helper.tensor_dtype_to_np_dtype(element_type)
    scale = np.asarray(amax, np.float32) / LEVELS
    rounded = np.maximum(scale, 64 * float(np.finfo(dtype).smallest_subnormal)).astype(dtype)
    return np.asarray(rounded, np.float32)


def quantise_weight(weight: Float, bias: Float, element_type: int) -> Int8Weight:
    """Round WEIGHT to the nearest of 255 levels per output channel; the channel's largest value is the last level."""
    scale = usable_scale(np.abs(weight).max((1, 2, 3)), element_type)
    values = np.rint(weight / scale[:, None, None, None]).clip(-LEVELS, LEVELS).astype(np.int8)
    return Int8Weight(values, scale, bias)


class _Insertion:
    """The Q/DQ of one graph, as they are made: they are put into its order of computation at the end."""

    def __init__(self, amax: Mapping[str, float]) -> None:
        self._amax = amax
        self.constants = [numpy_helper.from_array(np.zeros((), np.int8), "int8.zero")]
        self.behind: dict[str, list[onnx.NodeProto]] = {}  # value -> its Q and DQ
        self.before: dict[str, onnx.NodeProto] = {}  # output of a Conv -> the DequantizeLinear of its weight

    def through_int8(self, reader: onnx.NodeProto, value: str, element_type: int) -> None:
        """READER takes VALUE as int8 holds it."""
        if value not in self.behind:
            dtype = helper.tensor_dtype_to_np_dtype(element_type)
            scale = usable_scale(self._amax[value], element_type).astype(dtype)
            self.constants.append(numpy_helper.from_array(scale.reshape(()), f"{value}.scale"))
            names = [f"{value}.scale", "int8.zero"]
            self.behind[value] = [
                helper.make_node("QuantizeLinear", [value, *names], [f"{value}.int8"], f"{value}.quantise"),
                helper.make_node("DequantizeLinear", [f"{value}.int8", *names], [f"{value}.dq"], f"{value}.dequantise"),
            ]
        reader.input[:] = [f"{value}.dq" if i == value else i for i in reader.input]

    def give_weight(self, conv: onnx.NodeProto, layer: Layer, weight: Int8Weight, element_type: int) -> None:
        """CONV, that of LAYER, reads WEIGHT, and makes what its batch norm made."""
        dtype = helper.tensor_dtype_to_np_dtype(element_type)
        base = f"{layer.name}.weight"
        self.constants += [
            numpy_helper.from_array(weight.values, f"{base}.int8"),
            numpy_helper.from_array(weight.scale.astype(dtype), f"{base}.scale"),
            numpy_helper.from_array(np.zeros(len(weight.scale), np.int8), f"{base}.zero"),
            numpy_helper.from_array(weight.bias.astype(dtype), f"{layer.name}.bias.folded"),
        ]
        names = [f"{base}.int8", f"{base}.scale", f"{base}.zero"]
        dq = helper.make_node("DequantizeLinear", names, [f"{base}.dq"], f"{base}.dequantise", axis=0)
        conv.input[:] = [conv.input[0], f"{base}.dq", f"{layer.name}.bias.folded"]
        conv.output[0] = layer.output
        self.before[conv.output[0]] = dq

    def ordered(self, inputs: Iterable[str], nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
        """NODES with what was made."""
        for value in inputs:
            yield from self.behind.get(value, [])
        for node in nodes:
            if node.output[0] in self.before:
                yield self.before[node.output[0]]
            yield node
            for value in node.output:
                yield from self.behind.get(value, [])


def insert(
    network: Network, layers: Collection[Layer], amax: Mapping[str, float], weights: Mapping[str, Int8Weight]
) -> onnx.ModelProto:
    """NETWORK's graph with LAYERS (of it) in INT8; nothing else is changed.

    amax: value name -> largest absolute value that int8 holds. weights: layer name -> its weight.
    """
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    graph = model.graph
    made_by = {o: n for n in graph.node for o in n.output}
    insertion = _Insertion(amax)
    for layer in layers:
        kind, conv = network.element_type(layer), made_by[layer.conv]
        insertion.through_int8(conv, layer.source, kind)
        if layer.residual is not None and layer.sum is not None:
            insertion.through_int8(made_by[layer.sum], layer.residual, kind)
        insertion.give_weight(conv, layer, weights[layer.name], kind)
    folded = {layer.norm for layer in layers}
    kept = [n for n in graph.node if n.op_type != "BatchNormalization" or n.output[0] not in folded]
    nodes = list(insertion.ordered([i.name for i in graph.input], kept))
    del graph.node[:]
    graph.node.extend(nodes)
    used = prune(graph)
    tensors = [t for t in (*graph.initializer, *insertion.constants) if t.name in used]
    del graph.initializer[:]
    graph.initializer.extend(tensors)
    for owner in (model, *model.functions):
        for opset in owner.opset_import:
            if opset.domain == "":
                opset.version = max(opset.version, OPSET)
    model.ir_version = max(model.ir_version, 9)
    return model


def prune(graph: onnx.GraphProto) -> set[str]:
    """Remove nodes whose outputs nobody reads (what computed the biases, from the float weights' shapes), in place.

    Returns the names that are read.
    """
    used = {o.name for o in graph.output}
    kept = []
    for node in reversed(graph.node):
        if used.intersection(node.output):
            kept.append(node)
            used.update(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    return used
