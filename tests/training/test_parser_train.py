"""Training and scoring of the parser network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from drawn_people import write_folder, write_mpv

from spgvton.cli import main
from spgvton.errors import SpgvtonError
from spgvton_training.checkpoint import load_state
from spgvton_training.fabric import make_fabric
from spgvton_training.parsing.checkpoint import ParserCheckpoint
from spgvton_training.parsing.config import ParserRun
from spgvton_training.parsing.data import SceneConfig
from spgvton_training.parsing.evaluate import Confusion
from spgvton_training.parsing.network import NUM_CLASSES, SOMEBODY_ELSE, ParserConfig
from spgvton_training.parsing.objective import class_weights, terms
from spgvton_training.parsing.sources import UNKNOWN
from spgvton_training.parsing.train import ParserTrainer

TINY = ParserConfig(64, 48, (4, 6, 8, 8))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("people"))


def trainer(data: Path, out: Path, iterations: int = 4, **changes: object) -> ParserTrainer:
    run = ParserRun(network=TINY, batch_size=2, iterations=iterations).with_values(dict(changes))
    return ParserTrainer(
        run, [str(data)], out, workers=0, save_every=2, fabric=make_fabric("cpu"), validate=[str(data)]
    )


def equal(a: ParserCheckpoint, b: ParserCheckpoint) -> bool:
    return a.weights.keys() == b.weights.keys() and all(torch.equal(v, b.weights[k]) for k, v in a.weights.items())


def test_the_right_logits_cost_little_and_unknown_pixels_nothing() -> None:
    labels = torch.tensor([[0, 5, SOMEBODY_ELSE, UNKNOWN]])[:, None, None].expand(1, 4, 1, 4)
    logits = torch.zeros(1, NUM_CLASSES, 1, 4)
    wrong = terms(logits, labels, class_weights())
    assert float(wrong["entropy"]) == pytest.approx(np.log(NUM_CLASSES), rel=1e-5)
    for column, label in enumerate((0, 5, SOMEBODY_ELSE)):
        logits[0, label, 0, column] = 30
    logits.requires_grad_()
    right = {name: value.detach() for name, value in terms(logits, labels, class_weights()).items()}
    assert float(right["entropy"]) < 1e-5 and float(right["dice"]) < 1e-3
    logits.data[0, 3, 0, 3] = 30
    loss = torch.stack(list(terms(logits, labels, class_weights()).values())).sum()
    (gradient,) = torch.autograd.grad(loss, logits)
    assert not gradient[..., 3].any()


def test_dice_is_counted_by_hand() -> None:
    """Half of four pixels is label 5, all is taken for it at one half: 2 * 1 / (2 + 2) overlap, smoothed by one."""
    labels = torch.tensor([[5, 5], [5, 5]]).reshape(1, 4, 1, 1)
    logits = torch.full((1, NUM_CLASSES, 1, 1), -50.0)
    logits[0, [5, 9]] = 0.0
    assert float(terms(logits, labels, class_weights())["dice"]) == pytest.approx(0.5 * (1 - (2 * 2 + 1) / (4 + 2 + 1)))


def test_intersection_over_union_is_counted_by_hand() -> None:
    truth = np.array([[5, 5, 5, 9, SOMEBODY_ELSE, UNKNOWN, 0, 13]], np.uint8)
    made = np.array([[5, 5, 9, 9, 0, 5, 13, 13]], np.uint8)
    confusion = Confusion()
    confusion.add(truth, made)
    assert confusion.iou([5]) == pytest.approx(2 / 3) and confusion.iou([9]) == pytest.approx(1 / 2)
    assert confusion.iou([5, 9]) == 1.0 and confusion.iou(range(1, 20)) == pytest.approx(5 / 6)
    scores = confusion.scores()
    assert scores["mIoU"] == pytest.approx(np.mean([1 / 2, 2 / 3, 1 / 2, 1 / 2])) and "label hat" not in scores


def test_an_interrupted_run_equals_the_uninterrupted_one(data: Path, tmp_path: Path) -> None:
    whole = trainer(data, tmp_path / "whole").fit()
    run = trainer(data, tmp_path / "parts")
    save = run._save

    def save_then_stop(optimiser: torch.optim.Optimizer, rate: float) -> None:
        save(optimiser, rate)
        raise KeyboardInterrupt

    run._save = save_then_stop  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run.fit()
    assert load_state(tmp_path / "parts" / "state.pt")["iteration"] == 2
    assert equal(whole, trainer(data, tmp_path / "parts").fit())
    assert whole.provenance["iteration"] == 4 and whole.provenance["run"]["batch_size"] == 2
    assert {"config.yaml", "log.jsonl", "samples.png", "model.safetensors", "state.pt"} <= {
        p.name for p in (tmp_path / "whole").iterdir()
    }


def test_another_run_is_not_resumed(data: Path, tmp_path: Path) -> None:
    trainer(data, tmp_path, 2).fit()
    with pytest.raises(SpgvtonError, match="another configuration or data"):
        trainer(data, tmp_path, 2, learning_rate=1e-5).fit()


def test_the_network_learns_a_drawn_person(data: Path, tmp_path: Path) -> None:
    still = dict.fromkeys(SceneConfig.__dataclass_fields__, 0.0)
    run = trainer(data, tmp_path, 24, photos=still, learning_rate=1e-2, warm_up=3)
    run.save_every = 8
    run.fit()
    losses = [json.loads(line)["entropy"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(losses) == 3 and losses[-1] < 0.85 * losses[0], losses


def test_the_verb_scores_a_checkpoint(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer(data, tmp_path / "run", 2).fit()
    mpv = write_mpv(tmp_path / "mpv", 2)
    file = str(tmp_path / "run" / "model.safetensors")
    capsys.readouterr()
    assert main(["train-parser", "--evaluate", file, "--data", str(mpv), "--data", str(data), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert list(scores) == [f"{mpv}, estimated keypoints", f"{mpv}, exact keypoints", f"{data}, given keypoints"]
    assert all(0 <= s["mIoU"] <= 1 and {"person", "upper clothes", "label face"} <= s.keys() for s in scores.values())


def test_wrong_use_is_one_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["train-parser", "--data", str(data), "--out", str(tmp_path / "r")]
    wrong = {
        "--shares 1,2": "--shares has 2 numbers for 1 folders",
        "--shares a": "--shares takes numbers",
        "--set cake=1": "cake",
        "--iterations 0": "must be positive",
        f"--photographs {tmp_path}": "holds no photograph",
        f"--validate {tmp_path}": "neither parse_cihp",
        f"--evaluate {tmp_path / 'none.safetensors'}": "cannot load checkpoint",
    }
    for options, message in wrong.items():
        assert main([*base, *options.split()]) in (1, 2)
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error
    assert main(["train-parser"]) == 2 and main(["train-parser", "--data", str(data)]) == 2
    capsys.readouterr()
    assert main(["train-parser", "--print-config", "--set", "rendered.nobody=0.5"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["rendered"]["nobody"] == 0.5
