"""Cross-layer equalisation: every place, the same function, equal shares for all channels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spgvton.cli import main
from spgvton_export.equalise import equalise, largest, links
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.networks.config import NetworkConfig, preset
from spgvton_training.networks.joint import JointModel, build_model


def network(name: str = "mini", **changes: object) -> NetworkConfig:
    tiny = {"ngf": 4, "gmm_ngf": 4, "height": 128, "width": 96, **changes}
    return NetworkConfig.from_dict({**preset(name).to_dict(), **tiny})


def uneven(config: NetworkConfig) -> Checkpoint:
    """Untrained, with gains that differ by channel by a factor of up to 20, a dead one among them."""
    torch.manual_seed(0)
    model = build_model(config)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.1, 2.0)
            torch.nn.init.uniform_(module.bias, -0.3, 0.3)
            module.weight.data[0] = 0
    return Checkpoint(config, dict(model.state_dict()), {"seed": 0})


def pictures(model: JointModel) -> list[torch.Tensor]:
    """What each generator, and theta of GMM1, is on random inputs."""
    torch.manual_seed(1)
    h, w = model.config.height // 2, model.config.width // 2
    made = []
    with torch.no_grad():
        for g in (model.g1, model.g2, model.g3):
            made.append(g(torch.rand(1, next(g.parameters()).shape[1], h, w)))
        mask = torch.rand(1, 1, *(s // model.semantic_stride for s in model.config.size))
        pose = torch.rand(1, next(model.gmm1.target_features.parameters()).shape[1] - 1, *mask.shape[2:])
        made.append(model.gmm1(mask, torch.cat([mask, pose], 1)))
    return made


def test_same_function_and_equal_channels() -> None:
    before = uneven(network())
    after = equalise(before)
    assert after.weights.keys() == before.weights.keys() and after.provenance == {"seed": 0, "equalised": 28}
    for a, b in zip(pictures(before.model()), pictures(after.model())):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)

    @torch.no_grad()
    def imbalance(checkpoint: Checkpoint) -> float:
        ratios = []
        for link in links(checkpoint.model()):
            first, second = largest(link)
            alive = first > 1e-8
            ratios.append(float((first[alive] / second[alive]).log().abs().mean()))
        return sum(ratios) / len(ratios)

    assert imbalance(after) < 0.25 * imbalance(before)
    assert not torch.equal(before.weights["g1.res3.conv_b.0.weight"], after.weights["g1.res3.conv_b.0.weight"])


@pytest.mark.parametrize(("name", "changes", "count"), [("paper", {}, 9), ("mini", {"space_to_depth": False}, 30)])
def test_links(name: str, changes: dict[str, object], count: int) -> None:
    """Instance norm forgets scales: only conv9, which has none, and the GMMs, which have batch norm, are left."""
    assert len(list(links(build_model(network(name, **changes))))) == count


def test_a_bundle_keeps_its_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ["export", "--bundle", "b", "--precision", "fp16", "--equalise", "--out", str(tmp_path / "out")]
    assert main(wrong) == 2
    assert "give --checkpoint BUNDLE/weights.safetensors" in capsys.readouterr().err and not list(tmp_path.iterdir())
