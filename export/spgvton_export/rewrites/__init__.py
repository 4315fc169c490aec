"""Exact rewrites of the joint graph for ONNX Runtime on a CPU: one small pass each, in the order of REWRITES.

Every pass takes an onnx-graphsurgeon graph with static shapes and its weights as inputs, changes it in place, and returns
how many places it changed. What a pass computes from weights it writes as nodes on them, which ONNX Runtime evaluates
while it loads the graph: so the one weights file stays the only one. Gains and errors: docs/graph-passes.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

import onnx
import onnx_graphsurgeon as gs

from spgvton.errors import UsageError
from spgvton_export.folding import fold
from spgvton_export.rewrites.batch_norm import fold_batch_norm
from spgvton_export.rewrites.channel_padding import pad_channels
from spgvton_export.rewrites.packed_images import read_images_unpacked
from spgvton_export.rewrites.softmax import spell_out_softmax
from spgvton_export.rewrites.split import split
from spgvton_export.rewrites.static_convolution import separate_static_channels
from spgvton_export.rewrites.upsampling import convolve_before_upsampling
from spgvton_export.rewrites.winograd import tile_convolutions

REWRITES: Final[dict[str, Callable[[gs.Graph], int]]] = {
    "batch-norm": fold_batch_norm,
    "static-channels": separate_static_channels,
    "packed-images": read_images_unpacked,
    "upsampling": convolve_before_upsampling,
    "winograd": tile_convolutions,
    "channel-padding": pad_channels,
    "softmax": spell_out_softmax,
}


def check_names(names: Collection[str]) -> tuple[str, ...]:
    """NAMES in the order of REWRITES. Raises UsageError for one that does not exist."""
    unknown = sorted(set(names) - set(REWRITES))
    if unknown:
        raise UsageError(f"rewrite '{unknown[0]}' is unknown: use {', '.join(REWRITES)}")
    return tuple(name for name in REWRITES if name in names)


def split_and_rewrite(
    joint: onnx.ModelProto, weights: Collection[str], names: Collection[str] = tuple(REWRITES)
) -> tuple[onnx.ModelProto, onnx.ModelProto, dict[str, int]]:
    """(session graph, frame graph, number of changes by rewrite) of a joint graph, for one person at a time.

    joint: as joint_graph gives it, WEIGHTS (names) being inputs; it is left as it is. names: rewrites to apply.
    Raises UsageError for an unknown one.
    """
    names = check_names(names)
    single = onnx.ModelProto()
    single.CopyFrom(joint)
    del single.graph.value_info[:]
    for value in (*single.graph.input, *single.graph.output):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.dim_value = 1
    fold(single)
    single = onnx.shape_inference.infer_shapes(single, data_prop=True)
    graph = gs.import_onnx(single)
    changes = {}
    for name in names:
        changes[name] = REWRITES[name](graph.toposort())
        graph.cleanup()
    parts = []
    for part in split(graph, set(weights)):
        model = gs.export_onnx(part, do_type_check=False)
        model.ir_version = joint.ir_version
        _copy_functions(joint, model)
        parts.append(model)
    return parts[0], parts[1], changes


def _copy_functions(source: onnx.ModelProto, model: onnx.ModelProto) -> None:
    """Give MODEL, in place, those functions of SOURCE that its nodes call, and their domains."""
    called = {(n.domain, n.op_type) for n in model.graph.node}
    del model.functions[:]
    model.functions.extend(f for f in source.functions if (f.domain, f.name) in called)
    known = {o.domain for o in model.opset_import}
    needed = {f.domain for f in model.functions} - known
    model.opset_import.extend(o for o in source.opset_import if o.domain in needed)
