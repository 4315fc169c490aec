"""`spgvton parse`: what it writes, and that one bad picture does not stop the others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from spgvton import image as im
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.cli import main
from spgvton.perception.png_indices import read_indices

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(DATA / "person_front.jpg", folder / "man.jpg")
    im.write(folder / "wall.png", np.full((64, 64, 3), 128, np.uint8))
    (folder / "notes.txt").write_text("not a picture")
    return folder


def test_pictures_and_folders(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, other = tmp_path / "out", tmp_path / "man.jpg"
    shutil.copy(DATA / "person_back.jpg", other)
    assert main(["parse", str(photos), str(other), "--out", str(out), "--overlay", "--json"]) == 1
    stdout, stderr = capsys.readouterr()
    report = json.loads(stdout)  # and nothing else
    assert [entry["image"] for entry in report["files"]] == [str(photos / "man.jpg"), str(other)]
    first, second = report["files"]
    assert first["labels"] == str(out / "man_labels.png") and second["labels"] == str(out / "man_2_labels.png")
    labels = read_indices(Path(first["labels"]), 2**20, 2**20)
    assert labels.shape == (512, 258) and labels.max() < lb.NUM_LABELS and (labels == lb.UPPER_CLOTHES).sum() > 5000
    assert kp.load_openpose(first["keypoints"])[kp.NECK, 2] > 0.3
    assert im.read(first["overlay"]).shape == (512, 258, 3)
    lines = [line for line in stderr.splitlines() if "wall.png" in line]
    assert lines == [f"spgvton parse: {photos / 'wall.png'}: {lines[0].split(': ', 2)[2]}"] and "no person" in lines[0]
    assert not (out / "wall_labels.png").exists() and "notes" not in stderr


def test_good_pictures_exit_0_and_keep_stdout_clean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parse", str(DATA / "person_front.jpg"), "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""
    assert sorted(f.name for f in tmp_path.iterdir()) == ["person_front_keypoints.json", "person_front_labels.png"]


def test_what_is_left_of_a_picture_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "person_front_overlay.jpg").mkdir()  # in the way, as a full disk is
    assert main(["parse", str(DATA / "person_front.jpg"), "--out", str(tmp_path), "--overlay"]) == 1
    line = [line for line in capsys.readouterr().err.splitlines() if "person_front_overlay" in line]
    written = [str(tmp_path / f"person_front_{name}") for name in ("labels.png", "keypoints.json")]
    assert len(line) == 1 and line[0].endswith(f"(written before: {', '.join(written)})")
    assert all(Path(file).is_file() for file in written)


def test_outputs_never_replace_an_input(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parse", str(photos), "--out", str(photos)]) == 2
    assert "name another" in capsys.readouterr().err
    precious = tmp_path / "x_labels.png"  # a photo whose name is that of another's labels
    im.write(precious, im.read(DATA / "person_front.jpg"))
    before = precious.read_bytes()
    shutil.copy(DATA / "person_front.jpg", tmp_path / "x.jpg")
    assert main(["parse", str(tmp_path / "x.jpg"), str(precious), "--out", str(tmp_path)]) == 1
    assert precious.read_bytes() == before and "would be replaced" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing.jpg"], 1, "missing.jpg"),
        ([str(DATA / "person_front.jpg"), "--parser", "missing.onnx"], 1, "missing.onnx: no such file"),
        ([str(DATA / "person_front.jpg"), "--label-set", "lip"], 2, "belongs to --parser"),
    ],
)
def test_bad_calls_say_what_to_do(
    arguments: list[str], code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["parse", *arguments, "--out", str(tmp_path / "out")]) == code
    stdout, stderr = capsys.readouterr()
    assert stdout == "" and words in stderr
