"""The one weights file of a bundle: graphs refer to it as ONNX external data. Needs no torch."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Final

import onnx
from onnx import TensorProto, helper

from spgvton.errors import SpgvtonError

_TYPES: Final = {"F32": TensorProto.FLOAT, "F16": TensorProto.FLOAT16, "I64": TensorProto.INT64}
_STORED: Final = ".f16"  # added to the name of a weight that a Cast turns into the float32 tensor of that name


def safetensors_index(path: Path) -> dict[str, tuple[str, list[int], int, int]]:
    """Tensors of a safetensors file: name -> (dtype, shape, offset in the file, bytes)."""
    with path.open("rb") as f:
        (length,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(length))
    index = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            index[name] = (entry["dtype"], entry["shape"], 8 + length + begin, end - begin)
    return index


def stored_name(tensor: str) -> str:
    """The name in the weights file of a graph's tensor: without the `model.` of the exporter's wrapper."""
    return tensor.removeprefix("model.")


def refer(tensor: onnx.TensorProto, weights: Path, offset: int, size: int) -> None:
    """Make TENSOR, in place, a reference to SIZE bytes from OFFSET on in WEIGHTS, a file beside the graph's."""
    for field in ("raw_data", "float_data", "int64_data", "int32_data"):
        tensor.ClearField(field)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", weights.name), ("offset", offset), ("length", size)):
        tensor.external_data.add(key=key, value=str(value))


def share_weights(model: onnx.ModelProto, weights: Path) -> onnx.ModelProto:
    """Replace each initialiser that stands in WEIGHTS by a reference into that file (ONNX external data).

    Weights that are stored as float16 and used as float32 are followed by a Cast; loaders fold it.
    """
    index = safetensors_index(weights)
    casts = []
    for tensor in model.graph.initializer:
        name = stored_name(tensor.name)
        if name not in index:
            continue
        dtype, shape, offset, size = index[name]
        if list(tensor.dims) != shape:
            raise SpgvtonError(f"weight {name} is {list(tensor.dims)} in the graph and {shape} in {weights}")
        if dtype == "F16" and tensor.data_type == TensorProto.FLOAT:
            stored = f"{name}{_STORED}"
            casts.append(helper.make_node("Cast", [stored], [tensor.name], f"{name}.cast", to=TensorProto.FLOAT))
            tensor.name = stored
        elif _TYPES[dtype] != tensor.data_type:
            raise SpgvtonError(f"weight {name} is {dtype} in {weights} and the graph wants another type")
        tensor.data_type = _TYPES[dtype]
        refer(tensor, weights, offset, size)
    nodes = casts + list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def detach_weights(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Undo share_weights() in place: what refers to the weights file becomes an input of the graph, and is returned.

    The tensors hold no data; floats have the type FLOAT, as the graph uses them, whatever their storage is. A graph whose
    weights are inputs can be folded without its constant folding ever touching a weight.
    """
    casts = {n.input[0]: n.output[0] for n in model.graph.node if n.op_type == "Cast" and n.input[0].endswith(_STORED)}
    kept, weights = [], {}
    for tensor in model.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            kept.append(tensor)
            continue
        name = casts.get(tensor.name, tensor.name)
        integer = tensor.data_type == TensorProto.INT64
        weights[name] = TensorProto(
            name=name, dims=tensor.dims, data_type=TensorProto.INT64 if integer else TensorProto.FLOAT
        )
    nodes = [n for n in model.graph.node if not (n.op_type == "Cast" and n.input[0] in casts)]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    for w in weights.values():
        model.graph.input.append(helper.make_tensor_value_info(w.name, w.data_type, list(w.dims)))
    return weights


def attach_weights(model: onnx.ModelProto, weights: dict[str, onnx.TensorProto], file: Path) -> onnx.ModelProto:
    """Undo detach_weights() in place: its inputs become references into FILE again, of the types that WEIGHTS have.

    WEIGHTS may hold more than MODEL uses.
    """
    names = {i.name for i in model.graph.input} & set(weights)
    inputs = [i for i in model.graph.input if i.name not in names]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.graph.initializer.extend(w for name, w in weights.items() if name in names)
    return share_weights(model, file)
