"""conv(concat(frame, person or garment)) = conv(frame) + conv(person or garment): the second addend stays for a session.

A convolution is linear in its input channels. With the graph split (split.py), the second one runs once per session.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from spgvton_export.rewrites.dependence import FRAME_INPUTS, depends_on
from spgvton_export.rewrites.nodes import constant, make, only_reader, replace


def separate_static_channels(graph: gs.Graph) -> int:
    """Split each convolution of a concatenation that mixes the two. Returns how many."""
    frame = depends_on(graph.toposort(), FRAME_INPUTS)
    count = 0
    for conv in [n for n in graph.nodes if n.op == "Conv" and n.attrs.get("group", 1) == 1]:
        x = conv.inputs[0]
        if not x.inputs or x.inputs[0].op != "Concat" or x.inputs[0].attrs["axis"] != 1 or not only_reader(x):
            continue
        parts = list(x.inputs[0].inputs)
        if all(p.name in frame for p in parts) or not any(p.name in frame for p in parts):
            continue
        shape = list(conv.outputs[0].shape)
        moving = _partial(graph, conv, [p.name in frame for p in parts], "frame", [])
        still = _partial(graph, conv, [p.name not in frame for p in parts], "session", conv.inputs[2:])
        replace(conv, make(graph, "Add", f"{conv.name}/whole", [moving, still], shape))
        count += 1
    return count


def _partial(graph: gs.Graph, conv: gs.Node, chosen: list[bool], what: str, bias: list[gs.Tensor]) -> gs.Variable:
    """CONV over the CHOSEN parts of its concatenation."""
    name, weight = f"{conv.name}/{what}", conv.inputs[1]
    parts, slices, begin = [], [], 0
    for part, wanted in zip(conv.inputs[0].inputs[0].inputs, chosen):
        end = begin + part.shape[1]
        if wanted:
            bounds = [constant(f"{name}/{k}{begin}", [v]) for k, v in (("from", begin), ("to", end), ("axis", 1))]
            shape = [weight.shape[0], end - begin, *weight.shape[2:]]
            slices.append(make(graph, "Slice", f"{name}/weight{begin}", [weight, *bounds], shape))
            parts.append(part)
        begin = end
    x, kernel = parts[0], slices[0]
    if len(parts) > 1:
        channels = sum(p.shape[1] for p in parts)
        n, _, h, w = x.shape
        x = make(graph, "Concat", f"{name}/input", parts, [n, channels, h, w], axis=1)
        shape = [weight.shape[0], channels, *weight.shape[2:]]
        kernel = make(graph, "Concat", f"{name}/weight", slices, shape, axis=1)
    return make(graph, "Conv", name, [x, kernel, *bias], list(conv.outputs[0].shape), **conv.attrs)
