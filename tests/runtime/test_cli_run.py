"""`spgvton run` from the command line to the written file: real pose, parse, session and loop, a network of four nodes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import frames_of
from override import latest, main

import spgvton
from spgvton import image
from spgvton.demo_assets import DemoAssets
from spgvton.recording import EVERY, Recording
from spgvton.stream.sinks import FileSink
from spgvton.video import cv2

PROMISED = {"fps", "frames_in", "frames_out", "dropped", "latency_ms", "stages_ms", "machine", "versions"}
FRAMES = 12
ASSETS = DemoAssets.open().folder


@pytest.fixture
def arguments(tiny_bundle: Path) -> list[str]:
    """A command line of pose mode that works; tests append what they change (the last word wins)."""
    return [
        "run", "--mode", "pose", "--source", str(ASSETS / "clip.mp4"), "--garment", str(ASSETS / "garment_1.jpg"), "--garment-mask",
        str(ASSETS / "garment_1_mask.png"), "--bundle", str(tiny_bundle), "--max-frames", str(FRAMES), "--threads", "1",
    ]  # fmt: skip


def make_video(path: Path, frames: list[np.ndarray]) -> Path:
    sink = FileSink(path, (frames[0].shape[0], frames[0].shape[1]), 15)
    for i, frame in enumerate(frames):
        sink.write(frame, i / 15)
    sink.close()
    return path


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", "--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.count("  spgvton run --source") == 4


def test_file_to_file_with_json(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.mp4"
    assert main([*arguments, "--sink", f"file:{out}", "--sink", "null", "--overlay", "--json"]) == 0
    stdout, stderr = capsys.readouterr()
    data = json.loads(stdout)  # and nothing else
    assert set(data) >= PROMISED
    assert (data["frames_in"], data["frames_out"], data["dropped"]) == (FRAMES, FRAMES, 0)
    assert data["policy"] == "wait"
    assert data["latency_ms"]["p50"] <= data["latency_ms"]["p99"] <= data["latency_ms"]["max"]
    assert set(data["stages_ms"]) >= {"capture", "pose", "synthesis", "compose", "present"}
    assert data["sinks"] == [f"file:{out}", "null"]
    frames = frames_of(out)
    assert len(frames) == FRAMES
    assert frames[0].shape[1] > frames[0].shape[0]  # camera and result side by side
    assert "the person was taken from frame 0" in stderr
    assert "latency" in stderr
    assert (data["mode"], data["size"], data["answers"]) == ("pose", [256, 192], None)


def test_person_with_parsing_and_result_view(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mp4"
    person = ["--person", str(ASSETS / "person.jpg"), "--parsing", str(ASSETS / "person_parsing.png")]
    assert main([*arguments, *person, "--view", "result", "--mirror", "--sink", f"file:{out}"]) == 0
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert "the person was taken" not in stderr
    assert frames_of(out)[0].shape[0] * 3 == frames_of(out)[0].shape[1] * 4


def test_latest_plays_a_file_at_its_own_pace(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mp4"
    person = ["--person", str(ASSETS / "person.jpg"), "--parsing", str(ASSETS / "person_parsing.png")]
    assert main([*arguments, *person, "--policy", "latest", "--sink", f"file:{out}", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["policy"] == "latest"
    assert data["frames_in"] == FRAMES == data["frames_out"] + data["dropped"]
    assert data["seconds"] > 0.9 * (FRAMES - 1) / 15
    assert FRAMES - 2 <= len(frames_of(out)) <= FRAMES + 2  # dropped ones are filled


def test_masks_lie_beside_are_found_or_are_the_alpha(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = arguments.index("--garment-mask")
    unmasked = [*arguments[:at], *arguments[at + 2 :], "--sink", "null", "--max-frames", "2"]
    assert main(unmasked) == 0
    assert "no mask is given" not in capsys.readouterr().err, "garment_1_mask.png lies beside it"
    (tmp_path / "alone.jpg").write_bytes((ASSETS / "garment_1.jpg").read_bytes())
    unmasked[unmasked.index("--garment") + 1] = str(tmp_path / "alone.jpg")
    assert main(unmasked) == 0
    assert "no mask is given" in capsys.readouterr().err
    garment = image.read(ASSETS / "garment_1.jpg")
    mask = image.read(ASSETS / "garment_1_mask.png", flags=0)
    bgra = np.ascontiguousarray(np.dstack([garment[..., ::-1], mask]))
    (tmp_path / "shirt.png").write_bytes(cv2.imencode(".png", bgra)[1].tobytes())
    unmasked[unmasked.index("--garment") + 1] = str(tmp_path / "shirt.png")
    assert main(unmasked) == 0
    assert "no mask is given" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (["--sink", "gopher://x"], 2, "file:OUT.mp4"),
        (["--sink", "out.mp4"], 2, "did you mean file:out.mp4"),
        (["--source", "ftp://host/x"], 2, "not a source"),
        (["--parsing", "x.png"], 2, "give --person"),
        (["--source", "nothing.mp4"], 1, "does not exist"),
        (["--source", "97"], 1, "spgvton doctor"),
        (["--garment", "nothing.jpg"], 1, "--garment nothing.jpg"),
        (["--garment", str(ASSETS / "garment_2.jpg")], 2, "one mask per garment"),
        (["--mode", "live", "--person", "me.jpg"], 2, "--mode pose"),
        (["--mode", "live", "--record-calibration", "9"], 2, "--mode pose"),
        (["--garment-seconds", "3"], 2, "more than once"),
        (["--garment-seconds", "-3"], 2, "0.1"),
        (["--parser", str(ASSETS / "person.jpg")], 1, "person.jpg"),
        (["--bundle", "/nowhere"], 1, "not a model bundle"),
        (["--sink", "file:/nowhere/out.mp4"], 1, "cannot write"),
        (["--person", str(ASSETS / "garment_1.jpg")], 1, "--person"),
        (
            [
                "--person",
                str(ASSETS / "person.jpg"),
                "--parsing",
                str(ASSETS / "person_parsing.png"),
                "--label-set",
                "lip",
            ],
            1,
            "trained on cihp",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    arguments: list[str], change: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = [] if "--sink" in change else ["--sink", "null"]
    assert main([*arguments, *change, *sink]) == code
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    last = stderr.strip().splitlines()[-1]
    assert last.startswith("spgvton run: ")
    assert words in last
    assert "Traceback" not in stderr


@pytest.mark.parametrize("change", [["--max-frames", "0"], ["--threads", "many"], ["--policy", "hope"]])
def test_wrong_numbers_are_wrong_use(arguments: list[str], change: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*arguments, *change])
    assert caught.value.code == 2


def test_mask_of_another_picture(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image.write(tmp_path / "mask.png", np.full((40, 30), 255, np.uint8))
    arguments[arguments.index("--garment-mask") + 1] = str(tmp_path / "mask.png")
    assert main([*arguments, "--sink", "null"]) == 1
    assert "sizes differ" in capsys.readouterr().err


def test_nobody_in_the_video(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = make_video(tmp_path / "empty.mp4", [np.full((96, 64, 3), 40 * i, np.uint8) for i in range(5)])
    assert main([*arguments, "--source", str(video), "--sink", f"file:{tmp_path / 'out.mp4'}", "--json"]) == 1
    stdout, stderr = capsys.readouterr()
    assert sum(json.loads(stdout)["unusable"].values()) == 5
    assert "no frame could be dressed" in stderr
    assert len(frames_of(tmp_path / "out.mp4")) == 5


def test_truncated_video_is_an_error_after_what_could_be_read(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut, out = make_video(tmp_path / "cut.mkv", frames_of(ASSETS / "clip.mp4")[:40]), tmp_path / "out.mp4"
    cut.write_bytes(cut.read_bytes()[: int(0.4 * cut.stat().st_size)])
    changes = ["--source", str(cut), "--sink", f"file:{out}", "--max-frames", "100", "--json"]
    assert main([*arguments, *changes]) == 1
    stdout, stderr = capsys.readouterr()
    data = json.loads(stdout)
    assert 3 < data["frames_out"] < 38
    assert f"ended early after {data['frames_out']} of 40 frames" in stderr.splitlines()[-1]
    assert data["problem"] in stderr
    assert len(frames_of(out)) == data["frames_out"]


def test_ctrl_c_finishes_the_file_and_says_so(arguments: list[str], tmp_path: Path) -> None:
    frame = frames_of(ASSETS / "clip.mp4")[0]
    for i in range(400):  # some ten seconds of work, were it not interrupted
        os.link(tmp_path / "0.png", tmp_path / f"{i}.png") if i else image.write(tmp_path / "0.png", frame)
    out = tmp_path / "out.mp4"
    code = "import sys; from spgvton.cli import main; sys.exit(main())"
    changes = ["--source", str(tmp_path), "--sink", f"file:{out}", "--max-frames", "400", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *latest([*arguments, *changes])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(spgvton.__file__).parents[1])},
    )
    assert process.stderr
    for line in process.stderr:  # the loop runs from here on
        if "the person was taken" in line:
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)
    data = json.loads(stdout)
    assert process.returncode == 130, stderr
    assert data["interrupted"]
    assert 0 < data["frames_out"] < 400
    assert len(frames_of(out)) == data["frames_out"]
    assert "Traceback" not in stderr


def test_recording_for_calibration(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every fifth pose with what stays the same between them; a folder that cannot be written is found at once."""
    file = tmp_path / "session.npz"
    assert main([*arguments, "--sink", "null", "--record-calibration", "50", "--recording", str(file)]) == 0
    recording = Recording.load(file)
    assert (
        len(recording) == len(range(0, FRAMES, EVERY))
        and f"{len(recording)} poses recorded in {file}" in capsys.readouterr().err
    )
    inputs = recording.inputs(0)
    assert set(inputs) == {"keypoints", "cloth", "cloth_mask"} and inputs["cloth"].shape == (1, 3, 256, 192)
    assert main([*arguments, "--sink", "null", "--record-calibration", "5", "--recording", "/proc/none/s.npz"]) == 1
    assert "cannot create folder /proc/none" in capsys.readouterr().err


def test_the_person_is_recorded_on_request(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "session.npz"
    options = ["--sink", "null", "--max-frames", "6", "--record-images"]
    assert main([*arguments, *options]) == 2
    assert "give --record-calibration N, too" in capsys.readouterr().err
    assert main([*arguments, *options, "--record-calibration", "5", "--recording", str(file)]) == 0
    assert "will show the person, face included" in capsys.readouterr().err
    recording = Recording.load(file)
    assert recording.has_person and recording.inputs(0)["body"].shape == (1, 3, 256, 192)
