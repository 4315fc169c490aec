"""One joint graph -> a session graph, run when person or garment change, and a frame graph, run for every pose."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from spgvton_export.rewrites.dependence import FRAME_INPUTS, depends_on


def split(graph: gs.Graph, weights: set[str]) -> tuple[gs.Graph, gs.Graph]:
    """(session, frame): what depends on FRAME_INPUTS is the frame graph's, the rest of what it reads the session's.

    weights: names of GRAPH's inputs that are weights; what is computed from them alone goes where it is read. The frame
    graph's inputs are FRAME_INPUTS, inputs of the joint graph, and outputs of the session graph, by name.
    """
    data = [i.name for i in graph.inputs if i.name not in weights]
    moving = depends_on(graph.toposort(), FRAME_INPUTS)
    varying = depends_on(graph, data)
    by_name = graph.tensors()
    read = [i.name for node in graph.nodes if any(o.name in moving for o in node.outputs) for i in node.inputs]
    border = list(dict.fromkeys(n for n in read if n in varying and n not in moving))
    made = [by_name[n] for n in border if n not in data]

    session, frame = graph.copy(), graph.copy()
    session.name, frame.name = "session", "frame"
    session.outputs = [session.tensors()[t.name] for t in made]
    tensors = frame.tensors()
    for t in made:
        tensors[t.name].inputs.clear()
    frame.inputs = [tensors[i.name] for i in graph.inputs if i.name in tensors] + [tensors[t.name] for t in made]
    for part in (session, frame):
        part.cleanup(remove_unused_graph_inputs=True).toposort()
    return session, frame
