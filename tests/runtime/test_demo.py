"""`spgvton demo`: three files, from the shipped clip, person, garments and model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import spgvton
from spgvton import image
from spgvton.cli import demo, main
from spgvton.cli.demo_poster import Poster
from spgvton.demo_assets import DemoAssets, ShopGarment
from spgvton.stream.frames import Frame
from spgvton.stream.loop import Perception, View
from spgvton.stream.sources import open_source

PROMISED = {
    "mode", "size", "fps", "frames_in", "frames_out", "dropped", "latency_ms", "stages_ms", "machine", "versions",
}  # fmt: skip
STAGES = {"capture", "pose", "parse", "synthesis", "compose", "present"}


def test_assets_fit_together() -> None:
    source = open_source(str(DemoAssets.open().clip))
    source.close()
    assert (source.size, source.fps, source.count) == ((720, 540), 15, 180)
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
    assert (data["mode"], data["size"]) == ("live", [720, 540])
    assert set(data["stages_ms"]) >= STAGES
    assert (data["frames_in"], data["frames_out"], data["dropped"]) == (30, 30, 0)
    assert not data["unusable"]
    assert data["fps"] > 0  # a busy machine is slow
    assert done.stderr.startswith("spgvton demo: opening the networks, then 30 frames")
    for name in ("demo.mp4", "demo.png", "demo.json", "frames/s", "garment 3 of 3, frame 21 of 30", demo.HONEST):
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
    head = (slice(24, 60), slice(24, 204))  # beside the head both panels show the camera's own room
    beside = (head[0], slice(head[1].start + w // 2 - 12, head[1].stop + w // 2 - 12))
    assert np.abs(first.image[head].astype(int) - first.image[beside]).mean() < 4
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
    assert capsys.readouterr().out.count("  spgvton demo") == 4


def test_pose_mode_shows_the_persons_picture(tmp_path: Path) -> None:
    assert main(["demo", "--mode", "pose", "--seconds", "0.4", "--out", str(tmp_path)]) == 0
    data = json.loads((tmp_path / "demo.json").read_text())
    assert (data["mode"], data["frames_out"]) == ("pose", 6)
    assert "parse" not in data["stages_ms"]


def test_a_bundle_without_live_mode_is_one_line(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--bundle", str(without_live(tiny_bundle, tmp_path)), "--out", str(tmp_path)]) == 1
    assert "has no live mode" in capsys.readouterr().err


def without_live(bundle: Path, root: Path) -> Path:
    """A copy of BUNDLE whose manifest names no live graph."""
    copy = root / "old"
    shutil.copytree(bundle, copy)
    manifest = json.loads((copy / "bundle.json").read_text())
    manifest["files"] = {name: entry for name, entry in manifest["files"].items() if not name.startswith("live")}
    (copy / "bundle.json").write_text(json.dumps(manifest))
    return copy


def garments() -> list[ShopGarment]:
    return [ShopGarment(np.full((60, 50, 3), i, np.uint8), np.full((60, 50), 255, np.uint8)) for i in range(3)]


def test_garments_take_equal_turns_and_the_poster_a_moment_of_each() -> None:
    put_on: list[int] = []

    def stage(frame: Frame, keypoints: np.ndarray) -> np.ndarray:
        return np.full((256, 192, 3), 100 + put_on[-1], np.uint8)

    turns, poster = demo.Turns(stage, put_on.append, 3, 30), Poster(garments(), 30)
    keypoints, worn = np.ones((18, 3), np.float32), []
    for i in range(30):
        frame = Frame(np.zeros((512, 384, 3), np.uint8), i, i / 15, 0.0)
        result = turns(frame, keypoints)
        worn.append(int(result[0, 0, 0]) - 100)
        poster.look(View(frame, Perception(keypoints), result), turns.at(i))
    assert worn == [0] * 10 + [1] * 10 + [2] * 10
    assert put_on == [0, 1, 2]
    assert turns.times_s == {}
    assert [view.frame.index if view else None for view in poster.taken] == [4, 13, 24]
    drawn = poster.draw(demo.CAPTIONS["live"])
    assert [drawn[400, 64 + 270 + i * 568].tolist() for i in range(3)] == [[100] * 3, [101] * 3, [102] * 3]


def test_poster_of_a_run_without_results_is_still_a_picture() -> None:
    poster = Poster(garments(), 9)
    keypoints, black = np.ones((18, 3), np.float32), np.zeros((4, 4, 3), np.uint8)
    poster.look(View(Frame(black, 5, 0.0, 0.0), Perception(keypoints, "nobody"), black), 0)
    assert poster.taken == [None] * 3
    assert poster.draw("").std() < 20
