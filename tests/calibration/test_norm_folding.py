"""Batch norm between a ReLU and a convolution: folded, the INT8 graph computes the same, at the picture's edge as in its middle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_qdq import run

from spgvton_calibration.network import Network
from spgvton_calibration.norm_folding import EXTRA, fold_norms_behind_relu
from spgvton_calibration.placement import check
from spgvton_calibration.qdq import insert, quantise_weight

FLOAT, FLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16
CHANNELS = 8
# Name and stride of the chain's convolutions; all but the last have ReLU and batch norm behind them.
CHAIN = (("net.first", 1), ("net.a", 2), ("net.b", 2), ("net.c", 1), ("net.last", 1))


def chain(folder: Path, kind: int = FLOAT, *, read_twice: bool = False) -> Network:
    """[conv - relu - norm] x 4 - conv, as the GMM's features; gains of both signs. read_twice: net.b's norm is an output, too."""
    rng = np.random.default_rng(1)
    dtype = np.float16 if kind == FLOAT16 else np.float32
    tensors, nodes = [], []

    def constant(name: str, value: np.ndarray) -> str:
        tensors.append(numpy_helper.from_array(value.astype(dtype), name))
        return name

    value = "x"
    for name, stride in CHAIN:
        weight = constant(f"model.{name}.weight", rng.normal(0, 0.1, (CHANNELS, CHANNELS, 4, 4)))
        bias = constant(f"model.{name}.bias", rng.normal(0, 0.1, CHANNELS))
        nodes.append(helper.make_node("Conv", [value, weight, bias], [f"{name}.y"], pads=[1] * 4, strides=[stride] * 2))
        nodes.append(helper.make_node("Relu", [f"{name}.y"], [f"{name}.relu"]))
        gain = rng.uniform(0.5, 2, CHANNELS) * rng.choice([-1, 1], CHANNELS)
        parts = (gain, rng.normal(0, 1, CHANNELS), rng.uniform(0, 1, CHANNELS), rng.uniform(0.5, 2, CHANNELS))
        names = [constant(f"{name}.{i}", part) for i, part in enumerate(parts)]
        nodes.append(helper.make_node("BatchNormalization", [f"{name}.relu", *names], [f"{name}.n"]))
        value = f"{name}.n"
    nodes = [*nodes[:-2], helper.make_node("Identity", ["net.last.y"], ["y"])]
    outputs = [helper.make_tensor_value_info("y", kind, ["N", CHANNELS, "h", "w"])]
    if read_twice:
        outputs.append(helper.make_tensor_value_info("net.b.n", kind, ["N", CHANNELS, "h", "w"]))
    info = helper.make_tensor_value_info("x", kind, ["N", CHANNELS, 32, 24])
    graph = helper.make_graph(nodes, "g", [info], outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(folder / "g.onnx"))
    return Network(folder / "g.onnx")


def picture(kind: int) -> np.ndarray:
    x = np.random.default_rng(3).normal(0, 1, (2, CHANNELS, 32, 24))
    return x.astype(np.float16 if kind == FLOAT16 else np.float32)


def quantised(network: Network, kind: int) -> onnx.ModelProto:
    """The chain's inner convolutions in INT8, by the largest values of picture()."""
    chosen = [x for x in network.layers if not x.ends]
    probe = onnx.ModelProto()
    probe.CopyFrom(network.model)
    amax = {}
    for layer in chosen:
        del probe.graph.output[:]
        probe.graph.output.append(helper.make_tensor_value_info(layer.source, kind, None))
        amax[layer.source] = float(np.abs(run(probe, picture(kind))).max())
    weights = {x.name: quantise_weight(*network.weights(x), kind) for x in chosen}
    return insert(network, chosen, amax, weights)


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def unrounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """MODEL whose values are not rounded: its Q/DQ of values do nothing; its weights are as int8 holds them."""
    copy = copied(model)
    constants = {t.name for t in copy.graph.initializer}
    for node in copy.graph.node:
        if node.op_type == "QuantizeLinear" or (node.op_type == "DequantizeLinear" and node.input[0] not in constants):
            node.op_type = "Identity"
            del node.input[1:]
    return copy


def test_the_same_function(tmp_path: Path) -> None:
    """Unrounded, the folded graph differs by no more than half a unit of its sums a tap, at the edge, too."""
    network = chain(tmp_path)
    before = quantised(network, FLOAT)
    after = fold_norms_behind_relu(copied(before))
    onnx.checker.check_model(after, full_check=True)
    norms = [sum(n.op_type == "BatchNormalization" for n in m.graph.node) for m in (before, after)]
    assert norms == [4, 2]  # before net.a, whose input a float layer makes, and before net.last, which is float
    for x in (picture(FLOAT), np.zeros((1, CHANNELS, 32, 24), np.float32)):
        exact, found = run(unrounded(before), x), run(unrounded(after), x)
        scale = np.abs(exact).max()
        assert 0 < np.abs(found - exact).max() < 1e-3 * scale
        edge = np.abs(found - exact)[..., 0, :].max()
        assert edge < 1e-3 * scale


def test_folding_into_the_bias_alone_would_not_do(tmp_path: Path) -> None:
    """What the constants are for: with ones everywhere, behind the padding, too, the edge is wrong."""
    network = chain(tmp_path)
    after = unrounded(fold_norms_behind_relu(quantised(network, FLOAT)))
    exact = run(after, picture(FLOAT))
    tensors = {t.name: t for t in after.graph.initializer}
    for name in ("net.b", "net.c"):
        weight = numpy_helper.to_array(tensors[f"{name}.weight.int8"]).astype(np.float32)
        step = numpy_helper.to_array(tensors[f"{name}.weight.scale"])[:, None] * weight[
            :, CHANNELS : CHANNELS + len(EXTRA)
        ].sum((2, 3))
        source = next(n.input[0] for n in after.graph.node if n.op_type == "Conv" and n.output[0] == f"{name}.y")
        bias = tensors[f"{name}.bias.folded"]
        value = numpy_helper.to_array(tensors[source.replace(".dq", ".scale")]) * np.array(EXTRA, np.float32)
        bias.CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(bias) + (step @ value).astype(np.float32), bias.name)
        )
        weight[:, CHANNELS : CHANNELS + len(EXTRA)] = 0
        tensors[f"{name}.weight.int8"].CopyFrom(numpy_helper.from_array(weight.astype(np.int8), f"{name}.weight.int8"))
    wrong = np.abs(run(after, picture(FLOAT)) - exact)
    assert wrong.max() > 0.05 * np.abs(exact).max()


@pytest.mark.parametrize("kind", [FLOAT, FLOAT16])
def test_as_near_to_float_as_before(kind: int, tmp_path: Path) -> None:
    network = chain(tmp_path, kind)
    before = quantised(network, kind)
    after = fold_norms_behind_relu(copied(before))
    assert [p.epilogue for p in check(after)] == [("Relu", "Q"), ("Relu", "Q"), ("Relu", "BatchNormalization")]
    assert not [p.faults for p in check(after) if p.faults]
    exact = run(network.model, picture(kind))
    errors = [float(np.square(run(m, picture(kind)) - exact).mean()) ** 0.5 for m in (before, after)]
    assert 0 < errors[1] < 1.3 * errors[0] < 0.1 * np.abs(exact).mean()


def test_what_stays(tmp_path: Path) -> None:
    """A value that something else reads, and shifts that int8 weights cannot make."""
    read = fold_norms_behind_relu(quantised(chain(tmp_path, read_twice=True), FLOAT))
    assert [p.writes_int8 for p in check(read)] == [True, False, False]
    huge = quantised(chain(tmp_path), FLOAT)
    tensors = {t.name: t for t in huge.graph.initializer}
    for name, value in (
        ("net.a.1", np.full(CHANNELS, 1e3, np.float32)),
        ("net.b.weight.int8", np.full((CHANNELS, CHANNELS, 4, 4), 127, np.int8)),
    ):
        tensors[name].CopyFrom(numpy_helper.from_array(value, name))
    assert [p.writes_int8 for p in check(fold_norms_behind_relu(huge))] == [False, True, False]


def test_a_channel_without_gain_stays(tmp_path: Path) -> None:
    model = quantised(chain(tmp_path), FLOAT)
    gain = {t.name: t for t in model.graph.initializer}["net.a.0"]
    values = numpy_helper.to_array(gain).copy()
    values[2] = 0
    gain.CopyFrom(numpy_helper.from_array(values, gain.name))
    assert [p.writes_int8 for p in check(fold_norms_behind_relu(model))] == [False, True, False]
