"""VITON, CP-VTON and MG-VTON in the project's harness: what they train, refuse and are scored by; they learn eight triples."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spgvton.bundle import Bundle
from spgvton.cli import main
from spgvton.errors import SpgvtonError, UsageError
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.cli.train import configuration
from spgvton_training.comparison.method import BODY_CELLS, PERSON_CHANNELS, Method
from spgvton_training.comparison.recipes import check_method, with_method
from spgvton_training.comparison.registry import COMPARED, build_network
from spgvton_training.config import RunConfig, run_preset
from spgvton_training.data.layout import read_pairs
from spgvton_training.data.mpv import MPV, collate
from spgvton_training.evaluate import Settings, evaluate, predict
from spgvton_training.fabric import make_fabric
from spgvton_training.networks.config import METHODS, NetworkConfig
from spgvton_training.networks.joint import build_model
from spgvton_training.sheet import COLUMNS, stages
from spgvton_training.train import Trainer

SIZE = (96, 64)
PARTS = [(method, stage) for method, kind in COMPARED.items() for stage in kind.phases]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mpv")
    arguments = ["synth", "--out", str(folder), "--count", "2", "--seed", "3", "--size", "96x64", "--unpaired"]
    assert main(arguments) == 0
    assert main([*arguments, "--split", "test"]) == 0
    return folder


def config(method: str, **changes: Any) -> RunConfig:
    """A tiny run of METHOD without augmentation; CHANGES by section."""
    tiny: dict[str, Any] = {
        "network": {"ngf": 4, "gmm_ngf": 4, "height": SIZE[0], "width": SIZE[1], "trunk_blocks": 1},
        "discriminators": {"ndf": 4},
        "optimiser": {"batch_sizes": [2, 2, 2], "warm_up": 0},
        "data": {"augment": False, "tone": 0.0},
    }
    return with_method(run_preset("mini").with_values(tiny), method).with_values(changes)


def network(method: str) -> Method:
    torch.manual_seed(0)
    made = build_network(config(method).network).eval()
    assert isinstance(made, Method)
    return made


@pytest.mark.parametrize(("method", "stage"), PARTS)
def test_a_stage_trains_its_networks_and_nothing_else(method: str, stage: int, data: Path, tmp_path: Path) -> None:
    """After one update every weight of the stage's networks has moved, and no other weight or statistic."""
    adversarial = {"adversarial": True} if method == "mg-vton" else {}
    iterations = [int(s == stage) for s in (1, 2, 3)]
    run = Trainer(
        config(method, optimiser={"iterations": iterations}, losses=adversarial), str(data), tmp_path, workers=0,
        fabric=make_fabric("cpu"),
    )  # fmt: skip
    trained = {id(p) for module in run.model.trained_in(stage) for p in module.parameters()}  # type: ignore[union-attr, operator]
    names = {name for name, p in run.model.named_parameters() if id(p) in trained}
    owners = {name.split(".")[0] for name in names}
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    after = run.fit().weights
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert names and names <= moved
    assert {name.split(".")[0] for name in moved} == owners
    assert bool(run.critics) == bool(adversarial)


def test_help_names_every_method(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    assert "{spg-vton,viton,cp-vton,mg-vton}" in capsys.readouterr().out.replace("\n", "").replace(" ", "")


def test_the_verb_trains_and_evaluates_a_method(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`train --method`, then `evaluate`: a method without a semantic map says so, and is refused where it must not go."""
    small = [
        "network.ngf=4",
        "network.gmm_ngf=4",
        "network.height=96",
        "network.width=64",
        "optimiser.batch_sizes=[2,2,2]",
    ]
    options = [word for value in small for word in ("--set", value)]
    train = ["train", "--method", "cp-vton", "--data", str(data), "--out", str(tmp_path / "run"), "--workers", "0"]
    assert main([*train, "--iterations", "1,1,0", *options]) == 0
    weights = tmp_path / "run" / "model.safetensors"
    assert (tmp_path / "run" / "samples.png").exists()
    assert Checkpoint.load(weights, any_method=True).config.method == "cp-vton"

    capsys.readouterr()
    score = ["evaluate", "--checkpoint", str(weights), "--data", str(data)]
    assert main([*score, "--limit", "2", "--rows", "1", "--out", str(tmp_path / "out"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert 0 < summary["ssim"] < 1 and summary["n"] == 2
    assert summary["missing_because"]["semantic_miou"] == "cp-vton predicts no semantic map"
    assert (tmp_path / "out" / "sheet.png").exists()

    assert main([*score, "--true-maps"]) == 2
    assert "cp-vton predicts no semantic map: leave --true-maps out" in capsys.readouterr().err
    for refusing in (
        ["export", "--checkpoint", str(weights), "--out", str(tmp_path / "bundle")],
        ["evaluate", "--mode", "live", "--checkpoint", str(weights), "--data", str(data)],
        ["train", "--distill-from", str(weights), "--data", str(data), "--out", str(tmp_path / "student")],
    ):
        assert main(refusing) == 1
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert "is a checkpoint of cp-vton, which is there to compare with" in said
    assert not (tmp_path / "bundle" / "bundle.json").exists()
    with pytest.raises(SpgvtonError, match="is not a model bundle"):
        Bundle.open(weights)


def test_mg_vton_takes_true_maps(data: Path) -> None:
    triples = MPV(data, "test", size=SIZE)
    batch = collate([triples[0], triples[1]])
    with torch.no_grad():
        _, labels = predict(network("mg-vton"), batch, Settings(true_maps=True))
        _, own = predict(network("mg-vton"), batch, Settings())
    assert labels is not None and own is not None
    assert torch.equal(labels, batch.target_labels) and not torch.equal(own, batch.target_labels)


@pytest.mark.parametrize("method", COMPARED)
def test_sheet_and_shapes(method: str, data: Path) -> None:
    triples = MPV(data, "test", size=SIZE)
    batch = collate([triples[0], triples[1]])
    model = network(method)
    with torch.no_grad():
        made = model.stages(batch.inputs)
        person = model.person(batch.inputs)
    assert made.final.image.shape == made.warped.shape == made.coarse.image.shape == (2, 3, *SIZE)
    assert made.coarse.mask.shape == made.final.composition.shape == (2, 1, *SIZE)
    assert made.theta.shape == (2, 2, 25)
    assert person.shape == (2, PERSON_CHANNELS, *SIZE)
    rows = stages(model, batch)
    assert [len(row) for row in rows] == [len(COLUMNS)] * 2
    grey = (rows[0][COLUMNS.index("predicted map")] == 128).all()
    assert grey == (made.semantic is None)


def test_the_person_hides_the_old_clothes(data: Path) -> None:
    """Reserved regions are the source's own pixels of head and background, 0 elsewhere; the shape is coarse."""
    triples = MPV(data, "test", size=SIZE)
    x = collate([triples[0]]).inputs
    model = network("viton")
    reserved, shape = model.reserved(x), model.body_shape(x)
    kept = (x.reference_map[:, :1] + x.head.sum(1, keepdim=True)) > 0
    assert torch.equal(reserved[kept.expand_as(reserved)], x.body[kept.expand_as(reserved)])
    assert not reserved[~kept.expand_as(reserved)].any() and kept.any()
    cell = SIZE[0] // BODY_CELLS
    silhouette = 1 - x.reference_map[:, :1]
    assert shape.mean() == pytest.approx(float(silhouette.mean()), abs=0.02)
    assert (shape[..., 1:] - shape[..., :-1]).abs().max() <= 1 / (2 ** (cell.bit_length() - 1)) + 1e-6


def test_options_that_do_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpgvtonError, match="network option align_source does nothing in viton"):
        NetworkConfig(method="viton", align_source=True)
    with pytest.raises(SpgvtonError, match="method 'x' is unknown: use one of spg-vton, viton, cp-vton, mg-vton"):
        NetworkConfig(method="x")
    with pytest.raises(UsageError, match=r"losses.flow does nothing in cp-vton: leave it at 0.0"):
        check_method(config("cp-vton", losses={"flow": 5.0}))
    with pytest.raises(UsageError, match=r"viton has no stage 3: its stages are 1 \(encoder-decoder G_C\), 2"):
        check_method(config("viton", optimiser={"iterations": [1, 1, 1]}))
    with pytest.raises(SpgvtonError, match="viton is not the joint model"):
        build_model(config("viton").network)
    check_method(run_preset("mini"))  # SPG-VTON has them all


def test_every_method_has_the_same_number_of_updates() -> None:
    preset = run_preset("mini")
    for method, kind in COMPARED.items():
        iterations = with_method(preset, method).optimiser.iterations
        assert sum(iterations) == sum(preset.optimiser.iterations)
        assert {stage for stage, count in zip((1, 2, 3), iterations) if count} == set(kind.phases)


def test_a_configuration_file_keeps_its_method(tmp_path: Path) -> None:
    """--method of the file's own method changes nothing in it; another one needs a preset."""
    written = config("viton", optimiser={"iterations": [7, 3, 0]})
    written.save(tmp_path / "run.yaml")

    def read(*options: str) -> RunConfig:
        import argparse

        from spgvton_training.cli.train import add_arguments

        parser = argparse.ArgumentParser()
        add_arguments(parser)
        return configuration(parser.parse_args(["--config", str(tmp_path / "run.yaml"), *options]))

    assert read() == read("--method", "viton") == written
    with pytest.raises(UsageError, match="the configuration is one of viton: take a preset for spg-vton"):
        read("--method", "spg-vton")
    assert METHODS[0] == "spg-vton"


# To which share of the mean of its first ten updates the loss of the last ten must have fallen, by stage. VITON's refinement
# has little to gain: it chooses between two pictures that it is given, and is paid for showing the garment's.
FALL = {("viton", 1): 0.55, ("viton", 2): 0.97, ("cp-vton", 1): 0.5, ("cp-vton", 2): 0.65,
        ("mg-vton", 1): 0.65, ("mg-vton", 2): 0.45, ("mg-vton", 3): 0.95}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("method", COMPARED)
def test_eight_triplets_are_learnt(method: str, data: Path, tmp_path: Path) -> None:
    """In forty updates every stage's loss falls to its share, and the picture begins to look like the truth."""
    triples = [t for t in read_pairs(data, "train", unpaired=True) if "-a@" in t.source]
    assert len(triples) == 8
    updates = [40 if stage in COMPARED[method].phases else 0 for stage in (1, 2, 3)]
    c = config(
        method, network={"ngf": 8, "gmm_ngf": 8}, data={"unpaired": True},
        optimiser={"iterations": updates, "batch_sizes": [8, 8, 8], "learning_rates": [3e-3] * 3, "clip": None},
    )  # fmt: skip
    run = Trainer(c, str(data), tmp_path, triples, workers=0, save_every=10, fabric=make_fabric("cpu"))
    model = run.fit().network()
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    known = ("stage", "iteration", "hours", "lr")
    for stage in COMPARED[method].phases:
        losses = [sum(v for k, v in entry.items() if k not in known) for entry in log if entry["stage"] == stage]
        assert losses[-1] < FALL[method, stage] * losses[0], (stage, losses)
    scores = evaluate(model, MPV(data, "train", size=SIZE, triples=triples), Settings(batch=8)).summary
    assert scores["ssim"] > 0.4, scores
    assert np.isfinite(scores["clothes_mask_iou"])
