"""No output replaces an input, by whatever name it is reached; and nothing but an ordinary file is replaced at all."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

import pytest

from spgvton import files
from spgvton.cli import INPUTS, OUTPUTS, VERBS, build_parser, main
from spgvton.demo_assets import DemoAssets
from spgvton.errors import SpgvtonError
from spgvton.stream.sinks import FileSink
from spgvton.stream.sources import open_source

# Metavars of arguments that name files or folders.
PATHS = {"DIR", "FILE", "IMG", "PNG", "ONNX", "DATA", "NPZ", "YAML", "CHECKPOINT", "JSON", "BUNDLE", "FOLDER", "URI"}


@pytest.mark.parametrize("how", ["itself", "another spelling", "symbolic link", "hard link"])
def test_an_input_is_not_replaced_by_any_name(tmp_path: Path, how: str) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(b"precious")
    target = tmp_path / "out.bin"
    if how == "symbolic link":
        target.symlink_to(source)
    elif how == "hard link":
        os.link(source, target)
    else:
        (tmp_path / "below").mkdir()
        target = source if how == "itself" else tmp_path / "below" / ".." / "source.bin"
    with files.inputs(source), pytest.raises(SpgvtonError, match="read by this command"):
        files.write_bytes(target, b"new")
    assert source.read_bytes() == target.read_bytes() == b"precious"
    files.write_bytes(target, b"new")  # it is no input any more
    assert target.read_bytes() == b"new"


def test_an_input_may_be_read_by_two_at_once(tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(b"1")
    with files.inputs(source):
        with files.inputs(source, tmp_path / "missing"):
            pass
        with pytest.raises(SpgvtonError):
            files.write_bytes(source, b"2")
        files.write_bytes(source, b"1")  # the same: nothing is replaced


def test_what_a_folder_is_read_for_is_not_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    (folder / "deep").mkdir(parents=True)
    for name in ("deep/1.png", "out.mp4"):
        (folder / name).write_bytes(b"old")
    with files.inputs(folder):
        with pytest.raises(SpgvtonError, match="read by this command"):
            files.write_bytes(folder / "deep" / "1.png", b"new")
        files.write_bytes(folder / "out.mp4", b"new")
        files.write_bytes(folder / "2.png", b"new")
        files.write_bytes(tmp_path / "1.png", b"new")


def test_only_ordinary_files_are_replaced(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe.png"
    os.mkfifo(fifo)
    for target, word in ((fifo, "no ordinary file"), (Path("/dev/null"), "no ordinary file"), (tmp_path, "a folder")):
        with pytest.raises(SpgvtonError, match=word):
            files.write_bytes(target, b"new")
    assert fifo.is_fifo() and Path("/dev/null").is_char_device()


def test_one_file_is_not_written_twice_at_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with files.atomic_path(tmp_path / "out.bin") as first:
        first.write_bytes(b"first")
        with pytest.raises(SpgvtonError, match="being written already"):
            files.write_bytes(tmp_path / "a" / ".." / "out.bin", b"second")
    assert (tmp_path / "out.bin").read_bytes() == b"first"


def test_an_open_video_is_not_replaced_whoever_opened_it(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    shutil.copyfile(DemoAssets.open().clip, clip)
    source = open_source(str(clip))
    with pytest.raises(SpgvtonError, match="read by this command"):
        FileSink(clip, source.size, source.fps)
    source.close()
    FileSink(clip, source.size, source.fps).close()  # nothing was written: nothing is replaced


def test_run_does_not_replace_its_source_or_garment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assets = DemoAssets.open()
    clip, garment = tmp_path / "clip.mp4", tmp_path / "garment.jpg"
    shutil.copyfile(assets.clip, clip)
    shutil.copyfile(assets.folder / "garment_1.jpg", garment)
    before = clip.read_bytes(), garment.read_bytes()
    (tmp_path / "link.mp4").symlink_to(clip)
    run = ["run", "--source", str(clip), "--garment", str(garment), "--max-frames", "2", "--policy", "wait"]
    for more in (
        ["--sink", f"file:{clip}"],
        ["--sink", f"file:{tmp_path / 'link.mp4'}"],
        ["--sink", "null", "--mode", "pose", "--record-calibration", "1", "--recording", str(garment)],
    ):
        assert main([*run, *more]) == 1
        assert "name another file to write" in capsys.readouterr().err
        assert (clip.read_bytes(), garment.read_bytes()) == before
    assert not list(tmp_path.glob(".*"))


def test_every_path_of_the_command_line_is_known_as_input_or_output() -> None:
    """A new option that names a file must say which it is."""

    def walk(parser: argparse.ArgumentParser) -> list[argparse.Action]:
        found: list[argparse.Action] = []
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for sub in action.choices.values():
                    found += walk(sub)
            found.append(action)
        return found

    for verb in VERBS:
        pytest.importorskip(VERBS[verb][0])
        for action in walk(build_parser(verb)):
            if action.type is Path or (action.metavar in PATHS and not action.choices):
                assert action.dest in INPUTS | OUTPUTS, f"{verb} {action.dest}"


def test_a_data_set_is_not_made_among_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(SpgvtonError, match="something else already"):
        files.own_folder(tmp_path, "made.json")
    (tmp_path / "made.json").write_text("{}")
    assert files.own_folder(tmp_path, "made.json") == tmp_path
    assert files.own_folder(tmp_path / "new", "made.json").is_dir()


@pytest.mark.parametrize(
    "verb",
    [["synth", "--count", "1", "--estimate-pose"], ["prepare", "--photos", "PHOTOS", "--garments", "GARMENTS"]],
)
def test_synth_and_prepare_leave_foreign_folders_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    pytest.importorskip("spgvton_training.cli.synth")
    (tmp_path / "PHOTOS" / "anna").mkdir(parents=True)
    (tmp_path / "GARMENTS").mkdir()
    shutil.copyfile(DemoAssets.open().folder / "garment_1.jpg", tmp_path / "GARMENTS" / "shirt.jpg")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "data_pair.txt").write_text("a/1.jpg\ta/2.jpg\ta/c.jpg\ttrain\n")
    words = [str(tmp_path / word) if word.isupper() else word for word in verb]
    assert main([*words, "--out", str(mine)]) == 1
    assert "something else already" in capsys.readouterr().err
    assert [p.name for p in mine.iterdir()] == ["data_pair.txt"]
