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

from collections.abc import Collection, Mapping
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


def insert(
    network: Network, layers: Collection[Layer], amax: Mapping[str, float], weights: Mapping[str, Int8Weight]
) -> onnx.ModelProto:
    """NETWORK's graph with LAYERS (of it) in INT8; nothing else is changed.

    amax: value name -> largest absolute value that int8 holds. weights: layer name -> its weight.
    """
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    graph = model.graph
    nodes = list(graph.node)
    del graph.node[:]
    made_by = {o: n for n in nodes for o in n.output}
    constants: list[onnx.TensorProto] = []
    dequantised: dict[str, list[onnx.NodeProto]] = {}  # value -> its Q and DQ

    def through_int8(reader: onnx.NodeProto, value: str, element_type: int) -> None:
        """READER takes VALUE as int8 holds it."""
        if value not in dequantised:
            scale = usable_scale(amax[value], element_type).astype(helper.tensor_dtype_to_np_dtype(element_type))
            constants.append(numpy_helper.from_array(scale.reshape(()), f"{value}.scale"))
            names = [f"{value}.scale", "int8.zero"]
            dequantised[value] = [
                helper.make_node("QuantizeLinear", [value, *names], [f"{value}.int8"], f"{value}.quantise"),
                helper.make_node("DequantizeLinear", [f"{value}.int8", *names], [f"{value}.dq"], f"{value}.dequantise"),
            ]
        reader.input[:] = [f"{value}.dq" if i == value else i for i in reader.input]

    dropped = set()
    weight_nodes: dict[str, onnx.NodeProto] = {}  # output of the Conv -> the DequantizeLinear of its weight
    for layer in layers:
        kind = network.element_type(layer)
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        conv, weight = made_by[layer.conv], weights[layer.name]
        through_int8(conv, layer.source, kind)
        if layer.residual is not None and layer.sum is not None:
            through_int8(made_by[layer.sum], layer.residual, kind)
        base = f"{layer.name}.weight"
        zeros = np.zeros(len(weight.scale), np.int8)
        constants += [
            numpy_helper.from_array(weight.values, f"{base}.int8"),
            numpy_helper.from_array(weight.scale.astype(dtype), f"{base}.scale"),
            numpy_helper.from_array(zeros, f"{base}.zero"),
            numpy_helper.from_array(weight.bias.astype(dtype), f"{layer.name}.bias.folded"),
        ]
        names = [f"{base}.int8", f"{base}.scale", f"{base}.zero"]
        dq = helper.make_node("DequantizeLinear", names, [f"{base}.dq"], f"{base}.dequantise", axis=0)
        conv.input[:] = [conv.input[0], f"{base}.dq", f"{layer.name}.bias.folded"]
        if layer.norm is not None:
            dropped.add(layer.norm)
            conv.output[0] = layer.norm
        weight_nodes[conv.output[0]] = dq

    constants.append(numpy_helper.from_array(np.zeros((), np.int8), "int8.zero"))
    for value in graph.input:
        graph.node.extend(dequantised.get(value.name, []))
    for node in nodes:
        if node.op_type == "BatchNormalization" and node.output[0] in dropped:
            continue
        if node.output[0] in weight_nodes:
            graph.node.append(weight_nodes[node.output[0]])
        graph.node.append(node)
        for value_name in node.output:
            graph.node.extend(dequantised.get(value_name, []))
    used = prune(graph)
    kept = [t for t in (*graph.initializer, *constants) if t.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
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
