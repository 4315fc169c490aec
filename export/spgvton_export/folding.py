"""Constant folding, removal of dead nodes and half-size weights: done once, when a graph is exported, for every later reader."""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxscript import optimizer

LARGEST: Final = (
    1024  # elements of a folded value: pixel grids stay nodes, they would make the file several times larger
)
SMALL: Final = 256  # elements; a smaller weight stays float32 in store_half()


def fold(model: onnx.ModelProto) -> None:
    """Fold MODEL's constants in place (shapes, axes), and drop what no output needs.

    Constants become initialisers. Weights that are inputs of the graph (shared_weights.detach_weights) are never
    touched, so that they stay what is stored.
    """
    optimizer.fold_constants(model, onnx_shape_inference=True, output_size_limit=LARGEST)
    optimizer.remove_unused_nodes(model)
    nodes = []
    for node in model.graph.node:
        if node.op_type != "Constant":
            nodes.append(node)
            continue
        (attribute,) = node.attribute
        value = helper.get_attribute_value(attribute)
        if attribute.name != "value":  # value_float, value_ints and the like
            kind = np.float32 if "float" in attribute.name else np.int64
            value = numpy_helper.from_array(np.asarray(value, kind))
        value.name = node.output[0]
        model.graph.initializer.append(value)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def remove_metadata(model: onnx.ModelProto) -> None:
    """Remove, in place, what exporter and folder note of a graph's origin: tens of kilobytes, and paths of this machine."""
    graph = model.graph
    for owner in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del owner.metadata_props[:]
        owner.doc_string = ""


def store_half(model: onnx.ModelProto) -> None:
    """Store MODEL's weights, in place, as float16 with a Cast behind each, which loaders fold."""
    casts = []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or array.size < SMALL:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16), f"{name}.f16"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], f"{name}.cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
