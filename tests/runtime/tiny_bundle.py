"""A model bundle that loads at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from spgvton.bundle import write_manifest


def make_bundle(folder: Path) -> Path:
    """A bundle of quick graphs. tryon.onnx shows the garment, brighter or darker by the first keypoint: it looks at both.

    live.onnx puts the garment's picture, as it is, wherever old clothes are.
    """
    inputs = [
        helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, ["N", 18, 3]),
        helper.make_tensor_value_info("body", TensorProto.FLOAT, ["N", 3, 256, 192]),
        helper.make_tensor_value_info("cloth", TensorProto.FLOAT, ["N", 3, 256, 192]),
    ]
    constants = {
        "scale": np.float32(100.0), "middle": np.float32(128.0), "small": np.float32(0.001),
        "half": np.float32(0.5), "low": np.float32(0.0), "high": np.float32(255.0),
    }  # fmt: skip
    nodes = [
        helper.make_node("Mul", ["body", "half"], ["faint"]),
        helper.make_node("Add", ["cloth", "faint"], ["both"]),
        helper.make_node("ReduceMean", ["keypoints"], ["pose"], keepdims=0),
        helper.make_node("Mul", ["pose", "small"], ["shift"]),
        helper.make_node("Add", ["both", "shift"], ["moved"]),
        helper.make_node("Mul", ["moved", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "middle"], ["grey"]),
        helper.make_node("Clip", ["grey", "low", "high"], ["clipped"]),
        helper.make_node("Transpose", ["clipped"], ["rows"], perm=[0, 2, 3, 1]),
        helper.make_node("Cast", ["rows"], ["image"], to=TensorProto.UINT8),
    ]
    outputs = [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 256, 192, 3])]
    initial = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tryon", inputs, outputs, initial)
    folder.mkdir()
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "tryon.onnx"
    )
    onnx.save(_live(), folder / "live.onnx")
    network = {"label_set": "cihp", "height": 256, "width": 192}
    write_manifest(folder, {"network": network}, ["tryon.onnx", "live.onnx"])
    return folder


def _live() -> onnx.ModelProto:
    def tensor(name: str, kind: int, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, ["N", *shape])

    uint8, floats = TensorProto.UINT8, TensorProto.FLOAT
    inputs = [
        tensor("picture", uint8, 256, 192, 3), tensor("labels", uint8, 256, 192), tensor("keypoints", floats, 18, 3),
        tensor("cloth", floats, 3, 256, 192), tensor("cloth_mask", floats, 1, 256, 192),
    ]  # fmt: skip
    outputs = [
        tensor("rendered", uint8, 256, 192, 3), tensor("composition", uint8, 256, 192),
        tensor("clothes_mask", uint8, 256, 192), tensor("semantic", uint8, 256, 192), tensor("theta", floats, 2, 25),
    ]  # fmt: skip
    axis = np.linspace(-1, 1, 5, dtype=np.float32)
    grid = np.stack([a.ravel() for a in np.meshgrid(axis, axis)])[None]  # takes every pixel from where it goes
    constants = {
        "grid": grid,
        "low": np.float32(4.5),
        "high": np.float32(7.5),
        "white": np.uint8(255),
    }  # 5, 6, 7: clothes
    nodes = [
        helper.make_node("Identity", ["picture"], ["rendered"]),
        helper.make_node("Identity", ["labels"], ["semantic"]),
        helper.make_node("Cast", ["labels"], ["ids"], to=floats),
        helper.make_node("Greater", ["ids", "low"], ["above"]),
        helper.make_node("Less", ["ids", "high"], ["below"]),
        helper.make_node("And", ["above", "below"], ["worn"]),
        helper.make_node("Cast", ["worn"], ["ones"], to=uint8),
        helper.make_node("Mul", ["ones", "white"], ["clothes_mask"]),
        helper.make_node("Identity", ["clothes_mask"], ["composition"]),
        helper.make_node("Identity", ["grid"], ["theta"]),
    ]
    initial = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "live", inputs, outputs, initial)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
