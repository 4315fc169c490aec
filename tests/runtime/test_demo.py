"""`spgvton demo`: three files, from the shipped clip, person, garments and model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import spgvton
from spgvton import image
from spgvton.cli import demo, main
from spgvton.demo_assets import DemoAssets, ShopGarment
from spgvton.stream.loop import Perception, View
from spgvton.stream.sources import Frame, open_source

PROMISED = {"fps", "frames_in", "frames_out", "dropped", "latency_ms", "stages_ms", "machine", "versions"}


def test_assets_fit_together() -> None:
    source = open_source(str(DemoAssets.open().clip))
    source.close()
    assert (source.size, source.fps, source.count) == ((512, 384), 15, 180)
    for garment in DemoAssets.open().garments():
        assert garment.mask.shape == garment.picture.shape[:2]
        assert 0.05 < (garment.mask > 127).mean() < 0.9
    person, labels = DemoAssets.open().person()
    assert labels.shape[:2] == person.shape[:2]


def test_demo_writes_three_files_without_torch(tmp_path: Path) -> None:
    """In a process of its own, where importing torch fails."""
    code = (
        "import sys; sys.modules['torch'] = None\nfrom spgvton.cli import main\n"
        f"sys.exit(main(['demo', '--seconds', '2', '--out', {str(tmp_path / 'new' / 'folder')!r}, '--json']))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(spgvton.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "new" / "folder"
    assert sorted(p.name for p in out.iterdir()) == ["demo.json", "demo.mp4", "demo.png"]
    data = json.loads((out / "demo.json").read_text())
    assert json.loads(done.stdout) == data
    assert set(data) >= PROMISED
    assert (data["frames_in"], data["frames_out"], data["dropped"]) == (30, 30, 0)
    assert not data["unusable"]
    assert data["fps"] > 0  # a busy machine is slow
    for name in ("demo.mp4", "demo.png", "demo.json", "frames/s", demo.HONEST):
        assert name in done.stderr
    source = open_source(str(out / "demo.mp4"))
    assert (source.count, source.fps) == (30, 15)
    first = source.read()
    assert first is not None
    last = first
    while frame := source.read():
        last = frame
    source.close()
    assert source.problem is None
    w = first.image.shape[1]
    assert np.abs(first.image[:, w // 2 :].astype(int) - last.image[:, w // 2 :]).mean() > 3  # another garment
    poster = image.read(out / "demo.png")
    assert poster.shape[1] > poster.shape[0] > 400
    assert poster.std() > 20


def test_wrong_duration_and_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--seconds", "-1"]) == 2
    (tmp_path / "file").write_text("")
    assert main(["demo", "--out", str(tmp_path / "file" / "x")]) == 1
    assert "cannot create folder" in capsys.readouterr().err


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demo", "--help"])
    assert capsys.readouterr().out.count("  spgvton demo") == 3


def test_garments_take_equal_turns() -> None:
    garments = [ShopGarment(np.full((60, 50, 3), i, np.uint8), np.full((60, 50), 255, np.uint8)) for i in range(3)]
    set_at: list[int] = []

    class Session:
        def set_garment(self, picture: np.ndarray, *, mask: np.ndarray) -> None:
            set_at.append(int(picture[0, 0, 0]))

        def __call__(self, keypoints: np.ndarray, frame_size: tuple[int, int]) -> np.ndarray:
            return np.full((256, 192, 3), 100 + set_at[-1], np.uint8)

    wardrobe, poster = demo.Wardrobe(Session(), garments, 30), demo.Poster(garments, 30)  # type: ignore[arg-type]
    keypoints, worn = np.ones((18, 3), np.float32), []
    for i in range(30):
        frame = Frame(np.zeros((512, 384, 3), np.uint8), i, i / 15, 0.0)
        result = wardrobe(frame, keypoints)
        worn.append(int(result[0, 0, 0]) - 100)
        poster.look(View(frame, Perception(keypoints), result), wardrobe.at(i))
    assert worn == [0] * 10 + [1] * 10 + [2] * 10
    assert set_at == [0, 1, 2]
    assert [[v.frame.index for v in group] for group in poster._taken] == [[1, 5, 8], [11, 15, 18], [21, 25, 28]]
    assert poster.draw("10 frames/s").shape[2] == 3


def test_poster_of_a_run_without_results_is_still_a_picture() -> None:
    garments = [ShopGarment(np.zeros((60, 50, 3), np.uint8), np.zeros((60, 50), np.uint8))] * 3
    assert demo.Poster(garments, 9).draw("").ndim == 3
