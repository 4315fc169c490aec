"""FP32 -> FP16 bundles: what computes in which type, the measured error, overflow, damage. On small networks."""

import json
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from spgvton.backends.contract import LIVE
from spgvton.bundle import GRAPHS, MANIFEST, PAIRS, RESIDUAL, WEIGHTS, Bundle, write_manifest
from spgvton.cli import main
from spgvton.demo_assets import DemoAssets
from spgvton.engine.build import Options, build
from spgvton.engine.graph import prepare
from spgvton.engine.half import in_half
from spgvton.engine.parts import FRAME, GARMENT
from spgvton.errors import SpgvtonError, UsageError
from spgvton.session import TryOn
from spgvton_export.fp16 import check
from spgvton_export.fp16.bundle import convert_bundle, half_weights, load_graph
from spgvton_export.fp16.check import Chain, Error, Report, open_session, run_session, warp_graph
from spgvton_export.fp16.graph import convert, element_types, emulate, to_float16
from spgvton_export.samples import demo_samples
from spgvton_training.checkpoint import Checkpoint

SIZE = (128, 96)
SAMPLES = demo_samples(SIZE, "cihp")
MASKS = ("warped_mask", "cloth_mask")  # of gmm2
FLOAT, FLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16


@pytest.fixture
def source(small_bundle: Bundle) -> Bundle:
    return small_bundle


@pytest.fixture(scope="module")
def half(small_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Report]:
    folder = tmp_path_factory.mktemp("half") / "fp16"
    return convert_bundle(small_bundle, folder, SAMPLES[::4], inputs="shipped demo", seconds=0)


@pytest.fixture(scope="module")
def half_by_verb(
    mini_by_verb: tuple[Bundle, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bundle, dict[str, Any], str]:
    """`spgvton export --bundle --precision fp16` of a small `mini`, what --json printed, and what went to stderr."""
    out = tmp_path_factory.mktemp("verb") / "b"
    arguments = ["export", "--bundle", str(mini_by_verb[0].folder), "--precision", "fp16", "--out", str(out), "--json"]
    with redirect_stdout(StringIO()) as printed, redirect_stderr(StringIO()) as err:
        assert main(arguments) == 0
    return Bundle.open(out), json.loads(printed.getvalue()), err.getvalue()


def types_of(path: Path) -> tuple[onnx.ModelProto, dict[str, int]]:
    model = onnx.load(str(path), load_external_data=False)
    return model, element_types(model)


def test_inputs_and_outputs_are_the_same(source: Bundle, half: tuple[Bundle, Report]) -> None:
    for name in GRAPHS:
        a, b = (onnx.load(str(f.graph(name)), load_external_data=False).graph for f in (source, half[0]))
        for before, after in ((a.input, b.input), (a.output, b.output)):
            assert [(v.name, v.type.tensor_type.elem_type) for v in before] == [
                (v.name, v.type.tensor_type.elem_type) for v in after
            ]
        assert b.input[0].type.tensor_type.shape.dim[0].dim_param, "the batch is dynamic"
    onnx.checker.check_model(str(half[0].graph("tryon")))
    b = onnx.load(str(half[0].graph("tryon")), load_external_data=False).graph
    assert b.node[-1].op_type == "Cast" and b.node[-1].output[0] == "image", "TensorRT has uint8 at the end only"


def test_what_computes_in_which_type(half: tuple[Bundle, Report]) -> None:
    """Every convolution in float16 with float16 weights; coordinates, divisions, statistics and theta in float32."""
    for name in GRAPHS:
        model, types = types_of(half[0].graph(name))
        for node in model.graph.node:
            kinds = {types[i] for i in node.input if i and types[i] in (FLOAT, FLOAT16)}
            if node.op_type in ("Conv", "BatchNormalization"):
                assert kinds == {FLOAT16} and types[node.output[0]] == FLOAT16
            if node.op_type in (
                "Softmax", "Gemm", "MatMul", "GridSample", "TpsGridSample", "Div", "Sqrt", "Pow", "ReduceSum", "ReduceMean",
                "InstanceNormalization", "AveragePool", "Where", "Greater", "Less", "LessOrEqual", "Round",
            ):  # fmt: skip
                assert FLOAT16 not in kinds, f"{name}: {node.op_type} {node.output[0]}"
    model, types = types_of(half[0].graph("tryon"))
    (warp,) = [n for n in model.graph.node if n.domain == "spgvton"]
    assert [types[i] for i in warp.input] == [FLOAT, FLOAT] and types[warp.output[0]] == FLOAT
    assert [f.name for f in model.functions] == ["TpsGridSample"], "the warp is still one node with its body"


def test_float32_regions_hold_no_rounding(half: tuple[Bundle, Report]) -> None:
    """No value goes to float16 and back without a float16 operator between (what block-list converters do)."""
    for name in GRAPHS:
        model, types = types_of(half[0].graph(name))
        made_by = {o: n for n in model.graph.node for o in n.output}
        for node in model.graph.node:
            if node.op_type == "Cast" and types[node.input[0]] == FLOAT16 and types[node.output[0]] == FLOAT:
                maker = made_by.get(node.input[0])
                if maker is not None and maker.op_type == "Cast":
                    before = made_by[maker.input[0]]
                    assert before.op_type == "InstanceNormalization", f"{name}: {node.input[0]}"


def test_error_is_small_and_recorded(half: tuple[Bundle, Report]) -> None:
    bundle, report = half
    recorded = bundle.manifest["error_against_fp32"]
    assert set(recorded["outputs"]) == set(bundle.graphs) and recorded["samples"] == 3
    for outputs in recorded["outputs"].values():
        for output, error in outputs.items():
            assert 0 <= error["mean"] <= error["max"] and error["psnr"] > (30 if output == "semantic" else 50)
            limit = 6 if output == "rendered" else 3  # before it is composed with the garment
            assert error["max"] < limit or output == "semantic", "of labels the number does not matter"
    assert any(e["max"] > 0 for outputs in recorded["outputs"].values() for e in outputs.values()), "it is float16"
    worst = recorded["worst_layers"]
    assert len(worst) == check.WORST and worst[0]["relative_rms"] >= worst[-1]["relative_rms"] > 0
    parts = {"g1", "g2", "gmm1", "g3", RESIDUAL} & set(bundle.graphs)
    assert {name.partition(".")[0] for name in report.layers["tryon"]} == parts
    assert recorded["largest_activation"]["value"] < 65504
    assert bundle.manifest["onnxruntime_cpu"]["ratio"] > 0


def test_bundle_round_trip(source: Bundle, half: tuple[Bundle, Report], tmp_path: Path) -> None:
    """The runtime opens it as any other, training continues from its weights, and damage is found."""
    bundle = Bundle.open(half[0].folder)
    assert (bundle.precision, bundle.size, source.precision) == ("fp16", SIZE, "fp32")
    before, after = (Checkpoint.load(b.folder / WEIGHTS) for b in (source, bundle))
    assert before.config == after.config and before.provenance == after.provenance
    assert after.weights["g1.conv1.0.weight"].dtype == torch.float16
    if source.manifest["weights_storage"] == "fp32":
        assert after.weights["gmm1.linear.weight"].dtype == torch.float32, "theta's layer keeps its float32 weights"
        assert (bundle.folder / WEIGHTS).stat().st_size < 0.65 * (source.folder / WEIGHTS).stat().st_size
    else:
        assert (bundle.folder / WEIGHTS).read_bytes() == (source.folder / WEIGHTS).read_bytes()

    assets = DemoAssets.open()
    picture, labels = assets.person()
    images = []
    for b in (source, bundle):
        session = TryOn(b.folder, threads=1)
        session.set_person(picture, keypoints=assets.keypoints()[0], labels=labels)
        garment, mask = assets.garment(1)
        session.set_garment(garment, mask=mask)
        images.append(session(assets.keypoints()[9], (picture.shape[0], picture.shape[1])).astype(int))
    assert np.abs(images[0] - images[1]).max() <= 3 and images[0].std() > 1

    copy = Path(shutil.copytree(bundle.folder, tmp_path / "copy"))
    data = bytearray((copy / "tryon.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "tryon.onnx").write_bytes(data)
    with pytest.raises(SpgvtonError, match="hash differs"):
        Bundle.open(copy)


def test_joint_graph_is_the_chain(half: tuple[Bundle, Report]) -> None:
    """FP16 g1, g2, gmm1, warp, g3 one after the other give what FP16 tryon gives (both in ONNX Runtime)."""
    bundle = half[0]
    for sample in SAMPLES[:2]:
        made = Chain(bundle, warp_graph(load_graph(bundle.graph("tryon")))).run(sample)
        image = made["g3"][1]["image"]
        chain = np.clip(np.round((image + 1) * 127.5), 0, 255).transpose(0, 2, 3, 1)
        joint = run_session(open_session(bundle.graph("tryon")), dict(sample))["image"]
        assert np.abs(chain - joint).max() <= 1 and np.abs(chain - joint).mean() < 0.05


@pytest.mark.parametrize(("graph", "warp"), [(g, w) for g in PAIRS for w in ("function", "plugin")])
def test_both_precisions_build(
    rtx: object, source: Bundle, half: tuple[Bundle, Report], graph: str, warp: str, tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    """TensorRT-RTX's parser and builder take the joint graphs. At full size: tests/runtime/test_engine.py, docs/engines.md."""
    library = request.getfixturevalue("plugin") if warp == "plugin" else None
    for bundle in (source, half[0]):
        options = Options(bundle.precision, "tensorrt-rtx", graph, warp, library, sm=("89",), folder=tmp_path)
        built = build(bundle, options)
        assert built.facts["plugin_layers"] == (warp == "plugin"), "PLUGIN_V3 layers of the network"
        assert (b"TpsGridSample" in built.engine.read_bytes()) == (warp == "plugin")
        assert ("HALF" in built.facts["layers"]) == (bundle.precision == "fp16")


def test_a_bundles_float16_form_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `spgvton build --precision fp16` and `doctor --gpu` build of a float32 bundle."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = Bundle.open()
    made = in_half(source)
    assert made.precision == "fp16" and set(source.modes) == set(made.modes)
    monkeypatch.setattr(subprocess, "run", None)  # it is found
    assert in_half(source).folder == made.folder
    (made.folder / MANIFEST).write_text("{}")
    with pytest.raises(TypeError):  # it would be made anew
        in_half(source)


@pytest.mark.parametrize("sm", ["86", "89", "120"])
@pytest.mark.parametrize("graph", [FRAME, GARMENT, *PAIRS])
def test_plans_for_each_desktop_gpu(
    rtx: object, half: tuple[Bundle, Report], graph: str, sm: str, tmp_path: Path
) -> None:
    """Ampere, Ada and Blackwell: pose mode's engine, live mode's two, and the live graph as a whole."""
    built = build(half[0], Options("fp16", "tensorrt-rtx", graph, sm=(sm,), folder=tmp_path))
    assert f"sm{sm}" in built.engine.name and built.engine.stat().st_size > 1000
    assert built.facts["layers"].get("HALF", 0) > 100 or graph == GARMENT  # masks, moments and layouts are float32


@pytest.mark.parametrize("part", [FRAME, GARMENT])
def test_what_passes_between_the_engines_of_live_mode_is_what_sessions_hold(
    half: tuple[Bundle, Report], part: str
) -> None:
    """Floats, of shapes that are known but for the batch; the networks' own casts to float16 stay behind them."""
    graph = prepare(half[0].graph("live"), "function", part)[0].graph
    kept = [v for v in (graph.input if part == FRAME else graph.output) if v.name not in {*LIVE.static, *LIVE.frame}]
    assert kept and {v.type.tensor_type.elem_type for v in kept} <= {FLOAT, FLOAT16}
    assert all(d.dim_value > 0 for v in kept for d in v.type.tensor_type.shape.dim[1:])


@pytest.mark.parametrize("graph", [g for g in GRAPHS if g not in PAIRS])
def test_parts_build(
    rtx: object, mini_by_verb: tuple[Bundle, str], half_by_verb: tuple[Bundle, Any, str], graph: str, tmp_path: Path
) -> None:
    """Their nodes stand in the joint graphs; here they have inputs and outputs of their own."""
    for bundle in (mini_by_verb[0], half_by_verb[0]):
        options = Options(bundle.precision, "tensorrt-rtx", graph, "function", None, sm=("89",), folder=tmp_path)
        assert ("HALF" in build(bundle, options).facts["layers"]) == (bundle.precision == "fp16")


def test_residual_flow_is_looked_up_in_float32(live_preset: Bundle) -> None:
    """Its convolutions are float16, but no position is: at the picture's edge they would be 0.06 of a row apart."""
    graph = convert(load_graph(live_preset.graph(RESIDUAL))).model
    types, made_by = element_types(graph), {o: n for n in graph.graph.node for o in n.output}
    (sampled,) = [n for n in graph.graph.node if n.op_type == "GridSample"]
    value, passed = sampled.input[1], []
    while made_by[value].op_type != "Conv":
        assert types[value] == FLOAT or made_by[value].op_type == "Cast", value
        passed.append(made_by[value].op_type)
        value = made_by[value].input[0 if made_by[value].op_type != "Add" else 1]
    assert {"Resize", "Tanh", "Div"} <= set(passed) and passed[-1] == "Cast", passed


def test_emulation_rounds_every_layer(source: Bundle, tmp_path: Path) -> None:
    """What is compared with float32 holds nothing that float16 cannot hold, in every layer."""
    graph = convert(load_graph(source.graph("gmm1")))
    rounded, _ = emulate(graph)
    types = element_types(rounded)
    casts = [n for n in rounded.graph.node if n.op_type == "Cast" and types[n.output[0]] == FLOAT16]
    followed = {n.input[0]: n.output[0] for n in rounded.graph.node if n.op_type == "Cast"}
    narrowed = {followed[n.output[0]] for n in casts}
    assert set(graph.layers) <= narrowed
    computing = [n for n in rounded.graph.node if n.op_type not in ("Cast", "Identity")]
    assert not any(types[i] == FLOAT16 for n in computing for i in n.input if i), "the arithmetic is float32"


def small_graph(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """A graph x (N, 1, 8, 8) -> y."""
    made = [helper.make_tensor_value_info(n, FLOAT, ["N", 1, 8, 8]) for n in ("x", "y")]
    tensors = [numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()]
    graph = helper.make_graph(nodes, "g", made[:1], made[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [([helper.make_node("Mul", ["x", "x"], ["y"])], "no convolution"),
     ([helper.make_node("Cast", ["x"], ["h"], to=10), helper.make_node("Cast", ["h"], ["y"], to=1)], "float16 already"),
     ([helper.make_node("Unheard", ["x"], ["h"]), helper.make_node("Relu", ["h"], ["y"])], "types do not fit|type of"),
     ([helper.make_node("If", ["x"], ["y"], then_branch=helper.make_graph([], "t", [], []))], "control flow")],
)  # fmt: skip
def test_foreign_graphs_are_refused(nodes: list[onnx.NodeProto], message: str) -> None:
    with pytest.raises(SpgvtonError, match=message) as e:
        convert(small_graph(nodes, {}))
    assert "\n" not in str(e.value)


def edited(source: Bundle, out: Path, change: dict[str, float]) -> Bundle:
    """SOURCE with every weight NAME of CHANGE multiplied; the FP32 graphs stay valid."""
    folder = Path(shutil.copytree(source.folder, out))
    checkpoint = Checkpoint.load(folder / WEIGHTS)
    for name, factor in change.items():
        checkpoint.weights[name] = checkpoint.weights[name].float() * factor
    checkpoint.save(folder / WEIGHTS, half=source.manifest["weights_storage"] == "fp16")
    manifest = {k: v for k, v in source.manifest.items() if k not in ("format", "files")}
    return write_manifest(folder, manifest, list(source.manifest["files"]))


def test_overflow_names_the_layer(source: Bundle, half: tuple[Bundle, Report], tmp_path: Path) -> None:
    """conv9 is followed by no normalisation: its weights still fit float16, what it computes from them does not."""
    factor = 1.2 * 65504 / half[1].layers["tryon"]["g3.conv9"].peak
    high = edited(source, tmp_path / "high", {"g3.conv9.weight": factor, "g3.conv9.bias": factor})
    out = tmp_path / "out"
    with pytest.raises(SpgvtonError, match=r"layer g3\.conv9 reaches \d.*65504") as e:
        convert_bundle(high, out, SAMPLES[::4], inputs="x")
    assert "\n" not in str(e.value) and not (out / MANIFEST).exists()


def test_weight_beyond_range_is_named(source: Bundle, tmp_path: Path) -> None:
    if source.manifest["weights_storage"] == "fp16":
        with pytest.raises(SpgvtonError, match="constant c holds 70000"):
            to_float16(np.full(2, 7e4, np.float32), "constant c")
        return
    high = edited(source, tmp_path / "high", {"g2.conv1.0.weight": 1e8})
    with pytest.raises(SpgvtonError, match=r"weight g2\.conv1\.0\.weight holds .*65504"):
        convert_bundle(high, tmp_path / "out", SAMPLES[:1], inputs="x")


def test_error_above_tolerance_names_layers(source: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "TOLERANCE", 1e-9)
    with pytest.raises(SpgvtonError, match=r"differs from float32 by .*; worst layers: \w+\.\w+") as e:
        convert_bundle(source, tmp_path / "b", SAMPLES[:1], inputs="x")
    assert "\n" not in str(e.value) and not (tmp_path / "b" / MANIFEST).exists()


def test_report_finds_overflow_that_only_rounding_shows() -> None:
    error = Error()
    error.add(np.array([np.inf]), np.array([65000.0]))
    report = Report({}, {"tryon": {"g1.conv1.0": Error(), "g1.conv2.0": error}})
    with pytest.raises(SpgvtonError, match=r"g1\.conv2\.0 reaches 65000"):
        report.check()


def test_damaged_and_foreign_bundles(source: Bundle, half: tuple[Bundle, Report], tmp_path: Path) -> None:
    samples = SAMPLES[:1]
    with pytest.raises(SpgvtonError, match="is fp16 already"):
        convert_bundle(half[0], tmp_path / "b", samples, inputs="x")
    with pytest.raises(UsageError, match="is the bundle itself"):
        convert_bundle(source, source.folder, samples, inputs="x")
    (tmp_path / "g1.onnx").write_bytes(b"\xff not protobuf")
    with pytest.raises(SpgvtonError, match=r"g1\.onnx is not an ONNX graph"):
        load_graph(tmp_path / "g1.onnx")
    (tmp_path / WEIGHTS).write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(SpgvtonError, match="cannot read"):
        half_weights(tmp_path / WEIGHTS, set())
    with pytest.raises(SpgvtonError, match=r"lacks g9\.weight"):
        half_weights(source.folder / WEIGHTS, {"g9.weight"})
    with pytest.raises(SpgvtonError, match="a graph does not run"):
        run_session(open_session(source.graph("gmm2")), {n: np.zeros((1, 1, 32, 32), np.float32) for n in MASKS})
    manifest = json.loads((Path(shutil.copytree(source.folder, tmp_path / "c")) / MANIFEST).read_text())
    (tmp_path / "c" / MANIFEST).write_text(json.dumps({**manifest, "precision": "fp4"}))
    with pytest.raises(SpgvtonError, match="precision 'fp4'"):
        Bundle.open(tmp_path / "c")


def test_verb(
    mini_by_verb: tuple[Bundle, str], half_by_verb: tuple[Bundle, dict[str, Any], str], tmp_path: Path
) -> None:
    _, printed, err = half_by_verb
    assert printed["precision"] == "fp16" and set(printed["graphs"]) == set(GRAPHS)
    assert set(printed["graphs"]["tryon"]) == {"sha256", "bytes", "max_abs_error"}
    assert "worst layers" in err and "MB ->" in err
    arguments = ["export", "--bundle", str(mini_by_verb[0].folder), "--out", str(tmp_path / "b")]
    assert main(arguments) == 2
    assert main([*arguments, "--precision", "fp16", "--samples", "0"]) == 2
    assert main(["export", "--preset", "none", "--out", str(tmp_path / "b")]) == 2
    assert main([*arguments, "--precision", "fp16", "--data", str(tmp_path / "none")]) == 1


def test_conversion_needs_no_torch() -> None:
    code = "import sys, spgvton_export.cli, spgvton_export.fp16.bundle; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, env={"PYTHONPATH": ":".join(sys.path)}).returncode
        == 0
    )
