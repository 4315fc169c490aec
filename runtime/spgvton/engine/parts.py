"""Live mode's joint graph in two engines: what depends on the garment alone, and what every frame needs.

The bundle's own live_garment.onnx and live_frame.onnx are this pair rewritten for ONNX Runtime on a CPU, in float32 or integers only;
TensorRT takes the graph as it was exported, in each precision, and lays its convolutions out itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import onnx
from onnx import TensorProto

from spgvton.bundle import MODES, PAIRS
from spgvton.errors import SpgvtonError

GARMENT, FRAME = PAIRS[MODES["live"]]
PARTS: Final = {GARMENT: MODES["live"], FRAME: MODES["live"]}  # part -> the graph that it is cut out of
GARMENT_INPUTS: Final = ("cloth", "cloth_mask")
PASSED_ON: Final = (TensorProto.FLOAT, TensorProto.FLOAT16)  # sizes and indices are computed again where they are read


def cut(model: onnx.ModelProto, part: str) -> onnx.ModelProto:
    """PART, one of PARTS, of MODEL, a joint graph: a new model.

    The garment's outputs are, by name, inputs of the frame's. Raises SpgvtonError where nothing depends on the garment alone.
    """
    nodes = list(model.graph.node)
    inputs = [i.name for i in model.graph.input]
    moving = _dependent(nodes, set(inputs) - set(GARMENT_INPUTS))
    garment = _dependent(nodes, GARMENT_INPUTS) - moving
    known = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    types = {v.name: v for v in (*known.value_info, *known.input)}
    passed = {n for n in garment if n in types and types[n].type.tensor_type.elem_type in PASSED_ON}
    frame_nodes, border = _needed(nodes, [o.name for o in model.graph.output], passed)
    border = [n for n in border if n not in inputs]
    if not border:
        raise SpgvtonError("nothing in the live graph depends on the garment alone: export the bundle again")
    part_of = onnx.ModelProto()
    part_of.CopyFrom(model)
    if part == GARMENT:
        kept, _ = _needed(nodes, border, set(GARMENT_INPUTS))
        _replace(part_of.graph.output, [types[n] for n in border])
    else:
        kept = frame_nodes
        part_of.graph.input.extend(types[n] for n in border)
    _replace(part_of.graph.node, kept)
    read = {name for node in kept for name in node.input}
    _replace(part_of.graph.input, [i for i in part_of.graph.input if i.name in read])
    _replace(part_of.graph.initializer, [t for t in part_of.graph.initializer if t.name in read])
    del part_of.graph.value_info[:]
    return part_of


def _dependent(nodes: Iterable[onnx.NodeProto], start: Iterable[str]) -> set[str]:
    """START and every tensor that is computed from one of them. NODES in topological order, as ONNX demands."""
    found = set(start)
    for node in nodes:
        if any(name in found for name in node.input):
            found.update(node.output)
    return found


def _needed(nodes: list[onnx.NodeProto], outputs: list[str], given: set[str]) -> tuple[list[onnx.NodeProto], list[str]]:
    """The NODES that OUTPUTS need where GIVEN is there already, and which of GIVEN are read; both in NODES' order."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if any(o in wanted and o not in given for o in node.output):
            kept.append(node)
            wanted.update(node.input)
    kept.reverse()
    return kept, list(dict.fromkeys(name for node in kept for name in node.input if name in given))


def _replace(field: Any, values: list[Any]) -> None:
    """Make VALUES all that the repeated FIELD of a message holds."""
    del field[:]
    field.extend(values)
