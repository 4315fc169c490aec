"""Checkpoint -> bundle on small networks: every graph equals PyTorch, weights are stored once, faults leave no bundle."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from spgvton.bundle import MANIFEST, WEIGHTS, Bundle
from spgvton.cli import main
from spgvton.errors import SpgvtonError
from spgvton_export import onnx_export, tps_op
from spgvton_export.cli import real_inputs
from spgvton_training.checkpoint import Checkpoint


def test_every_graph_is_there_and_measured(small_bundle: Bundle) -> None:
    report = small_bundle.manifest["error_against_pytorch"]
    assert set(report) == {"g1", "g2", "gmm1", "gmm2", "g3", "tryon"}
    assert all(np.isfinite(e["max"]) for outputs in report.values() for e in outputs.values())
    extensions = small_bundle.manifest["network"]["extensions"]
    assert (extensions == []) == (small_bundle.manifest["network"]["preset"] == "paper")


def test_graphs_are_valid_and_hold_one_warp_node(small_bundle: Bundle) -> None:
    for name in ("g1", "g2", "gmm1", "gmm2", "g3", "tryon"):
        path = small_bundle.graph(name)
        onnx.checker.check_model(str(path))
        model = onnx.load(str(path), load_external_data=False)
        warps = tps_op.find_nodes(model)
        assert len(warps) == (1 if name == "tryon" else 0)
        assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param, "the batch is dynamic"


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
    monkeypatch.setitem(onnx_export.TOLERANCE, "default", -1.0)
    with pytest.raises(SpgvtonError, match="differs from PyTorch"):
        onnx_export.export(c, tmp_path / "b", real_inputs(c.config))
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
    assert main(["export", "--checkpoint", str(file), "--out", str(tmp_path / "file" / "b")]) == 1
