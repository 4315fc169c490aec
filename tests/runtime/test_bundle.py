"""Bundles: hashes, damage, foreign files. And the session on the shipped bundle."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spgvton.backends import open_backend
from spgvton.backends.onnxruntime import OnnxRuntimeBackend
from spgvton.bundle import MANIFEST, SHIPPED, WEIGHTS, Bundle, locate, sha256, shipped
from spgvton.demo_assets import DemoAssets
from spgvton.errors import SpgvtonError, UsageError
from spgvton.session import TryOn
from spgvton.video import cv2

FRAME = DemoAssets.open().person()[1].shape


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(shipped(), tmp_path / "bundle"))


def test_shipped_bundle_opens() -> None:
    bundle = Bundle.open()
    assert bundle.size == (256, 192) and bundle.label_set == "cihp"
    assert {f"{g}.onnx" for g in ("g1", "g2", "gmm1", "gmm2", "g3", "tryon")} < set(bundle.manifest["files"])
    assert sum(f["bytes"] for f in bundle.manifest["files"].values()) < 17e6
    assert bundle.manifest["provenance"]["command"].startswith("spgvton train")


def test_changed_weights_are_refused(copy: Path) -> None:
    data = bytearray((copy / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (copy / WEIGHTS).write_bytes(data)
    with pytest.raises(SpgvtonError, match=r"weights\.safetensors is not the file"):
        Bundle.open(copy)


def test_missing_file_and_folder(copy: Path) -> None:
    (copy / "g1.onnx").unlink()
    with pytest.raises(SpgvtonError, match=r"cannot read .*g1\.onnx"):
        Bundle.open(copy)
    with pytest.raises(SpgvtonError, match="not a model bundle"):
        Bundle.open(copy / "nowhere")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "spgvton-bundle-99"}', '{"format": "spgvton-bundle-1"}',
     '{"format": "spgvton-bundle-1", "network": {"label_set": "atr"}, "files": {}}',
     '{"format": "spgvton-bundle-1", "network": {"label_set": "lip", "height": 1, "width": 1}, "files": [1]}'],
)  # fmt: skip
def test_damaged_manifest(copy: Path, text: str) -> None:
    (copy / MANIFEST).write_text(text)
    with pytest.raises(SpgvtonError):
        Bundle.open(copy)


def test_manifest_cannot_reach_outside(copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["files"]["../x"] = {"sha256": "0"}
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(SpgvtonError, match="outside the bundle"):
        Bundle.open(copy)


def test_foreign_graph_and_unknown_backend(copy: Path) -> None:
    import hashlib

    for content, message in ((b"no graph", "cannot load"), ((copy / "gmm2.onnx").read_bytes(), "not an spgvton joint")):
        (copy / "frame.onnx").write_bytes(content)
        manifest = json.loads((copy / MANIFEST).read_text())
        manifest["files"]["frame.onnx"]["sha256"] = hashlib.sha256(content).hexdigest()
        (copy / MANIFEST).write_text(json.dumps(manifest))
        with pytest.raises(SpgvtonError, match=message):
            open_backend("onnxruntime", Bundle.open(copy))
    with pytest.raises(UsageError, match="tpu"):
        open_backend("tpu", Bundle.open())


@pytest.fixture(scope="module")
def session() -> TryOn:
    return TryOn(threads=1)


def test_session_dresses_the_demo_person(session: TryOn) -> None:
    """The result shows the garment's colours where the person wears clothes, and her own head where her head is."""
    assets = DemoAssets.open()
    picture, labels = assets.person()
    keypoints = assets.keypoints()
    with pytest.raises(SpgvtonError, match="no person is set"):
        session(keypoints[0], FRAME)
    session.set_person(picture, keypoints=keypoints[0], labels=labels)
    with pytest.raises(SpgvtonError, match="no garment is set"):
        session(keypoints[0], FRAME)
    small = cv2.resize(labels, (192, 256), interpolation=cv2.INTER_NEAREST)
    source = cv2.resize(picture, (192, 256), interpolation=cv2.INTER_AREA).astype(int)
    results = []
    for number in (1, 2, 3):
        garment, mask = assets.garment(number)
        session.set_garment(garment, mask=mask)
        result = session(keypoints[0], FRAME)
        assert result.shape == (256, 192, 3) and result.dtype == np.uint8
        results.append(result.astype(int))
        head = np.isin(small, (2, 13))
        assert np.abs(result - source)[head].mean() < 25, "the person stays that person"
        wanted = np.median(garment[mask > 127], 0)
        seen = np.median(result[small == 5], 0)
        worn = np.median(source[small == 5], 0)
        assert np.abs(seen - wanted).mean() < np.abs(worn - wanted).mean(), f"garment {number} is worn"
    assert np.abs(results[0] - results[1]).mean() > 3


def test_session_follows_the_pose(session: TryOn) -> None:
    assets = DemoAssets.open()
    picture, labels = assets.person()
    k = assets.keypoints()
    session.set_person(picture, keypoints=k[0], labels=labels)
    session.set_garment(*assets.garment(1)[:1], mask=assets.garment(1)[1])
    most = int(np.abs(k[:, 4, :2] - k[0, 4, :2]).sum(1).argmax())  # where the right wrist is farthest
    still, moved = session(k[0], FRAME), session(k[most], FRAME)
    assert np.abs(still.astype(int) - moved).mean() > 3
    assert (session(k[0], FRAME) == still).all(), "deterministic"


def test_session_refuses_bad_input(session: TryOn) -> None:
    assets = DemoAssets.open()
    picture, labels = assets.person()
    k = assets.keypoints()[0]
    session.set_person(picture, keypoints=k, labels=labels)
    bad = k.copy()
    bad[3, 0] = np.nan
    for call in (lambda: session(bad, FRAME), lambda: session.set_person(picture, keypoints=bad, labels=labels)):
        with pytest.raises(SpgvtonError, match="NaN"):
            call()
    with pytest.raises(SpgvtonError, match="label id 37"):
        session.set_person(picture, keypoints=k, labels=np.full_like(labels, 37))
    empty = np.full((300, 200, 3), 255, np.uint8)
    with pytest.raises(SpgvtonError, match="cannot be used"):
        session.set_person(empty)
    with pytest.raises(SpgvtonError, match="no usable pose"):
        session(empty)


def test_session_graph_runs_when_person_or_garment_change(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Split or joint graph: the same pictures. The session graph runs once per change, not once per frame."""
    assets = DemoAssets.open()
    picture, labels = assets.person()
    keypoints, frame_size = assets.keypoints(), (picture.shape[0], picture.shape[1])
    manifest = json.loads((copy / MANIFEST).read_text())
    for name in ("session.onnx", "frame.onnx"):
        del manifest["files"][name]
        (copy / name).unlink()
    (copy / MANIFEST).write_text(json.dumps(manifest))
    runs: list[int] = []
    prepare = OnnxRuntimeBackend._run_session_graph

    def counted(self: OnnxRuntimeBackend) -> dict[str, np.ndarray]:
        runs.append(1)
        return prepare(self)

    monkeypatch.setattr(OnnxRuntimeBackend, "_run_session_graph", counted)
    images: list[list[np.ndarray]] = []
    for folder, graphs in ((shipped(), "session, frame"), (copy, "tryon")):
        session = TryOn(folder, threads=1)
        assert session.describe()["graphs"] == graphs
        session.set_person(picture, keypoints=keypoints[0], labels=labels)
        made = []
        for garment in (1, 2):
            session.set_garment(assets.garment(garment)[0], mask=assets.garment(garment)[1])
            made += [session(keypoints[i], frame_size).astype(int) for i in (10, 40)]
        images.append(made)
        assert len(runs) == 2
        runs.clear()
    for split, joint in zip(*images):
        assert np.abs(split - joint).max() <= 1
    assert all(np.abs(a - b).max() > 50 for a, b in zip(images[0], images[0][1:])), "pose and garment change it"


def test_shipped_bundles_are_known_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in shipped().parent.iterdir():
        assert Bundle.open(folder.name).folder == folder
    assert Bundle.open().folder == shipped()
    for mode, name in SHIPPED.items():
        assert Bundle.open(mode=mode).folder == shipped(mode) == locate(name) and mode in Bundle.open(name).modes
    (tmp_path / "live").mkdir()  # a folder of one's own goes before
    with pytest.raises(SpgvtonError, match="not a model bundle"):
        Bundle.open("live")


# ------------------------------------------------------------------ what a bundle must not hold
def _rewritten(copy: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    change(manifest)
    (copy / MANIFEST).write_text(json.dumps(manifest))


def test_nan_weights_are_named(copy: Path) -> None:
    data = bytearray((copy / WEIGHTS).read_bytes())
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    name, entry = next((n, e) for n, e in header.items() if n != "__metadata__" and e["dtype"] in ("F16", "F32"))
    size = 2 if entry["dtype"] == "F16" else 4
    nan = np.array([np.nan], f"<f{size}").tobytes()
    start = 8 + length + entry["data_offsets"][0]
    data[start : start + size] = nan
    (copy / WEIGHTS).write_bytes(data)
    _rewritten(copy, lambda m: m["files"][WEIGHTS].update(sha256=sha256(copy / WEIGHTS)))
    with pytest.raises(SpgvtonError, match="holds NaN or infinity in") as caught:
        Bundle.open(copy)
    assert name in str(caught.value)


def test_weights_that_no_hash_covers_are_not_trusted(copy: Path) -> None:
    _rewritten(copy, lambda m: m["files"].pop(WEIGHTS))
    with pytest.raises(SpgvtonError, match="does not list weights"):
        Bundle.open(copy)


def test_sizes_that_differ_from_the_graphs_are_named(copy: Path) -> None:
    _rewritten(copy, lambda m: m["network"].update(height=128, width=96))
    with pytest.raises(SpgvtonError, match=r"192x256 pixels, bundle\.json says 96x128"):
        OnnxRuntimeBackend(Bundle.open(copy))


@pytest.mark.parametrize("name", [MANIFEST, WEIGHTS, "tryon.onnx"])
def test_pipes_and_devices_in_a_bundle_do_not_hang(copy: Path, name: str) -> None:
    (copy / name).unlink()
    os.mkfifo(copy / name)
    with pytest.raises(SpgvtonError, match="no ordinary file"):
        Bundle.open(copy)
    (copy / name).unlink()
    (copy / name).symlink_to("/dev/zero")
    with pytest.raises(SpgvtonError, match="no ordinary file"):
        Bundle.open(copy)
