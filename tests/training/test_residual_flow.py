"""The residual flow: none at the start, torch = numpy, smooth where that costs nothing, learnt from its own losses alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from spgvton.live.spline import bent, cloth_positions
from spgvton_training import losses
from spgvton_training.checkpoint import Checkpoint, started_from
from spgvton_training.networks.config import preset
from spgvton_training.networks.joint import JointModel, build_model
from spgvton_training.networks.residual_flow import LIMIT, bend, bend_grid
from spgvton_training.networks.tps import tps_grid

H, W = 128, 96
SMALL = dict(ngf=4, gmm_ngf=4, height=H, width=W)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def network(residual_flow: bool = True) -> JointModel:
    torch.manual_seed(0)
    return build_model(preset("live", **SMALL, residual_flow=residual_flow)).eval()


def seen(n: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """What JointModel.bend takes: splined, theta, mask, semantic, keypoints."""
    theta = network(False).gmm1.control.repeat(n, 1, 1) + 0.1 * noise(n, 2, 25, seed=3)
    keypoints = noise(n, 18, 3) * torch.tensor([W, H, 1.0])
    semantic = noise(n, 20, H // 2, W // 2).softmax(1)
    return noise(n, 4, H, W), theta, noise(n, 1, H, W), semantic, keypoints


def test_it_starts_as_the_spline_alone() -> None:
    splined, *rest = seen()
    worn = network().bend(splined, *rest)
    assert worn.residual is not None and worn.residual.shape == (2, 2, H // 4, W // 4)
    assert not worn.residual.any()
    torch.testing.assert_close(torch.cat([worn.cloth, worn.mask], 1), splined, atol=1e-4, rtol=0)


def test_a_network_without_it_has_none() -> None:
    splined, *rest = seen()
    worn = network(False).bend(splined, *rest)
    assert worn.residual is None and torch.equal(worn.cloth, splined[:, :3])


def test_it_is_bounded() -> None:
    model = network()
    assert model.residual is not None
    torch.nn.init.normal_(model.residual.leave.weight, std=1e3)
    residual = model.bend(*seen()).residual
    assert residual is not None and 0.9 * LIMIT < residual.abs().max() <= LIMIT


def test_known_shift() -> None:
    """R of one column to the right shows each pixel its right neighbour."""
    image = noise(1, 3, H, W)
    residual = torch.zeros(1, 2, H // 4, W // 4)
    residual[:, 0] = 2 / (W - 1)
    moved = bend(image, residual)
    torch.testing.assert_close(moved[..., :-1], image[..., 1:], atol=1e-4, rtol=0)


def smooth_flow(seed: int) -> Tensor:
    coarse = 0.1 * (noise(1, 2, 4, 3, seed=seed) - 0.5)
    return torch.nn.functional.interpolate(coarse, size=(H // 4, W // 4), mode="bicubic", align_corners=True)


@pytest.mark.parametrize("seed", [0, 1])
def test_numpy_shows_the_same_pixels(seed: int) -> None:
    """spgvton.live.spline.bent, which the compositor uses, against the picture that the network saw."""
    theta = network(False).gmm1.control[None] + 0.05 * noise(1, 2, 25, seed=seed)
    residual = smooth_flow(seed)
    grid = tps_grid(theta, (H, W)).permute(0, 3, 1, 2)
    wanted = bend(grid, residual)[0].permute(1, 2, 0).numpy()
    wanted = (wanted + 1) / 2 * np.array([W - 1, H - 1], np.float32)
    found: NDArray[np.float32] = bent(cloth_positions(theta[0].numpy(), (H, W)), residual[0].numpy())
    np.testing.assert_allclose(found, wanted, atol=0.05)  # OpenCV samples at 32nds of a pixel


def test_straight_lines_cost_nothing() -> None:
    y, x = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 12), indexing="ij")
    straight = torch.stack([0.02 * x - 0.03 * y + 0.01, 0.05 * y])[None]
    bowed = straight + 0.05 * torch.stack([y**2, x * y])[None]
    assert losses.flow_smoothness(straight) < 1e-6
    assert losses.flow_smoothness(bowed) > 1e-4


def test_small_bends_do_not_hold_it_back() -> None:
    """At zero the gradient vanishes: an absolute value there would outweigh what a better place of the garment gains."""
    flow = torch.zeros(1, 2, 8, 6, requires_grad=True)
    (gradient,) = torch.autograd.grad(losses.flow_smoothness(flow), flow)
    assert not gradient.any()


def test_nothing_flows_back_into_what_it_sees() -> None:
    model = network()
    assert model.residual is not None
    torch.nn.init.normal_(model.residual.leave.weight)
    given = [t.requires_grad_() for t in seen()]
    residual = model.bend(*given).residual
    assert residual is not None
    residual.square().sum().backward()
    assert all(t.grad is None for t in given)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.residual.up.parameters())


def test_a_checkpoint_without_it_can_be_gone_on_with() -> None:
    before = network(False)
    start = started_from(Checkpoint(before.config, dict(before.state_dict()), {}), network().config)
    assert isinstance(start, JointModel) and start.residual is not None
    assert torch.equal(start.g3.state_dict()["conv11.weight"], before.g3.state_dict()["conv11.weight"])
    assert not start.residual.leave.weight.any()


def test_grids_stay_exact_under_autocast() -> None:
    """In bfloat16 a position near 1 has steps of 0.004: 0.4 columns of 192."""
    theta = network(False).gmm1.control[None] + 0.1 * noise(1, 2, 25)
    residual = smooth_flow(0)
    with torch.autocast("cpu", torch.bfloat16):
        grids = tps_grid(theta, (H, W)), bend_grid(residual, (H, W))
    for found, wanted in zip(grids, (tps_grid(theta, (H, W)), bend_grid(residual, (H, W)))):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)
