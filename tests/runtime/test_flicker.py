"""The flicker measure: nothing where the result follows the camera, what was put in where it does not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spgvton.bench.flicker import Flicker, Motion, torso
from spgvton.cli import main
from spgvton.video import cv2

SIZE = (128, 96)
POSE = np.zeros((18, 3), np.float32)
POSE[[1, 2, 5, 8, 11]] = [(48, 40, 1), (36, 40, 1), (60, 40, 1), (40, 80, 1), (56, 80, 1)]


def texture(seed: int) -> np.ndarray:
    """A smooth random picture, larger than SIZE."""
    noise = np.random.default_rng(seed).integers(0, 256, (200, 200, 3), np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3).astype(np.float32)
    return np.clip((smooth - smooth.mean()) * 6 + 128, 0, 255).astype(np.uint8)


def window(picture: np.ndarray, shift: int) -> np.ndarray:
    return np.ascontiguousarray(picture[20 : 20 + SIZE[0], 20 + shift : 20 + shift + SIZE[1]])


def test_flow_tells_where_a_pixel_was() -> None:
    scene = texture(0)
    where, believed = Motion().between(window(scene, 0), window(scene, 3))
    grid = np.stack(np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0])), axis=-1)
    inner = (slice(20, -20), slice(20, -20))
    np.testing.assert_allclose((where - grid)[inner], np.broadcast_to([3, 0], grid[inner].shape), atol=0.5)
    assert believed[inner].mean() > 0.95
    assert not believed[:, -2:].any()  # these came into view


def test_a_result_that_moves_with_the_camera_does_not_flicker() -> None:
    scene, worn = texture(1), texture(2)
    moving, sliding = Flicker(), Flicker()
    for i in range(6):
        moving.add(window(scene, 2 * i), window(worn, 2 * i), POSE)
        sliding.add(window(scene, 2 * i), window(worn, 0), POSE)  # the garment stays where the person moves
    assert moving.pairs == 5
    assert moving.as_dict()["picture_excess"] < 0.5
    assert sliding.as_dict()["picture_excess"] > 5 * max(0.5, moving.as_dict()["picture"])


def test_flicker_is_measured_in_levels_and_noise_of_the_camera_is_the_floor() -> None:
    scene = texture(3)
    rng = np.random.default_rng(0)
    flicker, noisy = Flicker(), Flicker()
    for i in range(8):
        still = window(scene, 0)
        flicker.add(still, np.clip(still.astype(int) + 6 * (i % 2), 0, 255).astype(np.uint8), POSE)
        camera = np.clip(still + rng.normal(0, 5, still.shape), 0, 255).astype(np.uint8)
        noisy.add(camera, camera, POSE)
    found = flicker.as_dict()
    assert found["picture"] == pytest.approx(6, abs=0.3) and found["picture_floor"] == 0
    assert found["torso_excess"] == pytest.approx(6, abs=0.3)
    assert noisy.as_dict()["picture_floor"] > 2
    assert noisy.as_dict()["picture_excess"] == pytest.approx(0, abs=1e-3)


def test_what_is_hidden_does_not_count() -> None:
    """A block that jumps 12 pixels uncovers a strip that the picture before cannot have."""
    scene = texture(4)
    before, now = window(scene, 0), window(scene, 0)
    before[40:80, 20:50], now[40:80, 32:62] = 255, 255
    _, believed = Motion().between(before, now)
    assert believed[42:78, 21:31].mean() < 0.5 < believed[:30].mean()


def test_torso() -> None:
    mask = torso(POSE, SIZE)
    assert mask[60, 48] and not mask[5, 48] and not mask[60, 5]
    assert not torso(np.zeros((18, 3), np.float32), SIZE).any()
    assert set(Flicker().as_dict()) >= {"torso_excess", "believed"}


def test_bench_flicker(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "flicker", "--frames", "8", "--threads", "1", "--bundle", str(tiny_bundle)]
    assert main([*arguments, "--still-threshold", "8", "--steady", "--out", str(tmp_path), "--json"]) == 0
    stdout, stderr = capsys.readouterr()
    data = json.loads(stdout)
    assert data == json.loads((tmp_path / "flicker.json").read_text())
    plain, candidate = data["plain"], data["with options"]
    assert (data["frames"], plain["frames_synthesised"]) == (8, 8)
    assert candidate["frames_synthesised"] < 8
    assert plain["torso_floor"] == candidate["torso_floor"] > 0
    assert 0.9 < data["ssim_to_plain"]["torso"] <= 1
    live, calmed = data["live"], data["live with options"]
    assert live["frames_synthesised"] == 8 > calmed["frames_synthesised"]
    assert live["torso_floor"] == plain["torso_floor"]
    assert "with options" in stderr and "machine" in stderr
    assert main([*arguments, "--json"]) == 0
    assert "with options" not in json.loads(capsys.readouterr().out)
    for wrong in (["--frames", "2"], ["--still-threshold", "-1"]):
        assert main([*arguments, *wrong]) == 2
        assert "give" in capsys.readouterr().err


def test_bench_flicker_needs_people(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(4):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((256, 192, 3), 120, np.uint8))
    assert main(["bench", "flicker", "--source", str(tmp_path), "--bundle", str(tiny_bundle), "--threads", "1"]) == 1
    assert "too few" in capsys.readouterr().err
