"""Distillation: what is inherited, what the terms are zero for, what gradients reach, and the trainer with a teacher."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_objective import random_batch, small
from test_train import config, equal, fit_until

from spgvton.cli import main
from spgvton.errors import SpgvtonError, UsageError
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.config import RunConfig
from spgvton_training.distill import DEFAULTS, Distillation, Teacher, inherit, weights, with_teacher
from spgvton_training.fabric import make_fabric
from spgvton_training.networks.config import preset
from spgvton_training.networks.joint import build_model
from spgvton_training.objective import Critics, Objective
from spgvton_training.train import Trainer

CALM: dict[str, Any] = {"losses": {"adversarial": False, "local_adversarial": False, "erase_probability": 0.0}}


def teacher(run: RunConfig, seed: int = 0, **network: Any) -> Teacher:
    torch.manual_seed(seed)
    model = build_model(replace(run.network, **network)).eval().requires_grad_(False)
    return Teacher(model, f"seed {seed}")


def objective(run: RunConfig, taught_by: Teacher) -> Objective:
    """The student starts from the teacher."""
    torch.manual_seed(1)
    student = build_model(run.network)
    inherit(student, taught_by.model)
    distillation = Distillation(taught_by, student, run.losses)
    return Objective(student, run, Critics(run.losses, run.discriminators), distillation=distillation)


def terms(made: Objective, run: RunConfig, stage: int) -> dict[str, torch.Tensor]:
    found, _ = made(random_batch(run), stage, 0.9, torch.Generator().manual_seed(0))
    return {name: value for name, value in found.items() if name.startswith("distill_")}


EXPECTED = {
    0: {"distill_grid"},
    1: {"distill_semantic", "distill_features"},
    2: {"distill_image", "distill_grid", "distill_features"},
    3: set(DEFAULTS),
}


def test_terms_are_zero_for_the_teacher_itself_and_not_for_another() -> None:
    run = with_teacher(small(**CALM))
    same, other = objective(run, teacher(run)).eval(), objective(run, teacher(run)).eval()
    with torch.no_grad():
        for p in other.model.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    for stage, names in EXPECTED.items():
        zero, more = terms(same, run, stage), terms(other, run, stage)
        assert set(zero) == set(more) == names
        assert all(abs(v.item()) < 1e-4 for v in zero.values()), zero
        assert all(v.item() > 1e-3 for v in more.values()), more


def test_gradients_reach_the_student_and_never_the_teacher() -> None:
    run = with_teacher(small("realtime", **CALM))
    taught_by = teacher(run, ngf=8, trunk_blocks=2, first_block=True)
    before = {k: v.clone() for k, v in taught_by.model.state_dict().items()}
    made = objective(run, taught_by).train()
    sum(terms(made, run, 3).values()).backward()  # type: ignore[union-attr]
    model = made.model
    for module in (model.g1, model.g2, model.gmm1, model.g3, *made.distillation.modules_of(3)):  # type: ignore[union-attr]
        without = [n for n, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert not without, without
    assert len(made.distillation.modules_of(3)) == 3 and len(made.distillation.modules_of(1)) == 1  # type: ignore[union-attr]
    assert not any(p.grad is not None for p in taught_by.model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in taught_by.model.state_dict().items()), "nor do its statistics move"
    assert not taught_by.model.training
    assert not any("_teacher" in name for name, _ in made.named_parameters())


def test_a_teacher_may_have_other_resolutions_inside() -> None:
    """G1 of `edge` works at full resolution, that of `mini` at half."""
    run = with_teacher(small(**CALM))
    found = terms(objective(run, teacher(run, half_semantics=False, space_to_depth=False)), run, 3)
    assert all(v.isfinite() for v in found.values()) and set(found) == set(DEFAULTS)


def test_what_is_inherited() -> None:
    """Of `mini`, `realtime` takes everything but G1's stem and head, whose input is packed: 99 of 100 parameters."""
    torch.manual_seed(0)
    mini, realtime = build_model(preset("mini")), build_model(preset("realtime"))
    untouched = realtime.g1.conv1[0].weight.clone()  # type: ignore[index,union-attr,operator]
    found = inherit(realtime, mini)
    fresh = sum(p.numel() for n in ("conv1", "conv9", "conv11") for p in realtime.g1.get_submodule(n).parameters())
    assert found["parameters"] == sum(p.numel() for p in realtime.parameters())
    assert found["parameters"] - found["inherited"] == fresh
    assert found["inherited"] > 0.99 * found["parameters"]
    assert torch.equal(realtime.g1.conv1[0].weight, untouched)  # type: ignore[index,union-attr,arg-type]
    own, theirs = realtime.state_dict(), mini.state_dict()
    assert torch.equal(own["g3.res5.0.conv_b.0.weight"], theirs["g3.res5.0.conv_b.0.weight"])
    assert torch.equal(own["gmm1.regression.1.running_var"], theirs["gmm1.regression.1.running_var"])
    assert inherit(build_model(preset("mini")), mini)["inherited"] == sum(p.numel() for p in mini.parameters())


# --- the trainer -----------------------------------------------------------------------------------------------------


def tiny(**optimiser: Any) -> RunConfig:
    values = {"iterations": [2, 2, 2], "matching_iterations": 2, **optimiser}
    return with_teacher(config(**CALM, network={"trunk_blocks": 1, "align_once": True}, optimiser=values))


def trainer(data: Path, out: Path, run: RunConfig, taught_by: Teacher | None, precision: str = "32-true") -> Trainer:
    fabric = make_fabric("cpu", precision)
    return Trainer(run, str(data), out, workers=0, save_every=1, fabric=fabric, teacher=taught_by)


def test_resumed_run_equals_the_uninterrupted_one(data: Path, tmp_path: Path) -> None:
    """With a wider teacher, so that the adapters between the trunks are resumed as well, and with a running average."""
    run = tiny(ema=0.5)
    taught_by = teacher(run, ngf=8)
    whole = trainer(data, tmp_path / "whole", run, taught_by).fit()

    for stop in [(0, 1), (1, 1), (2, 1), (3, 1)]:
        fit_until(trainer(data, tmp_path / "parts", run, taught_by), stop)
    assert equal(whole, trainer(data, tmp_path / "parts", run, taught_by).fit())
    record = whole.provenance["distilled_from"]
    assert record["sha256"] == taught_by.sha256 and record["inherited"] < record["parameters"]
    assert not any("adapter" in name for name in whole.weights), "they serve training only"
    with pytest.raises(SpgvtonError, match="another configuration"):
        trainer(data, tmp_path / "parts", run, teacher(run, seed=9)).fit()


def test_verb_distils_in_bfloat16_and_says_what_it_inherited(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tiny()
    file = tmp_path / "teacher.safetensors"
    Checkpoint(run.network, dict(teacher(run).model.state_dict())).save(file)
    config(**CALM).save(tmp_path / "run.yaml")
    options = ["train", "--config", str(tmp_path / "run.yaml"), "--data", str(data), "--workers", "0"]
    options += ["--accelerator", "cpu", "--iterations", "1,0,1", "--precision", "bf16-mixed", "--allow-overlap"]
    assert main([*options, "--out", str(tmp_path / "out"), "--distill-from", str(file)]) == 0
    assert "parameters from the teacher" in capsys.readouterr().err
    made = Checkpoint.load(tmp_path / "out" / "model.safetensors")
    assert weights_of(made) == DEFAULTS and len(made.provenance["distilled_from"]["sha256"]) == 64
    assert all(v.isfinite().all() for v in made.weights.values())


def weights_of(made: Checkpoint) -> dict[str, float]:
    return {k: v for k, v in made.provenance["run"]["losses"].items() if k.startswith("distill_")}


def test_wrong_use_is_one_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tiny()
    assert weights(run.losses) == DEFAULTS and with_teacher(run) == run, "what the run sets stays"
    with pytest.raises(UsageError, match=r"losses\.distill_image needs a teacher: give --distill-from"):
        trainer(data, tmp_path / "a", run, None)
    with pytest.raises(UsageError, match="teacher's size is 64x96, the student's is 128x96"):
        trainer(data, tmp_path / "a", run, teacher(run, height=64))
    with pytest.raises(UsageError, match="teacher's label set is lip, the student's is cihp"):
        trainer(data, tmp_path / "a", run, teacher(run, label_set="lip"))
    (tmp_path / "folder").mkdir()
    for path, message in (("folder", "is not a model bundle"), ("none", "cannot load checkpoint")):
        options = ["train", "--data", str(data), "--out", str(tmp_path / "a"), "--distill-from", str(tmp_path / path)]
        assert main(options) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error
    assert not (tmp_path / "a").exists()


def test_a_state_of_before_these_options_resumes(data: Path, tmp_path: Path) -> None:
    """An option that a state does not know was off when it was written."""
    run = config(**CALM, network={"trunk_blocks": 4}, optimiser={"iterations": [1, 0, 0]})
    trainer(data, tmp_path, run, None).fit()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    for name in DEFAULTS:
        del state["config"]["run"]["losses"][name]
    del state["config"]["run"]["network"]["trunk_blocks"], state["distillation"]
    torch.save(state, tmp_path / "state.pt")
    trainer(data, tmp_path, run, None).fit()
