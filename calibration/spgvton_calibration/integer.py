"""The frame graph of an INT8 bundle: convolutions on ONNX Runtime's integer kernels (QLinearConv), for CPUs that have them.

Same layers, int8 weights and ranges as the Q/DQ graphs, in the form that is fast there and that TensorRT would not take:
activations are uint8 (int8 ones take kernels three to five times slower than float), behind a ReLU with zero point 0 and
all 255 levels, else with 128; a convolution also rounds its result, so that the next one reads uint8; biases are int32;
sums and doublings stay uint8. ReLU is what rounding to uint8 does to negative numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from spgvton.bundle import WEIGHTS, Bundle
from spgvton.engine.graph import load_weights
from spgvton_calibration.execution import Pair
from spgvton_calibration.network import Layer, Network
from spgvton_calibration.qdq import LEVELS, Int8Weight, prune, usable_scale
from spgvton_export.shared_weights import attach_weights, detach_weights

CONTRIB: Final = "com.microsoft"  # ONNX Runtime's own operators: QLinearAdd
_LARGEST_BIAS: Final = 2.0**30 - 2**10  # of int32; scales are rounded to float32, which may add some steps
REWRITES: Final = ("batch-norm", "static-channels", "channel-padding", "softmax")  # the others take convolutions apart


@dataclass(frozen=True)
class _UInt8:
    """A value that is held as uint8: (name - zero) * scale."""

    name: str
    scale: float
    zero: int


def results(network: Network, layers: Collection[Layer]) -> dict[str, str]:
    """Layer name -> what it makes: the value behind the ReLU where nothing else reads what is before it."""
    return {layer.name: _behind_relu(network.used_by, layer.output) for layer in layers}


def _behind_relu(used_by: Mapping[str, Sequence[onnx.NodeProto]], value: str) -> str:
    users = used_by.get(value, [])
    return str(users[0].output[0]) if len(users) == 1 and users[0].op_type == "Relu" else value


class _Writer:
    """Rewrites one graph; see insert_integer()."""

    def __init__(self, model: onnx.ModelProto, amax: Mapping[str, float]) -> None:
        self.graph = model.graph
        self.made_by = {o: n for n in self.graph.node for o in n.output}
        self.used_by: dict[str, list[onnx.NodeProto]] = {}
        for n in self.graph.node:
            for i in set(n.input):
                self.used_by.setdefault(i, []).append(n)
        self.amax = dict(amax)
        for node in self.graph.node:  # a doubled map holds the same values
            if _is_nearest(node) and node.output[0] in amax:
                self.amax.setdefault(node.input[0], amax[node.output[0]])
        self.constants: dict[str, onnx.TensorProto] = {}
        self.held: dict[str, _UInt8] = {}
        self.made: dict[str, list[onnx.NodeProto]] = {}  # value -> what makes it and its uint8 form
        self.at_start: list[onnx.NodeProto] = []

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.setdefault(name, numpy_helper.from_array(value, name))
        return name

    def parameters(self, value: _UInt8) -> list[str]:
        """Names of scale and zero point."""
        scale = self.constant(f"{value.name}.scale", np.array(value.scale, np.float32))
        return [scale, self.constant(f"uint8.{value.zero}", np.array(value.zero, np.uint8))]

    def form(self, value: str) -> _UInt8:
        positive = value in self.made_by and self.made_by[value].op_type == "Relu"
        levels = 2 * LEVELS + 1 if positive else LEVELS
        scale = float(usable_scale(self.amax[value] * LEVELS / levels, onnx.TensorProto.FLOAT))
        return _UInt8(f"{value}.uint8", scale, 0 if positive else LEVELS + 1)

    def makes(self, value: str, op: str, inputs: Sequence[str], **attributes: Any) -> _UInt8:
        """VALUE is made as uint8 by OP; whoever reads it in float reads it dequantised, under its old name."""
        form = self.form(value)
        names = self.parameters(form)
        ends = {"QLinearConv": [*inputs[:-1], *names, inputs[-1]], "QLinearAdd": [*inputs, *names]}[op]
        domain = CONTRIB if op == "QLinearAdd" else ""
        node = helper.make_node(op, ends, [form.name], f"{value}.integer", domain=domain, **attributes)
        back = helper.make_node("DequantizeLinear", [form.name, *names], [value], f"{value}.dequantise")
        self.held[value], self.made[value] = form, [node, back]
        return form

    def hold(self, value: str) -> _UInt8:
        """The uint8 form of VALUE, made here if it is float."""
        if value in self.held:
            return self.held[value]
        node = self.made_by.get(value)
        if node is not None and _is_nearest(node) and node.input[0] in self.held:
            small = self.held[node.input[0]]
            form = _UInt8(f"{value}.uint8", small.scale, small.zero)
            made = onnx.NodeProto()
            made.CopyFrom(node)
            made.name, made.input[0], made.output[0] = f"{node.name}.uint8", small.name, form.name
            nodes = [made]
        else:
            form = self.form(value)
            nodes = [
                helper.make_node("QuantizeLinear", [value, *self.parameters(form)], [form.name], f"{value}.quantise")
            ]
        self.held[value] = form
        if node is None:
            self.at_start += nodes
        else:
            self.made.setdefault(value, [node]).extend(nodes)
        return form

    def convolution(self, layer: Layer, result: str, weight: Int8Weight) -> None:
        conv = self.made_by[layer.output]
        x = self.hold(layer.source)
        x_names = self.parameters(x)
        # A channel without weights would need a bias of infinitely many steps.
        scale = np.maximum(weight.scale, np.abs(weight.bias) / (x.scale * _LARGEST_BIAS)).astype(np.float32)
        values = np.rint(weight.values * (weight.scale / scale)[:, None, None, None]).astype(np.int8)
        bias = np.rint(weight.bias.astype(np.float64) / (x.scale * scale.astype(np.float64))).astype(np.int32)
        base = f"{layer.name}.weight"
        inputs = [
            x.name, *x_names, self.constant(f"{base}.int8", values), self.constant(f"{base}.scale", scale),
            self.constant(f"{base}.zero", np.zeros(len(scale), np.int8)), self.constant(f"{layer.name}.bias.int32", bias),
        ]  # fmt: skip
        attributes = {a.name: helper.get_attribute_value(a) for a in conv.attribute}
        self.makes(result, "QLinearConv", inputs, **attributes)

    def sum(self, layer: Layer, result: str) -> None:
        """The Add behind LAYER on uint8, where all three values have a range."""
        assert layer.residual is not None and layer.sum is not None
        total = _behind_relu(self.used_by, layer.sum)
        if total not in self.amax or self.made_by[layer.sum].op_type != "Add":
            return
        inputs = [(value.name, *self.parameters(value)) for value in (self.hold(layer.residual), self.held[result])]
        self.makes(total, "QLinearAdd", [*inputs[0], *inputs[1]])

    def finish(self, nodes: Sequence[onnx.NodeProto]) -> None:
        del self.graph.node[:]
        self.graph.node.extend(self.at_start)
        for node in nodes:
            replaced = [n for o in node.output for n in self.made.get(o, [])]
            self.graph.node.extend(replaced or [node])
        used = prune(self.graph)
        kept = [t for t in (*self.graph.initializer, *self.constants.values()) if t.name in used]
        inputs = [i for i in self.graph.input if i.name in used]
        del self.graph.initializer[:], self.graph.input[:]
        self.graph.initializer.extend(kept)
        self.graph.input.extend(inputs)


def _is_nearest(node: onnx.NodeProto) -> bool:
    modes = {a.name: a.s.decode() for a in node.attribute if a.type == onnx.AttributeProto.STRING}
    return node.op_type == "Resize" and modes.get("mode", "nearest") == "nearest"


def insert_integer(
    model: onnx.ModelProto, layers: Collection[Layer], made: Mapping[str, str], amax: Mapping[str, float],
    weights: Mapping[str, Int8Weight],
) -> int:  # fmt: skip
    """Change frame graph MODEL in place: LAYERS of the joint graph that are in it compute in integers. Returns how many.

    made: results() of the joint graph. amax: value name -> largest absolute value, also of these. weights: by layer name.
    """
    writer = _Writer(model, amax)
    nodes = list(model.graph.node)
    count = 0
    for layer in layers:
        node, result = writer.made_by.get(layer.output), made[layer.name]
        if node is None or node.op_type != "Conv" or not {layer.source, result} <= writer.amax.keys():
            continue
        writer.convolution(layer, result, weights[layer.name])
        if layer.residual is not None:
            writer.sum(layer, result)
        count += 1
    writer.finish(nodes)
    if not any(o.domain == CONTRIB for o in model.opset_import):
        model.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    return count


def integer_pair(
    source: Bundle, layers: Collection[Layer], made: Mapping[str, str], amax: Mapping[str, float],
    weights: Mapping[str, Int8Weight],
) -> Pair:  # fmt: skip
    """The joint graph of SOURCE, a float32 bundle, split and rewritten as `spgvton export` does, LAYERS in integers.

    See insert_integer() for the arguments. Weights are inside the graphs.
    """
    from spgvton_export.rewrites import split_and_rewrite  # takes a second to import

    joint = onnx.load(str(source.graph("tryon")), load_external_data=False)
    stored = detach_weights(joint)
    session, frame, _ = split_and_rewrite(joint, stored, REWRITES)
    for model in (session, frame):
        attach_weights(model, stored, source.folder / WEIGHTS)
        load_weights(model, source.folder)
    insert_integer(frame, layers, made, amax, weights)
    return Pair(session, frame)
