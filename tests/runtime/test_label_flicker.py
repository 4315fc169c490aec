"""Flicker and lag of labels: nothing on labels that follow, what was put in on those that do not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_parser import figure, make_parser

from spgvton import labels as lb
from spgvton.bench.label_flicker import LabelFlicker
from spgvton.cli import main
from spgvton.perception.parse import Parse
from spgvton.video import cv2

NOISE = np.random.default_rng(0).integers(0, 60, (256, 192, 3)).astype(np.uint8)  # something to see for the flow


def moved(dx: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture, labels and keypoints of the figure DX pixels farther right."""
    labels, k = figure()
    matrix = np.array([[1.0, 0, dx], [0, 1, 0]])
    picture = cv2.GaussianBlur(lb.colourise(labels) // 2 + NOISE, (0, 0), 1.5)
    k[k[:, 2] > 0, 0] += dx
    shifted = cv2.warpAffine(labels, matrix, (192, 256), flags=cv2.INTER_NEAREST)
    return cv2.warpAffine(picture, matrix, (192, 256), borderMode=cv2.BORDER_REPLICATE), np.asarray(shifted), k


def test_labels_that_change_by_themselves() -> None:
    calm, wild = LabelFlicker(), LabelFlicker()
    picture, labels, k = moved(0)
    for n in range(5):
        calm.add(picture, Parse.of(labels), Parse.of(labels), k)
        other = labels.copy()
        other[100:120, 70:90] = lb.COAT if n % 2 else lb.UPPER_CLOTHES  # 400 pixels
        wild.add(picture, Parse.of(other), Parse.of(labels), k)
    assert calm.as_dict()["changed"] == 0 and calm.as_dict()["still_frames"] == 4
    share = 400 / (cv2.dilate((labels > 0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0).sum()
    assert wild.as_dict()["changed"] == pytest.approx(share, rel=0.2)
    assert np.isnan(calm.as_dict()["lag_px"])


@pytest.mark.parametrize("late", [0, 3])
def test_lag(late: int) -> None:
    flicker = LabelFlicker()
    for n in range(5):
        picture, labels, k = moved(4 * n)
        _, before, _ = moved(4 * n - late)
        flicker.add(picture, Parse.of(before), Parse.of(labels), k)
    found = flicker.as_dict()
    assert found["lag_frames"] == 4 and found["lag_px"] == pytest.approx(late, abs=0.2)
    flicker.cut()
    flicker.add(*moved(0)[:1], Parse.of(labels), Parse.of(labels), moved(0)[2])
    assert flicker.as_dict()["lag_frames"] == 4


def test_by_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = make_parser(tmp_path / "tiny.onnx")
    assert main(["bench", "labels", "--frames", "4", "--parser", str(parser), "--out", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["parser"] == str(parser) and report["stream"]["frames"] == 4
    assert report == json.loads((tmp_path / "labels.json").read_text())
    assert 0 <= report["alone"]["changed"] <= 1
    assert main(["bench", "labels", "--frames", "2", "--parser", str(parser)]) == 1
    assert "too few" in capsys.readouterr().err
