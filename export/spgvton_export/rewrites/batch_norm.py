"""conv -> batch norm: one convolution. ONNX Runtime does this itself, but only where nothing else was moved between."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from spgvton_export.rewrites.nodes import constant, make, only_reader, replace


def fold_batch_norm(graph: gs.Graph) -> int:
    """norm(W x + b) = (s W) x + (shift + s (b - mean)), s = scale / sqrt(variance + epsilon). Returns how many went.

    The arithmetic is on weights alone: nodes that ONNX Runtime computes while it loads the graph.
    """
    count = 0
    for norm in [n for n in graph.nodes if n.op == "BatchNormalization"]:
        x, scale, shift, mean, variance = norm.inputs
        if not x.inputs or x.inputs[0].op != "Conv" or not only_reader(x):
            continue
        conv = x.inputs[0]
        weight = conv.inputs[1]
        name, channels = conv.name, [weight.shape[0]]
        epsilon = constant(f"{name}/epsilon", np.array(norm.attrs.get("epsilon", 1e-5), np.float32))
        deviation = make(
            graph,
            "Sqrt",
            f"{name}/deviation",
            [make(graph, "Add", f"{name}/variance", [variance, epsilon], channels)],
            channels,
        )
        factor = make(graph, "Div", f"{name}/factor", [scale, deviation], channels)
        column = make(
            graph, "Reshape", f"{name}/column", [factor, constant(f"{name}/shape", [-1, 1, 1, 1])], [*channels, 1, 1, 1]
        )
        folded = make(graph, "Mul", f"{name}/weight", [weight, column], list(weight.shape))
        minus = make(graph, "Mul", f"{name}/minus", [mean, factor], channels)
        bias = make(graph, "Sub", f"{name}/bias", [shift, minus], channels)
        if len(conv.inputs) == 3:
            own = make(graph, "Mul", f"{name}/own", [conv.inputs[2], factor], channels)
            bias = make(graph, "Add", f"{name}/sum", [bias, own], channels)
        conv.inputs = [conv.inputs[0], folded, bias]
        replace(norm, x)
        count += 1
    return count
