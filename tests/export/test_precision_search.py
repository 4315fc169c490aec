"""The search for nodes that must stay float32: a known one is found, nothing is kept without need, trials may run out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from spgvton.bundle import Bundle
from spgvton.engine.build import Options, build
from spgvton.errors import SpgvtonError
from spgvton_export.fp16.bundle import convert_bundle, load_graph
from spgvton_export.fp16.graph import convert
from spgvton_export.precision_search import Trials, _shrink, main, samples_of, search, search_bundle, told

FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(0)
X = {"x": RNG.uniform(0, 1, (1, 4, 8, 8)).astype(np.float32)}


def network(loud: int | None) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Six convolutions, each with a ReLU behind it. That of number LOUD reaches 3e5 and is made small again."""
    nodes, tensors, value = [], {}, "x"
    for i in range(6):
        kernel = RNG.uniform(0, 1, (4, 4, 1, 1)).astype(np.float32) / 4
        tensors[f"net.{i}.weight"] = kernel * (6e5 if i == loud else 1)
        nodes.append(helper.make_node("Conv", [value, f"net.{i}.weight"], [f"conv{i}"]))
        nodes.append(helper.make_node("Mul", [f"conv{i}", "small" if i == loud else "one"], [f"scaled{i}"]))
        nodes.append(helper.make_node("Relu", [f"scaled{i}"], [f"relu{i}"]))
        value = f"relu{i}"
    nodes[-1].output[0] = "y"
    made = [helper.make_tensor_value_info(n, FLOAT, ["N", 4, 8, 8]) for n in ("x", "y")]
    constants = [
        onnx.numpy_helper.from_array(np.array(v, np.float32), n) for n, v in (("one", 1.0), ("small", 1 / 6e5))
    ]
    graph = helper.make_graph(nodes, "g", made[:1], made[1:], constants)
    for name, tensor in tensors.items():  # as a bundle's: the values are in another file
        outside = TensorProto(name=name, dims=tensor.shape, data_type=FLOAT, data_location=TensorProto.EXTERNAL)
        outside.external_data.add(key="location", value="weights.safetensors")
        graph.initializer.append(outside)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tensors


@pytest.mark.parametrize("loud", [0, 3, 5])
def test_the_node_that_overflows_is_found(loud: int) -> None:
    """Its scaled-up weights do not fit float16 either; what follows it passes the value on until it is small."""
    model, tensors = network(loud)
    trials = Trials(model, tensors, [X])
    found = search(trials, limit=2e-3)
    assert found.all_half == float("inf") and found.minimal
    assert found.keep == {f"conv{loud}": f"net.{loud}"} and found.error <= 2e-3
    assert found.without == {f"conv{loud}": float("inf")}
    assert len(trials.candidates) == 18 and found.trials < 18  # bisected, not tried one by one
    kept = convert(model, found.keep)
    weights = {n.removeprefix("net."): t.data_type for n, t in kept.weights.items()}
    assert weights == {f"{i}.weight": FLOAT if i == loud else TensorProto.FLOAT16 for i in range(6)}


def test_nothing_is_kept_without_need() -> None:
    found = search(Trials(*network(None), [X]), limit=2e-3)
    assert (found.keep, found.trials, found.minimal) == ({}, 1, True) and 0 < found.all_half == found.error < 2e-3
    assert told("tryon", found, 2e-3)[0].endswith("nothing must stay float32")


def test_an_error_that_no_half_keeps_needs_every_layer() -> None:
    """With a limit below any rounding all convolutions stay, and nothing else must be named."""
    trials = Trials(*network(None), [X])
    found = search(trials, limit=1e-12)
    assert set(found.keep) >= {f"conv{i}" for i in range(6)} and found.error == 0.0


def test_trials_that_run_out_leave_what_holds() -> None:
    found = search(Trials(*network(3), [X]), limit=2e-3, most=3)
    assert not found.minimal and "conv3" in found.keep and found.error <= 2e-3 and not found.without
    assert "the trials ran out" in told("tryon", found, 2e-3)[0]


@pytest.mark.parametrize("needed", [{7}, {0, 63}, {3, 4, 40}, set(range(5))])
def test_what_is_left_cannot_be_made_smaller(needed: set[int]) -> None:
    tried: list[frozenset[str]] = []

    def holds(keep: Iterable[str]) -> bool:
        tried.append(frozenset(keep))
        return {str(n) for n in needed} <= set(keep)

    *_, last = _shrink([str(n) for n in range(64)], holds)
    assert set(last) == {str(n) for n in needed} and len(set(tried)) < 64  # a trial is made once


def test_the_shipped_network_needs_nothing_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`realtime` holds in float16 as it is; a limit that it does not hold names layers of it."""
    assert main(["--bundle", "realtime", "--graph", "tryon", "--samples", "1", "--trials", "1"]) == 0
    assert "nothing must stay float32" in capsys.readouterr().out
    for wrong in (["--limit", "2"], ["--trials", "0"]):
        assert main(["--bundle", "realtime", *wrong]) == 2
    assert main(["--bundle", str(tmp_path)]) == 1
    with pytest.raises(SpgvtonError, match=r"has no graph nothing"):
        search_bundle(Bundle.open("realtime"), "nothing", 1e-3)


def test_a_mixed_graph_builds(mini_by_verb: tuple[Bundle, str], tmp_path: Path) -> None:
    """TensorRT-RTX's parser takes the casts: a strongly typed network with one layer of G3 in float32."""
    pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx-cu13: its builder needs no GPU")
    source, _ = mini_by_verb
    samples = samples_of(source, "tryon", 1)
    made, _ = convert_bundle(source, tmp_path / "b", samples, inputs="x", seconds=0, keep_layers=["g3.conv9"])
    assert made.manifest["float32_layers"] == ["g3.conv9"]
    whole = convert(load_graph(source.graph("tryon")))
    assert made.manifest["float32_nodes"]["tryon"].get("Conv", 0) == whole.float32.get("Conv", 0) + 1
    built = build(made, Options("fp16", "tensorrt-rtx", "tryon", warp="function", folder=tmp_path, sm=("86",)))
    assert built.engine.stat().st_size > 1e5
