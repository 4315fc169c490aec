"""A bundle's graph as TensorRT's parser takes it: the warp decided, the weights inside.

The bundle's own files stay as they are; constants were folded, and uint8 moved to the end, when it was exported. torch is not needed;
onnx comes with the extras
`tensorrt` and `tensorrt-rtx`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data
from onnx.inliner import inline_local_functions

from spgvton.engine.parts import cut
from spgvton.errors import SpgvtonError

OPERATOR: Final = ("spgvton", "TpsGridSample")


def prepare(path: Path, warp: str, part: str | None = None) -> tuple[onnx.ModelProto, int]:
    """Read the graph at PATH for TensorRT: (model, number of warp nodes that the plugin must serve).

    warp: "plugin" strips the operator's function body (TensorRT before 10.7 would prefer it), "function" inlines it.
    part: one of spgvton.engine.parts.PARTS, of which the graph is the whole.
    The model holds all weights. Raises SpgvtonError for a file that is no ONNX graph, or a body that is missing.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except OSError as e:
        raise SpgvtonError(f"cannot read {path}: {e.strerror or e}") from e
    except Exception as e:  # protobuf's DecodeError, without importing protobuf
        raise SpgvtonError(f"{path} is no ONNX graph ({str(e).splitlines()[0]}): export the bundle again") from e
    if part is not None:
        model = cut(model, part)
    nodes = [n for n in model.graph.node if (n.domain, n.op_type) == OPERATOR]
    if warp == "plugin":
        kept = [f for f in model.functions if (f.domain, f.name) != OPERATOR]
        del model.functions[:]
        model.functions.extend(kept)
    else:
        if nodes and not any((f.domain, f.name) == OPERATOR for f in model.functions):
            raise SpgvtonError(f"{path} holds no function body of {OPERATOR[1]}: use --warp plugin")
        model = inline_local_functions(model)
    load_weights(model, path.parent)
    return model, len(nodes) if warp == "plugin" else 0


def load_weights(model: onnx.ModelProto, folder: Path) -> None:
    """Put the weights that are stored outside MODEL, in FOLDER, into it, as the type that it computes in.

    Weights stored as float16 and used as float32 are followed by a Cast; TensorRT wants a convolution's weights to be
    constants, so the Cast goes. Raises SpgvtonError.
    """
    for tensor in model.graph.initializer:
        if uses_external_data(tensor):
            try:
                load_external_data_for_tensor(tensor, str(folder))
            except Exception as e:  # OSError, onnx's ValidationError, a short file's ValueError
                raise SpgvtonError(f"cannot read weight {tensor.name}: {str(e).splitlines()[0]}") from e
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]
    stored = {t.name: t for t in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        if node.op_type != "Cast" or node.input[0] not in stored:
            kept.append(node)
            continue
        to = helper.tensor_dtype_to_np_dtype(helper.get_node_attr_value(node, "to"))
        cast = numpy_helper.to_array(stored[node.input[0]]).astype(to)
        model.graph.initializer.append(numpy_helper.from_array(cast, node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    used = {name for node in kept for name in node.input}
    initializers = [t for t in model.graph.initializer if t.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(initializers)
