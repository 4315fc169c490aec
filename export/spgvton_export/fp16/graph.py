"""One float32 graph -> the same graph computing in float16 where that is safe (strongly typed: every Cast is written out).

What computes in float16 is chosen by an allow-list, so that what nobody thought of stays float32:

- convolutions and batch normalisations, with their weights;
- element-wise, slicing and upsampling operators of which every float input is float16 already.

All else is float32: source alignment, background filling, heat maps and moments (coordinates and divisions), feature
normalisation, correlation and theta of the GMMs, softmax, the warp (still one opaque node, and theta its float32 input),
and where a float16 network meets a float32 picture. Instance normalisation has float32 statistics and a float16 result.
The graph's own inputs and outputs keep their names and types.

Why not a library: onnxruntime.transformers.float16 and onnxconverter-common work by a block-list and put a Cast to
float16 and back between any two blocked nodes, so that coordinates would be rounded at every step of source alignment;
they also read all weights into the graph.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from spgvton.errors import SpgvtonError
from spgvton_export.folding import fold
from spgvton_export.shared_weights import detach_weights, stored_name

FLOAT, FLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16
LARGEST: Final = 65504.0  # of float16
LAYERS: Final = {"Conv", "ConvTranspose", "BatchNormalization"}
_FOLLOW: Final = {
    "Add", "Concat", "DepthToSpace", "Identity", "LeakyRelu", "Mul", "Neg", "Relu", "Resize", "Sigmoid", "Slice",
    "SpaceToDepth", "Sub", "Tanh", "Transpose",
}  # fmt: skip
_FLOAT32_INSIDE: Final = {"InstanceNormalization"}


@dataclass
class Float16Graph:
    """A converted graph, before its weights are attached.

    model: its weights are inputs of the graph. weights: those inputs, FLOAT16 where the graph uses them so.
    reference: the float32 graph of the same value names, folded. layers: value -> readable name, for each float16 value
    that stands in both, in order of computation. float32: operator -> number of nodes that still compute in float32.
    """

    model: onnx.ModelProto
    weights: dict[str, onnx.TensorProto]
    reference: onnx.ModelProto
    layers: dict[str, str]
    float32: dict[str, int]


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every value of MODEL's graph, by ONNX's strict inference.

    Raises SpgvtonError when types do not fit together or cannot be known.
    """
    try:
        graph = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True).graph
    except Exception as e:  # onnx raises several kinds
        raise SpgvtonError(f"the graph's types do not fit together: {' '.join(str(e).split())[:300]}") from e
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.output, *graph.value_info)}
    types |= {t.name: t.data_type for t in graph.initializer}
    unknown = [o for n in graph.node for o in n.output if o and not types.get(o)]
    if unknown:
        raise SpgvtonError(f"the type of {unknown[0]} is not known: export the bundle again")
    return types


def _data_inputs(node: onnx.NodeProto) -> list[str]:
    """Inputs that have the type of what NODE computes; Resize's region and scales are always float32."""
    return [i for i in (node.input[:1] if node.op_type == "Resize" else node.input) if i]


def _layer_names(model: onnx.ModelProto, weights: dict[str, onnx.TensorProto], half: set[str]) -> dict[str, str]:
    """Float16 values -> names that say where in the network they are, e.g. `g3.res4.conv_a.0` or `g3.conv11/Tanh`."""
    bases: dict[str, str] = {}
    names: dict[str, str] = {}
    for node in model.graph.node:
        own = next((stored_name(i).rpartition(".")[0] for i in node.input if i in weights), "")
        base = own or next((bases[i] for i in node.input if i in bases), "")
        for output in node.output:
            if base:
                bases[output] = base
            if output in half:
                names[output] = own or f"{base}/{node.op_type}"
    return names


class _Writer:
    """Writes nodes with a Cast wherever a value is not of the type that its user wants; each Cast once."""

    def __init__(self, constants: dict[str, onnx.TensorProto]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._float32_constants = constants
        self._made: dict[tuple[str, int], str] = {}

    def known(self, value: str, wanted: int, name: str) -> None:
        """VALUE exists as type WANTED under NAME."""
        self._made[value, wanted] = name

    def cast(self, source: str, name: str, to: int) -> None:
        self.nodes.append(helper.make_node("Cast", [source], [name], f"{name}.cast", to=to))

    def value(self, value: str, wanted: int) -> str:
        """The name of VALUE as type WANTED."""
        if (value, wanted) in self._made:
            return self._made[value, wanted]
        name = f"{value}.{'fp16' if wanted == FLOAT16 else 'fp32'}"
        if value in self._float32_constants:
            if wanted == FLOAT:
                return value
            data = to_float16(numpy_helper.to_array(self._float32_constants[value]), f"constant {value}")
            self.constants.append(numpy_helper.from_array(data, name))
        else:
            other = self._made.get((value, FLOAT if wanted == FLOAT16 else FLOAT16))
            if other is None:
                raise SpgvtonError(f"the graph uses {value} before it is computed: export the bundle again")
            self.cast(other, name, wanted)
        self._made[value, wanted] = name
        return name


def to_float16(array: np.ndarray, what: str) -> np.ndarray:
    """ARRAY (float32) as float16. Raises SpgvtonError naming WHAT where a finite value is beyond float16's range."""
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    if (np.isinf(half) & np.isfinite(array)).any():
        largest = np.abs(array[np.isfinite(array)]).max()
        raise SpgvtonError(f"{what} holds {largest:.6g}, float16 ends at {LARGEST:.0f}: keep this bundle in fp32")
    return half


def convert(model: onnx.ModelProto, keep: Collection[str] = (), keep_layers: Collection[str] = ()) -> Float16Graph:
    """MODEL, a float32 graph of a bundle without its external data (changed: folded), computing in float16.

    keep: first outputs of nodes that compute in float32 all the same, and so does what only passes their values on;
    keep_layers: the same by layers' names. See precision_search. Raises SpgvtonError for a graph with control flow, with
    float16 arithmetic, whose types are not consistent, or where nothing is left to compute in float16.
    """
    if any(a.HasField("g") or a.graphs for n in model.graph.node for a in n.attribute):
        raise SpgvtonError("the graph has control flow: only graphs of spgvton export can be converted")
    weights = detach_weights(model)
    fold(model)  # bundles before this version are not folded
    types = element_types(model)
    if FLOAT16 in types.values():
        raise SpgvtonError("the graph computes in float16 already: give the bundle that it was made of")
    if keep_layers:
        named = _layer_names(model, weights, {o for n in model.graph.node for o in n.output})
        keep = {*keep, *(value for value, layer in named.items() if layer in keep_layers)}
    constants = {t.name: t for t in model.graph.initializer if t.data_type == FLOAT}
    chosen = _choose(model.graph.node, types, {*constants, *weights}, keep)
    half_weights = _half_weights(model.graph.node, weights, chosen)
    writer = _Writer(constants)
    for name, tensor in half_weights.items():
        if tensor.data_type in (FLOAT, FLOAT16):
            writer.known(name, tensor.data_type, name)
    for i in model.graph.input:
        if i.name not in weights and types[i.name] == FLOAT:
            writer.known(i.name, FLOAT, i.name)
    float32 = _write(model.graph, types, chosen, writer)
    return Float16Graph(
        _assembled(model, writer, half_weights), half_weights, model, _layer_names(model, weights, chosen.values),
        dict(sorted(float32.items())),
    )  # fmt: skip


class _Chosen(NamedTuple):
    """nodes: those that compute in float16, by first output. values: those that are float16."""

    nodes: set[str]
    values: set[str]


def _choose(
    nodes: Iterable[onnx.NodeProto], types: Mapping[str, int], free: Collection[str], keep: Collection[str]
) -> _Chosen:
    """See the module. free: values that are to be had in either type. Raises SpgvtonError where nothing is chosen."""
    chosen = _Chosen(set(), set())
    for node in nodes:
        if node.output[0] in keep:
            continue
        inputs = [i for i in _data_inputs(node) if types[i] == FLOAT and i not in free]
        follows = node.op_type in _FOLLOW and inputs and all(i in chosen.values for i in inputs)
        if node.domain == "" and (node.op_type in LAYERS or follows):
            chosen.nodes.add(node.output[0])
            chosen.values.update(o for o in node.output if o and types[o] == FLOAT)
        elif node.domain == "" and node.op_type in _FLOAT32_INSIDE:
            chosen.values.update(node.output)
    if not chosen.nodes:
        raise SpgvtonError("the graph has no convolution: there is nothing to compute in float16")
    return chosen


def _half_weights(
    nodes: Iterable[onnx.NodeProto], weights: Mapping[str, onnx.TensorProto], chosen: _Chosen
) -> dict[str, onnx.TensorProto]:
    """WEIGHTS, those that float16 nodes read as FLOAT16."""
    used = {i for n in nodes if n.output[0] in chosen.nodes for i in n.input if i in weights}
    made = {}
    for name, tensor in weights.items():
        made[name] = onnx.TensorProto()
        made[name].CopyFrom(tensor)
        if tensor.data_type == FLOAT and name in used:
            made[name].data_type = FLOAT16
    return made


def _write(graph: onnx.GraphProto, types: Mapping[str, int], chosen: _Chosen, writer: _Writer) -> dict[str, int]:
    """GRAPH's nodes into WRITER, with their casts. Returns operator -> number of nodes that still compute in float32."""
    outputs = {o.name for o in graph.output}
    float32: dict[str, int] = {}
    for source in graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(source)
        half = source.output[0] in chosen.nodes
        data = set(_data_inputs(source))
        touches = False
        for j, name in enumerate(source.input):
            if name and types[name] == FLOAT:
                node.input[j] = writer.value(name, FLOAT16 if half and name in data else FLOAT)
                touches = True
        writer.nodes.append(node)
        for j, name in enumerate(source.output):
            if not name or types[name] != FLOAT:
                continue
            touches = True
            made = FLOAT16 if half else FLOAT
            final = FLOAT if name in outputs or name not in chosen.values else FLOAT16
            if made == final:
                writer.known(name, made, name)
                continue
            node.output[j] = f"{name}.{'fp16' if half else 'fp32'}"
            writer.known(name, made, node.output[j])
            writer.cast(node.output[j], name, final)
            writer.known(name, final, name)
        if touches and not half:
            float32[source.op_type] = float32.get(source.op_type, 0) + 1
    return float32


def _assembled(model: onnx.ModelProto, writer: _Writer, weights: Mapping[str, onnx.TensorProto]) -> onnx.ModelProto:
    """MODEL with the nodes and constants of WRITER, its inputs of the types of WEIGHTS. Raises SpgvtonError where types do not fit."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    del graph.node[:], graph.value_info[:]
    graph.node.extend(writer.nodes)
    read = {i for n in writer.nodes for i in n.input}
    initialisers = [t for t in (*model.graph.initializer, *writer.constants) if t.name in read]
    del graph.initializer[:]
    graph.initializer.extend(initialisers)
    for i in graph.input:
        if i.name in weights:
            i.type.tensor_type.elem_type = weights[i.name].data_type
    element_types(result)  # strongly typed, or an error
    return result


def emulate(converted: Float16Graph) -> tuple[onnx.ModelProto, dict[str, onnx.TensorProto]]:
    """The converted graph in float32 arithmetic, every float16 value rounded by a Cast to float16 and back.

    ONNX Runtime has no float16 convolution on x86: it computes in float32 and leaves out the roundings in between, which
    hides error and overflow. This graph has them all, also those that a GPU fuses away.
    Returns the graph and the types of its weights.
    """
    types = element_types(converted.model)
    model = onnx.ModelProto()
    model.CopyFrom(converted.model)
    graph = model.graph
    nodes = list(graph.node)
    del graph.node[:], graph.value_info[:]
    for node in nodes:
        to = next((a for a in node.attribute if node.op_type == "Cast" and a.name == "to"), None)
        if to is not None and types[node.input[0]] == FLOAT16 and to.i == FLOAT:
            graph.node.append(helper.make_node("Identity", node.input, node.output, node.name))
            continue
        for j, name in enumerate(node.output):
            if name and types[name] == FLOAT16:
                if to is None:
                    node.output[j] = f"{name}.raw"
                    narrow = helper.make_node("Cast", [f"{name}.raw"], [f"{name}.half"], to=FLOAT16)
                else:  # a Cast to float16 is the rounding itself
                    node.output[j], narrow = f"{name}.half", None
                graph.node.append(node)
                if narrow:
                    graph.node.append(narrow)
                graph.node.append(helper.make_node("Cast", [f"{name}.half"], [name], to=FLOAT))
                break
        else:
            graph.node.append(node)
    for i, tensor in enumerate(graph.initializer):
        if tensor.data_type == FLOAT16:
            wide = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
            graph.initializer[i].CopyFrom(wide)
    weights = {}
    for name, tensor in converted.weights.items():
        weights[name] = onnx.TensorProto()
        weights[name].CopyFrom(tensor)
        weights[name].data_type = FLOAT if tensor.data_type == FLOAT16 else tensor.data_type
    for i in graph.input:
        if i.name in weights:
            i.type.tensor_type.elem_type = weights[i.name].data_type
    return model, weights
