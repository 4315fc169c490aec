"""Where samples come from: the stratified choice, and recorded sessions."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from spgvton.backends.contract import RunsPoses
from spgvton.demo_assets import DemoAssets
from spgvton.errors import SpgvtonError, UsageError
from spgvton.recording import EVERY, Recorder
from spgvton_calibration.data import Source, garment_kind, load, pose_change, side, stratified
from spgvton_export.samples import data_samples
from spgvton_training.data.layout import PAIRED, Triple

SIZE = (256, 192)


def test_samples_are_what_training_sees(data_folder: Path, data: Source) -> None:
    """The same arrays as spgvton_training's loader gives for the same triple."""
    expected = {s["keypoints"].tobytes(): s for s in data_samples(data_folder, 8, SIZE, "cihp")}
    for sample in data.held_out:
        twin = expected[sample.inputs["keypoints"].tobytes()]
        assert set(twin) == set(sample.inputs)
        for name, array in twin.items():
            np.testing.assert_array_equal(sample.inputs[name], array, err_msg=name)


def test_splits_are_apart_and_the_choice_repeats(data_folder: Path, data: Source) -> None:
    def names(samples: list) -> set[str]:
        return {s.name for s in samples}

    again = load(data_folder, 8, 4, SIZE, "cihp")
    assert [s.name for s in again.calibration] == [s.name for s in data.calibration]
    assert len(data.calibration) == 8 and len(data.held_out) == 4
    assert all(s.truth is not None and s.truth.shape == (*SIZE, 3) for s in data.held_out)


def test_stratified_takes_from_each() -> None:
    triples = [Triple(f"s{i}", f"t{i}", "c") for i in range(100)]
    strata = [("common",) if i < 90 else ("rare",) if i < 98 else ("rarest",) for i in range(100)]
    of = dict(zip(triples, strata))
    chosen = stratified(triples, strata, 24)
    assert len(set(chosen)) == 24
    assert Counter(of[t] for t in chosen) == {("common",): 14, ("rare",): 8, ("rarest",): 2}
    assert stratified(triples, strata, 1000) == stratified(triples[::-1], strata[::-1], 1000), "order does not matter"


def test_strata() -> None:
    assets = DemoAssets.open()
    k = assets.keypoints()
    assert side(k[0]) == "front" and side(k[0] * [-1, 1, 1] + [400, 0, 0]) == "back"
    assert side(k[0] * np.array([0.05, 1, 1])) == "side" and side(k[0] * [1, 1, 0]) == "side"
    assert pose_change(k[0], k[0]) == "small" and pose_change(k[0], k[0] + [300, 0, 0]) == "large"
    labels = assets.person()[1]
    assert garment_kind(labels, "cihp") in ("upper-clothes", "dress", "coat")
    assert garment_kind(np.zeros_like(labels), "cihp") == "none"


class _Deaf(RunsPoses):
    """A back end that computes nothing."""

    def set_static(self, name: str, value: np.ndarray) -> None: ...

    def infer(self, frame: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"image": np.zeros((1, *SIZE, 3), np.uint8)}

    def describe(self) -> dict[str, str]:
        return {}

    def forget(self) -> None: ...

    def close(self) -> None: ...


def recorded(path: Path, inputs: dict[str, np.ndarray], *, images: bool) -> Path:
    recorder = Recorder(_Deaf(), path, 12, SIZE, "cihp", images=images)
    for name, value in inputs.items():
        if name != "keypoints":
            recorder.set_static(name, value)
    for i in range(12 * EVERY):
        recorder.run(inputs["keypoints"] + np.float32(i))
    return path


def test_recorded_poses_on_the_people_of_a_data_set(data_folder: Path, data: Source, tmp_path: Path) -> None:
    """Without its person a session is refused, or takes people of the split that its poses are for."""
    own = data.held_out[0].inputs
    session = recorded(tmp_path / "s.npz", own, images=False)
    with pytest.raises(UsageError, match="was recorded without the person's picture: give --persons DATASET"):
        load(session, 8, 4, SIZE, "cihp")
    made = load(session, 8, 4, SIZE, "cihp", persons=data_folder)
    plain = load(data_folder, 8, 4, SIZE, "cihp")
    for samples, people in ((made.calibration, plain.calibration), (made.held_out, plain.held_out)):
        assert len(samples) == len(people)
        for sample, person in zip(samples, people):
            assert set(sample.inputs) == set(own) and sample.truth is None
            np.testing.assert_array_equal(sample.inputs["body"], person.inputs["body"])
            np.testing.assert_array_equal(sample.inputs["cloth"], own["cloth"])
    assert made.held_out[-1].inputs["keypoints"].max() == own["keypoints"].max() + 11 * EVERY
    assert load(session, 0, 4, SIZE, "cihp", persons=data_folder).calibration == []

    whole = recorded(tmp_path / "whole.npz", own, images=True)
    np.testing.assert_array_equal(load(whole, 8, 4, SIZE, "cihp").held_out[0].inputs["body"], own["body"])
    for path in (whole, data_folder):
        with pytest.raises(UsageError, match=r"leave (--persons out|it out)"):
            load(path, 8, 4, SIZE, "cihp", persons=data_folder)


def test_faults(data_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--samples 3 is too few"):
        load(data_folder, 3, 4, SIZE, "cihp")
    with pytest.raises(SpgvtonError, match=r"has 12 train triples, 400 were asked for"):
        load(data_folder, 400, 4, SIZE, "cihp")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpgvtonError, match="give a data set in MPV layout"):
        load(tmp_path / "empty", 8, 4, SIZE, "cihp")
    with pytest.raises(SpgvtonError, match="there is no"):
        load(tmp_path / "none.npz", 8, 4, SIZE, "cihp")
    broken = Path(shutil.copytree(data_folder, tmp_path / "broken"))
    name = (broken / PAIRED).read_text().split("\t")[1]
    (broken / "parse_cihp" / name).with_suffix(".png").write_bytes(b"no picture")
    with pytest.raises(SpgvtonError, match=r"cannot be|not a picture|damaged"):
        load(broken, 12, 8, SIZE, "cihp")
