"""The shipped bundle, a data set made of the shipped demo person, and INT8 bundles of both precisions."""

from __future__ import annotations

from pathlib import Path

import pytest

from spgvton import image as im
from spgvton import keypoints as kp
from spgvton.bundle import Bundle
from spgvton.demo_assets import DemoAssets
from spgvton.range_table import graph_hash
from spgvton_calibration.calibrate import RangeFinder, calibrate, select
from spgvton_calibration.data import Sample, Source, load
from spgvton_calibration.integer import results
from spgvton_calibration.network import Network
from spgvton_calibration.outcome import Outcome, Settings
from spgvton_calibration.qdq import quantise_weight
from spgvton_calibration.ranges import table_of
from spgvton_export.fp16.bundle import convert_bundle
from spgvton_export.samples import demo_samples
from spgvton_training.data.layout import PAIRED, ClothFiles, PhotoFiles

SIZE = (256, 192)
SAMPLES, HELD_OUT = 8, 4


def write_data(root: Path) -> Path:
    """A data set in MPV layout: the demo's person and garments, poses of its clip; 12 train and 8 test triples."""
    assets = DemoAssets.open()
    picture, labels = assets.person()
    keypoints = assets.keypoints()
    for i in range(20):
        files = PhotoFiles.of(root, f"item{i}/p{i}@1=person_half_front.jpg")
        for path in (files.picture, files.labels, files.keypoints):
            path.parent.mkdir(parents=True, exist_ok=True)
        im.write(files.picture, picture)
        im.write(files.labels, labels)
        files.keypoints.write_text(kp.to_openpose(keypoints[i * len(keypoints) // 20]))
    for number in (1, 2, 3):
        garment = ClothFiles.of(root, f"cloth{number}/c@0=cloth_front.jpg")
        for path in garment:
            path.parent.mkdir(parents=True, exist_ok=True)
        im.write(garment.picture, assets.garment(number).picture)
        im.write(garment.mask, assets.garment(number).mask)
    photo = "item{0}/p{0}@1=person_half_front.jpg".format
    lines = [
        f"{photo(i)}\t{photo((i + 3) % 20)}\tcloth{i % 3 + 1}/c@0=cloth_front.jpg\t{'train' if i < 12 else 'test'}"
        for i in range(20)
    ]
    (root / PAIRED).write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def source() -> Bundle:
    """The shipped `realtime`: it need not be exported first, which takes longer than all that is done with it here."""
    return Bundle.open("realtime")


@pytest.fixture(scope="session")
def half(source: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    samples = demo_samples(SIZE, "cihp")[:1]
    return convert_bundle(source, tmp_path_factory.mktemp("half") / "bundle", samples, inputs="demo", seconds=0)[0]


@pytest.fixture(scope="session")
def data(data_folder: Path) -> Source:
    return load(data_folder, SAMPLES, HELD_OUT, SIZE, "cihp")


@pytest.fixture(scope="session")
def network(source: Bundle) -> Network:
    return Network(source.graph("tryon"))


@pytest.fixture(scope="session")
def int8(source: Bundle, data: Source, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """INT8 + FP32, every candidate layer, with a gate that has room."""
    settings = Settings(max_ssim_drop=0.5, sensitivity=0)
    return calibrate(source, tmp_path_factory.mktemp("int8") / "bundle", settings, data)


@pytest.fixture(scope="session")
def int8_half(half: Bundle, source: Bundle, data: Source, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """INT8 + FP16, judged against float32."""
    settings = Settings(max_ssim_drop=0.5, sensitivity=0)
    return calibrate(half, tmp_path_factory.mktemp("int8-half") / "bundle", settings, data, reference=source)


@pytest.fixture(scope="session")
def spoilt() -> tuple[str, ...]:
    """Layers that `gated` is given wrong ranges for."""
    return "g3.conv9", "g3.conv7.0"


@pytest.fixture(scope="session")
def gated(source: Bundle, data: Source, spoilt: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Half of G3 in INT8, the ranges of the SPOILT layers a hundred times too small: the gate has work to do.

    Judged by the float pictures, so that every change counts.
    """
    folder = tmp_path_factory.mktemp("gated")
    settings = Settings("minmax", ("g1.*", "g2.*", "gmm1.*", "g3.res*"), max_ssim_drop=0.01, sensitivity=0)
    network = Network(source.graph("tryon"))
    layers, _ = select(network, settings.keep_float)
    weights = {x.name: quantise_weight(*network.weights(x), network.element_type(x)) for x in layers}
    made = results(network, layers)
    amax = RangeFinder(network, layers, weights, [s.inputs for s in data.calibration[:2]], made).find("minmax").amax
    sources = {x.source for x in layers if x.name in spoilt}
    wrong = {tensor: value / 100 if tensor in sources else value for tensor, value in amax.items()}
    table_of(layers, wrong, graph_hash(source), "minmax", "spoilt", 2, made).save(folder / "spoilt.json")
    judged = [Sample(s.name, s.inputs) for s in data.held_out[:2]]
    return calibrate(source, folder / "b", settings, Source([], judged, ""), ranges=folder / "spoilt.json")
