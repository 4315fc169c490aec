"""Quantisation-aware training: the network computes as the INT8 graph that is then made of it, learns, and resumes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from spgvton.bundle import WEIGHTS, Bundle, write_manifest
from spgvton.cli import main
from spgvton.errors import SpgvtonError, UsageError
from spgvton.range_table import RangeTable, graph_hash
from spgvton_calibration.calibrate import Settings, calibrate, select
from spgvton_calibration.data import Source
from spgvton_calibration.execution import Runner, pictures
from spgvton_calibration.network import Network
from spgvton_calibration.qdq import insert, quantise_weight
from spgvton_calibration.ranges import TRAINED, table_of
from spgvton_export.graphs import TryOnReference
from spgvton_export.samples import demo_samples
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.config import RunConfig, run_preset
from spgvton_training.fabric import make_fabric
from spgvton_training.networks.joint import Inputs, build_model
from spgvton_training.qat import FakeQuantise, Row, fake_quantise, rows_of, weights_of
from spgvton_training.train import Trainer

Sample = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def realtime() -> Bundle:
    """The shipped network: it need not be exported first, which takes longer than all that is done with it here."""
    return Bundle.open("realtime")


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return list(demo_samples((256, 192), "cihp")[:2])


@pytest.fixture(scope="module")
def network(realtime: Bundle) -> Network:
    return Network(realtime.graph("tryon"))


@pytest.fixture(scope="module")
def table(realtime: Bundle, network: Network, samples: list[Sample]) -> RangeTable:
    """Ranges of the largest values on one sample."""
    layers, _ = select(network, ())
    tensors = list(dict.fromkeys(t for layer in layers for t in layer.tensors))
    made = Runner(network.model, tensors)(samples[0])
    return table_of(
        layers, {t: float(np.abs(made[t]).max()) for t in tensors}, graph_hash(realtime), "minmax", "demo", 1
    )


@pytest.fixture(scope="module")
def rows(table: RangeTable) -> list[Row]:
    return [Row(layers=r.layers, sums=r.sums, amax=r.amax) for r in table.ranges]


@pytest.fixture(scope="module")
def tiny_rows(rows: list[Row]) -> list[Row]:
    """For config()'s network, whose values are small."""
    return [Row(layers=r["layers"], sums=r["sums"], amax=2.0) for r in rows]


@pytest.fixture(scope="module")
def int8(network: Network, table: RangeTable) -> onnx.ModelProto:
    layers, _ = select(network, ())
    weights = {x.name: quantise_weight(*network.weights(x), network.element_type(x)) for x in layers}
    return insert(network, layers, table.amax, weights)


def config(iterations: int = 4) -> RunConfig:
    """The shipped recipe, its last stage alone, on a tiny network whose layers have the same names."""
    return run_preset("realtime").with_values(
        {
            "network": {"ngf": 4, "gmm_ngf": 4, "height": 128, "width": 96},
            "optimiser": {
                "iterations": [0, 0, iterations], "batch_sizes": [2, 2, 2], "learning_rates": [1e-3] * 3,
                "matching_iterations": 0, "matching_batch_size": 2, "warm_up": 0,
            },
            "data": {"augment": False, "tone": 0.0, "unpaired": False},
            "losses": {"erase_probability": 0.0},
        }
    )  # fmt: skip


def as_inputs(sample: Sample) -> Inputs:
    return Inputs(*(torch.from_numpy(sample[name]) for name in Inputs._fields))


def trainer(data: Path, out: Path, rows: list[Row], iterations: int = 4) -> Trainer:
    torch.manual_seed(3)
    init = Checkpoint(config().network, dict(build_model(config().network).state_dict()))
    return Trainer(
        config(iterations), str(data), out, workers=0, save_every=2, fabric=make_fabric("cpu"), init=init, qat=rows
    )


def error(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    return float(np.mean([np.abs(x.astype(int) - y).mean() for x, y in zip(a, b)]))


def test_computes_as_the_graph(
    realtime: Bundle, network: Network, int8: onnx.ModelProto, rows: list[Row], samples: list[Sample]
) -> None:
    """PyTorch with fake quantisation against the Q/DQ graph in ONNX Runtime: nearer by far than either to float.

    They are not equal: where a sum falls between two steps, its last bit decides.
    """
    model = Checkpoint.load(realtime.folder / WEIGHTS).model()
    with torch.no_grad():
        exact = [TryOnReference(model)(*as_inputs(s))[0].numpy() for s in samples]
        fake_quantise(model, rows)
        made = [TryOnReference(model.train())(*as_inputs(s))[0].numpy() for s in samples]  # norms stay as they are
    found = pictures(int8, samples, "int8")
    assert error(pictures(network.model, samples, "float"), exact) < 0.05
    assert error(made, exact) > 0.2 and error(made, found) < 0.5 * error(made, exact)


def test_straight_through() -> None:
    """Inside the range the gradient passes, outside it stops; the step learns from rounding errors and from clipping."""
    quantise = FakeQuantise(FakeQuantise.parameter(1.27))
    x = torch.tensor([0.004, 0.016, 2.0, -2.0], requires_grad=True)
    y = quantise(x)
    torch.testing.assert_close(y, torch.tensor([0.0, 0.02, 1.27, -1.28]))
    y.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [1, 1, 0, 0]
    by_step = (0 - 0.4) + (2 - 1.6) + 127 - 128  # Esser et al., Eq. 3
    assert quantise.log_amax.grad is not None
    step_by_parameter = 0.01 * 100
    assert float(quantise.log_amax.grad) == pytest.approx(by_step / np.sqrt(4 * 127) * step_by_parameter, rel=1e-3)


def test_learns_and_every_weight_takes_part(data: Path, tmp_path: Path, tiny_rows: list[Row]) -> None:
    run = trainer(data, tmp_path / "run", tiny_rows, 6)
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    first = run.checkpoint().weights
    assert first.keys() == build_model(config().network).state_dict().keys(), "no name is lost, none is new"
    checkpoint = run.fit()
    logged = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert logged[-1]["final"] < logged[0]["final"]
    moved = {k for k, v in run.model.state_dict().items() if not torch.equal(v, before[k])}
    names = {k for k, _ in run.model.named_parameters()}
    assert sorted(names - moved) == [], "a gradient reaches every weight and every range"
    assert not {k for k in moved if "running_" in k}, "statistics stay"
    now = checkpoint.provenance["qat"]
    assert [r["layers"] for r in now] == [r["layers"] for r in tiny_rows]
    assert sum(a["amax"] != b["amax"] for a, b in zip(now, tiny_rows)) > len(tiny_rows) // 2


def test_resumes_with_its_ranges(data: Path, tmp_path: Path, tiny_rows: list[Row]) -> None:
    class Stop(Exception):
        pass

    part = trainer(data, tmp_path / "parts", tiny_rows)
    save = part._save

    def save_then_stop(optimisers: Any, rate: float) -> None:
        save(optimisers, rate)
        raise Stop

    part._save = save_then_stop  # type: ignore[method-assign]
    with pytest.raises(Stop):
        part.fit()
    resumed, whole = (trainer(data, tmp_path / out, tiny_rows).fit() for out in ("parts", "whole"))
    assert all(torch.equal(v, whole.weights[k]) for k, v in resumed.weights.items())
    assert resumed.provenance["qat"] == whole.provenance["qat"]
    other = [Row(layers=r["layers"], sums=r["sums"], amax=2 * r["amax"]) for r in tiny_rows]
    with pytest.raises(SpgvtonError, match="another configuration"):
        trainer(data, tmp_path / "parts", other).fit()


def test_exports_to_the_same_form(
    realtime: Bundle, table: RangeTable, rows: list[Row], samples: list[Sample], tmp_path: Path
) -> None:
    """Trained ranges, which a bundle has of its checkpoint, through calibrate --ranges qat: its layers, its pictures."""
    changed = [Row(layers=r["layers"], sums=r["sums"], amax=1.25 * r["amax"]) for r in rows]
    model = Checkpoint.load(realtime.folder / WEIGHTS).model()
    with torch.no_grad():
        exact = [TryOnReference(model.eval())(*as_inputs(s))[0].numpy() for s in samples[:1]]
    weights = weights_of(model)
    fake_quantise(model, changed)
    assert all(torch.equal(v, weights[k]) for k, v in weights_of(model).items())
    folder = Path(shutil.copytree(realtime.folder, tmp_path / "trained"))
    manifest = {k: v for k, v in realtime.manifest.items() if k not in ("format", "files")}
    manifest["provenance"] = {"qat": rows_of(model, changed)}
    bundle = write_manifest(folder, manifest, list(realtime.manifest["files"]))
    settings = Settings(gate=False, sensitivity=0)
    outcome = calibrate(bundle, tmp_path / "b", settings, Source([], [], ""), ranges=TRAINED)
    assert outcome.table.method == TRAINED and outcome.bundle is not None
    for tensor, amax in table.amax.items():
        assert outcome.table.amax[tensor] == pytest.approx(1.25 * amax, rel=1e-4)
    with torch.no_grad():
        made = [TryOnReference(model.eval())(*as_inputs(s))[0].numpy() for s in samples[:1]]
    found = pictures(onnx.load(str(outcome.bundle.graph("tryon"))), samples[:1], "int8")
    assert error(made, found) < min(0.5 * error(exact, found), 1.0)
    with pytest.raises(SpgvtonError, match="holds no trained ranges"):
        calibrate(realtime, tmp_path / "c", settings, Source([], [], ""), ranges=TRAINED)
    assert not (tmp_path / "c").exists()


def test_refusals(
    realtime: Bundle, table: RangeTable, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, foreign = tmp_path / "ranges.json", tmp_path / "foreign.json"
    table.save(file)
    foreign.write_text(json.dumps(json.loads(file.read_text()) | {"graph": "0" * 64}))
    base = ["train", "--data", str(data), "--out", str(tmp_path / "out"), "--qat"]
    init = ["--init", str(realtime.folder / WEIGHTS)]
    for options, code, words in (
        ([str(file)], 2, "--qat needs --init BUNDLE/weights.safetensors"),
        ([str(file), "--init", str(tmp_path / "model.safetensors")], 2, "--qat needs --init BUNDLE"),
        ([str(file), *init, "--precision", "bf16-mixed"], 2, "leave --precision out"),
        ([str(foreign), *init], 1, "is of another graph"),
        ([str(tmp_path / "none.json"), *init], 1, "cannot read"),
    ):
        assert main([*base, *options]) == code
        err = capsys.readouterr().err
        assert words in err and err.count("\n") == 1 and not (tmp_path / "out").exists()
    with pytest.raises(SpgvtonError, match=r"has no convolution g9\.conv"):
        fake_quantise(build_model(config().network), [Row(layers=["g9.conv"], sums=[], amax=1.0)])
    with pytest.raises(SpgvtonError, match=r"adds nothing to g1\.conv4\.0"):
        fake_quantise(build_model(config().network), [Row(layers=[], sums=["g1.conv4.0"], amax=1.0)])
    with pytest.raises(UsageError, match="fine-tuned from a trained network"):
        Trainer(config(), str(data), tmp_path / "x", fabric=make_fabric("cpu"), qat=[])
