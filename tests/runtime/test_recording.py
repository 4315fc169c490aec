"""Recorded sessions: what is in the file, who may read it, and what a damaged one does."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spgvton.backends.contract import RunsPoses
from spgvton.errors import SpgvtonError
from spgvton.recording import EVERY, Recorder, Recording

SIZE = (16, 12)


class Echo(RunsPoses):
    """A back end that answers with the first keypoint."""

    def __init__(self) -> None:
        self.set: list[str] = []
        self.closed = False

    def set_static(self, name: str, value: np.ndarray) -> None:
        self.set.append(name)

    def infer(self, frame: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"image": np.full((1, *SIZE, 3), int(frame["keypoints"][0, 0, 0]), np.uint8)}

    def describe(self) -> dict[str, str]:
        return {"backend": "echo"}

    def forget(self) -> None:
        self.set.clear()

    def close(self) -> None:
        self.closed = True


def pose(i: int) -> np.ndarray:
    return np.full((1, 18, 3), i, np.float32)


def record(path: Path, count: int, frames: int, *, images: bool = True) -> Recorder:
    recorder = Recorder(Echo(), path, count, SIZE, "cihp", images=images)
    for i in range(frames):
        if i == 0:
            recorder.set_static("body", np.zeros((1, 3, *SIZE), np.float32))
        if i in (0, frames // 2):
            recorder.set_static("cloth", np.full((1, 3, *SIZE), i, np.float32))
        assert recorder.run(pose(i))[0, 0, 0, 0] == i
    return recorder


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    recorder = record(path, 100, 8 * EVERY)
    assert len(recorder) == 8 and not path.exists() and recorder.describe() == {"backend": "echo"}
    recorder.save()
    recorder.save()
    recording = Recording.load(path)
    recording.check(SIZE, "cihp")
    assert len(recording) == 8 and recording.static.tolist() == [0] * 4 + [1] * 4
    for i in range(8):
        inputs = recording.inputs(i)
        assert set(inputs) == {"body", "cloth", "keypoints"} and inputs["keypoints"].shape == (1, 18, 3)
        assert inputs["keypoints"].max() == i * EVERY and inputs["cloth"].max() == (4 * EVERY if i >= 4 else 0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600, "it shows the person"
    with zipfile.ZipFile(path) as archive:
        names = {n.removesuffix(".npy") for n in archive.namelist()}
    assert names == {"format", "size", "label_set", "keypoints", "static"} | {
        f"static.{k}.{n}" for k in (0, 1) for n in ("body", "cloth")
    }, "no frame, no result"
    for size, labels in (((8, 8), "cihp"), (SIZE, "lip")):
        with pytest.raises(SpgvtonError, match="was recorded with a network of"):
            recording.check(size, labels)


def test_no_picture_of_the_person_unless_asked_for(tmp_path: Path) -> None:
    """Poses and garments only; what the back end gets stays whole."""
    recorder = record(tmp_path / "s.npz", 2, 2 * EVERY, images=False)
    assert recorder._inner.set == ["body", "cloth", "cloth"]  # type: ignore[attr-defined]
    recording = Recording.load(tmp_path / "s.npz")
    assert not recording.has_person and set(recording.inputs(1)) == {"cloth", "keypoints"}
    with zipfile.ZipFile(tmp_path / "s.npz") as archive:
        assert {n.rpartition(".static.")[2].removesuffix(".npy").rpartition(".")[2] for n in archive.namelist()} == {
            "format", "size", "label_set", "keypoints", "static", "cloth"
        }  # fmt: skip
    record(tmp_path / "with.npz", 2, 2 * EVERY)
    assert Recording.load(tmp_path / "with.npz").has_person


def test_written_as_soon_as_it_is_full(tmp_path: Path) -> None:
    recorder = record(tmp_path / "s.npz", 2, 5 * EVERY)
    assert len(recorder) == 2 and len(Recording.load(tmp_path / "s.npz")) == 2


def test_closing(tmp_path: Path) -> None:
    """Nothing recorded writes nothing; what cannot be written still closes the back end behind."""
    inner = Echo()
    Recorder(inner, tmp_path / "s.npz", 5, SIZE, "cihp").close()
    assert inner.closed and not list(tmp_path.iterdir())
    inner = Echo()
    recorder = Recorder(inner, tmp_path / "gone" / "s.npz", 5, SIZE, "cihp")
    recorder.run(pose(1))
    with pytest.raises(SpgvtonError, match="cannot write"):
        recorder.close()
    assert inner.closed


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 10_000))
def test_damage_is_one_line(tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int) -> None:
    folder = tmp_path_factory.mktemp("damage")
    (folder / "junk.npz").write_bytes(junk)
    with pytest.raises(SpgvtonError) as e:
        Recording.load(folder / "junk.npz")
    assert "\n" not in str(e.value)
    record(folder / "s.npz", 2, 2 * EVERY).close()
    whole = (folder / "s.npz").read_bytes()
    (folder / "s.npz").write_bytes(whole[: at % len(whole)])
    with pytest.raises(SpgvtonError):
        Recording.load(folder / "s.npz")


def test_foreign_archives(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(SpgvtonError, match="is no recorded session"):
        Recording.load(tmp_path / "other.npz")
    np.savez(tmp_path / "pickled.npz", format=np.array(["a", None], dtype=object))
    with pytest.raises(SpgvtonError, match="damaged or no recorded session"):
        Recording.load(tmp_path / "pickled.npz")
    np.savez(
        tmp_path / "bad.npz", format="spgvton-recording-1", size=SIZE, label_set="cihp", static=np.zeros(2, int),
        keypoints=np.full((2, 18, 3), np.nan),
    )  # fmt: skip
    with pytest.raises(SpgvtonError, match="finite numbers"):
        Recording.load(tmp_path / "bad.npz")
    with pytest.raises(SpgvtonError, match="there is no"):
        Recording.load(tmp_path / "none.npz")
