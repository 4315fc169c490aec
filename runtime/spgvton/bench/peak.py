"""The fastest that this machine multiplies: one large convolution and one large matrix product, by the same back end.

In float32 or bfloat16 both are tried and the faster one counts; in INT8 the convolution, written as the bundle's are
(Q/DQ before it, int8 weights behind a DequantizeLinear).
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CHANNELS, SIDE = 256, 64  # 2.4 GMAC
GEMM = 1024  # 1.1 GMAC


def models(precision: str) -> dict[str, tuple[onnx.ModelProto, float]]:
    """Name -> (model with one input `x`, its GMAC). precision: of the bundle."""
    convolution = _model(*_convolution(int8=precision == "int8"), [1, CHANNELS, SIDE, SIDE])
    found = {"convolution": (convolution, CHANNELS**2 * 9 * SIDE**2 / 1e9)}
    if precision != "int8":
        weight = _random((GEMM, GEMM))
        product = _model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weight}, [1, GEMM, GEMM])
        found["matrix product"] = (product, GEMM**3 / 1e9)
    return found


def _random(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _convolution(*, int8: bool) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    weight = _random((CHANNELS, CHANNELS, 3, 3))
    if not int8:
        return [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)], {"w": weight}
    scale = np.abs(weight).max((1, 2, 3)) / 127
    values = {
        "q": np.rint(weight / scale[:, None, None, None]).astype(np.int8), "scale": scale.astype(np.float32),
        "zeros": np.zeros(CHANNELS, np.int8), "step": np.float32(4 / 127), "zero": np.int8(0),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "step", "zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zeros"], ["w"], axis=0),
        helper.make_node("Conv", ["xd", "w"], ["y"], pads=[1] * 4),
    ]
    return nodes, {name: np.asarray(value) for name, value in values.items()}


def _model(nodes: list[onnx.NodeProto], values: dict[str, np.ndarray], shape: list[int]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "peak", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
