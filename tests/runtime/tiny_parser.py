"""A human parser of eight nodes for tests: it reads labels off the colours of labels.colourise(), and grey is somebody else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from spgvton import labels as lb

STRANGER = (200, 200, 200)  # RGB
SHARP = 0.02


def make_parser(path: Path, *, size: tuple[int, int] = (256, 192), broken: bool = False) -> Path:
    """Write the graph to PATH: inputs and output as those of `spgvton export --parser`. broken: it gives NaN."""
    colours = np.vstack([lb.PALETTE, [STRANGER]]).astype(np.float32)
    bias = -SHARP * (colours**2).sum(1)
    if broken:
        bias[3] = np.nan
    constants = {
        "weight": 2 * SHARP * colours[:, :, None, None], "bias": bias, "levels": np.float32(255), "zero": np.float32(0),
        "one": np.float32(1), "ends": np.array([1, 1, 1, 1], np.int64), "split": np.array([1, 19, 1], np.int64),
        "axis": np.array([1], np.int64), "score": np.array([2], np.int64), "of": np.array(2, np.int64),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Cast", ["picture"], ["float"], to=TensorProto.FLOAT),
        node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        node("AveragePool", ["planes"], ["half"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["half", "weight", "bias"], ["logits"]),
        node("Softmax", ["logits"], ["all"], axis=1),
        node("Split", ["all", "split"], ["room", "labels", "other"], axis=1),
        # Without keypoints everybody is somebody else.
        node("Gather", ["keypoints", "of"], ["scores"], axis=2),
        node("ReduceMax", ["scores"], ["best"], keepdims=0),
        node("Greater", ["best", "zero"], ["customer"]),
        node("Cast", ["customer"], ["share"], to=TensorProto.FLOAT),
        node("Sub", ["one", "share"], ["rest"]),
        node("Mul", ["labels", "share"], ["mine"]),
        node("ReduceSum", ["labels", "axis"], ["people"], keepdims=1),
        node("Mul", ["people", "rest"], ["more"]),
        node("Add", ["other", "more"], ["others"]),
        node("Concat", ["room", "mine", "others"], ["joined"], axis=1),
        node("Mul", ["joined", "levels"], ["scaled"]),
        node("Round", ["scaled"], ["rounded"]),
        node("Cast", ["rounded"], ["probabilities"], to=TensorProto.UINT8),
    ]
    (h, w), make = size, helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "tiny_parser",
        [make("picture", TensorProto.UINT8, [1, h, w, 3]), make("keypoints", TensorProto.FLOAT, [1, 18, 3])],
        [make("probabilities", TensorProto.UINT8, [1, 21, h // 2, w // 2])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
    return path


def figure(size: tuple[int, int] = (256, 192)) -> tuple[np.ndarray, np.ndarray]:
    """Label map (H, W) of somebody upright in the middle, and their keypoints (18, 3)."""
    h, w = size
    s, x = h / 256, w / 2
    labels = np.zeros(size, np.uint8)

    def box(label: int, left: float, top: float, right: float, bottom: float) -> None:
        rows, columns = slice(round(top * s), round(bottom * s)), slice(round(x + left * s), round(x + right * s))
        labels[rows, columns] = label

    box(lb.HAIR, -16, 16, 16, 40)
    box(lb.FACE, -12, 28, 12, 60)
    box(lb.TORSO_SKIN, -8, 60, 8, 72)
    box(lb.UPPER_CLOTHES, -32, 72, 32, 148)
    box(lb.RIGHT_ARM, -48, 80, -32, 140)
    box(lb.LEFT_ARM, 32, 80, 48, 140)
    box(lb.PANTS, -28, 148, 28, 240)
    places = {
        0: (0, 44), 1: (0, 76), 2: (-28, 76), 3: (-40, 108), 4: (-40, 136), 5: (28, 76), 6: (40, 108), 7: (40, 136),
        8: (-16, 148), 9: (-16, 196), 10: (-16, 236), 11: (16, 148), 12: (16, 196), 13: (16, 236), 14: (-6, 40), 15: (6, 40),
    }  # fmt: skip
    keypoints = np.zeros((18, 3), np.float32)
    for i, (dx, y) in places.items():
        keypoints[i] = (x + dx * s, y * s, 0.9)
    return labels, keypoints
