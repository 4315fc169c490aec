"""Which layers are found, and the form of what is inserted, on small graphs and on the shipped bundle."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from spgvton.bundle import Bundle
from spgvton.engine.graph import prepare
from spgvton.errors import SpgvtonError
from spgvton_calibration.integer import insert_integer, results
from spgvton_calibration.network import Network
from spgvton_calibration.qdq import LEVELS, insert, quantise_weight, usable_scale

FLOAT, FLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16
CHANNELS = 8


def block(folder: Path, kind: int = FLOAT) -> Network:
    """conv - bn - relu - [conv - bn - relu - conv - bn - add] - relu - upsample - conv - relu - conv, as the generators."""
    rng = np.random.default_rng(0)
    dtype = np.float16 if kind == FLOAT16 else np.float32
    tensors, nodes = [], []

    def constant(name: str, value: np.ndarray) -> str:
        tensors.append(numpy_helper.from_array(value, name))
        return name

    def conv(name: str, x: str, norm: bool) -> str:
        weight = constant(f"model.{name}.weight", rng.normal(0, 0.2, (CHANNELS, CHANNELS, 3, 3)).astype(dtype))
        bias = constant(f"model.{name}.bias", rng.normal(0, 0.1, CHANNELS).astype(dtype))
        nodes.append(helper.make_node("Conv", [x, weight, bias], [f"{name}.y"], pads=[1, 1, 1, 1]))
        if not norm:
            return f"{name}.y"
        parts = [constant(f"{name}.{p}", rng.uniform(0.5, 2, CHANNELS).astype(dtype)) for p in ("g", "b", "m", "v")]
        nodes.append(helper.make_node("BatchNormalization", [f"{name}.y", *parts], [f"{name}.n"], epsilon=1e-3))
        return f"{name}.n"

    def relu(x: str) -> str:
        nodes.append(helper.make_node("Relu", [x], [f"{x}.relu"]))
        return f"{x}.relu"

    first = relu(conv("net.first", "x", True))
    b = conv("net.b", relu(conv("net.a", first, True)), True)
    nodes.append(helper.make_node("Add", [first, b], ["sum"]))
    scales = constant("scales", np.array([1, 1, 2, 2], np.float32))
    nodes.append(
        helper.make_node(
            "Resize", [relu("sum"), "", scales], ["up"], mode="nearest", coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
    )  # fmt: skip
    nodes.append(helper.make_node("Identity", [conv("net.last", relu(conv("net.c", "up", False)), False)], ["y"]))
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", kind, ["N", CHANNELS, 16, 12])],
        [helper.make_tensor_value_info("y", kind, ["N", CHANNELS, 32, 24])], tensors,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(folder / "g.onnx"))
    return Network(folder / "g.onnx")


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0], np.float32)


def test_layers_are_found_by_structure(tmp_path: Path) -> None:
    layers = {layer.name: layer for layer in block(tmp_path).layers}
    assert list(layers) == ["net.first", "net.a", "net.b", "net.c", "net.last"]
    assert [x.name for x in layers.values() if x.ends] == ["net.first", "net.last"]
    assert layers["net.b"].residual == layers["net.a"].source == "net.first.n.relu"
    assert layers["net.b"].output == "net.b.n" and layers["net.b"].sum == "sum"
    assert layers["net.c"].source == "up"


def test_node_names_play_no_part(tmp_path: Path) -> None:
    before = block(tmp_path)
    model = onnx.load(str(tmp_path / "g.onnx"))
    for i, node in enumerate(model.graph.node):
        node.name = f"other{i}"
    onnx.save(model, str(tmp_path / "g.onnx"))
    assert Network(tmp_path / "g.onnx").layers == before.layers


@pytest.mark.parametrize("kind", [FLOAT, FLOAT16])
def test_form_and_values(tmp_path: Path, kind: int) -> None:
    """Symmetric, per channel, no Q/DQ between a convolution and what fuses with it; the result is close to float."""
    network = block(tmp_path, kind)
    chosen = [x for x in network.layers if not x.ends]
    weights = {x.name: quantise_weight(*network.weights(x), kind) for x in chosen}
    x = (
        np.random.default_rng(3)
        .normal(0, 1, (2, CHANNELS, 16, 12))
        .astype(np.float16 if kind == FLOAT16 else np.float32)
    )
    probe = onnx.ModelProto()
    probe.CopyFrom(network.model)
    tensors = list(dict.fromkeys(t for layer in chosen for t in layer.tensors))
    probe.graph.output.extend(onnx.ValueInfoProto(name=t) for t in tensors)
    session = ort.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    amax = {t: float(np.abs(v).max()) for t, v in zip(tensors, session.run(tensors, {"x": x}))}
    model = insert(network, chosen, amax, weights)
    onnx.checker.check_model(model, full_check=True)
    assert {o.domain: o.version for o in model.opset_import}[""] == 19

    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for i in node.input:
            users.setdefault(i, []).append(node)
    quantised = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    assert sorted(n.input[0] for n in quantised) == sorted(tensors), "each value once"
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert constants[node.input[2]].dtype == np.int8 and not constants[node.input[2]].any()
            assert constants[node.input[1]].dtype == x.dtype
            weight = node.input[0] in constants
            assert constants[node.input[1]].shape == ((CHANNELS,) if weight else ())
            if weight:
                assert np.abs(constants[node.input[0]].astype(int)).max() == LEVELS
    convs = {n.output[0]: n for n in model.graph.node if n.op_type == "Conv"}
    assert all(c.input[2] in constants and constants[c.input[2]].dtype == x.dtype for c in convs.values())
    assert set(convs) >= {"net.a.n", "net.b.n"}, "batch norm is folded"
    assert [n.op_type for n in users["net.a.n"]] == ["Relu"] and [n.op_type for n in users["net.b.n"]] == ["Add"]
    (add,) = users["net.b.n"]
    assert add.input[0] == "net.first.n.relu.dq", "the residual is read as int8"
    assert [n.op_type for n in users["up.dq"]] == ["Conv"]

    exact, found = run(network.model, x), run(model, x)
    assert np.abs(found - exact).max() > 0 and np.abs(found - exact).mean() < 0.05 * np.abs(exact).mean()


def integer_block(tmp_path: Path) -> tuple[Network, onnx.ModelProto, onnx.ModelProto, np.ndarray]:
    """block() with its three inner layers as Q/DQ and in integers, by the same ranges; one channel of one layer is dead."""
    network = block(tmp_path)
    dead = next(t for t in network.model.graph.initializer if t.name == "model.net.a.weight")
    values = numpy_helper.to_array(dead).copy()
    values[1] = 0
    dead.CopyFrom(numpy_helper.from_array(values, dead.name))
    onnx.save(network.model, str(tmp_path / "g.onnx"))
    network = Network(tmp_path / "g.onnx")
    chosen = [x for x in network.layers if not x.ends]
    weights = {x.name: quantise_weight(*network.weights(x), FLOAT) for x in chosen}
    made = results(network, chosen)
    x = np.random.default_rng(3).normal(0, 1, (1, CHANNELS, 16, 12)).astype(np.float32)
    tensors = list(dict.fromkeys([*(t for layer in chosen for t in layer.tensors), *made.values()]))
    probe = onnx.ModelProto()
    probe.CopyFrom(network.model)
    probe.graph.output.extend(onnx.ValueInfoProto(name=t) for t in tensors)
    session = ort.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    amax = {t: float(np.abs(v).max()) for t, v in zip(tensors, session.run(tensors, {"x": x}))}
    integer = onnx.ModelProto()
    integer.CopyFrom(network.model)
    fold_norms(integer, network)
    assert insert_integer(integer, chosen, made, amax, weights) == 3
    return network, insert(network, chosen, amax, weights), integer, x


def fold_norms(model: onnx.ModelProto, network: Network) -> None:
    """As the rewrite batch-norm leaves it: the convolution makes what the norm made. Its float weight is not read again."""
    made_by = {o: n for n in model.graph.node for o in n.output}
    for layer in network.layers:
        if layer.norm is None:
            continue
        weight, bias = network.weights(layer)
        conv, norm = made_by[layer.conv], made_by[layer.norm]
        for name, value in ((f"{layer.name}.w", weight), (f"{layer.name}.b", bias)):
            model.graph.initializer.append(numpy_helper.from_array(value, name))
        conv.input[1:] = [f"{layer.name}.w", f"{layer.name}.b"]
        conv.output[0] = layer.norm
        model.graph.node.remove(norm)


def test_integer_form(tmp_path: Path) -> None:
    """uint8 from the first quantised value to the last; ReLU is the zero point; sums and doublings stay in integers."""
    network, _, integer, _ = integer_block(tmp_path)
    constants = {t.name: numpy_helper.to_array(t) for t in integer.graph.initializer}
    made_by = {o: n for n in integer.graph.node for o in n.output}
    ops = Counter(n.op_type for n in integer.graph.node)
    assert ops["QLinearConv"] == 3 and ops["QLinearAdd"] == 1 and ops["Conv"] == 2, "first and last layer stay float"
    assert ops["QuantizeLinear"] == 1 and ops["DequantizeLinear"] == 1 and ops["Relu"] == 1
    for node in (n for n in integer.graph.node if n.op_type == "QLinearConv"):
        weight, zero, bias = constants[node.input[3]], constants[node.input[5]], constants[node.input[8]]
        assert weight.dtype == np.int8 and not zero.any() and bias.dtype == np.int32 and np.abs(bias).max() <= 2**30
    b, c = (
        next(n for n in made_by.values() if n.op_type == "QLinearConv" and n.input[3].startswith(f"net.{x}."))
        for x in "bc"
    )
    assert constants[b.input[2]] == 0 and constants[b.input[7]] == 128, "behind a ReLU, and before a sum"
    assert made_by[c.input[0]].op_type == "Resize" and made_by[made_by[c.input[0]].input[0]].op_type == "QLinearAdd"
    assert {o.domain for o in integer.opset_import} == {"", "com.microsoft"}
    assert not {x.name for x in network.layers if not x.ends} & {t.removesuffix(".w") for t in constants}


def test_integers_compute_what_the_graph_means(tmp_path: Path) -> None:
    """At least as near to float as Q/DQ: what is behind a ReLU has twice the levels."""
    network, qdq, integer, x = integer_block(tmp_path)
    exact = run(network.model, x)
    errors = [float(np.abs(run(m, x) - exact).mean()) for m in (integer, qdq)]
    assert 0 < errors[0] < 1.2 * errors[1] < 0.05 * np.abs(exact).mean()


def test_folded_weights_are_exact(tmp_path: Path) -> None:
    network = block(tmp_path)
    layer = network.layers[1]
    weight, bias = network.weights(layer)
    x = np.random.default_rng(0).normal(0, 1, (1, CHANNELS, 5, 5)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], pads=[1, 1, 1, 1])
    info = [helper.make_tensor_value_info(n, FLOAT, None) for n in ("x", "y")]
    tensors = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")]
    folded = helper.make_model(
        helper.make_graph([node], "g", info[:1], info[1:], tensors),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    ours = onnx.ModelProto()
    ours.CopyFrom(network.model)
    start = [n for n in ours.graph.node if n.op_type in ("Conv", "BatchNormalization")][2:4]
    del ours.graph.node[:], ours.graph.output[:], ours.graph.input[:]
    start[0].input[0] = "x"
    ours.graph.node.extend(start)
    ours.graph.input.append(info[0])
    ours.graph.output.append(helper.make_tensor_value_info(layer.output, FLOAT, None))
    np.testing.assert_allclose(run(folded, x), run(ours, x), atol=2e-5)


def test_biases_that_are_computed_from_the_weight(tmp_path: Path) -> None:
    """The exporter writes a missing bias as zeros of the weight's shape: it is read, and the float weight goes."""
    block(tmp_path)
    model = onnx.load(str(tmp_path / "g.onnx"))
    weight = "model.net.a.weight"
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "zero"))
    conv = next(n for n in model.graph.node if n.op_type == "Conv" and n.input[1] == weight)
    bias = [
        helper.make_node("Shape", [weight], ["count"], start=0, end=1),
        helper.make_node("CastLike", ["zero", conv.input[0]], ["zero.cast"]),
        helper.make_node("Expand", ["zero.cast", "count"], ["zeros"]),
    ]
    conv.input[2] = "zeros"
    at = list(model.graph.node).index(conv)
    nodes = [*model.graph.node[:at], *bias, *model.graph.node[at:]]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, str(tmp_path / "g.onnx"))
    network = Network(tmp_path / "g.onnx")
    layer = next(x for x in network.layers if x.name == "net.a")
    q = quantise_weight(*network.weights(layer), FLOAT)
    made = insert(network, [layer], {layer.source: 1.0}, {layer.name: q})
    onnx.checker.check_model(made, full_check=True)
    assert weight not in {t.name for t in made.graph.initializer}
    assert not {"Shape", "CastLike", "Expand"} & {n.op_type for n in made.graph.node}


def test_tensorrt_gets_int8_weights(tmp_path: Path) -> None:
    """What prepares a graph for TensorRT never makes a weight float again."""
    network = block(tmp_path)
    chosen = [x for x in network.layers if not x.ends]
    weights = {x.name: quantise_weight(*network.weights(x), FLOAT) for x in chosen}
    onnx.save(insert(network, chosen, {t: 1.0 for x in chosen for t in x.tensors}, weights), str(tmp_path / "q.onnx"))
    prepared = prepare(tmp_path / "q.onnx", "function")[0].graph
    int8 = {t.name for t in prepared.initializer if t.data_type == TensorProto.INT8}
    behind = [n.input[0] for n in prepared.node if n.op_type == "DequantizeLinear" and n.input[0] in int8]
    assert len(behind) == len(chosen)


def test_weights_are_rounded_to_half_a_step() -> None:
    weight = np.random.default_rng(0).normal(0, 1, (4, 3, 3, 3)).astype(np.float32)
    weight[2] = 0  # a dead channel
    q = quantise_weight(weight, np.zeros(4, np.float32), FLOAT)
    error = np.abs(q.values * q.scale[:, None, None, None] - weight)
    assert (error <= 0.5001 * q.scale[:, None, None, None]).all() and np.isfinite(q.scale).all() and (q.scale > 0).all()


def test_scales_fit_float16() -> None:
    """Small weights keep their levels: a scale may be subnormal, and is rounded before the weight is divided by it."""
    assert usable_scale(0, FLOAT16) > 0 and usable_scale(0, FLOAT) > 0
    weight = np.random.default_rng(0).normal(0, 1e-3, (3, 4, 3, 3)).astype(np.float32)
    q = quantise_weight(weight, np.zeros(3, np.float32), FLOAT16)
    assert (q.scale == q.scale.astype(np.float16)).all() and (q.scale < np.finfo(np.float16).tiny).all()
    assert np.abs(q.values * q.scale[:, None, None, None] - weight).max() < 0.52 * q.scale.max()


def test_the_shipped_joint_graph() -> None:
    """First and last layers of each network stay float, Gemm, softmax, correlation and the warp are no layers."""
    network = Network(Bundle.open("realtime").graph("tryon"))
    ends = {x.name for x in network.layers if x.ends}
    assert {n.partition(".")[0] for n in ends} == {"g1", "g2", "gmm1", "g3"}
    assert {n for n in ends if n.startswith("gmm1")} == {"gmm1.source_features.0", "gmm1.target_features.0"}
    assert {n for n in ends if n.startswith("g3")} == {"g3.conv1.0", "g3.conv11"}
    assert all(network.made_by[x.conv].op_type == "Conv" for x in network.layers)
    assert sum(x.residual is not None for x in network.layers) >= 12, "residual blocks of three generators"


def test_quantised_and_foreign_files(tmp_path: Path) -> None:
    network = block(tmp_path)
    layer = network.layers[1]
    model = insert(network, [layer], {layer.source: 1.0}, {layer.name: quantise_weight(*network.weights(layer), FLOAT)})
    onnx.save(model, str(tmp_path / "q.onnx"))
    with pytest.raises(SpgvtonError, match="quantised already"):
        Network(tmp_path / "q.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"\xff no graph")
    with pytest.raises(SpgvtonError, match="is not an ONNX graph"):
        Network(tmp_path / "bad.onnx")
