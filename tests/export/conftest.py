"""Small exported bundles that several files of tests share: exporting takes longer than the tests."""

from contextlib import redirect_stdout
from io import StringIO

import pytest
import torch

from spgvton.bundle import Bundle
from spgvton.cli import main
from spgvton_export import onnx_export
from spgvton_export.cli import real_inputs, real_live_inputs
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.networks.config import preset
from spgvton_training.networks.joint import build_model


def checkpoint(name: str) -> Checkpoint:
    """Preset NAME, untrained, four channels wide, at 128x96."""
    config = preset(name, ngf=4, gmm_ngf=4, height=128, width=96)
    torch.manual_seed(0)
    return Checkpoint(config, dict(build_model(config).state_dict()), {"test": True})


@pytest.fixture(scope="session")
def mini_by_verb(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, str]:
    """`spgvton export` of a small `mini`, weights stored as float16, and what --json printed."""
    folder = tmp_path_factory.mktemp("mini")
    checkpoint("mini").save(folder / "m.safetensors")
    arguments = ["export", "--checkpoint", str(folder / "m.safetensors"), "--out", str(folder / "bundle")]
    with redirect_stdout(StringIO()) as printed:
        assert main([*arguments, "--storage", "fp16", "--json"]) == 0
    return Bundle.open(folder / "bundle"), printed.getvalue()


@pytest.fixture(scope="session", params=["mini", "paper", "realtime", "lite"])
def small_bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """FP32 bundles of a small `mini`, `paper`, `realtime` and `lite`."""
    if request.param == "mini":
        return request.getfixturevalue("mini_by_verb")[0]  # type: ignore[no-any-return]
    c = checkpoint(request.param)
    return onnx_export.export(
        c, tmp_path_factory.mktemp(request.param) / "bundle", real_inputs(c.config), real_live_inputs(c.config)
    )


@pytest.fixture(scope="session")
def live_preset(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """FP32 bundle of a small `live`: a network without source alignment that fills the background and forgets arms."""
    c = checkpoint("live")
    folder = tmp_path_factory.mktemp("live") / "bundle"
    return onnx_export.export(c, folder, real_inputs(c.config), real_live_inputs(c.config))
