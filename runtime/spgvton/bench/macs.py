"""Multiply-accumulates of a graph, counted from its operators and the sizes that they have on real inputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

from spgvton.backends.onnxruntime import session_options
from spgvton.engine.graph import prepare


def gmac(path: Path, inputs: Mapping[str, Any]) -> float:
    """10^9 multiply-accumulates of the graph at PATH on INPUTS: convolutions, transposed ones, Gemm and MatMul.

    What is computed from weights alone is not counted: it is folded when the graph is loaded. Raises SpgvtonError for a file
    that is no ONNX graph.
    """
    model, _ = prepare(path, "function")
    del model.graph.value_info[:]
    depends = {i.name for i in model.graph.input}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if any(name in depends for name in node.input):
            depends.update(node.output)
            if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
                nodes.append(node)
    if not nodes:
        return 0.0
    tensors = sorted({name for n in nodes for name in (n.input[0], n.input[1], n.output[0])})
    for i, name in enumerate(tensors):
        model.graph.node.append(helper.make_node("Shape", [name], [f"macs/{i}"]))
    shapes_of = [helper.make_tensor_value_info(f"macs/{i}", onnx.TensorProto.INT64, None) for i in range(len(tensors))]
    del model.graph.output[:]
    model.graph.output.extend(shapes_of)
    options = session_options(None)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = session.run(None, {i.name: inputs[i.name] for i in session.get_inputs()})
    shapes = {name: tuple(map(int, shape)) for name, shape in zip(tensors, found)}
    return sum(_macs(node, shapes) for node in nodes) / 1e9


def _macs(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    x, w, y = shapes[node.input[0]], shapes[node.input[1]], shapes[node.output[0]]
    if node.op_type == "Conv":
        return int(np.prod(y) * np.prod(w[1:]))
    if node.op_type == "ConvTranspose":
        return int(np.prod(x) * np.prod(w[1:]))
    if node.op_type == "Gemm":
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        return int(np.prod(y) * (x[0] if transposed else x[1]))
    return int(np.prod(y) * x[-1])
