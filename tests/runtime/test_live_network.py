"""The live network on the shipped bundle: what it says about the shipped person, on every back end and in both forms."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from spgvton import labels as lb
from spgvton.backends import auto, open_backend
from spgvton.backends.contract import LIVE
from spgvton.backends.samples import Sample, live_samples
from spgvton.bundle import MANIFEST, Bundle, write_manifest
from spgvton.errors import SpgvtonError
from spgvton.live.arms import forget_arms
from spgvton.live.network import LiveNetwork, LiveOutput
from spgvton.person import Garment, clothes_mask


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    bundle = Bundle.open()
    return live_samples(bundle.size, bundle.label_set)


@pytest.fixture(scope="module")
def network() -> LiveNetwork:
    return LiveNetwork("realtime", threads=1)


def wear(network: LiveNetwork, sample: Sample) -> LiveOutput:
    network.set_garment(Garment(sample["cloth"][0], sample["cloth_mask"][0]))
    return network(sample["picture"][0], sample["labels"][0], sample["keypoints"][0])


def close_to(a: LiveOutput, b: LiveOutput) -> bool:
    """Whether two forms or back ends say the same, but for rounding."""
    bytes_ = (
        np.abs(getattr(a, k).astype(int) - getattr(b, k)).mean() < 0.1
        for k in ("rendered", "composition", "clothes_mask")
    )
    return all(bytes_) and np.mean(a.semantic != b.semantic) < 2e-3 and np.abs(a.theta - b.theta).max() < 5e-3


def test_shapes_and_types(network: LiveNetwork, samples: list[Sample]) -> None:
    output = wear(network, samples[0])
    h, w = network.size
    assert (h, w) == (256, 192) and network.label_set == "cihp"
    assert output.rendered.shape == (h, w, 3) and output.rendered.dtype == np.uint8
    for mask in (output.composition, output.clothes_mask, output.semantic):
        assert mask.shape == (h, w) and mask.dtype == np.uint8
    assert output.theta.shape == (2, 25) and output.theta.dtype == np.float32
    assert network.describe()["graphs"] == "live_garment, live_frame"


def test_the_person_stays_and_the_clothes_change(network: LiveNetwork, samples: list[Sample]) -> None:
    """Background and face are the frame's; the new clothes lie about where the old ones did, and differ by garment."""
    outputs = [wear(network, sample) for sample in samples[::2]]
    labels, picture = samples[0]["labels"][0], samples[0]["picture"][0]
    old = clothes_mask(labels)[0] > 0
    for output in outputs:
        new = output.clothes_mask > 127
        assert (new & old).sum() / (new | old).sum() > 0.6
        face = labels == lb.FACE
        assert np.abs(output.rendered[face].astype(int) - picture[face]).mean() < 12
        far = (labels == lb.BACKGROUND) & (output.semantic == lb.BACKGROUND)
        assert np.abs(output.rendered[far].astype(int) - picture[far]).mean() < 8
        assert np.isin(output.semantic[new], lb.clothes()).mean() > 0.8
    inside = (outputs[0].clothes_mask > 127) & (outputs[1].clothes_mask > 127)
    assert np.abs(outputs[0].rendered[inside].astype(int) - outputs[1].rendered[inside]).mean() > 10


def test_the_picture_under_the_old_clothes_is_not_seen(network: LiveNetwork, samples: list[Sample]) -> None:
    picture = samples[0]["picture"][0].copy()
    picture[clothes_mask(samples[0]["labels"][0])[0] > 0] = (255, 0, 255)
    a, b = wear(network, samples[0]), wear(network, {**samples[0], "picture": picture[None]})
    assert all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in zip(a, b))


@pytest.mark.parametrize(("backend", "form"), [("onnxruntime", "joint"), ("openvino", "pair"), ("openvino", "joint")])
def test_every_back_end_and_form_agrees(
    network: LiveNetwork,
    samples: list[Sample],
    backend: str,
    form: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bundle = network.bundle
    other = LiveNetwork(bundle, backend=open_backend(backend, bundle, mode=LIVE, threads=1, form=form))
    expected_graphs = "live_garment, live_frame" if form == "pair" else "live"
    assert other.describe()["graphs"] == expected_graphs
    for sample in samples[1:3]:
        assert close_to(wear(other, sample), wear(network, sample))


def test_bare_arms_are_forgotten_where_the_bundle_says_so(
    network: LiveNetwork, samples: list[Sample], tmp_path: Path
) -> None:
    bundle = Bundle.open(shutil.copytree(Bundle.open().folder, tmp_path / "forgets"))
    bundle.manifest["network"]["forget_arms"] = True
    (bundle.folder / MANIFEST).write_text(json.dumps(bundle.manifest))
    picture, labels, keypoints = (samples[0][k][0] for k in ("picture", "labels", "keypoints"))
    forgotten = forget_arms(labels, keypoints)
    assert (forgotten != labels).sum() > 100, "the shipped person has bare arms"
    forgetful = LiveNetwork(bundle.folder, threads=1)
    plain = wear(network, samples[0])
    assert all(
        np.array_equal(np.asarray(a), np.asarray(b))
        for a, b in zip(wear(forgetful, samples[0]), network(picture, forgotten, keypoints))
    )
    assert not close_to(wear(forgetful, samples[0]), plain)


def test_siblings_have_their_own_garment(network: LiveNetwork, samples: list[Sample]) -> None:
    expected = [wear(network, sample) for sample in samples[:4:2]]
    mirrors = [network.sibling(), network.sibling()]
    with pytest.raises(SpgvtonError, match="no garment is set"):
        mirrors[0](samples[0]["picture"][0], samples[0]["labels"][0], samples[0]["keypoints"][0])
    found: list[LiveOutput] = [expected[0]] * 2
    for mirror, sample in zip(mirrors, samples[:4:2]):
        wear(mirror, sample)

    def turn(i: int) -> None:
        sample = samples[2 * i]
        for _ in range(2):
            found[i] = mirrors[i](sample["picture"][0], sample["labels"][0], sample["keypoints"][0])

    threads = [threading.Thread(target=turn, args=(i,)) for i in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(np.asarray(x), np.asarray(y)) for a, b in zip(found, expected) for x, y in zip(a, b))


def test_wrong_use_is_told(network: LiveNetwork, samples: list[Sample]) -> None:
    wear(network, samples[0])
    picture, labels, keypoints = (samples[0][k][0] for k in ("picture", "labels", "keypoints"))
    with pytest.raises(ValueError, match="expected picture"):
        network(picture[:-8], labels, keypoints)
    with pytest.raises(ValueError, match="expected labels"):
        network(picture, labels[:, :-8], keypoints)
    with pytest.raises(SpgvtonError, match="label id"):
        network(picture, np.full_like(labels, 20), keypoints)
    with pytest.raises(SpgvtonError, match="NaN"):
        network(picture, labels, keypoints * np.float32(np.nan))
    with pytest.raises(SpgvtonError, match="back end tensorrt needs an NVIDIA GPU"):
        LiveNetwork(backend="tensorrt")


def test_a_bundle_without_live_graphs_says_what_to_do(tmp_path: Path) -> None:
    """As those of before are, and as a conversion leaves one that cannot do it."""
    shutil.copytree(Bundle.open().folder, tmp_path / "old")
    manifest = json.loads((tmp_path / "old" / MANIFEST).read_text())
    names = [n for n in manifest["files"] if not n.startswith("live")]
    bundle = write_manifest(tmp_path / "old", manifest, names)
    assert bundle.modes == ("pose",) and Bundle.open().modes == ("live", "pose")
    for backend in ("onnxruntime", "openvino", "auto"):
        with pytest.raises(SpgvtonError, match="no live mode: export the bundle again"):
            LiveNetwork(bundle, backend=backend)
    with pytest.raises(SpgvtonError, match="no live mode: INT8 stops at the paper"):
        LiveNetwork(write_manifest(tmp_path / "old", {**manifest, "no_live": "INT8 stops at the paper"}, names))


def test_auto_measures_both_forms_and_remembers(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(auto, "SECONDS", 0.0)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said: list[str] = []
    bundle = Bundle.open()
    opened = open_backend("auto", bundle, mode=LIVE, threads=1, say=said.append)
    (choice,) = json.loads(auto.choices_file().read_text())["choices"].values()
    assert set(choice["median_ms"]) == {"onnxruntime", "onnxruntime with the joint graph"}
    again = open_backend("auto", bundle, mode=LIVE, threads=1, say=said.append)
    assert "measured now" in said[0] and "remembered" in said[1]
    assert again.describe() == opened.describe()
    assert (opened.describe()["graphs"] == "live") == (choice["backend"] == "onnxruntime with the joint graph")
