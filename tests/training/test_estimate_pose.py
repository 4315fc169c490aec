"""Estimated keypoints replace the exact ones, which are kept; a second run does nothing."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from spgvton import keypoints as kp
from spgvton.cli import main
from spgvton.errors import SpgvtonError
from spgvton_training.data.estimate_pose import estimate_poses


def test_estimate_poses(tmp_path: Path) -> None:
    assert main(["synth", "--out", str(tmp_path), "--count", "1", "--seed", "5"]) == 0
    before = {p.name: kp.load_openpose(p) for p in (tmp_path / "pose_coco").rglob("*.json")}
    assert estimate_poses(tmp_path) == len(before) == 2
    for file in (tmp_path / "pose_coco").rglob("*.json"):
        exact = kp.load_openpose(tmp_path / "pose_exact" / file.parent.name / file.name)
        found = kp.load_openpose(file)
        assert (exact == before[file.name]).all() and not np.allclose(found, exact)
        both = (exact[:, 2] > 0) & (found[:, 2] > 0)
        distance = np.hypot(*(found - exact)[both, :2].T)
        assert both.sum() >= 10 and np.median(distance) < 8, "the same person, seen by another definition of joints"
    times = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.json")}
    assert estimate_poses(tmp_path) == 0
    assert times == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.json")}
    shutil.rmtree(tmp_path / "pose_coco")
    with pytest.raises(SpgvtonError, match="no pose_coco"):
        estimate_poses(tmp_path)
