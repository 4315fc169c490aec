"""`spgvton run` in live mode: real pose, parser, network and compositor, from the command line to the written file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import frames_of

from spgvton import image
from spgvton.cli import main
from spgvton.demo_assets import DemoAssets
from spgvton.video import cv2

ASSETS = DemoAssets.open().folder
PHOTO = Path(__file__).parents[1] / "data" / "person_front.jpg"
STAGES = {"capture", "pose", "parse", "synthesis", "compose", "present"}


def garment(number: int) -> list[str]:
    name = ASSETS / f"garment_{number}"
    return ["--garment", f"{name}.jpg", "--garment-mask", f"{name}_mask.png"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, object]:
    assert main(["run", *arguments, "--threads", "2", "--json"]) == code
    return json.loads(capsys.readouterr().out)


def colour(frame: np.ndarray) -> np.ndarray:
    """Of the chest of the clip's person."""
    height, width = frame.shape[:2]
    chest = frame[round(0.33 * height) : round(0.6 * height), round(0.42 * width) : round(0.58 * width)]
    return np.median(chest.reshape(-1, 3), axis=0)


def test_live_is_the_default_and_garments_change_by_the_clock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mkv"
    both = [*garment(1), *garment(2), "--garment-seconds", "0.2"]
    data = run(capsys, "--source", str(ASSETS / "clip.mp4"), *both, "--max-frames", "5", "--sink", f"file:{out}")
    assert (data["mode"], data["size"], data["frames_out"], data["answers"]) == ("live", [720, 540], 5, 5)
    assert set(data["stages_ms"]) >= STAGES  # type: ignore[call-overload]
    frames = frames_of(out)
    assert frames[0].shape == (720, 540, 3)
    stripes, yellow = colour(frames[1]), colour(frames[4])  # 15 frames/s: the fourth begins the second garment
    assert yellow[0] > yellow[2] + 60 and stripes[0] < stripes[2] + 40


def test_a_portrait_mirror_on_its_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A camera of 1920x1080 that was hung upright: turned first, dressed at full size, flipped last."""
    photo, wide = image.read(PHOTO), np.full((1920, 1080, 3), 90, np.uint8)
    scale = min(1920 / photo.shape[0], 1080 / photo.shape[1])
    small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    wide[-small.shape[0] :, : small.shape[1]] = small
    image.write(tmp_path / "camera.png", cv2.rotate(wide, cv2.ROTATE_90_COUNTERCLOCKWISE))
    out = tmp_path / "out.mkv"
    data = run(
        capsys, "--source", str(tmp_path / "camera.png"), *garment(2), "--rotate", "90", "--mirror", "--sink", f"file:{out}"
    )  # fmt: skip
    assert data["size"] == [1920, 1080] and data["unusable"] == {}
    (shown,) = frames_of(out)
    assert shown.shape == (1920, 1080, 3)
    changed = np.abs(shown[:, ::-1].astype(int) - wide).max(axis=2) > 60
    assert 0.02 < changed.mean() < 0.4, "only the clothes, and where they were"


def test_nobody_shows_the_camera_and_never_an_older_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "frames", tmp_path / "out.mkv"
    folder.mkdir()
    person = DemoAssets.open().person()[0]
    image.write(folder / "0.png", person)
    image.write(folder / "1.png", np.full_like(person, 120))
    data = run(capsys, "--source", str(folder), *garment(2), "--sink", f"file:{out}")
    assert data["unusable"] == {"no person in the picture": 1}
    dressed, empty = frames_of(out)
    assert colour(dressed)[0] > colour(dressed)[2] + 60
    assert np.abs(empty[:400].astype(int) - 120).max() < 8


def test_a_camera_that_changes_its_resolution(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "frames", tmp_path / "out.mkv"
    folder.mkdir()
    person = DemoAssets.open().person()[0]
    for i, size in enumerate(((384, 512), (288, 384), (384, 512))):
        image.write(folder / f"{i}.png", cv2.resize(person, size, interpolation=cv2.INTER_AREA))
    data = run(capsys, "--source", str(folder), *garment(2), "--sink", f"file:{out}")
    assert data["frames_out"] == 3 and data["unusable"] == {}
    assert [frame.shape for frame in frames_of(out)] == [(512, 384, 3)] * 3


def test_a_parser_of_ones_own_that_cannot_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    source = ["run", "--source", str(ASSETS / "person.jpg"), *garment(1), "--sink", "null"]
    assert main([*source, "--parser", str(ASSETS / "person.jpg")]) == 1
    assert "person.jpg" in capsys.readouterr().err.splitlines()[-1]
    assert main([*source, "--label-set", "lip", "--mode", "live", "--parsing", "x.png"]) == 2


def test_a_camera_that_ends_before_the_first_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--source", "synthetic://", *garment(1), "--sink", "null", "--max-frames", "1"]) == 1
    assert capsys.readouterr().err.endswith(
        "(one moment, please): it ended before the networks' first answer; let it run longer\n"
    )
