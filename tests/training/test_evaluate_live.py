"""Scores of live mode on constructed cases, and the verb end to end on rendered exchanges."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spgvton import image as im
from spgvton import labels as lb
from spgvton.cli import main
from spgvton.image import Letterbox
from spgvton.live.spline import cloth_positions
from spgvton_training import live_scores as ls
from spgvton_training.evaluate_live import into_frame
from spgvton_training.networks.tps import control_points

H, W = 128, 96


def truth() -> ls.Truth:
    """A red shirt to row 100 becomes a blue one to row 80; where it ended later, the wall behind is grey."""
    labels, new = np.zeros((H, W), np.uint8), np.zeros((H, W), np.uint8)
    labels[30:100, 30:70], new[30:80, 30:70] = lb.UPPER_CLOTHES, lb.UPPER_CLOTHES
    noise = np.random.default_rng(0).integers(0, 20, (H, W, 3))
    frame, picture = (np.full((H, W, 3), 120) + noise for _ in range(2))
    frame[labels > 0], picture[new > 0] = (200, 20, 20), (20, 20, 200)
    return ls.Truth(frame.astype(np.uint8), labels, picture.astype(np.uint8), new)


def test_perfect_copied_and_half() -> None:
    t = truth()
    perfect, copied = ls.picture_scores(t.picture, t), ls.picture_scores(t.frame, t)
    assert perfect["ssim"] == perfect["ssim_changed"] == pytest.approx(1)
    assert perfect["leakage"] == (0, 20 * 40) and copied["leakage"] == (20 * 40, 20 * 40)
    whole, changed = copied["ssim"], copied["ssim_changed"]
    assert isinstance(whole, float) and isinstance(changed, float) and changed < whole < 1
    half = t.picture.copy()
    half[90:100] = t.frame[90:100]
    assert ls.picture_scores(half, t)["leakage"] == (10 * 40, 20 * 40)
    blended = (0.7 * t.picture + 0.3 * t.frame).astype(np.uint8)
    assert ls.picture_scores(blended, t)["leakage"] == (0, 20 * 40), "nearer to the truth"


def test_untouched_is_exact_and_far_from_clothes() -> None:
    t = truth()
    nothing = np.zeros((H, W), bool)
    hits, pixels = ls.untouched(t.picture, t, nothing)
    assert hits == pixels < H * W
    outside, beside = t.frame.copy(), t.frame.copy()
    outside[5, 5, 0] += 1
    beside[60, 28, 0] += 1
    assert ls.untouched(outside, t, nothing)[0] == pixels - 1
    assert ls.untouched(beside, t, nothing)[0] == pixels
    assert (
        ls.untouched(outside, t, np.eye(H, W, dtype=bool))[0] == ls.untouched(outside, t, np.eye(H, W, dtype=bool))[1]
    )


def test_sleeves_hem_and_warp() -> None:
    old, new = np.zeros((H, W), np.uint8), np.zeros((H, W), np.uint8)
    old[30:100, 30:70] = new[30:90, 30:70] = lb.UPPER_CLOTHES
    old[40:80, 20:30], new[40:80, 20:30] = lb.RIGHT_ARM, lb.UPPER_CLOTHES  # a sleeve comes
    old[40:80, 70:80], new[40:80, 70:80] = lb.UPPER_CLOTHES, lb.LEFT_ARM  # another goes
    worn = new == lb.UPPER_CLOTHES
    y, x = np.mgrid[:H, :W].astype(np.float32)
    here = np.stack([x, y], 2)
    flow = np.where(worn[..., None], here + np.array([3, 4], np.float32), np.nan)
    scores = ls.answer_scores(worn, old, new, here, flow)
    assert scores["sleeve_on"] == scores["sleeve_off"] == (400, 400)
    assert scores["hem_error_px"] == 0 and scores["clothes_iou"] == 1
    assert scores["warp_error_px"] == pytest.approx(5)
    worn[60:80, 20:30], worn[50:80, 70:80], worn[80:, :] = False, True, False
    scores = ls.answer_scores(worn, old, new, here, None)
    assert scores["sleeve_on"] == (200, 400) and scores["sleeve_off"] == (100, 400)
    assert scores["hem_error_px"] == 20, "ten rows of 128 are twenty of 256"
    assert np.isnan(scores["warp_error_px"])
    assert np.isnan(ls.hem_error(np.zeros_like(worn), worn))


def test_identity_spline_and_box() -> None:
    at = cloth_positions(control_points(5).astype(np.float32), (H, W))
    y, x = np.mgrid[:H, :W]
    assert np.allclose(at, np.stack([x, y], 2), atol=1e-3)
    box = Letterbox((256, 256), (H, W), 0.5, (-16.0, 0.0))  # the middle 192 columns
    out = into_frame(np.full((H, W, 3), 7, np.uint8), box, np.full((256, 256, 3), 9, np.uint8))
    assert (out[:, 34:222] == 7).all() and (out[:, :30] == 9).all() and (out[:, 226:] == 9).all()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("live")
    arguments = ["synth", "--out", str(folder), "--count", "1", "--seed", "8", "--split", "test", "--unpaired"]
    assert main([*arguments, "--size", "384x288"]) == 0
    return folder


def test_verb(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results"
    assert main(["evaluate", "--mode", "live", "--data", str(data), "--out", str(out), "--json"]) == 0
    printed = capsys.readouterr().out
    scores = json.loads(printed)
    for key in ("ssim", "ssim_changed", "leakage", "hem_error_px", "warp_error_px", "sleeve_on", "sleeve_off"):
        assert key in scores
    assert scores["n"] == 2 and scores["untouched_exact"] == 1.0
    assert set(scores["baselines"]) == {"source", "pose", "network"}
    assert scores["baselines"]["source"]["leakage"] in (None, 1.0)
    assert scores["ssim"] > scores["baselines"]["pose"]["ssim"], "pose mode's picture is 256x192, and not the camera's"
    assert "live" in (out / "results.md").read_text() and len((out / "results.csv").read_text().splitlines()) == 3
    sheet = im.read(out / "sheet.png")
    assert sheet.shape[0] > 2 * 384 and sheet.shape[1] > 5 * 288


def test_checkpoint_answers_as_its_bundle_does(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from spgvton.bundle import WEIGHTS, shipped

    results = []
    for options in (["--bundle", "realtime"], ["--checkpoint", str(shipped() / WEIGHTS)]):
        assert main(["evaluate", "--mode", "live", "--data", str(data), "--limit", "1", "--json", *options]) == 0
        results.append(json.loads(capsys.readouterr().out))
    for key in ("ssim", "ssim_changed", "warp_error_px"):
        assert results[0][key] == pytest.approx(results[1][key], abs=0.01)


def test_options_of_the_other_mode(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, words in (
        (["--mode", "live", "--no-truth"], "--no-truth does not go with --mode live"),
        (["--mode", "live", "--bundle", "realtime", "--checkpoint", "x"], "not both"),
        (["--maps", "parser"], "go with --mode live"),
    ):
        assert main(["evaluate", "--data", str(data), *options]) == 2
        assert words in capsys.readouterr().err
