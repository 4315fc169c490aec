"""Training of the cut-out network: it learns, it goes on where it stopped, and what it writes can be exported."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from spgvton.errors import SpgvtonError
from spgvton.perception.cutout import KINDS, SIDE, SLEEVES
from spgvton.perception.cutout import CutoutNetwork as Runtime
from spgvton_training.cutout.checkpoint import CutoutCheckpoint
from spgvton_training.cutout.network import CutoutNetwork
from spgvton_training.cutout.photographs import UNKNOWN
from spgvton_training.cutout.scenes import Sample
from spgvton_training.cutout.train import Recipe, Trainer, collate, losses
from spgvton_training.parsing.network import ParserConfig, ParserNetwork

RECIPE = Recipe(iterations=4, batch=2, warmup=1, bfloat16=False)


def weights(folder):
    return CutoutCheckpoint.load(folder / "model.safetensors").weights


def network():
    torch.manual_seed(0)
    return CutoutNetwork()


def test_a_stopped_run_goes_on_as_if_it_had_not_been(tmp_path, library):
    Trainer(network(), library, RECIPE, tmp_path / "whole", {}, 2).fit()
    stopped = Trainer(network(), library, RECIPE, tmp_path / "parts", {}, 2)
    stopped._save = _stop_after(stopped._save)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        stopped.fit()
    resumed = Trainer(network(), library, RECIPE, tmp_path / "parts", {}, 2)
    assert resumed.iteration == 2
    resumed.fit()
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.allclose(whole[name].float(), parts[name].float(), atol=1e-5) for name in whole)
    log = [json.loads(line) for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in log] == [2, 4] and {"mask", "dice", "kind", "sleeve"} <= log[0].keys()
    with pytest.raises(SpgvtonError, match="other data or another recipe"):
        Trainer(network(), library, Recipe(iterations=9), tmp_path / "parts", {})


def _stop_after(save):
    def stop(means):
        save(means)
        raise KeyboardInterrupt

    return stop


def test_losses_are_small_for_a_right_answer_and_ignore_what_is_unknown():
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[50:200, 60:180] = 1
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    batch = collate([Sample(picture, mask, 1, 2, 1), Sample(picture, mask, 0, UNKNOWN, UNKNOWN)])
    right = torch.from_numpy(np.where(mask > 0, 12.0, -12.0).astype(np.float32))[None, None].repeat(2, 1, 1, 1)
    right[1] *= -1  # of weight 0
    kind = torch.full((2, len(KINDS)), -4.0)
    kind[:, 2] = 4
    sleeve = torch.full((2, len(SLEEVES)), -4.0)
    sleeve[:, 1] = 4
    from spgvton_training.cutout.network import Answer

    good = losses(Answer(right, kind, sleeve), batch, RECIPE)
    bad = losses(Answer(-right, -kind, -sleeve), batch, RECIPE)
    assert good["mask"] < 1e-3 and good["dice"] < 1e-3 and all(bad[name] > good[name] for name in good)


def test_it_starts_from_a_parser_s_layers():
    torch.manual_seed(1)
    parser, made = ParserNetwork().eval(), network().eval()
    assert made.take_parser(parser.state_dict()) > 1_000_000
    picture = torch.rand(1, 3, 64, 64) * 255
    with torch.inference_mode():
        ours, theirs = (net.encode(picture / 127.5 - 1).sixteenth for net in (made, parser))
    assert torch.equal(ours, theirs)
    other = ParserNetwork(ParserConfig(channels=(8, 16, 24, 32)))
    with pytest.raises(SpgvtonError, match="another shape"):
        made.take_parser(other.state_dict())


def test_what_is_exported_answers_as_the_network_does(tmp_path):
    pytest.importorskip("onnxscript")
    from spgvton_export.cutout import main

    made = CutoutCheckpoint(network().state_dict(), {"command": "test"})
    made.save(tmp_path / "model.safetensors")
    assert main([str(tmp_path / "model.safetensors"), str(tmp_path / "cutout.onnx")]) == 0
    assert (tmp_path / "cutout.onnx").stat().st_size < 5_000_000
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    seen = Runtime(tmp_path / "cutout.onnx")._look(picture)
    with torch.inference_mode():
        both = np.stack([picture, picture[:, ::-1]]).transpose(0, 3, 1, 2).astype(np.float32)
        answer = made.network()(torch.from_numpy(both))
    np.testing.assert_allclose(seen.kinds, answer.kind.softmax(1).mean(0), atol=0.01)
    expected = (answer.mask.sigmoid()[0, 0] + answer.mask.sigmoid()[1, 0].flip(1)) / 2
    np.testing.assert_allclose(seen.mask, expected, atol=0.02)
    (tmp_path / "model.safetensors").write_bytes(b"x")
    assert main([str(tmp_path / "model.safetensors"), str(tmp_path / "again.onnx")]) == 1
