"""Exact rewrites: each alone and all together equal the graph that they change, in float32, on real inputs and at edges."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from spgvton.bundle import WEIGHTS, Bundle
from spgvton.errors import SpgvtonError, UsageError
from spgvton_export import parity
from spgvton_export.fp16.bundle import load_graph
from spgvton_export.rewrites import REWRITES, check_names, split_and_rewrite, upsampling, winograd
from spgvton_export.rewrites.check import compare_split, run_all
from spgvton_export.rewrites.dependence import depends_on
from spgvton_export.samples import demo_samples
from spgvton_export.shared_weights import attach_weights, detach_weights

SAMPLES = demo_samples((128, 96), "cihp")
Float = NDArray[np.float32]


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' networks are narrow: their widest layers, 16 and 32 channels, take the paths of wide ones."""
    monkeypatch.setattr(winograd, "CHANNELS_FROM", 16)
    monkeypatch.setattr(upsampling, "FOUR_PHASES_FROM", 32)


def open_model(model: onnx.ModelProto | str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    source = model if isinstance(model, str) else model.SerializeToString()
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


# ----- the joint graph ------------------------------------------------------------------------------------------------


Joint = tuple[onnx.ModelProto, dict[str, onnx.TensorProto]]


def floating(bundle: Bundle) -> Joint:
    """The joint graph, its weights detached, with the image before it is rounded to bytes: 0 ... 255 in float32."""
    model = load_graph(bundle.graph("tryon"))
    weights = detach_weights(model)
    (scaled,) = [n.output[0] for n in model.graph.node if n.name == "bytes/Mul"]
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(scaled, TensorProto.FLOAT, ["N", 3, *bundle.size]))
    return model, weights


def images(
    parts: tuple[onnx.ModelProto, ...], weights: dict[str, onnx.TensorProto], bundle: Bundle, folder: Path
) -> list[Float]:
    """What the graphs PARTS give, one after the other, for three samples."""
    (folder / WEIGHTS).write_bytes((bundle.folder / WEIGHTS).read_bytes())
    sessions = []
    for i, model in enumerate(parts):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        attach_weights(copy, weights, folder / WEIGHTS)
        (folder / f"{i}.onnx").write_bytes(copy.SerializeToString())
        sessions.append(open_model(str(folder / f"{i}.onnx")))
    found = []
    for sample in demo_samples(bundle.size, "cihp")[::4]:
        values = dict(sample)
        for session in sessions:
            values |= (made := run_all(session, values))
        (image,) = made.values()
        found.append(image)
    return found


EXPECTED = {  # how often each rewrite applies
    "mini": {"batch-norm": 40, "static-channels": 2, "packed-images": 2, "upsampling": 7, "channel-padding": 2, "softmax": 1},
    "paper": {"static-channels": 2, "upsampling": 9, "channel-padding": 2, "softmax": 1},
    "realtime": {
        "batch-norm": 31, "static-channels": 2, "packed-images": 3, "upsampling": 6, "winograd": 6, "channel-padding": 3,
        "softmax": 1,
    },
    "live": {"batch-norm": 56, "static-channels": 2, "packed-images": 3, "upsampling": 6, "channel-padding": 2, "softmax": 1},
}  # fmt: skip

# instance norm; no dense 3x3 convolution that is wide
NOTHING_TO_DO = {"paper": {"batch-norm", "packed-images"}, "live": {"winograd"}}


def check_exact(bundle: Bundle, names: tuple[str, ...], folder: Path) -> tuple[onnx.ModelProto, onnx.ModelProto, Joint]:
    """Session and frame graph with the rewrites NAMES give what the joint graph gives, within float32's rounding."""
    model, weights = floating(bundle)
    before = model.SerializeToString()
    session, frame, changes = split_and_rewrite(model, weights, names)
    assert model.SerializeToString() == before, "the joint graph is left as it is"
    assert tuple(changes) == names
    wanted = images((model,), weights, bundle, folder)
    found = images((session, frame), weights, bundle, folder)
    for a, b in zip(found, wanted):
        np.testing.assert_allclose(a, b, rtol=0, atol=0.05 if "winograd" in names else 0.01)  # of 255
    assert np.std(wanted) > 1
    idle = {name for name, count in changes.items() if not count}
    assert idle <= NOTHING_TO_DO.get(bundle.manifest["network"]["preset"], set()), "each other one applies"
    return session, frame, (model, weights)


@pytest.mark.parametrize("names", [(), *((n,) for n in REWRITES)], ids=lambda n: "+".join(n) or "split")
def test_split_and_each_rewrite_are_exact(
    names: tuple[str, ...], mini_by_verb: tuple[Bundle, str], tmp_path: Path
) -> None:
    check_exact(mini_by_verb[0], names, tmp_path)


def test_all_rewrites_are_exact_and_the_frame_does_nothing_twice(small_bundle: Bundle, tmp_path: Path) -> None:
    check_all(small_bundle, tmp_path)


def test_rewrites_of_the_shipped_realtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # it is wide enough
    check_all(Bundle.open("realtime"), tmp_path)


def check_all(bundle: Bundle, tmp_path: Path) -> None:
    session, frame, (model, weights) = check_exact(bundle, tuple(REWRITES), tmp_path)
    preset = bundle.manifest["network"]["preset"]
    assert bundle.manifest["rewrites"]["tryon"]["changes"].items() >= EXPECTED[preset].items()
    person_and_garment = {i.name for i in model.graph.input} - set(weights) - {"keypoints"}
    made = {o.name for o in session.graph.output}
    assert {i.name for i in session.graph.input} - set(weights) <= person_and_garment
    assert {i.name for i in frame.graph.input} - set(weights) <= {*person_and_garment, *made, "keypoints"}
    graph = gs.import_onnx(frame).toposort()
    still = depends_on(graph, [*person_and_garment, *made]) - depends_on(graph, ["keypoints"])
    assert not any(n.outputs[0].name in still for n in graph.nodes), (
        "what stays for a session is not computed per frame"
    )
    static = {n.name.partition("/")[0] for n in session.graph.node if n.op_type == "Conv" and "/session" in n.name}
    assert static == {"g1", "g2"}, "of their first convolutions"
    if preset == "paper":  # no moment alignment: the garment branch never moves
        assert any("gmm1.source_features" in i.name for i in session.graph.input)
        assert not any("gmm1.source_features" in i.name for i in frame.graph.input)


def test_bundle_holds_the_pair_and_its_error(small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    assert small_bundle.pair("tryon") and small_bundle.pair("live")
    rewrites = small_bundle.manifest["rewrites"]["tryon"]
    assert list(rewrites["changes"]) == list(REWRITES) and 0 <= rewrites["error_against_tryon"]["image"]["max"] <= 1
    inputs = {name: np.concatenate([s[name] for s in SAMPLES[:2]]) for name in SAMPLES[0]}
    assert compare_split(small_bundle.folder, "tryon", inputs)["image"]["max"] <= 1
    monkeypatch.setitem(parity.TOLERANCE, "uint8", -1.0)
    with pytest.raises(SpgvtonError, match=r"frame\.onnx differs from tryon\.onnx by"):
        compare_split(small_bundle.folder, "tryon", inputs)


def test_unknown_rewrites_are_refused() -> None:
    assert check_names(["softmax", "batch-norm"]) == ("batch-norm", "softmax"), "in the order in which they work"
    with pytest.raises(UsageError, match="rewrite 'magic' is unknown"):
        check_names(["softmax", "magic"])


# ----- one layer ------------------------------------------------------------------------------------------------------


def layer(nodes: list[onnx.NodeProto], tensors: dict[str, NDArray[np.generic]], shape: list[int]) -> onnx.ModelProto:
    """A graph x of SHAPE -> y."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in tensors.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], initializers),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    return onnx.shape_inference.infer_shapes(model)


def rewritten(model: onnx.ModelProto, name: str) -> tuple[onnx.ModelProto, int]:
    graph = gs.import_onnx(model)
    changes = REWRITES[name](graph.toposort())
    graph.cleanup().toposort()
    after = gs.export_onnx(graph, do_type_check=False)
    after.ir_version = 10
    return after, changes


def both(model: onnx.ModelProto, name: str, x: Float) -> tuple[Float, Float, onnx.ModelProto]:
    """y before and after rewrite NAME, which must apply once, and the graph after."""
    after, changes = rewritten(model, name)
    assert changes == 1
    a, b = (open_model(m).run(["y"], {"x": x})[0] for m in (model, after))
    return np.asarray(a), np.asarray(b), after


DOUBLE = dict(mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
SCALES = np.array([1, 1, 2, 2], np.float32)


@settings(max_examples=25, deadline=None)
@given(
    channels=st.sampled_from([1, 5, 32, 40]), out=st.integers(1, 5), height=st.integers(1, 5), width=st.integers(1, 5),
    bias=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_upsampling_then_convolution(channels: int, out: int, height: int, width: int, bias: bool, seed: int) -> None:
    """Every size, both ways of building it, edges included."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, NDArray[np.generic]] = {
        "w": rng.standard_normal((out, channels, 3, 3)).astype(np.float32),
        "s": SCALES,
    }
    if bias:
        tensors["b"] = rng.standard_normal(out).astype(np.float32)
    nodes = [
        helper.make_node("Resize", ["x", "", "s"], ["u"], **DOUBLE),
        helper.make_node("Conv", ["u", "w", *(["b"] if bias else [])], ["y"], "conv", pads=[1] * 4),
    ]
    x = rng.standard_normal((2, channels, height, width)).astype(np.float32)
    before, after, model = both(layer(nodes, tensors, [2, channels, height, width]), "upsampling", x)
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-4)
    made = {n.op_type for n in model.graph.node}
    assert "Resize" not in made
    assert ("ConvTranspose" in made) == (channels < upsampling.FOUR_PHASES_FROM) == ("DepthToSpace" not in made)


@pytest.mark.parametrize("change", [{"mode": "linear"}, {"coordinate_transformation_mode": "half_pixel"}, {"s": 3.0}])
def test_other_upsampling_is_left_alone(change: dict[str, Any]) -> None:
    rule = {k: v for k, v in {**DOUBLE, **change}.items() if k != "s"}
    scales = SCALES if "s" not in change else np.array([1, 1, 3, 3], np.float32)
    nodes = [
        helper.make_node("Resize", ["x", "", "s"], ["u"], **rule),
        helper.make_node("Conv", ["u", "w"], ["y"], "conv", pads=[1] * 4),
    ]
    model = layer(nodes, {"w": np.ones((1, 1, 3, 3), np.float32), "s": scales}, [1, 1, 4, 4])
    assert rewritten(model, "upsampling")[1] == 0


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [(4, 4), (8, 12), (32, 24)])
def test_winograd(size: tuple[int, int], bias: bool) -> None:
    rng = np.random.default_rng(1)
    tensors: dict[str, NDArray[np.generic]] = {"w": rng.standard_normal((24, 16, 3, 3)).astype(np.float32)}
    if bias:
        tensors["b"] = 9 * rng.standard_normal(24).astype(np.float32)
    node = helper.make_node("Conv", ["x", *tensors], ["y"], "conv", pads=[1] * 4)
    x = rng.standard_normal((1, 16, *size)).astype(np.float32)
    before, after, _ = both(layer([node], tensors, [1, 16, *size]), "winograd", x)
    np.testing.assert_allclose(after, before, rtol=0, atol=5e-5 * np.abs(before).max())


@pytest.mark.parametrize(
    ("shape", "attributes"),
    [([1, 8, 8, 8], {"pads": [1] * 4}), ([1, 16, 6, 8], {"pads": [1] * 4}), ([1, 16, 8, 8], {"pads": [0] * 4}),
     ([1, 16, 8, 8], {"pads": [1] * 4, "strides": [2, 2]}), ([2, 16, 8, 8], {"pads": [1] * 4}),
     ([1, 32, 8, 8], {"pads": [1] * 4, "group": 2})],
)  # fmt: skip
def test_winograd_leaves_other_convolutions_alone(shape: list[int], attributes: dict[str, Any]) -> None:
    w = np.ones((16, shape[1] // attributes.get("group", 1), 3, 3), np.float32)
    model = layer([helper.make_node("Conv", ["x", "w"], ["y"], "conv", **attributes)], {"w": w}, shape)
    assert rewritten(model, "winograd")[1] == 0


def test_softmax_of_large_logits_stays_finite() -> None:
    x = np.random.default_rng(0).standard_normal((1, 20, 4, 3)).astype(np.float32) * 1000
    before, after, _ = both(
        layer([helper.make_node("Softmax", ["x"], ["y"], "s", axis=1)], {}, [1, 20, 4, 3]), "softmax", x
    )
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-6)
    last = layer([helper.make_node("Softmax", ["x"], ["y"], "s", axis=-1)], {}, [1, 20, 4, 3])
    assert rewritten(last, "softmax")[1] == 0


def test_channel_padding() -> None:
    rng = np.random.default_rng(2)
    tensors = {"w": rng.standard_normal((3, 18, 3, 3)).astype(np.float32)}
    nodes = [
        helper.make_node("Concat", ["x", "x"], ["c"], axis=1),
        helper.make_node("Conv", ["c", "w"], ["y"], "conv", pads=[1] * 4),
    ]
    x = rng.standard_normal((1, 9, 5, 4)).astype(np.float32)
    before, after, model = both(layer(nodes, dict(tensors), [1, 9, 5, 4]), "channel-padding", x)
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-4)
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    (conv,) = [n for n in model.graph.node if n.op_type == "Conv"]
    assert shapes[conv.input[0]][1] == shapes[conv.input[1]][1] == 20


def test_batch_norm_with_a_bias_before_it() -> None:
    rng = np.random.default_rng(3)
    tensors = {n: rng.uniform(0.5, 2, 4).astype(np.float32) for n in ("b", "scale", "shift", "mean", "variance")}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv"),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "variance"], ["y"], epsilon=0.1),
    ]
    w = rng.standard_normal((4, 2, 1, 1)).astype(np.float32)
    x = rng.standard_normal((1, 2, 3, 3)).astype(np.float32)
    before, after, _ = both(layer(nodes, {"w": w, **tensors}, [1, 2, 3, 3]), "batch-norm", x)
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-5)
