"""What in a graph depends on the frame, what on person and garment alone, and what on neither."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import onnx_graphsurgeon as gs

FRAME_INPUTS: Final = ("keypoints",)  # all else that the joint graph takes stays for a session


def depends_on(graph: gs.Graph, inputs: Collection[str]) -> set[str]:
    """Names of the tensors that depend on the graph's INPUTS, these included. GRAPH must be topologically sorted."""
    found = set(inputs)
    for node in graph.nodes:
        if any(i.name in found for i in node.inputs):
            found.update(o.name for o in node.outputs)
    return found
