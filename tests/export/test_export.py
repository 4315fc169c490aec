"""Checkpoint -> bundle on small networks: every graph equals PyTorch, weights are stored once, faults leave no bundle."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from spgvton.bundle import GRAPHS, MANIFEST, PAIRS, RESIDUAL, WEIGHTS, Bundle
from spgvton.cli import main
from spgvton.errors import SpgvtonError
from spgvton_export import onnx_export, parity, tps_op
from spgvton_export.cli import real_inputs, real_live_inputs
from spgvton_export.folding import fold
from spgvton_export.graphs import graphs
from spgvton_export.joint_graph import PARTS
from spgvton_export.shared_weights import detach_weights
from spgvton_training.checkpoint import Checkpoint


def test_every_graph_is_there_and_measured(small_bundle: Bundle) -> None:
    report = small_bundle.manifest["error_against_pytorch"]
    assert set(report) == set(small_bundle.graphs)
    more = {RESIDUAL} if small_bundle.manifest["network"]["residual_flow"] else set()
    assert set(report) == {*GRAPHS, *more}
    assert all(np.isfinite(v) for outputs in report.values() for e in outputs.values() for v in e.values())
    extensions = small_bundle.manifest["network"]["extensions"]
    assert (extensions == []) == (small_bundle.manifest["network"]["preset"] == "paper")


def test_graphs_are_valid_and_hold_one_warp_node(small_bundle: Bundle) -> None:
    for name in small_bundle.graphs:
        path = small_bundle.graph(name)
        onnx.checker.check_model(str(path))
        model = onnx.load(str(path), load_external_data=False)
        warps = tps_op.find_nodes(model)
        assert len(warps) == (1 if name in ("tryon", "live") else 0)
        assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param, "the batch is dynamic"


def test_joint_graph_is_assembled_from_the_parts(small_bundle: Bundle) -> None:
    """Every node of the parts stands in it under the part's name; besides them there are the warp and seven for bytes."""
    joint = onnx.load(str(small_bundle.graph("tryon")), load_external_data=False).graph
    assert [i.name for i in joint.input if i.name == "keypoints"] and [o.name for o in joint.output] == ["image"]
    left = [n for n in joint.node if not n.name.endswith(".cast")]
    for part in (part for part in PARTS if part in small_bundle.graphs):
        own = onnx.load(str(small_bundle.graph(part)), load_external_data=False).graph.node
        expected = sorted((f"{part}/{n.name}", n.op_type) for n in own if not n.name.endswith(".cast"))
        assert sorted((n.name, n.op_type) for n in left if n.name.startswith(f"{part}/")) == expected
        left = [n for n in left if not n.name.startswith(f"{part}/")]
    both = ["Concat"] if "residual" in small_bundle.graphs else []
    steps = [*both, "TpsGridSample", "Add", "Mul", "Round", "Clip", "Transpose", "Cast"]
    assert [n.op_type for n in left] == steps
    assert joint.node[-1].op_type == "Cast" and joint.node[-1].output[0] == "image", (
        "TensorRT has uint8 at the end only"
    )


def test_graphs_are_folded(small_bundle: Bundle) -> None:
    for name in small_bundle.graphs:
        model = onnx.load(str(small_bundle.graph(name)), load_external_data=False)
        assert not any(n.op_type == "Constant" for n in model.graph.node)
        weights = detach_weights(model)
        before = len(model.graph.node)
        fold(model)
        assert before - len(model.graph.node) <= 0.02 * before and weights, "folding again finds next to nothing"


def test_graphs_hold_no_metadata(small_bundle: Bundle) -> None:
    """It was a third of the small graphs, and named paths of the exporting machine."""
    for name in (*small_bundle.graphs, *PAIRS["tryon"], *PAIRS["live"]):
        data = small_bundle.graph(name).read_bytes()
        assert b"pkg.torch" not in data and b"pkg.onnxscript" not in data and b".py" not in data


def test_folding_keeps_the_function() -> None:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 1]) for n in ("x", "y"))
    nodes = [
        helper.make_node("Constant", [], ["one"], value_float=1.0), helper.make_node("Add", ["one", "one"], ["two"]),
        helper.make_node("Mul", ["x", "two"], ["y"]), helper.make_node("Relu", ["x"], ["nobody"]),
    ]  # fmt: skip
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 18)])
    fold(model)
    assert [n.op_type for n in model.graph.node] == ["Mul"]
    assert [numpy_helper.to_array(t).item() for t in model.graph.initializer if t.name == "two"] == [2.0]


def test_weights_are_stored_once(small_bundle: Bundle) -> None:
    """Every weight of every graph refers to the one file; what a graph holds itself is small."""
    total = (small_bundle.folder / WEIGHTS).stat().st_size
    for name in ("g2", "tryon"):
        model = onnx.load(str(small_bundle.graph(name)), load_external_data=False)
        inside = sum(len(t.raw_data) for t in model.graph.initializer)
        places = [{e.key: e.value for e in t.external_data} for t in model.graph.initializer if t.external_data]
        assert places and {p["location"] for p in places} == {WEIGHTS}
        assert inside < 0.05 * total
    assert (
        Checkpoint.load(small_bundle.folder / WEIGHTS).config.to_dict().items()
        <= small_bundle.manifest["network"].items()
    )


def test_difference_from_pytorch_is_refused(
    mini_by_verb: tuple[Bundle, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    c = Checkpoint.load(mini_by_verb[0].folder / WEIGHTS)
    monkeypatch.setitem(parity.TOLERANCE, "theta", -1.0)
    one = "gmm2"  # is enough, and quick
    monkeypatch.setattr(onnx_export, "graphs", lambda *given: {one: graphs(*given)[one]})
    with pytest.raises(SpgvtonError, match="differs from PyTorch"):
        onnx_export.export(c, tmp_path / "b", real_inputs(c.config), real_live_inputs(c.config))
    assert not (tmp_path / "b" / MANIFEST).exists()


def test_export_verb(mini_by_verb: tuple[Bundle, str], tmp_path: Path) -> None:
    printed = json.loads(mini_by_verb[1])
    assert printed["precision"] == "fp32"
    assert set(printed["graphs"]["tryon"]) == {"sha256", "bytes", "max_abs_error"}
    assert mini_by_verb[0].size == (128, 96)
    assert mini_by_verb[0].manifest["weights_storage"] == "fp16"
    assert main(["export", "--checkpoint", str(tmp_path / "none"), "--out", str(tmp_path / "b")]) == 1
    (tmp_path / "file").write_text("")
    file = mini_by_verb[0].folder.parent / "m.safetensors"
    assert main(["export", "--checkpoint", str(file), "--rewrites", "softmax,magic", "--out", str(tmp_path / "b")]) == 2
    assert not (tmp_path / "b").exists(), "found before anything is made"
    assert main(["export", "--checkpoint", str(file), "--out", str(tmp_path / "file" / "b")]) == 1
