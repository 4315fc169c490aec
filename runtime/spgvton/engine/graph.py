"""A bundle's graph as TensorRT's parser takes it: the warp decided, uint8 at the border only, constants folded.

The bundle's own files stay as they are. Every rewrite is exact. torch is not needed; onnx comes with the extras
`tensorrt` and `tensorrt-rtx`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data
from onnx.inliner import inline_local_functions
from onnx.reference import ReferenceEvaluator

from spgvton.errors import SpgvtonError

OPERATOR: Final = ("spgvton", "TpsGridSample")
FOLD_LIMIT: Final = 1 << 20  # bytes; larger results (Expand, Tile) cost more in the engine than they save
NEVER_FOLDED: Final = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "If", "Loop", "Scan"}

Array = NDArray[Any]


def prepare(path: Path, warp: str) -> tuple[onnx.ModelProto, int]:
    """Read the graph at PATH for TensorRT: (model, number of warp nodes that the plugin must serve).

    warp: "plugin" strips the operator's function body (TensorRT before 10.7 would prefer it), "function" inlines it.
    The model holds all weights. Raises SpgvtonError for a file that is no ONNX graph, or a body that is missing.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except OSError as e:
        raise SpgvtonError(f"cannot read {path}: {e.strerror or e}") from e
    except Exception as e:  # protobuf's DecodeError, without importing protobuf
        raise SpgvtonError(f"{path} is no ONNX graph ({str(e).splitlines()[0]}): export the bundle again") from e
    nodes = [n for n in model.graph.node if (n.domain, n.op_type) == OPERATOR]
    if warp == "plugin":
        kept = [f for f in model.functions if (f.domain, f.name) != OPERATOR]
        del model.functions[:]
        model.functions.extend(kept)
    else:
        if nodes and not any((f.domain, f.name) == OPERATOR for f in model.functions):
            raise SpgvtonError(f"{path} holds no function body of {OPERATOR[1]}: use --warp plugin")
        model = inline_local_functions(model)
    del model.graph.value_info[:]  # types and shapes that the rewrites change
    uint8_at_the_border(model)
    fold_constants(model, path.parent)
    return model, len(nodes) if warp == "plugin" else 0


def uint8_at_the_border(model: onnx.ModelProto) -> None:
    """TensorRT knows uint8 for a network's inputs and outputs only: inside, int32 takes its place.

    Every Cast to uint8 becomes one to int32 (the values are the same: what is cast lies in 0 ... 255), and each uint8
    output gets a Cast of its own.
    """
    nodes = model.graph.node
    for node in nodes:
        for a in node.attribute:
            if node.op_type == "Cast" and a.name == "to" and a.i == TensorProto.UINT8:
                a.i = TensorProto.INT32
    for output in model.graph.output:
        if output.type.tensor_type.elem_type != TensorProto.UINT8:
            continue
        inner = f"{output.name}_int32"
        for node in nodes:
            for names in (node.input, node.output):
                names[:] = [inner if name == output.name else name for name in names]
        nodes.append(helper.make_node("Cast", [inner], [output.name], f"{output.name}_uint8", to=TensorProto.UINT8))


def fold_constants(model: onnx.ModelProto, folder: Path) -> int:
    """Evaluate, in place, what depends on constants alone. Returns the number of nodes that went.

    Exported graphs compute axes, shapes and float32 weights (from float16 storage) by nodes; TensorRT's older parsers
    want them as constants. Weights stored outside the model are read from FOLDER. Raises SpgvtonError.
    """
    constants: dict[str, Array] = {}
    for tensor in model.graph.initializer:
        if uses_external_data(tensor):
            try:
                load_external_data_for_tensor(tensor, str(folder))
            except Exception as e:  # OSError, onnx's ValidationError, a short file's ValueError
                raise SpgvtonError(f"cannot read weight {tensor.name}: {str(e).splitlines()[0]}") from e
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]
        constants[tensor.name] = numpy_helper.to_array(tensor)
    outputs = {o.name for o in model.graph.output}
    kept: list[onnx.NodeProto] = []
    folded: set[str] = set()
    for node in model.graph.node:
        results = None if outputs & set(node.output) else _evaluate(node, constants, model)
        if results is None:
            kept.append(node)
        else:
            constants.update(results)
            folded.update(results)
    used = {name for node in kept for name in node.input} | outputs
    initializers = [t for t in model.graph.initializer if t.name in used]
    initializers += [numpy_helper.from_array(constants[name], name) for name in sorted(folded & used)]
    gone = len(model.graph.node) - len(kept)
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(initializers)
    model.graph.node.extend(kept)
    return gone


def _evaluate(node: onnx.NodeProto, constants: dict[str, Array], model: onnx.ModelProto) -> dict[str, Array] | None:
    """The node's outputs, or None where it depends on an input, is large, or is not for folding."""
    if node.domain or node.op_type in NEVER_FOLDED or any(name and name not in constants for name in node.input):
        return None
    feeds = {name: constants[name] for name in node.input if name}
    if node.op_type == "Cast":  # the reference evaluator is slow on weights
        to = helper.tensor_dtype_to_np_dtype(node.attribute[0].i)
        return {node.output[0]: feeds[node.input[0]].astype(to)}
    if sum(a.nbytes for a in feeds.values()) > FOLD_LIMIT:
        return None
    graph = helper.make_graph(
        [node],
        "fold",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in feeds.items()],
        [onnx.ValueInfoProto(name=name) for name in node.output if name],
    )
    single = helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    names = [name for name in node.output if name]
    results = dict(zip(names, (np.asarray(a) for a in ReferenceEvaluator(single).run(None, feeds))))
    return results if sum(a.nbytes for a in results.values()) <= FOLD_LIMIT else None
