"""Every method as one ONNX graph: it equals PyTorch at any batch, with the warp as the one operator of this project."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from spgvton.errors import SpgvtonError
from spgvton_export import comparison, tps_op
from spgvton_export.samples import demo_samples
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.comparison.registry import build_network
from spgvton_training.networks.config import METHODS, NOT_READ, preset
from spgvton_training.networks.joint import Inputs

SIZE = (96, 64)


def checkpoint(method: str) -> Checkpoint:
    off = dict.fromkeys(NOT_READ["viton"], False)  # SPG-VTON's, too: its alignment is in the tests of its bundle
    config = preset(
        "mini", ngf=4, gmm_ngf=4, height=SIZE[0], width=SIZE[1], trunk_blocks=1, **{**off, "method": method}
    )
    torch.manual_seed(0)
    return Checkpoint(config, dict(build_network(config).state_dict()), {})


@pytest.mark.parametrize("method", METHODS)
def test_graph_equals_pytorch(method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its command; then three other samples at once, and each alone."""
    file = tmp_path / f"{method}.onnx"
    c = checkpoint(method)
    c.save(tmp_path / "m.safetensors")
    assert comparison.main([str(tmp_path / "m.safetensors"), str(file)]) == 0
    assert f"{method}," in capsys.readouterr().err

    model = onnx.load(str(file))
    onnx.checker.check_model(model)
    assert len(tps_op.find_nodes(model)) == 1
    assert {n.domain for n in model.graph.node} <= {"", tps_op.DOMAIN}
    samples = demo_samples(c.config.size, c.config.label_set)[2:5]
    inputs = {name: np.concatenate([s[name] for s in samples]) for name in Inputs._fields}
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    read = [i.name for i in session.get_inputs()]
    image, theta = session.run(["image", "theta"], {name: inputs[name] for name in read})
    with torch.no_grad():
        made = c.network().stages(Inputs(*(torch.from_numpy(inputs[name]) for name in Inputs._fields)))
    assert np.abs(image - made.final.image.numpy()).max() < 5e-3 and image.shape == (3, 3, *SIZE)
    assert np.abs(theta - made.theta.numpy()).max() < 2e-3
    alone = [session.run(["image"], {name: inputs[name][i : i + 1] for name in read})[0] for i in range(3)]
    assert np.abs(np.concatenate(alone) - image).max() < 1e-3


def test_a_difference_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(comparison.differences.__globals__["TOLERANCE"], "image", 0.0)
    c = checkpoint("cp-vton")
    with pytest.raises(SpgvtonError, match=r"c\.onnx differs from PyTorch by .* in image"):
        comparison.export_method(c, tmp_path / "c.onnx", demo_samples(c.config.size, c.config.label_set)[:2])
    assert not (tmp_path / "c.onnx").exists()


def test_a_missing_checkpoint_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert comparison.main([str(tmp_path / "none.safetensors"), str(tmp_path / "out.onnx")]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("spgvton_export.comparison: cannot load checkpoint")
