"""The live graph: exact inputs and outputs, no alignment inside, one set of weights, and the pair equal to it."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from spgvton.backends.onnxruntime import open_graph, session_options
from spgvton.backends.samples import live_samples
from spgvton.bundle import PAIRS, WEIGHTS, Bundle
from spgvton_export import parity
from spgvton_export.rewrites import REWRITES
from spgvton_export.rewrites.check import compare_split, feed, run_all
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.networks.live import LiveInputs, live_stages

H, W = 128, 96
SAMPLES = live_samples((H, W), "cihp")
FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8


def described(values: list[onnx.ValueInfoProto]) -> dict[str, tuple[int, list[int | str]]]:
    """Name -> element type and shape."""
    return {
        v.name: (v.type.tensor_type.elem_type, [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim])
        for v in values
    }


def check_tensors(bundle: Bundle) -> None:
    graph = onnx.load(str(bundle.graph("live")), load_external_data=False).graph
    assert described(list(graph.input)) == {
        "picture": (UINT8, ["N", H, W, 3]), "labels": (UINT8, ["N", H, W]), "keypoints": (FLOAT, ["N", 18, 3]),
        "cloth": (FLOAT, ["N", 3, H, W]), "cloth_mask": (FLOAT, ["N", 1, H, W]),
    }  # fmt: skip
    found = described(list(graph.output))
    mask = (UINT8, ["N", H, W])
    expected = {"rendered": (UINT8, ["N", H, W, 3]), "composition": mask, "clothes_mask": mask, "semantic": mask}
    bent = bundle.manifest["network"]["residual_flow"]
    assert list(found) == [*expected, "theta", *(["residual"] if bent else [])]
    assert not bent or found["residual"] == (FLOAT, ["N", 2, H // 4, W // 4])
    assert {name: found[name] for name in expected} == expected
    assert found["theta"][0] == FLOAT


def test_inputs_and_outputs(small_bundle: Bundle) -> None:
    check_tensors(small_bundle)
    assert small_bundle.modes == ("live", "pose") and small_bundle.manifest["modes"] == ["live", "pose"]


def test_nothing_is_aligned(small_bundle: Bundle) -> None:
    """Besides the warp only GMM1's moment alignment and the residual flow resample; the source's keypoints are not taken."""
    nodes = onnx.load(str(small_bundle.graph("live")), load_external_data=False).graph.node
    resampled = [n.name for n in nodes if n.op_type == "GridSample"]
    assert {name.split("/")[0] for name in resampled} <= {"gmm1", "residual"} and len(resampled) <= 2
    assert [n.op_type for n in nodes].count("TpsGridSample") == 1


def test_difference_from_pytorch_is_recorded(small_bundle: Bundle) -> None:
    errors = small_bundle.manifest["error_against_pytorch"]["live"]
    assert errors["semantic"]["share"] <= 2e-3
    assert all(errors[k]["max"] <= 2 for k in ("rendered", "composition", "clothes_mask"))


def test_the_pair_gives_the_same(small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = {name: np.concatenate([s[name] for s in SAMPLES[1:3]]) for name in SAMPLES[0]}
    errors = compare_split(small_bundle.folder, "live", inputs)
    assert errors["theta"]["max"] < 1e-3 and errors["rendered"]["max"] <= 1
    report = small_bundle.manifest["rewrites"]["live"]
    assert list(report["changes"]) == list(REWRITES) and set(report["error_against_live"]) == set(errors)
    garment, frame = (
        {i.name for i in open_graph(small_bundle.graph(n), session_options(1)).get_inputs()} for n in PAIRS["live"]
    )
    assert garment <= {"cloth", "cloth_mask"} and {"picture", "labels", "keypoints"} <= frame
    monkeypatch.setitem(parity.TOLERANCE, "labels", -1.0)
    with pytest.raises(Exception, match=r"live_frame\.onnx differs from live\.onnx by"):
        compare_split(small_bundle.folder, "live", inputs)


def test_a_wrong_label_is_a_difference() -> None:
    """Labels have no distance: 5 and 6 differ as much as 5 and 19."""
    a = np.full((1, 100, 10), 5, np.uint8)
    b = a.copy()
    b[0, 0, 0] = 6
    assert parity.differences({"semantic": b}, {"semantic": a}, "x") == {"semantic": {"share": 0.001}}
    b[0, 0] = 6
    with pytest.raises(Exception, match=r"x by 0\.01 in semantic"):
        parity.differences({"semantic": b}, {"semantic": a}, "x")


def test_network_of_live_mode_is_exported_by_the_same_command(live_preset: Bundle) -> None:
    """Its pose graph, too, fills the background without alignment, and takes no source keypoints."""
    check_tensors(live_preset)
    tryon = open_graph(live_preset.graph("tryon"), session_options(1))
    assert {i.name for i in tryon.get_inputs()} == {"reference_map", "head", "body", "cloth", "cloth_mask", "keypoints"}
    assert live_preset.manifest["network"]["forget_arms"] is True


def test_any_batch(live_preset: Bundle) -> None:
    """A batch gives what its samples give alone."""
    session = open_graph(live_preset.graph("live"), session_options(1))
    batch = {name: np.concatenate([s[name] for s in SAMPLES]) for name in SAMPLES[0]}
    together = run_all(session, batch)
    for i in (0, 3):
        alone = run_all(session, SAMPLES[i])
        np.testing.assert_allclose(together["theta"][i], alone["theta"][0], atol=1e-4)
        assert np.abs(together["rendered"][i].astype(int) - alone["rendered"][0]).max() <= 1


def test_no_picture_under_the_clothes_reaches_the_network(live_preset: Bundle) -> None:
    sample = SAMPLES[0]
    clothes = np.isin(sample["labels"], (5, 6, 7))
    assert clothes.any()
    hidden = sample["picture"].copy()
    hidden[clothes] = 255 - hidden[clothes]
    session = open_graph(live_preset.graph("live"), session_options(1))
    a, b = run_all(session, sample), run_all(session, {**sample, "picture": hidden})
    assert all((a[name] == b[name]).all() for name in a)
    assert set(feed(session, sample)) == set(LiveInputs._fields)


def test_reference_is_the_networks_own(live_preset: Bundle) -> None:
    """What the graphs were compared with computes with the bundle's weights."""
    model = Checkpoint.load(live_preset.folder / WEIGHTS).model().eval()
    with torch.no_grad():
        stages = live_stages(model, LiveInputs(*(torch.from_numpy(SAMPLES[2][n]) for n in LiveInputs._fields)))
    found = run_all(open_graph(live_preset.graph("live"), session_options(1)), SAMPLES[2])
    np.testing.assert_allclose(found["theta"], stages.theta.numpy(), atol=2e-3)
    assert np.abs(found["clothes_mask"] - 255 * stages.clothes_mask.numpy()[:, 0]).max() < 1.5
