"""Losses on known cases, and the objective: what reaches what, and what each ablation changes."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch

from spgvton import labels as lb
from spgvton.errors import UsageError
from spgvton_training import ablations, losses
from spgvton_training.config import RunConfig, assignment, load, parse, run_preset
from spgvton_training.data.mpv import Batch
from spgvton_training.evaluate import true_maps
from spgvton_training.networks.config import PRESETS
from spgvton_training.networks.discriminator import MultiScaleDiscriminator, PatchDiscriminator
from spgvton_training.networks.joint import Inputs, JointModel, build_model
from spgvton_training.networks.tps import control_points, tps_grid
from spgvton_training.objective import Critics, Objective, critic_names, erase
from spgvton_training.pretrained.face import FaceEncoder
from spgvton_training.pretrained.perceptual import Perceptual

SMALL: dict[str, Any] = {
    "network": {"ngf": 4, "gmm_ngf": 4, "height": 128, "width": 96},
    "losses": {"adversarial": True, "local_adversarial": True},
    "discriminators": {"ndf": 4},
}


def small(preset: str = "mini", **changes: Any) -> RunConfig:
    return run_preset(preset).with_values(SMALL).with_values(changes)


def paper(**changes: Any) -> RunConfig:
    return small("paper", losses={"perceptual": False, "identity": False}).with_values(changes)


def random_batch(config: RunConfig, n: int = 2) -> Batch:
    """A batch with a head, a torso and legs where the keypoints say, so that every region has pixels."""
    g = torch.Generator().manual_seed(3)
    h, w = config.network.size
    labels = torch.zeros(n, h, w, dtype=torch.int64)
    labels[:, 10:30, 35:60] = lb.FACE
    labels[:, 5:12, 33:62] = lb.HAIR
    labels[:, 34:80, 25:70] = lb.UPPER_CLOTHES
    maps = torch.nn.functional.one_hot(labels, 20).permute(0, 3, 1, 2).float()
    head = maps[:, list(lb.HEAD)].clone()
    maps[:, [*lb.HEAD, lb.UPPER_CLOTHES]] = 0
    picture = torch.rand(n, 3, h, w, generator=g) * 2 - 1
    keypoints = torch.rand(n, 18, 3, generator=g) * torch.tensor([w - 1.0, h - 1.0, 1.0])
    inputs = Inputs(maps, head, picture, keypoints, picture.flip(3), (labels > 0)[:, None].float(), keypoints)
    flow = torch.rand(n, h, w, 2, generator=g) * 2 - 1
    return Batch(inputs, torch.rand(n, 3, h, w, generator=g) * 2 - 1, labels, flow)


def objective(config: RunConfig) -> tuple[Objective, Critics]:
    torch.manual_seed(0)
    critics = Critics(config.losses, config.discriminators)
    return Objective(build_model(config.network), config, critics), critics


def run(config: RunConfig, stage: int, progress: float = 0.9) -> tuple[Any, ...]:
    made, critics = objective(config)
    terms, pairs = made(random_batch(config), stage, progress, torch.Generator().manual_seed(0))
    return made, critics, terms, pairs


def reached(module: torch.nn.Module) -> set[str]:
    """Names of the parameters with a gradient that is not all zero."""
    return {k for k, p in module.named_parameters() if p.grad is not None and bool((p.grad != 0).any())}


# --- gradients -------------------------------------------------------------------------------------------------------
def image_alone(config: RunConfig, stage: int) -> JointModel:
    """The model after the gradient of |I^_t - I_t|, and of nothing else, in STAGE."""
    made, _, terms, _ = run(config.with_values({"losses": {"alpha": [2, 0]}}), stage)  # without |1 - M|
    terms["final"].backward()
    return made.model


def parameters(model: JointModel, *networks: str) -> set[str]:
    return {k for k, _ in model.named_parameters() if k.split(".")[0] in networks}


def mask_rows(model: JointModel) -> torch.Tensor:
    """Gradients of those weights of G2 that make the clothes mask and nothing else (channel 3 before a pixel shuffle)."""
    rows = model.g2.conv11.weight.grad
    assert rows is not None
    return rows[12:16] if model.packed else rows[3:4]


WIDE = run_preset("mini").with_values({"network": {"height": 128, "width": 96}})


@pytest.mark.parametrize("config", [WIDE, small(), paper()], ids=["mini", "narrow mini", "paper"])
def test_final_image_teaches_every_parameter_in_the_joint_stage(config: RunConfig) -> None:
    model = image_alone(config, 3)
    assert reached(model) == parameters(model, "g1", "g2", "gmm1", "g3"), "and not GMM2, which is for the cycle"
    assert (mask_rows(model) != 0).any(), "the predicted mask moves the clothes"


# What of the final image's gradient each ablation cuts, and the last stage of its run.
CUTS: dict[str, tuple[int, tuple[str, ...]]] = {
    "w/o-e2e": (2, ("g2", "gmm1", "g3")),
    "w/o-cycle": (3, ("g1", "g2", "gmm1", "g3")),
    "w/o-predicted-map": (3, ("g1", "g2", "gmm1", "g3")),
    "w/o-predicted-mask": (3, ("g1", "g2", "gmm1", "g3")),
    "lambda-3=0": (3, ("g1", "g2", "gmm1", "g3")),
    "lambda-4=0": (3, ()),
}


@pytest.mark.parametrize("config", [small(), paper()], ids=["mini", "paper"])
@pytest.mark.parametrize("name", CUTS)
def test_final_image_teaches_what_an_ablation_leaves(name: str, config: RunConfig) -> None:
    """Per parameter. Eq. 8 alone is cut by w/o-cycle and lambda-3=0: the final image still teaches GMM1."""
    ablated = ablations.apply(config, name)
    stage, networks = CUTS[name]
    assert ablated.optimiser.of_stage(stage)[0] and not any(
        ablated.optimiser.of_stage(s)[0] for s in range(stage + 1, 4)
    )
    model = image_alone(ablated, stage)
    assert reached(model) == parameters(model, *networks)
    if networks:
        seen = "w/o-predicted-mask" not in ablated.ablations
        assert bool((mask_rows(model) != 0).any()) == seen, "with the true mask nothing comes back to the predicted one"


def test_gradients_stop_where_a_stage_or_an_ablation_cuts_them() -> None:
    """The same of the other terms: all of stage 2, and Eq. 8."""
    made, _, terms, _ = run(paper(), 2)
    torch.stack(list(terms.values())).sum().backward()
    assert reached(made.model) == parameters(made.model, "g2", "gmm1", "gmm2", "g3"), "G1 is fixed in stage 2"

    def by_the_cycle(name: str) -> set[str]:
        made, _, terms, _ = run(ablations.apply(paper(), name) if name else paper(), 3)
        terms["cycle"].backward()
        return {k.split(".")[0] for k in reached(made.model)}

    assert by_the_cycle("") == {"g1", "g2", "gmm1", "gmm2"}
    assert by_the_cycle("w/o-predicted-mask") == {"gmm1", "gmm2"}, "the true mask teaches nobody but the GMMs"
    assert by_the_cycle("w/o-cycle") == {"g1", "g2", "gmm1"}
    assert by_the_cycle("lambda-3=0") == set()


def test_critics_do_not_teach_generators_nor_the_other_way() -> None:
    config = small(discriminators={"ndf": 4, "r1_every": 1})
    made, critics, terms, pairs = run(config, 3)
    critics.requires_grad_(False)
    torch.stack([v for k, v in terms.items() if k.startswith("adversarial")]).sum().backward()
    assert {k.split(".")[0] for k in reached(made.model)} >= {"g1", "g2", "g3", "gmm1"}
    made.model.zero_grad()
    critics.requires_grad_(True)
    critics.zero_grad()
    own = critics(pairs, penalise=True)
    assert set(own) == {"d1", "d2", "dg", "dl", "d1_r1", "d2_r1", "dg_r1", "dl_r1"}
    torch.stack(list(own.values())).sum().backward()
    assert not reached(made.model)
    weights = {k for k, _ in critics.named_parameters() if k.endswith("weight")}
    assert weights <= reached(critics)


def test_stages_have_the_terms_of_the_paper() -> None:
    first, second, third = (set(run(paper(), stage)[2]) for stage in (1, 2, 3))
    assert first == {"focal", "semantic_l1", "adversarial_d1"}, "Eq. 2"
    assert second == {"coarse", "final", "cycle", "adversarial_d2", "adversarial_dg", "adversarial_dl"}
    assert third == first | second, "Eq. 17 without its pretrained networks"
    assert critic_names(1, paper().losses) == ("d1",) and critic_names(2, paper().losses) == ("d2", "dg", "dl")


def test_total_has_every_term_of_equation_17(pretrained: tuple[Perceptual, FaceEncoder]) -> None:
    """With the pretrained networks: Eqs. 4, 12 and 15, weighted, and each switched off by its own ablation alone."""

    def run(*names: str) -> tuple[Objective, dict[str, torch.Tensor], dict[str, Any]]:
        config = small("paper")
        for name in names:
            config = ablations.apply(config, name)
        torch.manual_seed(0)
        model = build_model(config.network)  # before the critics: fewer of them must not change it
        critics = Critics(config.losses, config.discriminators)
        made = Objective(model, config, critics, perceptual=pretrained[0], face=pretrained[1])
        return (made, *made(random_batch(config), 3, 0.9, torch.Generator().manual_seed(0)))

    made, terms, pairs = run()
    reconstruction = {"focal", "semantic_l1", "coarse", "coarse_perceptual", "cycle", "final", "final_perceptual"}
    assert set(terms) == reconstruction | {"identity", *(f"adversarial_{d}" for d in ("d1", "d2", "dg", "dl"))}
    target = random_batch(small("paper")).target
    for name, pair in (("coarse", "d2"), ("final", "dg")):
        expected = 10 * pretrained[0](pairs[pair].fake[:, :3], target)
        assert torch.isclose(terms[f"{name}_perceptual"], expected, rtol=1e-4), name
    terms["coarse_perceptual"].backward()
    assert {k.split(".")[0] for k in reached(made.model)} == {"g1", "g2"}, "Eq. 4 sees the coarse image"
    made.model.zero_grad()
    with true_maps(made.model, random_batch(small("paper")).target_labels):  # an untrained map has no head to cut out
        made(random_batch(small("paper")), 3, 0.9, torch.Generator())[0]["identity"].backward()
    assert reached(made.model) == parameters(made.model, "g2", "gmm1", "g3"), "Eq. 15 sees the final one"
    assert all(p.grad is None for network in pretrained for p in network.parameters())
    for name, gone in {
        "w/o-id": {"identity"},
        "w/o-perceptual": {"coarse_perceptual", "final_perceptual"},
        "w/o-local-adv": {"adversarial_dl"},
    }.items():
        rest = run(name)[1]
        assert set(terms) - set(rest) == gone, name
        assert all(torch.isclose(rest[k], terms[k], rtol=1e-4) for k in reconstruction & set(rest)), name
    for number, zero in enumerate(
        [{"focal"}, {"coarse", "coarse_perceptual"}, {"cycle"}, {"final", "final_perceptual"}, {"identity"}], start=1
    ):
        assert {k for k, v in run(f"lambda-{number}=0")[1].items() if v == 0} == zero, "Table V"


def test_discriminators_see_what_the_equations_say() -> None:
    config = paper()
    made, _, _, pairs = run(config, 3)
    h, w = config.network.size
    shapes = {name: tuple(pair.real.shape) for name, pair in pairs.items()}
    assert shapes == {"d1": (2, 61, h, w), "d2": (2, 47, h, w), "dg": (2, 27, h, w), "dl": (2, 30, h, w)}
    batch = random_batch(config)
    assert torch.equal(pairs["dg"].real[:, :3], batch.target)
    face = (batch.target_labels == lb.FACE)[:, None]
    assert torch.equal(pairs["dl"].real[:, :3], batch.target * face), "I_t^f"
    for name, own in (("d1", 20), ("d2", 3), ("dg", 6), ("dl", 9)):
        assert torch.equal(pairs[name].real[:, own:], pairs[name].fake[:, own:]), f"{name}: the same condition"
        assert not torch.equal(pairs[name].real[:, :own], pairs[name].fake[:, :own])
    cropped = run(small(discriminators={"ndf": 4, "local_crop": [48, 40]}), 3)[3]["dl"]
    assert cropped.real.shape == cropped.fake.shape == (2, 30, 48, 40)
    nobody = random_batch(config)._replace(target_labels=torch.zeros(2, h, w, dtype=torch.int64))
    made = objective(small())[0]
    assert "dl" not in made(nobody, 3, 0.9, torch.Generator())[1], "no head, nothing to compare"


# --- ablations -------------------------------------------------------------------------------------------------------
def summary(config: RunConfig) -> dict[str, Any]:
    """What differs from the paper: {dotted name: value}."""

    def differences(a: dict[str, Any], b: dict[str, Any], prefix: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in a.items():
            if isinstance(value, dict):
                out |= differences(value, b[key], f"{prefix}{key}.")
            elif value != b[key]:
                out[prefix + key] = value
        return out

    return differences(asdict(config), asdict(RunConfig()), "")


def difference(a: RunConfig, b: RunConfig) -> dict[str, Any]:
    first, second = summary(a), summary(b)
    return {k: second.get(k, "default") for k in first.keys() | second.keys() if first.get(k) != second.get(k)}


@pytest.mark.parametrize(
    ("name", "changed"),
    {
        "w/o-e2e": {"optimiser.iterations": (70_000, 170_000, 0)},
        "w/o-cycle": {"losses.cycle": False},
        "w/o-predicted-map": {"losses.predicted_map": False},
        "w/o-id": {"losses.identity": False},
        "w/o-local-adv": {"losses.local_adversarial": False},
        "w/o-perceptual": {"losses.perceptual": False},
        "w/o-predicted-mask": {"losses.predicted_mask": False},
        "lambda-1=0": {"losses.lambdas": (0, 10, 20, 10, 10)},
        "lambda-3=80": {"losses.lambdas": (10, 10, 80, 10, 10)},
        "lambda-5=0": {"losses.lambdas": (10, 10, 20, 10, 0)},
    }.items(),
)
def test_ablation_changes_what_the_paper_says_and_nothing_else(name: str, changed: dict[str, Any]) -> None:
    full = run_preset("paper")
    ablated = ablations.apply(full, name)
    assert difference(full, ablated) == changed | {"ablations": (name,)}


def test_ablations_that_cannot_be_are_refused() -> None:
    for name in ("w/o-cake", "lambda-6=0", "lambda-1=x", "lambda-1=-1"):
        with pytest.raises(UsageError, match="is unknown"):
            ablations.apply(RunConfig(), name)
    for name in ("w/o-perceptual", "lambda-3=20"):
        with pytest.raises(UsageError, match="would change nothing"):
            ablations.apply(paper(), name)
    with pytest.raises(UsageError, match="--exclude"):
        ablations.apply(RunConfig(), "w/o-noise")
    listed = parse({"data": {"exclude": "noise.txt"}})
    assert ablations.apply(listed, "w/o-noise").ablations == ("w/o-noise",)


def test_ablations_act_on_the_terms() -> None:
    def terms(name: str, stage: int = 3) -> dict[str, float]:
        torch.manual_seed(0)
        config = ablations.apply(paper(), name) if name else paper()
        return {k: v.item() for k, v in run(config, stage)[2].items()}

    full = terms("")
    assert set(full) - set(terms("w/o-local-adv")) == {"adversarial_dl"}
    assert 0 < terms("w/o-cycle")["cycle"] < full["cycle"], "only |C_w - C_t| is left"
    assert terms("lambda-3=0")["cycle"] == 0 and terms("lambda-1=0")["focal"] == 0
    assert terms("lambda-3=40")["cycle"] == pytest.approx(2 * full["cycle"], rel=1e-5)
    zero = terms("lambda-2=0")
    assert zero["coarse"] == 0 and zero["final"] == pytest.approx(full["final"], rel=1e-5)
    shape = terms("w/o-predicted-map", 1)
    assert shape["focal"] != full["focal"]
    _, _, _, pairs = run(ablations.apply(paper(), "w/o-predicted-map"), 1)
    assert pairs["d1"].real[:, 2:20].sum() == 0 and pairs["d1"].real[:, :2].sum() == 2 * 128 * 96, "body or not"


# --- discriminators and adversarial losses ---------------------------------------------------------------------------
def test_discriminator_is_table_one() -> None:
    network = PatchDiscriminator(7, 32)
    sizes = []
    x = torch.rand(1, 7, 256, 192)
    for layer in network:
        x = layer(x)
        sizes.append(tuple(x.shape[1:]))
    assert sizes == [(32, 256, 192), (32, 256, 192), (32, 128, 96), (32, 128, 96), (64, 64, 48), (1, 64, 48)]
    maps = MultiScaleDiscriminator(7, 4)(torch.rand(2, 7, 128, 96))
    assert [tuple(m.shape) for m in maps] == [(2, 1, 32, 24), (2, 1, 16, 12), (2, 1, 8, 6)]


def test_lsgan_and_gradient_penalty_on_known_cases() -> None:
    one, zero, half = torch.ones(2, 1, 4, 4), torch.zeros(2, 1, 4, 4), torch.full((2, 1, 2, 2), 0.5)
    assert losses.lsgan_generator([one]) == 0 and losses.lsgan_generator([zero, half]) == 1.25
    assert losses.lsgan_discriminator([one], [zero]) == 0
    assert losses.lsgan_discriminator([zero], [one]) == 1
    x = torch.rand(2, 3, 4, 4, requires_grad=True)
    # D(x) = 5 * mean of x: the gradient is 5 / 48 everywhere, its square summed over 48 inputs 25 / 48
    penalty = losses.r1_penalty([5 * x.mean((1, 2, 3), keepdim=True)], x)
    assert torch.isclose(penalty, torch.tensor(25 / 48 / 2))
    assert losses.r1_penalty([x.sum((1, 2, 3), keepdim=True) * 0 + 3], x) == 0, "a constant has no gradient"


def test_face_identity_leaves_out_those_without_a_head() -> None:
    a, b = torch.zeros(3, 8), torch.ones(3, 8)
    b[2] = 100
    assert losses.face_identity(a, b, torch.tensor([True, True, False])) == 1
    assert losses.face_identity(a, b, torch.zeros(3, dtype=torch.bool)) == 0


# --- configuration ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_configuration_survives_yaml(name: str, tmp_path: Any) -> None:
    config = replace(run_preset(name), seed=7)
    config.save(tmp_path / "run.yaml")
    assert load(tmp_path / "run.yaml") == config
    assert parse({}) == RunConfig(), "what is not named keeps its default"


def test_paper_preset_has_no_extension() -> None:
    assert summary(run_preset("paper")) == {}
    assert "losses.flow" in summary(run_preset("mini"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("losses: {alpha: [1]}", r"losses\.alpha\.1"),
        ("losses: {cake: 1}", r"losses\.cake: unexpected"),
        ("network: {cake: 1}", r"network\.cake: unexpected"),
        ("network: {ngf: wide}", r"network\.ngf: input should be a valid integer.*'wide'"),
        ("optimiser: {ema: 2}", r"optimiser\.ema must be between 0 and 1"),
        ("optimiser: [", "is not YAML"),
        ("seed: 2026-99-99", "is not YAML that can be read"),
        ("- 1", "the whole"),
    ],
)
def test_mistakes_in_a_file_are_named(text: str, message: str, tmp_path: Any) -> None:
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        load(tmp_path / "run.yaml")
    assert "\n" not in str(caught.value)


def test_assignment() -> None:
    assert assignment("losses.alpha=[2, 1]") == {"losses": {"alpha": [2, 1]}}
    assert assignment("seed=4") == {"seed": 4}
    for wrong in ("seed", "=3", "a b=3", "losses.alpha=[", "seed=2026-99-99", 'seed="\\UFFFFFFFF"', "seed=!!int ''"):
        with pytest.raises(UsageError):
            assignment(wrong)


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
    assert losses.structure(one, one, losses.box_ssim(one, one)).abs() < 1e-5
    identity = torch.from_numpy(control_points(5)).float()[None]
    assert losses.theta_smoothness(identity, 5).abs() < 1e-6
    grid = tps_grid(identity, (16, 12))
    flow = grid + torch.tensor([0.1, -0.2])
    flow[:, :8] = float("nan")
    assert torch.isclose(losses.warp_flow(grid, flow), torch.tensor(0.3), atol=1e-4)
    assert losses.warp_flow(grid, torch.full_like(flow, float("nan"))) == 0


@pytest.mark.parametrize("predicted", [False, True])
def test_stage_0_matches_the_mask_that_it_is_told_to(predicted: bool) -> None:
    config = small(losses={"predicted_matching": predicted})
    made, _ = objective(config)
    batch = random_batch(config)
    made.requires_grad_(False).eval()
    made.model.gmm1.requires_grad_(True).train()
    terms, _, made_of = made._step(batch, 0, 0.0, torch.Generator())
    worn = (batch.target_labels == lb.UPPER_CLOTHES)[:, None].float()
    wanted = made.model.stages(batch.inputs).coarse.mask if predicted else worn
    assert made_of.mask is not None and torch.allclose(made_of.mask, wanted, atol=1e-6)
    assert not made_of.mask.requires_grad, "G1 and G2 learn nothing in stage 0"
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is not None for p in made.model.gmm1.parameters())
