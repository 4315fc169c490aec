"""The parser network: what goes in and comes out, its cost, and its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from spgvton.errors import SpgvtonError
from spgvton_training.parsing.checkpoint import ParserCheckpoint
from spgvton_training.parsing.network import NUM_CLASSES, ParserConfig, ParserNetwork, pose_maps

TINY = ParserConfig(channels=(4, 6, 8, 10))


def test_logits_are_at_half_resolution() -> None:
    network = ParserNetwork(TINY).eval()
    logits = network(torch.zeros(2, 3, 256, 192), torch.zeros(2, 18, 3))
    assert logits.shape == (2, NUM_CLASSES, 128, 96) and logits.dtype == torch.float32


def test_a_bell_stands_at_its_keypoint() -> None:
    keypoints = torch.zeros(1, 18, 3)
    keypoints[0, 4] = torch.tensor([61.5, 101.5, 0.7])
    maps = pose_maps(keypoints, (256, 192))
    assert maps.shape == (1, 18, 64, 48)
    assert maps[0, 4, 25, 15] == pytest.approx(1.0) and maps[0, 4].argmax() == 25 * 48 + 15
    assert maps[0, 4, 25, 17] == pytest.approx(np.exp(-0.5), rel=1e-5)  # 8 pixels on
    keypoints[0, 4, 2] = -1
    assert not pose_maps(keypoints, (256, 192)).any()


def test_what_is_not_seen_does_not_count() -> None:
    network = ParserNetwork(TINY).eval()
    picture, here, there = torch.rand(1, 3, 256, 192), torch.zeros(1, 18, 3), torch.full((1, 18, 3), 77.0)
    there[..., 2] = 0
    assert torch.equal(network(picture, here), network(picture, there))


def test_the_network_keeps_its_budget() -> None:
    network, macs = ParserNetwork().eval(), 0

    def count(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal macs
        assert isinstance(module, nn.Conv2d)
        macs += module.weight.numel() * output.shape[-1] * output.shape[-2]

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    network(torch.zeros(1, 3, 256, 192), torch.zeros(1, 18, 3))
    assert 0.5e9 < macs < 0.8e9


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    network = ParserNetwork(TINY).eval()
    ParserCheckpoint(TINY, network.state_dict(), {"seed": 3}).save(tmp_path / "model.safetensors")
    again = ParserCheckpoint.load(tmp_path / "model.safetensors")
    assert again.config == TINY and again.provenance == {"seed": 3}
    inputs = torch.rand(1, 3, 256, 192), torch.rand(1, 18, 3) * 100
    assert torch.equal(again.network()(*inputs), network(*inputs))
    with pytest.raises(SpgvtonError, match="do not fit"):
        ParserCheckpoint(ParserConfig(), again.weights).network()


@pytest.mark.parametrize("values", [{}, {"channels": [1, 2, 3]}, {"channels": [8, 8, 8, 8], "width": 190}])
def test_wrong_shapes_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(SpgvtonError, match="parser network"):
        ParserConfig.from_dict(values)
