"""Softmax over channels without the transpositions that ONNX Runtime puts around it."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from spgvton_export.rewrites.nodes import constant, make, replace


def spell_out_softmax(graph: gs.Graph) -> int:
    """softmax(x) = e / sum(e), e = exp(x - max x), where the axis is not the last. Returns how many were replaced.

    The maximum stays: without it a logit above 88 overflows float32, and it is a third of the gain only.
    """
    count = 0
    for node in [n for n in graph.nodes if n.op == "Softmax"]:
        x = node.inputs[0]
        axis = node.attrs.get("axis", -1) % len(x.shape)
        if axis == len(x.shape) - 1:
            continue
        name, axes = node.name, constant(f"{node.name}/axes", [axis])
        one = [1 if i == axis else n for i, n in enumerate(x.shape)]
        highest = make(graph, "ReduceMax", f"{name}/max", [x, axes], one)
        e = make(graph, "Exp", f"{name}/exp", [make(graph, "Sub", f"{name}/lowered", [x, highest], x.shape)], x.shape)
        total = make(graph, "ReduceSum", f"{name}/sum", [e, axes], one)
        replace(node, make(graph, "Div", f"{name}/share", [e, total], x.shape))
        count += 1
    return count
