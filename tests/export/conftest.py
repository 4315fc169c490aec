"""Small exported bundles that several files of tests share: exporting takes longer than the tests."""

from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch

from spgvton.bundle import Bundle
from spgvton.cli import main
from spgvton_export import onnx_export
from spgvton_export.cli import real_inputs, real_live_inputs
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.networks.config import preset
from spgvton_training.networks.joint import build_model

Shared = Callable[[str, Callable[[Path], None]], Path]

# Between them every option of the presets but realtime's, which is shipped. live has lite's blocks, depthwise convolutions, and the
# residual flow.
SMALL: dict[str, dict[str, Any]] = {
    "mini": {"trunk_blocks": 1},
    "paper": {},
    "live": {"separable_blocks": True, "residual_flow": True},
}


def checkpoint(name: str) -> Checkpoint:
    """Preset NAME, untrained, four channels wide, at 128x96."""
    config = preset(name, ngf=4, gmm_ngf=4, height=128, width=96, **SMALL[name])
    torch.manual_seed(0)
    model = build_model(config)
    if model.residual is not None:  # it starts as no flow at all
        torch.nn.init.normal_(model.residual.leave.weight)
    return Checkpoint(config, dict(model.state_dict()), {"test": True})


@pytest.fixture(scope="session")
def mini_by_verb(shared_folder: Shared) -> tuple[Bundle, str]:
    """`spgvton export` of a small `mini`, weights stored as float16, and what --json printed."""

    def make(folder: Path) -> None:
        checkpoint("mini").save(folder / "m.safetensors")
        arguments = ["export", "--checkpoint", str(folder / "m.safetensors"), "--out", str(folder / "bundle")]
        with redirect_stdout(StringIO()) as printed:
            assert main([*arguments, "--storage", "fp16", "--json"]) == 0
        (folder / "printed.json").write_text(printed.getvalue())

    folder = shared_folder("mini", make)
    return Bundle.open(folder / "bundle"), (folder / "printed.json").read_text()


def exported(name: str, shared_folder: Shared) -> Bundle:
    """FP32 bundle of `checkpoint(name)`."""
    c = checkpoint(name)

    def make(folder: Path) -> None:
        onnx_export.export(c, folder / "bundle", real_inputs(c.config), real_live_inputs(c.config))

    return Bundle.open(shared_folder(name, make) / "bundle")


@pytest.fixture(scope="session", params=SMALL)
def small_bundle(request: pytest.FixtureRequest, shared_folder: Shared) -> Bundle:
    """FP32 bundles of a small `mini`, `paper` and `live`."""
    if request.param == "mini":
        return request.getfixturevalue("mini_by_verb")[0]  # type: ignore[no-any-return]
    return exported(request.param, shared_folder)


@pytest.fixture(scope="session")
def live_preset(shared_folder: Shared) -> Bundle:
    """FP32 bundle of a small `live`: a network without source alignment that fills the background and forgets arms."""
    return exported("live", shared_folder)
