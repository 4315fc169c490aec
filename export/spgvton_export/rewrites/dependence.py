"""What in a graph depends on the frame, what on what stays for a session, and what on neither."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import onnx_graphsurgeon as gs

# What every frame brings: keypoints to both joint graphs, the camera picture and its labels to the live one. All else that
# they take stays for a session.
FRAME_INPUTS: Final = ("keypoints", "picture", "labels")


def depends_on(graph: gs.Graph, inputs: Collection[str]) -> set[str]:
    """Names of the tensors that depend on the graph's INPUTS, these included. GRAPH must be topologically sorted."""
    found = set(inputs)
    for node in graph.nodes:
        if any(i.name in found for i in node.inputs):
            found.update(o.name for o in node.outputs)
    return found
