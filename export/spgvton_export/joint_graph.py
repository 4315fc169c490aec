"""The joint graphs, assembled from their parts: the same nodes, wired, with the warp between.

`tryon` of g1, g2, gmm1 and g3; `live` of the live mode's g1, g3 and bytes (graphs.live_graphs) and the same g2 and gmm1.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from spgvton.backends.contract import LIVE
from spgvton.bundle import RESIDUAL
from spgvton_export import tps_op
from spgvton_export.shared_weights import stored_name

PARTS: Final = ("g1", "g2", "gmm1", RESIDUAL, "g3")  # in order of computation; gmm2 serves training
LIVE_PARTS: Final = (*PARTS, "bytes")
# Outputs that the next parts know by another name. G3's float image is not what the joint graph gives.
_KNOWN_AS: Final = {"aligned_body": "body", "image": "rendered"}


def live_outputs(*, residual: bool) -> tuple[str, ...]:
    """Names of the live graph's outputs. residual: of a network with `residual_flow`."""
    return tuple(name for name in LIVE.outputs if residual or name not in LIVE.some)


def assemble(
    parts: dict[str, onnx.ModelProto], size: tuple[int, int], *, grid_size: int, padding: str
) -> onnx.ModelProto:
    """One graph of PARTS: inputs as the parts have them, output `image` uint8 (N, H, W, 3). size: (H, W).

    See _wire() for the rest.
    """
    joint, values = _wire("tryon", {name: parts[name] for name in PARTS if name in parts}, grid_size, padding)
    joint.outputs = [_to_bytes(joint, values["rendered"], size)]
    return _finish(joint, parts)


def assemble_live(parts: dict[str, onnx.ModelProto], *, grid_size: int, padding: str) -> onnx.ModelProto:
    """One graph of LIVE_PARTS, outputs live_outputs(): see _wire(), and spgvton.backends.contract.LIVE for the tensors."""
    joint, values = _wire("live", {name: parts[name] for name in LIVE_PARTS if name in parts}, grid_size, padding)
    names = live_outputs(residual=RESIDUAL in parts)
    joint.outputs = [values.get(f"{name}_bytes", values.get(name)) for name in names]
    for name, output in zip(names, joint.outputs):
        output.name = name
    return _finish(joint, parts)


def _wire(
    title: str, parts: dict[str, onnx.ModelProto], grid_size: int, padding: str
) -> tuple[gs.Graph, dict[str, gs.Variable]]:
    """(graph without outputs, its tensors by the name under which parts know them).

    parts: graphs by name, in order of computation, weights detached (shared_weights.detach_weights); they are left as they
    are. A part's input is what an earlier part gives of that name, else the joint graph's input. Inner values are prefixed
    by their part's name. grid_size, padding: of the warp, which stands after gmm1: of the garment, and of its mask, too, for
    the residual flow.
    """
    values: dict[str, gs.Variable] = {}
    joint = gs.Graph(opset=parts["g1"].opset_import[0].version, name=title, inputs=[], outputs=[])
    for name, given in parts.items():
        copy = onnx.ModelProto()  # graphsurgeon renames the initialisers of what it was given
        copy.CopyFrom(given)
        part = gs.import_onnx(copy)
        weights = {i.name for i in part.inputs if stored_name(i.name).startswith(f"{name}.")}
        replaced = {}
        for i in part.inputs:
            if i.name not in values:
                values[i.name] = i
                joint.inputs.append(i)
            replaced[i.name] = values[i.name]
        for tensor in part.tensors().values():
            if tensor.name not in replaced and tensor.name not in weights:
                tensor.name = f"{name}/{tensor.name}"
        for node in part.nodes:
            node.name = f"{name}/{node.name}"
            node.inputs = [replaced.get(i.name, i) for i in node.inputs]
        joint.nodes.extend(part.nodes)
        for o in part.outputs:
            output = o.name.removeprefix(f"{name}/")
            values[_KNOWN_AS.get(output, output)] = o
        if name == "gmm1":
            both = RESIDUAL in parts
            image = _concatenated(joint, values["cloth"], values["cloth_mask"]) if both else values["cloth"]
            values["splined" if both else "warped"] = _warp(joint, image, values["theta"], grid_size, padding)
    return joint, values


def _finish(joint: gs.Graph, parts: dict[str, onnx.ModelProto]) -> onnx.ModelProto:
    joint.cleanup(remove_unused_graph_inputs=False).toposort()
    model = gs.export_onnx(joint, do_type_check=False)
    model.ir_version = max(part.ir_version for part in parts.values())
    tps_op.attach(model)
    return model


def _concatenated(joint: gs.Graph, cloth: gs.Variable, mask: gs.Variable) -> gs.Variable:
    """C and M^C as one picture of four channels."""
    n, c, *size = cloth.shape
    made = gs.Variable("cloth_and_mask", np.float32, [n, c + 1, *size])
    joint.nodes.append(gs.Node("Concat", "cloth_and_mask", {"axis": 1}, [cloth, mask], [made]))
    return made


def _warp(joint: gs.Graph, image: gs.Variable, theta: gs.Variable, grid_size: int, padding: str) -> gs.Variable:
    """The one node spgvton::TpsGridSample."""
    warped = gs.Variable("warped", np.float32, image.shape)
    attributes = tps_op.TpsAttributes(grid_size, True, padding).check().node_attributes()
    joint.nodes.append(gs.Node(tps_op.NAME, "warp", attributes, [image, theta], [warped], domain=tps_op.DOMAIN))
    return warped


def _to_bytes(joint: gs.Graph, rendered: gs.Variable, size: tuple[int, int]) -> gs.Variable:
    """[-1, 1] NCHW -> 0 ... 255 NHWC. The type uint8 comes last: TensorRT has it at inputs and outputs only."""
    value = rendered
    steps: list[tuple[str, dict[str, object], list[float]]] = [
        ("Add", {}, [1.0]), ("Mul", {}, [127.5]), ("Round", {}, []), ("Clip", {}, [0.0, 255.0]),
        ("Transpose", {"perm": [0, 2, 3, 1]}, []),
    ]  # fmt: skip
    for op, attributes, constants in steps:
        made = gs.Variable(f"bytes/{op}", np.float32)
        arguments = [gs.Constant(f"bytes/{op}.{i}", np.array(c, np.float32)) for i, c in enumerate(constants)]
        joint.nodes.append(gs.Node(op, f"bytes/{op}", attributes, [value, *arguments], [made]))
        value = made
    image = gs.Variable("image", np.uint8, ["N", *size, 3])
    joint.nodes.append(gs.Node("Cast", "bytes/Cast", {"to": onnx.TensorProto.UINT8}, [value], [image]))
    return image
