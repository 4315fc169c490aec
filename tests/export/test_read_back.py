"""Shipped files become checkpoints again that answer as they do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from spgvton import image
from spgvton.perception.cutout import SIDE
from spgvton.perception.onnx_session import shipped_model
from spgvton_export.parser_export import parser_samples
from spgvton_export.read_back import main
from spgvton_training.cutout.checkpoint import CutoutCheckpoint
from spgvton_training.parsing.checkpoint import ParserCheckpoint


def test_the_parser_answers_as_its_file(tmp_path: Path) -> None:
    file, out = shipped_model("human_parser.onnx"), tmp_path / "new/model.safetensors"
    assert main([str(file), str(out)]) == 0
    checkpoint = ParserCheckpoint.load(out)
    (sample, *_) = parser_samples(checkpoint.config.size)
    expected = ort.InferenceSession(str(file)).run(None, sample)[0] / 255.0
    picture = torch.from_numpy(image.normalise(sample["picture"][0]))[None]
    with torch.inference_mode():
        found = checkpoint.network()(picture, torch.from_numpy(sample["keypoints"])).softmax(1).numpy()
    assert np.abs(found - expected).max() < 0.02
    assert checkpoint.provenance == {"read_back_from": "human_parser.onnx"}


def test_the_cutout_answers_as_its_file_and_has_its_normalisations_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "photographs").mkdir()
    for i in range(3):
        picture = np.kron(rng.integers(0, 256, (8, 6, 3)), np.ones((20, 20, 1))).astype(np.uint8)
        image.write(tmp_path / f"photographs/{i}.png", picture)
    file, out = shipped_model("garment_cutout.onnx"), tmp_path / "model.safetensors"
    assert main([str(file), str(out), "--photographs", str(tmp_path / "photographs")]) == 0
    network = CutoutCheckpoint.load(out).network()
    given = rng.uniform(0, 255, (1, 3, SIDE, SIDE)).astype(np.float32)
    expected = ort.InferenceSession(str(file)).run(["mask"], {"picture": given})[0]
    with torch.inference_mode():
        found = network(torch.from_numpy(given)).mask.sigmoid().numpy()
    assert np.abs(found - expected).max() < 0.01
    variances = torch.cat([v for k, v in network.state_dict().items() if k.endswith("running_var")])
    assert variances.std() > 0.01  # measured, not the ones of a folded file


def test_what_is_missing_or_foreign_is_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert main([str(shipped_model("garment_cutout.onnx")), out]) == 2
    assert "--photographs" in capsys.readouterr().err
    (tmp_path / "x.onnx").write_bytes(b"no graph")
    assert main([str(tmp_path / "x.onnx"), out]) == 1
    assert main([str(shipped_model("movenet_lightning.onnx")), out, "--photographs", out]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert "cannot read" in lines[0] and "no garment cut-out" in lines[1] and len(lines) == 2
