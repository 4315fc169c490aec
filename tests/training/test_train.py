"""The trainer on a tiny rendered data set: it learns, resumes exactly, shares its batches, and names what goes wrong."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from spgvton import image
from spgvton.cli import main
from spgvton.errors import SpgvtonError, UsageError
from spgvton_training.checkpoint import Checkpoint, load_state
from spgvton_training.config import RunConfig, parse, run_preset
from spgvton_training.data.augment import add_noise
from spgvton_training.data.mpv import MPV, read_pairs
from spgvton_training.fabric import PRECISIONS, make_fabric
from spgvton_training.networks.joint import JointModel, build_model
from spgvton_training.pretrained.face import FaceEncoder
from spgvton_training.pretrained.perceptual import Perceptual
from spgvton_training.train import Trainer


def config(**changes: Any) -> RunConfig:
    """A tiny `mini` run of a few iterations with all discriminators; CHANGES by section."""
    tiny: dict[str, Any] = {
        "network": {"ngf": 4, "gmm_ngf": 4, "height": 128, "width": 96, "trunk_blocks": 1},
        "losses": {"adversarial": True, "local_adversarial": True},
        "discriminators": {"ndf": 4},
        "optimiser": {
            "iterations": [3, 3, 3],
            "batch_sizes": [2, 2, 2],
            "matching_iterations": 0,
            "matching_batch_size": 2,
        },
    }
    return run_preset("mini").with_values(tiny).with_values(changes)


TINY = config().network


def trainer(
    data: Path, out: Path, init: Checkpoint | None = None, precision: str = "32-true", **changes: Any
) -> Trainer:
    fabric = make_fabric("cpu", precision)
    return Trainer(config(**changes), str(data), out, workers=0, save_every=2, fabric=fabric, init=init)


def equal(a: Checkpoint, b: Checkpoint) -> bool:
    return a.weights.keys() == b.weights.keys() and all(torch.equal(v, b.weights[k]) for k, v in a.weights.items())


def fit_until(run: Trainer, stop: tuple[int, int]) -> None:
    """Let RUN end in the middle: right after it has saved its state at STOP (stage, iteration)."""

    class Stop(Exception):
        pass

    save = run._save

    def save_then_stop(optimisers: Any, rate: float) -> None:
        save(optimisers, rate)
        if (run.stage, run.iteration) == stop:
            raise Stop

    run._save = save_then_stop  # type: ignore[method-assign]
    with pytest.raises(Stop):
        run.fit()


@pytest.mark.parametrize(
    ("precision", "stops"),
    [("32-true", [(0, 2), (1, 2), (2, 3), (3, 2)]), ("bf16-mixed", [(3, 2)])],
)
def test_interrupted_run_equals_the_uninterrupted_one(
    precision: str, stops: list[tuple[int, int]], data: Path, tmp_path: Path
) -> None:
    """Stopped in each stage after a save, the run ends with the same weights, bit for bit."""
    changes: dict[str, Any] = {"optimiser": {"ema": 0.5, "matching_iterations": 3}}
    whole = trainer(data, tmp_path / "whole", precision=precision, **changes).fit()

    for stop in stops:
        fit_until(trainer(data, tmp_path / "parts", precision=precision, **changes), stop)
    assert equal(whole, trainer(data, tmp_path / "parts", precision=precision, **changes).fit())


def test_killed_process_loses_at_most_save_every_iterations(data: Path, tmp_path: Path) -> None:
    """The real command, killed with SIGKILL in the middle of an epoch, ends like one that was left alone."""
    file = tmp_path / "run.yaml"
    config(optimiser={"iterations": [0, 8, 0]}).save(file)

    def arguments(out: str) -> list[str]:
        options = ["--config", str(file), "--data", str(data), "--out", str(tmp_path / out), "--workers", "0"]
        return ["train", *options, "--save-every", "2", "--accelerator", "cpu"]

    command = [sys.executable, "-m", "spgvton", *arguments("killed")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    log = tmp_path / "killed" / "log.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_text().count("\n") >= 2):
        assert process.poll() is None and time.monotonic() < deadline, "the run must be under way"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    state = load_state(tmp_path / "killed" / "state.pt")
    assert 2 <= state["iteration"] < 8 and state["iteration"] % 2 == 0
    for out in ("killed", "whole"):
        assert main(arguments(out)) == 0
    assert equal(*(Checkpoint.load(tmp_path / out / "model.safetensors") for out in ("killed", "whole")))


def test_torchrun_shares_each_batch(data: Path, tmp_path: Path) -> None:
    """Two processes with half a batch each make the update of one process with the whole batch.

    G1 with instance norm only: batch norm sees its own half of the batch.
    """
    file = tmp_path / "run.yaml"
    plain: dict[str, Any] = {"optimiser": {"iterations": [2, 0, 0]}, "network": {"norm": "instance"}}
    config(**plain, discriminators={"ndf": 4, "r1_every": 1}).save(file)
    options = ["train", "--config", str(file), "--data", str(data), "--workers", "0", "--accelerator", "cpu"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29533"]
    two = [*launcher, "-m", "spgvton", *options, "--out", str(tmp_path / "two")]
    done = subprocess.run(two, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert main([*options, "--out", str(tmp_path / "one")]) == 0
    one, shared = (Checkpoint.load(tmp_path / out / "model.safetensors") for out in ("one", "two"))
    assert shared.provenance["processes"] == 2 and one.provenance["processes"] == 1
    start = trainer(data, tmp_path / "start").model.state_dict()
    moved = 0
    for name, value in one.weights.items():
        assert torch.allclose(value, shared.weights[name], atol=2e-4), name
        moved += int(not torch.equal(value, start[name]))
    assert moved > 20


def test_accumulated_parts_make_the_update_of_the_whole_batch(data: Path, tmp_path: Path) -> None:
    plain: dict[str, Any] = {"network": {"norm": "instance"}, "losses": {"adversarial": False}}
    runs = []
    for count in (1, 2):
        changes = {"iterations": [1, 0, 0], "accumulate": count}
        runs.append(trainer(data, tmp_path / str(count), **plain, optimiser=changes).fit())
    for name, value in runs[0].weights.items():
        assert torch.allclose(value, runs[1].weights[name], atol=5e-5), name
    with pytest.raises(UsageError, match=r"multiples of optimiser\.accumulate"):
        config(optimiser={"accumulate": 3})


def test_stages_train_what_they_say_and_losses_fall(data: Path, tmp_path: Path) -> None:
    run = trainer(
        data,
        tmp_path,
        network={"trunk_blocks": 4},  # enough to learn within 28 iterations
        optimiser={"iterations": [28, 2, 2], "learning_rates": [5e-3, 1e-3, 1e-3], "matching_iterations": 2},
    )
    expected = {0: {"gmm1", "gmm2"}, 1: {"g1", "d1"}, 2: {"g2", "g3", "gmm1", "gmm2", "d2", "dg", "dl"}}
    expected[3] = expected[1] | expected[2]
    for stage, names in expected.items():
        before = {k: v.clone() for m in (run.model, run.critics) for k, v in m.state_dict().items()}
        run.stage, run.iteration = stage, 0
        run._fit_stage(None)
        after = {k: v for m in (run.model, run.critics) for k, v in m.state_dict().items()}
        assert {k.split(".")[0] for k in before if not torch.equal(before[k], after[k])} == names
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    first = [line["focal"] for line in log if line["stage"] == 1]
    assert first[-1] < 0.95 * first[0]
    assert image.read(tmp_path / "samples.png").shape[1] > 900
    assert list((tmp_path / "tensorboard").iterdir())


def test_average_is_what_is_saved(data: Path, tmp_path: Path) -> None:
    run = trainer(data, tmp_path, optimiser={"iterations": [3, 0, 0], "ema": 0.9})
    start = {k: v.clone() for k, v in run.model.state_dict().items()}
    saved = run.fit().weights["g1.conv11.weight"]
    last = run.model.state_dict()["g1.conv11.weight"]
    assert not torch.equal(saved, last)
    name = "g1.conv11.weight"
    assert (saved - start[name]).abs().mean() < (last - start[name]).abs().mean()


def test_bfloat16_computes_the_same_losses(data: Path, tmp_path: Path) -> None:
    """The networks alone compute in bfloat16; losses in it would be wrong by tens of percent."""
    small = config(optimiser={"iterations": [1, 1, 1]})
    terms = []
    for precision in PRECISIONS:
        run = Trainer(small, str(data), tmp_path / precision, workers=0, fabric=make_fabric("cpu", precision))
        done = run.fit()
        assert all(v.isfinite().all() and v.dtype != torch.bfloat16 for v in done.weights.values())
        terms.append([json.loads(line) for line in (tmp_path / precision / "log.jsonl").read_text().splitlines()])
    for exact, rounded in zip(*terms):
        for name in ("focal", "semantic_l1", "coarse_structure", "final_structure", "adversarial_d1", "adversarial_dg"):
            assert name not in exact or rounded[name] == pytest.approx(exact[name], rel=0.05), name


def test_losses_without_their_network_are_refused(data: Path, tmp_path: Path) -> None:
    for name, option in (("perceptual", "--perceptual-weights"), ("identity", "--face-weights")):
        with pytest.raises(UsageError, match=f"{option} FILE .* or switch the loss off with --set losses.{name}=false"):
            trainer(data, tmp_path, losses={name: True})


def test_checkpoint_records_the_pretrained_networks(
    data: Path, tmp_path: Path, pretrained: tuple[Perceptual, FaceEncoder]
) -> None:
    """Which they were and which layers counted how much; a run does not go on with others."""
    plan = config(
        optimiser={"iterations": [0, 1, 0]}, losses={"perceptual": True, "identity": True, "adversarial": False}
    )

    def start(networks: tuple[Perceptual, FaceEncoder]) -> Trainer:
        return Trainer(plan, str(data), tmp_path, None, *networks, workers=0, fabric=make_fabric("cpu"))

    start(pretrained).fit()
    recorded = Checkpoint.load(tmp_path / "model.safetensors").provenance["pretrained"]
    assert recorded == {"perceptual": pretrained[0].describe(), "face": pretrained[1].describe()}
    assert recorded["perceptual"]["layers"] == ["relu1", "fire3", "fire5", "fire7", "fire9"]
    terms = json.loads((tmp_path / "log.jsonl").read_text())
    assert all(terms[name] > 0 for name in ("coarse_perceptual", "final_perceptual", "identity"))
    other = Perceptual((pretrained[0].features, pretrained[0].taps), pretrained[0].kind, "another file")
    with pytest.raises(SpgvtonError, match="another configuration"):
        start((other, pretrained[1])).fit()


def test_a_run_may_start_from_weights_and_leave_stages_out(data: Path, tmp_path: Path) -> None:
    first = trainer(data, tmp_path / "first", optimiser={"iterations": [2, 0, 0]}).fit()
    assert first.provenance["run"]["optimiser"]["iterations"] == [2, 0, 0] and "started_from" not in first.provenance
    rest: dict[str, Any] = {"optimiser": {"iterations": [0, 0, 2], "learning_rates": [0.0, 0.0, 0.0]}}
    second = trainer(data, tmp_path / "second", init=first, **rest).fit()
    assert second.provenance["started_from"] == first.provenance and second.provenance["stage"] == 4
    for name in [k for k in first.weights if k.endswith(".weight")]:
        assert torch.equal(second.weights[name], first.weights[name]), "rate 0 moves nothing"
    with pytest.raises(SpgvtonError, match="do not fit"):
        trainer(data, tmp_path / "third", init=first, network={"ngf": 8})


def test_not_finite_loss_names_the_term(data: Path, tmp_path: Path) -> None:
    run = trainer(data, tmp_path, losses={"adversarial": False})
    assert isinstance(run.model, JointModel)
    with torch.no_grad():
        run.model.g1.conv11.weight.fill_(float("nan"))
    with pytest.raises(SpgvtonError, match=r"stage 1, iteration 0: focal, semantic_l1 is not finite"):
        run.fit()


def test_another_configuration_does_not_resume(data: Path, tmp_path: Path) -> None:
    trainer(data, tmp_path, optimiser={"iterations": [2, 0, 0]}).fit()
    with pytest.raises(SpgvtonError, match="another configuration"):
        trainer(data, tmp_path, optimiser={"iterations": [2, 0, 1]}).fit()
    (tmp_path / "state.pt").write_bytes(b"not a state")
    with pytest.raises(SpgvtonError, match="cannot resume"):
        trainer(data, tmp_path).fit()


def test_train_verb_refuses_wrong_use(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["train", "--data", str(data), "--out", str(tmp_path / "r")]
    wrong = {
        "--iterations 1,2": "--iterations takes three or four numbers",
        "--iterations 0,0,0": "must not be negative, nor all zero",
        "--preset paper": "--perceptual-weights FILE",
        "--ablation w/o-cake": "ablation 'w/o-cake' is unknown",
        "--set losses.cake=1": "losses.cake",
        "--set nonsense": "--set takes NAME=VALUE",
        f"--config {tmp_path / 'none.yaml'}": "cannot read configuration",
    }
    for options, message in wrong.items():
        assert main([*base, *options.split()]) in (1, 2)
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error
    assert main(["train"]) == 2
    assert not (tmp_path / "r").exists(), "nothing was begun"
    assert main(["train", "--print-config", "--set", "losses.alpha=[3, 1]", "--ablation", "w/o-cycle"]) == 0
    printed = parse(yaml.safe_load(capsys.readouterr().out))
    assert printed.losses.alpha == (3, 1) and not printed.losses.cycle and printed.ablations == ("w/o-cycle",)
    parts = ("align_source", "fill_background", "background_margin")  # each needs the one before
    unset = [word for part in parts for word in ("--set", f"network.{part}=false")]
    assert main(["train", "--print-config", *unset]) == 0
    network = parse(yaml.safe_load(capsys.readouterr().out)).network
    assert not any(getattr(network, part) for part in parts)


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


def test_augmentation_is_reproducible(data: Path) -> None:
    """The same seed, epoch and triple give the same sample; another epoch another one."""
    noisy = MPV(data, "train", size=(128, 96), augment=True, seed=1)
    a, b = noisy[(0, 3)], noisy[(0, 3)]
    assert all(torch.equal(x.nan_to_num(), y.nan_to_num()) for x, y in zip(a.inputs, b.inputs))
    assert any(not torch.equal(a.inputs.keypoints, noisy[(0, epoch)].inputs.keypoints) for epoch in range(4))


def test_keypoint_noise_keeps_missing_points_missing() -> None:
    k = np.full((18, 3), 50, np.float32)
    k[3] = 0
    moved = np.stack([add_noise(k, np.random.default_rng(i)) for i in range(200)])
    assert (moved[:, 3] == 0).all()
    present = moved[:, 1][moved[:, 1, 2] > 0]
    assert abs(present[:, 0].std() - 1.5) < 0.3 and len(present) > 180
