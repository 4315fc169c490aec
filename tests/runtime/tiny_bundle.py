"""A model bundle that loads at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from spgvton.bundle import write_manifest


def make_bundle(folder: Path) -> Path:
    """A bundle whose joint graph shows the garment, brighter or darker by the first keypoint: quick, and looks at both."""
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
    network = {"label_set": "cihp", "height": 256, "width": 192}
    write_manifest(folder, {"network": network}, ["tryon.onnx"])
    return folder
