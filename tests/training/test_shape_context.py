"""VITON's matching of two outlines: it finds known warps, and its parts are what they are named after."""

import pytest
import torch

from spgvton_training.comparison import shape_context as sc
from spgvton_training.networks.tps import control_points, tps_grid, tps_grid_sample

SIZE = (128, 96)
IDENTITY = torch.from_numpy(control_points(5)).float()[None]


def shirt() -> torch.Tensor:
    """A body, two sleeves and a neck (1, 1, 128, 96); left and right differ."""
    mask = torch.zeros(1, 1, *SIZE)
    mask[..., 24:104, 32:64] = 1
    mask[..., 28:52, 14:82] = 1
    mask[..., 24:30, 44:52] = 0
    mask[..., 96:104, 56:64] = 0
    return mask


def test_points_lie_evenly_on_the_outline() -> None:
    mask = shirt()
    points, pixels = sc.outline_points(mask, 64)
    assert points.shape == (1, 64, 2) and 250 < float(pixels) < 400
    scale = torch.tensor([(SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2])
    at = ((points[0] + 1) * scale).round().long()
    for x, y in at.tolist():
        around = mask[0, 0, y - 1 : y + 2, x - 1 : x + 2]
        assert mask[0, 0, y, x] == 1 and around.min() == 0
    left = int((points[0, :, 0] < 0).sum())
    assert 24 <= left <= 40, "both sides"
    assert len({tuple(p) for p in at.tolist()}) == 64


def test_contexts_do_not_change_with_place_and_scale_but_with_direction() -> None:
    points, _ = sc.outline_points(shirt())
    contexts = sc.shape_contexts(points)
    assert contexts.shape == (1, 64, len(sc.RINGS) * sc.SECTORS)
    assert contexts.sum(2).max() <= 1 + 1e-5 and contexts.sum(2).min() > 0.8
    moved = sc.shape_contexts(points * 0.5 + 0.2)
    assert (contexts - moved).abs().sum(2).mean() < 0.02
    mirrored = sc.shape_contexts(points * torch.tensor([-1.0, 1.0]))
    assert (contexts - mirrored).abs().sum(2).mean() > 0.5


def test_assignment_finds_a_permutation() -> None:
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    cost = 1 - torch.eye(64)[order][None]
    pairs = sc.assignment(cost)
    assert torch.equal(pairs.argmax(2)[0], order)
    assert torch.allclose(pairs.sum(2), torch.ones(1, 64)) and (pairs.sum(1) - 1).abs().max() < 1e-3


def test_inverse() -> None:
    a = torch.rand(3, 25, 25, generator=torch.Generator().manual_seed(1))
    a = a @ a.transpose(1, 2) / 25 + 0.01 * torch.eye(25)
    assert (sc.invert(a) @ a - torch.eye(25)).abs().max() < 2e-3


@pytest.mark.parametrize("wave", [0.0, 0.08])
def test_finds_a_known_warp(wave: float) -> None:
    """A shirt that was scaled, moved and bent: the masks cover each other, and garment's pixels come near their places."""
    noise = torch.randn(1, 2, 25, generator=torch.Generator().manual_seed(2))
    true = IDENTITY * 1.25 + torch.tensor([0.1, -0.1])[None, :, None] + wave * noise
    target = (tps_grid_sample(shirt(), true, padding="zeros") > 0.5).float()
    theta = sc.match(shirt(), target, 5)
    assert theta.shape == (1, 2, 25)
    found = (tps_grid_sample(shirt(), theta, padding="zeros") > 0.5).float()
    union, both = torch.maximum(found, target).sum(), (found * target).sum()
    assert both / union > (0.9 if wave else 0.95)
    inside = target[:, 0] > 0
    off = (tps_grid(theta, SIZE) - tps_grid(true, SIZE))[inside].abs().sum(1).mean()
    assert off < (0.1 if wave else 0.04)


def test_nothing_to_match_is_the_identity_and_no_batch_mixes() -> None:
    masks = torch.cat([shirt(), torch.zeros(1, 1, *SIZE), shirt().roll(8, 2)])
    theta = sc.match(shirt().expand(3, -1, -1, -1), masks, 5)
    assert torch.equal(theta[1:2], IDENTITY)
    assert theta.isfinite().all()
    assert torch.allclose(theta[2:], sc.match(shirt(), masks[2:], 5), atol=1e-4)
