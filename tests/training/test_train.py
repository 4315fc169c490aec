"""The trainer on a tiny rendered data set: it learns, resumes exactly, and names what goes wrong."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spgvton.cli import main
from spgvton.errors import SpgvtonError, UsageError
from spgvton_training import losses
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.cli.train import parse_iterations
from spgvton_training.data.mpv import MPV, add_noise, read_pairs
from spgvton_training.networks.config import preset
from spgvton_training.networks.joint import build_model
from spgvton_training.networks.tps import control_points, tps_grid
from spgvton_training.train import Trainer, erase, mini_training

TINY = preset("mini", ngf=4, gmm_ngf=4, height=128, width=96)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mpv")
    arguments = ["synth", "--out", str(folder), "--count", "2", "--seed", "5", "--size", "128x96", "--unpaired"]
    assert main(arguments) == 0
    assert main([*arguments, "--split", "test"]) == 0
    return folder


def trainer(data: Path, out: Path, **changes: object) -> Trainer:
    config = mini_training(**{"iterations": (3, 3, 3), "batch_sizes": (2, 2, 2), **changes})
    return Trainer(TINY, config, str(data), out, workers=0, save_every=2, device=torch.device("cpu"))


def test_interrupted_run_equals_the_uninterrupted_one(data: Path, tmp_path: Path) -> None:
    """Stopped in each stage after a save, the run ends with the same weights, bit for bit."""
    whole = trainer(data, tmp_path / "whole").fit()

    class Stop(Exception):
        pass

    stops = iter([(1, 2), (2, 3), (3, 2)])
    stop = next(stops)
    while stop:
        part = trainer(data, tmp_path / "parts")
        save = part._save

        def save_then_stop(optimiser: torch.optim.Optimizer, part: Trainer = part, save=save, stop=stop) -> None:  # type: ignore[no-untyped-def]
            save(optimiser)
            if (part.stage, part.iteration) == stop:
                raise Stop

        part._save = save_then_stop  # type: ignore[method-assign]
        with pytest.raises(Stop):
            part.fit()
        stop = next(stops, None)  # type: ignore[assignment]
    resumed = trainer(data, tmp_path / "parts").fit()
    assert whole.weights.keys() == resumed.weights.keys()
    for name, value in whole.weights.items():
        assert torch.equal(value, resumed.weights[name]), name


def test_losses_fall_and_stages_train_what_they_say(data: Path, tmp_path: Path) -> None:
    run = trainer(data, tmp_path, iterations=(14, 2, 2), learning_rates=(5e-3, 1e-3, 1e-3))
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    run.stage = 1
    run._fit_stage(None)
    after = run.model.state_dict()
    moved = {k.split(".")[0] for k in before if not torch.equal(before[k], after[k])}
    assert moved == {"g1", "gmm1", "gmm2"}
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log[-1]["focal"] < 0.95 * log[0]["focal"]
    before = {k: v.clone() for k, v in after.items()}
    run.stage, run.iteration = 2, 0
    run._fit_stage(None)
    moved = {k.split(".")[0] for k in before if not torch.equal(before[k], run.model.state_dict()[k])}
    assert moved == {"g2", "g3", "gmm1", "gmm2"}


def test_a_run_may_start_from_weights_and_leave_stages_out(data: Path, tmp_path: Path) -> None:
    first = trainer(data, tmp_path / "first", iterations=(2, 0, 0)).fit()
    assert first.provenance["training"]["iterations"] == (2, 0, 0) and "started_from" not in first.provenance
    config = mini_training(iterations=(0, 0, 2), batch_sizes=(2, 2, 2), learning_rates=(0.0, 0.0, 0.0), seed=8)
    second = Trainer(TINY, config, str(data), tmp_path / "second", workers=0, init=first).fit()
    assert second.provenance["started_from"] == first.provenance and second.provenance["stage"] == 4
    for name in [k for k, v in first.weights.items() if k.endswith(".weight")]:
        assert torch.equal(second.weights[name], first.weights[name]), "rate 0 moves nothing"
    with pytest.raises(SpgvtonError, match="do not fit"):
        Trainer(replace(TINY, ngf=8), config, str(data), tmp_path / "third", init=first)


@pytest.mark.parametrize("text", ["1,2", "a,b,c", "0,0,0", "5,-1,5"])
def test_iterations_are_checked(text: str) -> None:
    with pytest.raises(UsageError, match="--iterations"):
        parse_iterations(text)
    assert parse_iterations("0,0,400") == (0, 0, 400)


def test_not_finite_loss_names_the_term(data: Path, tmp_path: Path) -> None:
    run = trainer(data, tmp_path)
    with torch.no_grad():
        run.model.g1.conv11.weight.fill_(float("nan"))
    with pytest.raises(SpgvtonError, match=r"stage 1, iteration 0: focal, semantic_l1 is not finite"):
        run.fit()


def test_another_configuration_does_not_resume(data: Path, tmp_path: Path) -> None:
    run = trainer(data, tmp_path)
    run._save(torch.optim.Adam(run.model.parameters()))
    with pytest.raises(SpgvtonError, match="another configuration"):
        trainer(data, tmp_path, seed=9).fit()
    (tmp_path / "state.pt").write_bytes(b"not a state")
    with pytest.raises(SpgvtonError, match="cannot resume"):
        trainer(data, tmp_path).fit()


def test_evaluate_verb(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    file = tmp_path / "m.safetensors"
    Checkpoint(TINY, dict(trainer(data, tmp_path / "r").model.state_dict())).save(file)
    sheet = tmp_path / "sheet.png"
    assert main(["evaluate", "--checkpoint", str(file), "--data", str(data), "--json", "--sheet", str(sheet)]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["n"] == 4 and sheet.stat().st_size > 10_000
    assert 0 < scores["ssim"] < 1 and set(scores["mask_ssim"]) == {"face", "clothes", "without_clothes"}
    assert {"ssim", "psnr", "clothes_mask_iou", "semantic_miou", "missing"} <= set(scores)


def test_checkpoint_round_trip_and_damage(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = dict(build_model(TINY).state_dict())
    Checkpoint(TINY, weights, {"seed": 3}).save(tmp_path / "full.safetensors")
    Checkpoint(TINY, weights).save(tmp_path / "half.safetensors", half=True)
    loaded = Checkpoint.load(tmp_path / "full.safetensors")
    assert loaded.config == TINY and loaded.provenance == {"seed": 3}
    assert all(torch.equal(loaded.weights[k], v) for k, v in weights.items())
    half = Checkpoint.load(tmp_path / "half.safetensors").model().state_dict()
    assert all(torch.allclose(half[k], v, rtol=1e-3, atol=1e-6) for k, v in weights.items())
    file = tmp_path / "full.safetensors"
    file.write_bytes(file.read_bytes()[:5000])
    for path in (file, tmp_path / "missing.safetensors"):
        with pytest.raises(SpgvtonError, match="cannot load checkpoint"):
            Checkpoint.load(path)
    with pytest.raises(SpgvtonError, match="do not fit"):
        Checkpoint(replace(TINY, ngf=8), weights).model()


def test_pairs_file_errors(tmp_path: Path) -> None:
    with pytest.raises(SpgvtonError, match="cannot read"):
        read_pairs(tmp_path, "train")
    (tmp_path / "data_pair.txt").write_text("a.jpg\tb.jpg\tc.jpg\ttrain\na.jpg b.jpg\n")
    with pytest.raises(SpgvtonError, match="line 2: expected 4"):
        read_pairs(tmp_path, "train")
    (tmp_path / "data_pair.txt").write_text("a.jpg\tb.jpg\tc.jpg\ttrain\n")
    with pytest.raises(SpgvtonError, match="no test triples"):
        read_pairs(tmp_path, "test")


def test_augmentation_is_reproducible_and_consistent(data: Path) -> None:
    """The flow of a flipped sample still points at the flipped garment's matching pixels."""
    plain = MPV(data, "train", size=(128, 96))
    noisy = MPV(data, "train", size=(128, 96), augment=True, seed=1)
    a, b = noisy[(0, 3)], noisy[(0, 3)]
    assert all(torch.equal(x.nan_to_num(), y.nan_to_num()) for x, y in zip(a.inputs, b.inputs))
    photo = plain.photo(plain.triples[0].target)
    flipped = photo.flipped()
    assert flipped.flow is not None and photo.flow is not None
    assert np.array_equal(flipped.flipped().labels, photo.labels)
    known = np.isfinite(photo.flow[..., 0])
    assert known.sum() > 100 and (np.isfinite(flipped.flow[:, ::-1, 0]) == known).all()
    assert np.allclose(flipped.flow[:, ::-1, 0][known], 95 - photo.flow[..., 0][known])
    assert np.allclose(flipped.flow[:, ::-1, 1][known], photo.flow[..., 1][known])


def test_keypoint_noise_keeps_missing_points_missing() -> None:
    k = np.full((18, 3), 50, np.float32)
    k[3] = 0
    moved = np.stack([add_noise(k, np.random.default_rng(i)) for i in range(200)])
    assert (moved[:, 3] == 0).all()
    present = moved[:, 1][moved[:, 1, 2] > 0]
    assert abs(present[:, 0].std() - 1.5) < 0.3 and len(present) > 180


def test_erase_is_a_rectangle_with_its_probability() -> None:
    image = torch.ones(50, 3, 64, 48)
    g = torch.Generator().manual_seed(0)
    erased = erase(image, 0.5, g)
    share = (erased.flatten(1).min(1).values == 0).float().mean()
    assert 0.3 < share < 0.7 and image.min() == 1
    assert erase(image, 0.0, g).min() == 1 and (erase(image, 1.0, g).flatten(1).min(1).values == 0).all()


def test_loss_values_on_known_cases() -> None:
    logits = torch.zeros(1, 20, 4, 4)
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    p = 1 / 20
    assert torch.isclose(losses.focal(logits, labels), torch.tensor(-((1 - p) ** 2) * np.log(p)).float())
    one, zero = torch.ones(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    mask = torch.full((1, 1, 32, 32), 0.25)
    assert losses.coarse_l1(one, zero, mask, mask) == 1
    assert losses.conductible_cycle(one, zero, one, one) == 1
    assert torch.isclose(losses.composition_l1(one, zero, mask), torch.tensor(2 + 0.5 * 0.75)), "Eq. 11"
    assert losses.composition_l1(one, zero, mask, mask) == 2
    assert losses.structure(one, one).abs() < 1e-5
    identity = torch.from_numpy(control_points(5)).float()[None]
    assert losses.theta_smoothness(identity, 5).abs() < 1e-6
    grid = tps_grid(identity, (16, 12))
    flow = grid + torch.tensor([0.1, -0.2])
    flow[:, :8] = float("nan")
    assert torch.isclose(losses.warp_flow(grid, flow), torch.tensor(0.3), atol=1e-4)
    assert losses.warp_flow(grid, torch.full_like(flow, float("nan"))) == 0
