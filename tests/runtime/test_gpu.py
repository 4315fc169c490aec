"""On a real GPU: pytest -m gpu tests/runtime/test_gpu.py. Skipped, with the reason, where there is none.

With $SPGVTON_PLUGIN the warp is the plugin's, else the standard operators'.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from spgvton.backends import open_backend
from spgvton.backends.contract import LIVE
from spgvton.backends.cuda import import_driver
from spgvton.backends.onnxruntime import OnnxRuntimeBackend
from spgvton.backends.samples import live_samples
from spgvton.backends.tensorrt import TensorRtBackend, build_engine, require_gpu
from spgvton.bench import parity as check
from spgvton.bench.parity import parity
from spgvton.bundle import PRECISIONS, Bundle
from spgvton.cli import main
from spgvton.demo_assets import DemoAssets
from spgvton.engine.build import Built
from spgvton.engine.flavour import MODULES
from spgvton.engine.gpu import Gpu
from spgvton.errors import SpgvtonError
from spgvton.live.compositor import composite
from spgvton.live.compositors import open_compositor
from spgvton.live.tryon import LiveTryOn
from spgvton.perception.pose import PoseEstimator
from spgvton.session import TryOn

pytestmark = pytest.mark.gpu
SOAK = 10_000


@pytest.fixture(scope="module", params=sorted(MODULES))
def backend(request: pytest.FixtureRequest) -> str:
    """Each TensorRT that is installed here."""
    name = str(request.param)
    try:
        require_gpu(name)
    except SpgvtonError as e:
        pytest.skip(str(e))
    return name


def bundle_in(precision: str, folder: Path) -> Bundle:
    """The shipped bundle in PRECISION; what is made for it lies in FOLDER."""
    bundle, out = Bundle.open(), folder / precision
    if precision == "fp32":
        return bundle
    command = ["export", "--precision", "fp16"]
    if precision == "int8":
        data = str(folder / "data")
        for split in ("train", "test"):
            assert main(["synth", "--out", data, "--count", "8", "--split", split]) == 0
        command = ["calibrate", "--data", data, "--samples", "8", "--held-out", "4", "--method", "minmax", "--no-gate"]
    assert main([*command, "--bundle", str(bundle.folder), "--out", str(out)]) == 0
    return Bundle.open(out)


@pytest.fixture(scope="module", params=PRECISIONS)
def engine(
    request: pytest.FixtureRequest, backend: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Bundle, Built, Gpu]]:
    """The shipped bundle in each precision, and its engine."""
    bundle = bundle_in(str(request.param), tmp_path_factory.mktemp("bundles"))
    given = os.environ.get("SPGVTON_PLUGIN")
    built = build_engine(backend, bundle, "plugin" if given else "function", Path(given) if given else None)
    yield bundle, built, require_gpu(backend)


def open_session(engine: tuple[Bundle, Built, Gpu], *, cuda_graph: bool = True) -> TryOn:
    bundle, built, gpu = engine
    said: list[str] = []
    session = TryOn(bundle, backend=TensorRtBackend(bundle, built, gpu, cuda_graph=cuda_graph, say=said.append))
    dress(session)
    return session


def dress(session: TryOn) -> None:
    """The shipped person and her first garment; the framing starts anew."""
    picture, labels = DemoAssets.open().person()
    garment = DemoAssets.open().garment(1)
    session.set_person(picture, labels=labels)
    session.set_garment(garment.picture, mask=garment.mask)


def test_the_pictures_are_onnx_runtimes(engine: tuple[Bundle, Built, Gpu]) -> None:
    with closing(open_session(engine)) as session:
        found = parity(session, TryOn(engine[0]))
    assert found.inputs == 20
    assert found.holds, found


def test_replay_gives_what_plain_enqueue_gives(engine: tuple[Bundle, Built, Gpu]) -> None:
    poses, size = check.demo_poses()
    with closing(open_session(engine)) as replayed, closing(open_session(engine, cuda_graph=False)) as plain:
        for keypoints in poses[::12]:
            np.testing.assert_array_equal(replayed(keypoints, size), plain(keypoints, size))
        assert replayed.describe()["cuda_graph"] in ("replayed", "captured by TensorRT-RTX")
        assert plain.describe()["cuda_graph"] == "disabled"


def test_sessions_one_after_another(engine: tuple[Bundle, Built, Gpu]) -> None:
    """The last session that closes releases the primary context, which TensorRT's CUDA runtime uses too."""
    poses, size = check.demo_poses()
    pictures = []
    for _ in range(3):
        with closing(open_session(engine)) as session:
            pictures.append([session(keypoints, size) for keypoints in poses[:3]])
    np.testing.assert_array_equal(pictures[0], pictures[1])
    np.testing.assert_array_equal(pictures[0], pictures[2])


def test_live_mode_says_what_onnx_runtime_says(backend: str) -> None:
    """Both engines of the shipped live bundle, two garments, replayed frames."""
    bundle, given = Bundle.open(mode="live"), os.environ.get("SPGVTON_PLUGIN")
    opened = open_backend(
        backend, bundle, mode=LIVE, warp="plugin" if given else "function", plugin=Path(given) if given else None,
        say=lambda _: None,
    )  # fmt: skip
    reference = OnnxRuntimeBackend(bundle, mode=LIVE, form="joint")
    mean, _ = check.TOLERANCES[bundle.precision]
    with closing(opened):
        for sample in live_samples(bundle.size, bundle.label_set):
            made = []
            for each in (opened, reference):
                for name in LIVE.static:
                    each.set_static(name, sample[name])  # type: ignore[arg-type]
                frame = {name: sample[name] for name in LIVE.frame}
                each.infer(frame)
                made.append(each.infer(frame))
            for name in ("rendered", "composition", "clothes_mask"):
                assert np.abs(made[0][name].astype(int) - made[1][name]).mean() <= mean, name
            assert (made[0]["semantic"] != made[1]["semantic"]).mean() < 2e-3
            np.testing.assert_allclose(made[0]["theta"], made[1]["theta"], atol=5e-3)


def test_the_compositor_on_the_device() -> None:
    """$SPGVTON_COMPOSITOR: the picture is the CPU's, but for the edges of prints (docs/gpu.md)."""
    try:
        by = open_compositor("cuda")
    except SpgvtonError as e:
        pytest.skip(str(e))
    frame, live = DemoAssets.open().person()[0], LiveTryOn()
    garment = DemoAssets.open().garment(2)
    live.set_garment(garment.picture, mask=garment.mask)
    answer = live.answer(frame, PoseEstimator(smooth=False)(frame))
    expected = composite(frame, answer)
    with closing(by):
        for _ in range(3):
            found = np.abs(composite(frame, answer, None, by).astype(int) - expected).max(axis=2)
            changed = (expected != frame).any(axis=2)
            assert (found[changed] <= 2).mean() > 0.98 and found.max() <= 16 and found[~changed].max() <= 1


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_ten_thousand_frames_in_flat_memory(engine: tuple[Bundle, Built, Gpu]) -> None:
    poses, size = check.demo_poses()
    garments = DemoAssets.open().garments()

    def free(session: TryOn) -> int:
        gpu_session = session._backend
        assert isinstance(gpu_session, TensorRtBackend)
        with gpu_session._cuda.current():
            return int(import_driver().mem_get_info()[0])

    with closing(open_session(engine)) as session:
        first = session(poses[0], size)
        for i in range(1, SOAK):
            session(poses[i % len(poses)], size)
            if i % 500 == 0:
                garment = garments[i // 500 % len(garments)]
                session.set_garment(garment.picture, mask=garment.mask)
            if i == 1000:
                device, host = free(session), resident()
        assert device - free(session) < 4 << 20
        assert resident() - host < 32 << 20
        dress(session)
        np.testing.assert_array_equal(session(poses[0], size), first)
