"""Training for live mode: which rows, what the network is shown of them, and what its losses look at."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spgvton import labels as lb
from spgvton.bundle import WEIGHTS, Bundle, locate
from spgvton.cli import main
from spgvton.errors import SpgvtonError, UsageError
from spgvton.live.arms import forget_arms
from spgvton_training import losses
from spgvton_training.checkpoint import Checkpoint, started_from
from spgvton_training.config import run_preset
from spgvton_training.data.augment import displace
from spgvton_training.data.layout import Triple, exchanges_garment, of_task
from spgvton_training.data.mpv import MPV
from spgvton_training.networks.config import preset
from spgvton_training.networks.joint import JointModel, build_model
from spgvton_training.objective import Critics, Objective

SIZE = (128, 96)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("live")
    assert main(["synth", "--out", str(folder), "--count", "3", "--seed", "6", "--unpaired", "--size", "128x96"]) == 0
    return folder


def live(data: Path, task: str = "live", forget: bool = True, **options: float) -> MPV:
    return MPV(data, "train", size=SIZE, unpaired=True, task=task, forget_arms=forget, **options)  # type: ignore[arg-type]


def test_rows_of_the_task(data: Path) -> None:
    chosen = live(data)
    assert len(chosen) == 6, "two of each item: b -> a and a -> b in the second pose"
    for t in chosen.triples:
        assert "@2=" in t.source and "@2=" in t.target and t.source != t.target
        assert f"-{t.cloth.split('@')[0][-1]}@2=" in t.target, "the target wears the garment"
    assert len(live(data, "both")) == len(live(data, "pose")) == 18
    assert exchanges_garment(Triple("i/i-b@2=x.jpg", "i/i-a@2=x.jpg", "c.jpg"))
    for source, target in (
        ("i/i-b@2=x.jpg", "j/j-a@2=x.jpg"),
        ("i/i-b@1=x.jpg", "i/i-a@2=x.jpg"),
        ("i/1.jpg", "i/2.jpg"),
    ):
        assert not exchanges_garment(Triple(source, target, "c.jpg"))
    with pytest.raises(SpgvtonError, match="spgvton synth --unpaired"):
        of_task([Triple("i/i-a@1=x.jpg", "i/i-a@2=x.jpg", "c.jpg")], "live")


@pytest.mark.parametrize("augment", [False, True])
def test_source_stands_in_the_targets_pose_with_her_arms_forgotten(data: Path, augment: bool) -> None:
    samples = live(data, augment=augment, keypoint_noise=0.5)
    remembered = live(data, forget=False, augment=augment, keypoint_noise=0.5)
    arms = 0
    for i, _ in enumerate(samples.triples):
        packed, plain = samples.packed((i, 1)), remembered.packed((i, 1))
        assert torch.equal(packed.source_keypoints, packed.keypoints)
        assert torch.equal(packed.target_labels, plain.target_labels), "the truth keeps its arms"
        expected = forget_arms(plain.labels.numpy(), plain.keypoints.numpy())
        assert np.array_equal(packed.labels.numpy(), expected)
        arms += int((expected != plain.labels.numpy()).sum())
        inputs = samples[(i, 1)].inputs
        forgotten = torch.from_numpy(expected == lb.UPPER_CLOTHES)
        assert not inputs.reference_map[:, forgotten].any() and not inputs.body[:, forgotten].any()
    assert arms > 50, "some of these people have bare arms"


def test_both_leaves_pose_rows_alone(data: Path) -> None:
    both, pose = live(data, "both"), live(data, "pose")
    same = [
        all(np.array_equal(a, b, equal_nan=a.is_floating_point()) for a, b in zip(both.packed(i), pose.packed(i)))
        for i in range(len(both))
    ]
    assert sum(not s for s in same) >= 4, "keypoints are those of the source in six rows; arms, where they are bare"
    assert all(s for s, t in zip(same, both.triples) if not exchanges_garment(t))


def test_displace_moves_borders_only() -> None:
    labels = np.zeros((128, 96), np.uint8)
    labels[40:90, 30:70] = lb.UPPER_CLOTHES
    moved = displace(labels, np.random.default_rng(1), 1.0)
    assert 0 < (moved != labels).mean() < 0.1
    assert set(np.unique(moved)) == {0, lb.UPPER_CLOTHES}
    assert (moved[46:84, 36:64] == lb.UPPER_CLOTHES).all()


def test_changed_region_weights() -> None:
    old, new = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    old[..., 8:24, 4:12] = 1
    new[..., 8:24, 8:20] = 1
    weights = losses.changed_region(old, new)
    assert weights[0, 0, 16, 5] == 1, "old clothes alone"
    assert weights[0, 0, 16, 14] == 1, "inside the new"
    assert weights[0, 0, 16, 19] == weights[0, 0, 16, 21] == 2, "both sides of the new border"
    assert weights[0, 0, 16, 26] == 0


def test_losses_of_the_region_do_not_see_the_rest() -> None:
    torch.manual_seed(0)
    a = torch.rand(2, 3, 64, 64) * 2 - 1
    region = torch.zeros(2, 1, 64, 64)
    region[..., 20:40, 20:40] = 1
    far, near = a.clone(), a.clone()
    far[..., :8, :] += 0.5
    near[..., 30:34, 30:34] += 0.5
    assert losses.region_structure(losses.box_ssim(far, a), region).abs() < 1e-5
    assert losses.region_structure(losses.box_ssim(near, a), region) > 1e-3


def test_objective_supervises_what_the_compositor_takes(data: Path) -> None:
    """I_r gets a gradient inside the clothes, although M hides it from the final image there."""
    config = run_preset("live").with_values({"network": {"ngf": 4, "gmm_ngf": 4, "height": 128, "width": 96}})
    torch.manual_seed(0)
    model = build_model(config.network)
    objective = Objective(model, config, Critics(config.losses, config.discriminators), class_weights=torch.ones(20))
    batch = live(data).packed(0)
    stacked = type(batch)(*(t[None] for t in batch)).to(torch.device("cpu"))
    terms, pairs = objective(stacked, 3, 0.5, torch.Generator())
    assert not pairs, "no adversarial terms"
    assert {"coarse_changed", "final_changed", "rendered_changed"} <= terms.keys()
    assert all(value.isfinite() for value in terms.values())
    off = replace(config, losses=replace(config.losses, changed=0.0))
    plain = Objective(model, off, Critics(off.losses, off.discriminators), class_weights=torch.ones(20))
    fewer, _ = plain(stacked, 3, 0.5, torch.Generator())
    assert terms.keys() - fewer.keys() == {"coarse_changed", "final_changed", "rendered_changed"}
    assert all(torch.equal(fewer[name], terms[name]) for name in fewer)


def test_preset_takes_the_weights_of_realtime() -> None:
    network = preset("live")
    assert network.forget_arms and not network.align_source and not network.align_once and network.fill_background
    started = started_from(Checkpoint.load(locate("realtime") / WEIGHTS), network)
    assert isinstance(started, JointModel) and started.config == network
    assert not preset("realtime").forget_arms and not preset("paper").forget_arms
    assert Checkpoint.load(locate("live") / WEIGHTS).config == network, "the shipped one is this network"
    assert Bundle.open("live").forget_arms and not Bundle.open("realtime").forget_arms


def test_command_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--preset", "mini", "--task", "live", "--print-config"]) == 0
    assert "task: live" in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"needs data\.unpaired"):
        run_preset("live").with_values({"data": {"unpaired": False}})
    small = [
        "network.ngf=4",
        "network.gmm_ngf=4",
        "network.height=128",
        "network.width=96",
        "optimiser.batch_sizes=[2,2,2]",
    ]
    options = ["--iterations", "0,0,2", *(word for value in small for word in ("--set", value))]
    out = tmp_path / "run"
    arguments = ["train", "--preset", "live", "--data", str(data), "--out", str(out), "--accelerator", "cpu", *options]
    assert main([*arguments, "--workers", "0", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["triples"] == 6 and result["run"]["data"]["task"] == "live"
    assert Checkpoint.load(out / "model.safetensors").config.forget_arms
