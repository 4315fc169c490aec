"""Generators by Table I, GMM, alignment, and the joint model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.errors import SpgvtonError
from spgvton.keypoints import heat_maps as numpy_heat_maps
from spgvton_training.networks.alignment import align
from spgvton_training.networks.background import estimate_background
from spgvton_training.networks.config import PRESETS, NetworkConfig, preset
from spgvton_training.networks.generator import Generator
from spgvton_training.networks.gmm import GeometricMatching, moments
from spgvton_training.networks.joint import Inputs, JointModel, build_model, heat_maps
from spgvton_training.networks.tps import control_points, tps_grid_sample

STANDING = {
    kp.NOSE: (96, 40), kp.NECK: (96, 70), kp.R_SHOULDER: (70, 75), kp.R_ELBOW: (60, 115), kp.R_WRIST: (55, 150),
    kp.L_SHOULDER: (122, 75), kp.L_ELBOW: (132, 115), kp.L_WRIST: (137, 150), kp.R_HIP: (80, 160),
    kp.L_HIP: (112, 160), kp.R_EYE: (90, 35), kp.L_EYE: (102, 35), kp.R_EAR: (84, 38), kp.L_EAR: (108, 38),
}  # fmt: skip


def standing() -> torch.Tensor:
    k = torch.zeros(1, 18, 3)
    for i, (x, y) in STANDING.items():
        k[0, i] = torch.tensor([x, y, 1.0])
    return k


def random_inputs(config: NetworkConfig, n: int = 1) -> Inputs:
    g = torch.Generator().manual_seed(0)
    h, w = config.size
    labels = torch.randint(0, 20, (n, h // 16, w // 16), generator=g)
    labels = labels.repeat_interleave(16, 1).repeat_interleave(16, 2)
    reference = torch.nn.functional.one_hot(labels, 20).permute(0, 3, 1, 2).float()
    head = reference[:, list(lb.HEAD)].clone()
    reference[:, list(lb.HEAD + lb.clothes())] = 0
    mask = torch.zeros(n, 1, h, w)
    mask[:, :, h // 4 : -h // 4, w // 4 : -w // 4] = 1
    scale = torch.tensor([w / 192, h / 256, 1])
    source = standing().expand(n, -1, -1) * scale
    target = source + torch.randn(n, 18, 3, generator=g) * torch.tensor([4, 4, 0])
    image = torch.rand(n, 6, h, w, generator=g) * 2 - 1
    return Inputs(reference, head, image[:, :3], source, image[:, 3:], mask, target * (source[:, :, 2:] > 0))


def test_table_1_at_paper_width() -> None:
    """Channels and strides of Table I, layer by layer ("92" read as 96)."""
    config = preset("paper")
    g = Generator(41, 20, config, space_to_depth=False)
    shapes: dict[str, tuple[int, ...]] = {}
    for name, module in g.named_children():
        module.register_forward_hook(lambda _m, _i, o, name=name: shapes.update({name: tuple(o.shape[1:])}))
    with torch.no_grad():
        out = g(torch.zeros(1, 41, 64, 48))  # a quarter of the size, same strides
    assert shapes == {
        "conv1": (64, 64, 48), "conv2": (128, 64, 48), "conv3": (128, 32, 24), "res3": (128, 32, 24),
        "conv4": (256, 16, 12), "res4": (256, 16, 12), "conv5": (512, 8, 6), "res5": (512, 8, 6),
        "conv6": (256, 16, 12), "conv7": (128, 32, 24), "conv8": (64, 64, 48), "conv9": (20, 64, 48),
        "conv10": (20, 64, 48), "conv11": (20, 64, 48),
    }  # fmt: skip
    assert out.shape == (1, 20, 64, 48) and len(g.res5) == 4


def test_paper_has_no_extension_and_the_papers_channels() -> None:
    assert preset("paper").extensions == []
    assert all(config.extensions for name, config in PRESETS.items() if name != "paper")
    model = JointModel(preset("paper", ngf=4, gmm_ngf=4))
    channels = [g.conv1[0].in_channels for g in (model.g1, model.g2, model.g3)]  # type: ignore[union-attr]
    assert channels == [41, 44, 24], "section III: G1 41, G2 44, G3 24"
    outs = [g.conv11.out_channels for g in (model.g1, model.g2, model.g3)]
    assert outs == [20, 4, 4]


def test_options_of_the_cheap_presets_are_what_they_say() -> None:
    """Each leaves shapes and names elsewhere as they are, so that a trained `mini` fits."""
    mini = build_model(preset("mini", ngf=4, gmm_ngf=4)).state_dict()

    def changed(**options: object) -> set[str]:
        own = build_model(preset("mini", ngf=4, gmm_ngf=4, **options)).state_dict()
        keys = {k for k in own.keys() | mini.keys() if k not in own or k not in mini or own[k].shape != mini[k].shape}
        return {".".join(k.split(".")[: 3 if ".res5." in k else 2]) for k in keys}

    def everywhere(*names: str) -> set[str]:
        return {f"{g}.{name}" for g in ("g1", "g2", "g3") for name in names}

    assert changed(trunk_blocks=1) == everywhere("res5.1", "res5.2", "res5.3")
    assert changed(first_block=False) == everywhere("res3")
    assert changed(second_tail_convolution=False) == everywhere("conv10")
    assert changed(separable_blocks=True) == everywhere("res3", "res4", *(f"res5.{i}" for i in range(4)))
    packed = changed(space_to_depth_g1=True)
    assert packed == {f"g1.{n}" for n in ("conv1", "conv2", "conv3", "conv8", "conv9", "conv10", "conv11", "skip1")}
    assert not changed(align_once=True)
    for blocks in (0, 17):
        with pytest.raises(SpgvtonError, match="trunk_blocks must be 1 to 16"):
            NetworkConfig(trunk_blocks=blocks)
    with pytest.raises(SpgvtonError, match="align_once needs align_source"):
        NetworkConfig(align_once=True)
    realtime, lite = (sum(p.numel() for p in build_model(preset(n)).parameters()) for n in ("realtime", "lite"))
    assert realtime < 4.6e6 and lite < 4e6


def test_config_round_trip_and_errors() -> None:
    for config in PRESETS.values():
        assert NetworkConfig.from_dict(config.to_dict()) == config
    with pytest.raises(SpgvtonError, match="frobnicate"):
        NetworkConfig.from_dict({"frobnicate": 1})
    with pytest.raises(SpgvtonError, match="multiple of 32"):
        NetworkConfig(height=250)
    with pytest.raises(SpgvtonError, match="preset"):
        preset("huge")


@pytest.mark.parametrize("stride", [1, 2])
def test_heat_maps_equal_the_contract(stride: int) -> None:
    k = standing()
    got = heat_maps(k, (256, 192), stride)[0].numpy()
    scaled = k[0].numpy().copy()
    scaled[:, :2] = (scaled[:, :2] + 0.5) / stride - 0.5
    assert (got == numpy_heat_maps(scaled, (256 // stride, 192 // stride))).all()


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_joint_forward_and_gradients(name: str) -> None:
    """The image depends on every parameter of G1, G2, GMM1 and G3, and on none of GMM2 (training only)."""
    config = preset(name, ngf=4, gmm_ngf=4, height=128, width=96)
    torch.manual_seed(0)
    model = build_model(config).train()
    inputs = random_inputs(config, n=2)
    image = model(inputs)
    assert image.shape == (2, 3, 128, 96) and image.abs().max() <= 1
    (image * torch.randn(image.shape)).sum().backward()
    for module in (model.g1, model.g2, model.gmm1, model.g3):
        without = [n for n, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert not without, without
    assert all(p.grad is None for p in model.gmm2.parameters())


def test_gmm_starts_near_the_identity_and_moments_align() -> None:
    torch.manual_seed(0)
    source = torch.zeros(1, 1, 128, 96)
    source[:, :, 20:100, 10:80] = 1
    target = torch.zeros(1, 1, 128, 96)
    target[:, :, 60:100, 40:75] = 1
    plain = GeometricMatching((128, 96), 4, 5).eval()
    aligned = GeometricMatching((128, 96), 4, 5, moment_alignment=True).eval()
    with torch.no_grad():
        theta = plain(source, target)[0].numpy()
        assert np.abs(theta - control_points(5)).max() < 0.3
        # the untrained network's small offsets aside, the moment-aligned warp already lands on the target
        warped = tps_grid_sample(source, aligned(source, target), padding="zeros")
    centre, spread = moments(warped)
    want_centre, want_spread = moments(target)
    assert (centre - want_centre).abs().max() < 0.1 and (spread / want_spread - 1).abs().max() < 0.25


def test_alignment_identity_when_the_pose_is_the_same() -> None:
    inputs = random_inputs(preset("mini"))
    k = inputs.source_keypoints
    h, w = inputs.body.shape[-2:]
    labels = torch.zeros(1, h, w, dtype=torch.int64)
    labels[:, 25:60, 80:112] = lb.FACE
    labels[:, 165:230, 75:118] = lb.PANTS
    maps = torch.nn.functional.one_hot(labels, 20).permute(0, 3, 1, 2).float()
    head = maps[:, list(lb.HEAD)].clone()
    maps[:, list(lb.HEAD)] = 0
    moved_maps, moved_head, moved_body, empty = align(maps, head, inputs.body, k, k)
    assert torch.allclose(moved_maps, maps, atol=1e-3) and torch.allclose(moved_head, head, atol=1e-3)
    assert torch.allclose(moved_body, inputs.body, atol=1e-2)
    assert empty.abs().max() < 1e-3


def test_alignment_moves_the_head_with_its_keypoints() -> None:
    source = standing()
    target = source.clone()
    head_points = [kp.NOSE, kp.R_EYE, kp.L_EYE, kp.R_EAR, kp.L_EAR, kp.NECK]
    target[0, head_points, 0] += 20
    target[0, head_points, 1] -= 6
    head = torch.zeros(1, 2, 256, 192)
    head[:, 0, 30:60, 80:112] = 1
    body = torch.where(head[:, :1] > 0, 0.5, -0.2).expand(1, 3, 256, 192)
    reference = torch.zeros(1, 20, 256, 192)
    _, moved, image, empty = align(reference, head, body, source, target)
    y, x = torch.nonzero(moved[0, 0] > 0.5, as_tuple=True)
    assert (x.min(), x.max(), y.min(), y.max()) == (100, 131, 24, 53)
    assert torch.allclose(image[0, :, 40, 110], torch.tensor(0.5), atol=1e-4)
    assert torch.allclose(image[0, :, 57, 85], torch.tensor(0.0), atol=1e-4), "where the head was is empty now"
    assert empty[0, 0, 57, 85] == 1 and empty[0, 0, 40, 110] < 1e-4


@pytest.mark.parametrize("stride", [1, 2])
def test_aligning_once_differs_where_parts_meet_only(stride: int) -> None:
    """The maps are the same; of the body one pixel in a hundred, at the seams between parts, may differ."""
    labels = torch.zeros(1, 256, 192, dtype=torch.int64)
    labels[:, 15:45, 80:112] = lb.HAIR
    labels[:, 25:60, 84:108] = lb.FACE
    labels[:, 60:72, 90:102] = lb.TORSO_SKIN
    labels[:, 75:160, 75:118] = lb.UPPER_CLOTHES
    labels[:, 160:250, 75:118] = lb.PANTS
    labels[:, 80:165, 50:70], labels[:, 80:165, 122:142] = lb.RIGHT_ARM, lb.LEFT_ARM
    maps = torch.nn.functional.one_hot(labels, 20).permute(0, 3, 1, 2).float()
    head = maps[:, list(lb.HEAD)].clone()
    maps[:, list(lb.HEAD)] = 0
    ramp = torch.linspace(-0.8, 0.8, 192).expand(1, 3, 256, 192) * (labels != lb.UPPER_CLOTHES)
    source = standing()
    target = source + torch.tensor([7.0, -4.0, 0.0]) * (source[:, :, 2:] > 0)
    target[0, kp.R_WRIST, 0] -= 12
    arguments = (maps, head, ramp, source, target, stride)
    several, once = align(*arguments), align(*arguments, True)
    assert torch.equal(several[0], once[0]) and torch.equal(several[1], once[1])
    difference = (several[2] - once[2]).abs().amax(1)
    assert (difference > 0.05).float().mean() < 0.01 and difference.mean() < 2e-3
    assert (several[2] - ramp).abs().mean() > 0.015, "the body moved"
    assert (several[3] - once[3]).abs().mean() < 2e-3


def test_alignment_does_not_paint_a_raised_hand_with_the_upper_arm() -> None:
    source = standing()
    shoulder = source[0, kp.L_SHOULDER, :2].clone()
    source[0, kp.L_ELBOW, :2] = shoulder + torch.tensor([4.0, 34.0])
    source[0, kp.L_WRIST, :2] = shoulder + torch.tensor([34.0, 12.0])  # beside the upper arm, which does not move
    target = source.clone()
    target[0, kp.L_WRIST, :2] = shoulder + torch.tensor([8.0, 70.0])
    x, y = (int(v) for v in source[0, kp.L_WRIST, :2])
    maps = torch.zeros(1, 20, 256, 192)
    maps[:, lb.LEFT_ARM, y - 6 : y + 5, x - 5 : x + 6] = 1
    body = 0.5 * maps[:, lb.LEFT_ARM : lb.LEFT_ARM + 1].expand(1, 3, 256, 192)
    for once in (False, True):
        moved, _, image, _ = align(maps, torch.zeros(1, 2, 256, 192), body, source, target, 1, once)
        assert moved[0, lb.LEFT_ARM, y - 8 : y + 8, x - 8 : x + 8].max() == 0, "where the hand was"
        assert image[0, 0, y - 8 : y + 8, x - 8 : x + 8].max() == 0
        x_new, y_new = (int(v) for v in target[0, kp.L_WRIST, :2])
        assert moved[0, lb.LEFT_ARM, y_new, x_new] > 0.9 and image[0, 0, y_new, x_new] > 0.4, "where it is"


def test_alignment_survives_missing_keypoints() -> None:
    inputs = random_inputs(preset("mini"))
    nothing = torch.zeros_like(inputs.keypoints)
    for source, target in ((inputs.source_keypoints, nothing), (nothing, inputs.keypoints), (nothing, nothing)):
        for once in (False, True):
            for tensor in align(*inputs[:3], source, target, 2, once):
                assert tensor.isfinite().all()


def test_background_is_kept_where_visible_and_continued_where_not() -> None:
    ramp = torch.linspace(-0.8, 0.8, 192).expand(1, 3, 256, 192)
    visible = torch.ones(1, 1, 256, 192)
    visible[:, :, 40:220, 60:130] = 0
    got = estimate_background(ramp, visible)
    error = (got - ramp).abs()
    assert error[:, :, :, :50].max() < 0.03 and error[:, :, :, 140:].max() < 0.03
    assert error[:, :, 60:200, 70:120].max() < 0.35, "the hole continues its surroundings"
    elsewhere = torch.where(visible > 0, ramp, torch.full_like(ramp, 9.0))
    assert torch.equal(estimate_background(elsewhere, visible), got), "what the person hides has no say"
    assert torch.equal(estimate_background(ramp, 0 * visible), torch.zeros_like(ramp)), "nothing seen: grey, not NaN"


@pytest.mark.parametrize("align_source", [True, False])
def test_fill_paints_background_only_where_the_map_says_so(align_source: bool) -> None:
    config = preset("mini", ngf=4, gmm_ngf=4, background_margin=False, align_source=align_source)
    model = build_model(config)
    inputs = random_inputs(config)
    inputs = inputs._replace(
        reference_map=torch.zeros(1, 20, 256, 192), head=torch.zeros(1, 2, 256, 192), body=torch.zeros(1, 3, 256, 192)
    )
    inputs.reference_map[:, lb.BACKGROUND, :, :60] = 1
    inputs.body[:, :, :, :60] = 0.75
    person = model.person(inputs)
    semantic = torch.zeros(1, 20, 128, 96)
    semantic[:, lb.BACKGROUND, :64] = 1
    semantic[:, lb.UPPER_CLOTHES, 64:] = 1
    body = model.fill(person.body, person.hidden, semantic)
    assert torch.allclose(body[:, :, :120], torch.tensor(0.75), atol=1e-3)
    assert torch.equal(body[:, :, 140:], inputs.body[:, :, 140:])
    plain = build_model(preset("mini", ngf=4, gmm_ngf=4, fill_background=False, background_margin=False))
    bare = plain.person(inputs)
    assert torch.equal(plain.fill(bare.body, bare.hidden, semantic), inputs.body)


@pytest.mark.parametrize("align_source", [True, False])
def test_pixels_at_the_persons_edge_are_hidden_too(align_source: bool) -> None:
    """A white fringe at her edge, as resampled pictures have one, neither stays behind nor colours what is filled."""
    with pytest.raises(SpgvtonError, match="background_margin needs fill_background"):
        NetworkConfig(align_source=True, background_margin=True)
    config = preset("mini", ngf=4, gmm_ngf=4, align_source=align_source)
    inputs = random_inputs(config)
    reference = torch.zeros(1, 20, 256, 192)
    reference[:, lb.BACKGROUND] = 1
    reference[:, lb.BACKGROUND, 80:160, 60:120] = 0  # clothes: no label of S'_s
    body = torch.full((1, 3, 256, 192), -0.5)
    body[:, :, 78:162, 58:122] = 1.0
    body[:, :, 80:160, 60:120] = 0.0
    inputs = inputs._replace(reference_map=reference, head=torch.zeros(1, 2, 256, 192), body=body)
    semantic = torch.zeros(1, 20, 128, 96)
    semantic[:, lb.BACKGROUND] = 1
    with_margin = build_model(config)
    person = with_margin.person(inputs)
    filled = with_margin.fill(person.body, person.hidden, semantic)
    assert torch.allclose(filled, torch.tensor(-0.5), atol=1e-3)
    without = build_model(replace(config, background_margin=False))
    person = without.person(inputs)
    assert without.fill(person.body, person.hidden, semantic).max() > 0.9
