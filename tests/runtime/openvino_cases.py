"""The OpenVINO back end: ONNX Runtime's picture, its cache, bfloat16, and its engine shared among mirrors."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_bundle import make_bundle

from spgvton import machine
from spgvton.backends import Backend, open_backend, openvino_graph
from spgvton.backends.openvino import Engine, OpenVinoBackend
from spgvton.backends.openvino_graph import BF16_FLAGS, KEPT, VNNI_FLAGS, Settings, cache_folder
from spgvton.backends.samples import Sample, batch_of, demo_samples, dress
from spgvton.bundle import Bundle
from spgvton.errors import SpgvtonError, UsageError
from spgvton.session import TryOn
from spgvton.ssim import psnr

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    bundle = Bundle.open()
    return demo_samples(bundle.size, bundle.label_set)


@pytest.fixture(scope="module")
def expected(samples: list[Sample]) -> Iterator[list[np.ndarray]]:
    """ONNX Runtime's pictures of the first, fifth and ninth sample: three garments."""
    with closing(open_backend("onnxruntime", Bundle.open(), threads=1)) as backend:
        yield [picture(backend, s) for s in samples[::4]]


def picture(backend: Backend, sample: Sample) -> np.ndarray:
    dress(backend, sample)
    return backend.run(sample["keypoints"])[0]


def test_the_shipped_bundle_gives_onnx_runtimes_picture(samples: list[Sample], expected: list[np.ndarray]) -> None:
    with closing(open_backend("openvino", Bundle.open(), threads=1)) as backend:
        described = backend.describe()
        assert described["graphs"] == "session, frame" and described["convolutions"].split()[0] == "f32"
        assert "," not in described["convolutions"]  # all of them: no silent bfloat16 on CPUs with AMX
        for sample, wanted in zip(samples[::4], expected):
            difference = np.abs(picture(backend, sample).astype(int) - wanted)
            assert difference.max() <= 2 and difference.mean() < 0.01


@pytest.mark.skipif(not machine.cpu_flags() & BF16_FLAGS, reason="this processor has no bfloat16")
def test_bf16_keeps_the_picture(samples: list[Sample], expected: list[np.ndarray]) -> None:
    with closing(open_backend("openvino-bf16", Bundle.open(), threads=1)) as backend:
        assert backend.describe()["convolutions"].startswith("bf16") and backend.describe()["graphs"] == "tryon"
        for sample, wanted in zip(samples[::4], expected):
            assert 38 < psnr(picture(backend, sample), wanted) < 75


def test_bf16_is_refused_where_the_processor_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset({"avx2"}))
    with pytest.raises(SpgvtonError, match="no bfloat16"):
        open_backend("openvino-bf16", Bundle.open())


def test_tiny_bundle_batch_and_wrong_use(tiny_bundle: Path, samples: list[Sample]) -> None:
    bundle = Bundle.open(tiny_bundle)
    batch = batch_of(samples[1:9:3])
    pictures = []
    for name in ("onnxruntime", "openvino"):
        with closing(open_backend(name, bundle, threads=1, batch=3)) as backend:
            dress(backend, batch)
            pictures.append(backend.run(batch["keypoints"]))
            with pytest.raises(ValueError, match="keypoints"):
                backend.run(batch["keypoints"][:1])
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() <= 1
    assert len({hashlib.sha256(p).hexdigest() for p in pictures[0]}) == 3
    backend = open_backend("openvino", bundle, threads=1)
    with pytest.raises(SpgvtonError, match="no person"):
        backend.run(samples[0]["keypoints"])
    with pytest.raises(ValueError, match="cloth: expected"):
        backend.set_static("cloth", batch["cloth"])
    with pytest.raises(ValueError, match="not one of"):
        backend.set_static("keypoints", samples[0]["keypoints"])
    backend.close()
    backend.close()
    with pytest.raises(SpgvtonError, match="closed"):
        backend.run(samples[0]["keypoints"])
    with pytest.raises(UsageError, match="--warp"):
        open_backend("openvino", bundle, warp="plugin")


def test_cache_is_used_bounded_and_survives_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: list[Sample]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    bundle = Bundle.open(make_bundle(tmp_path / "tiny"))
    said: list[str] = []
    compiled: list[Path] = []
    read = openvino_graph.read

    def counted(path: Path, settings: Settings) -> object:
        compiled.append(path)
        return read(path, settings)

    monkeypatch.setattr(openvino_graph, "read", counted)

    def shown() -> np.ndarray:
        with closing(OpenVinoBackend(bundle, threads=1, say=said.append)) as backend:
            return picture(backend, samples[0])

    first = shown()
    (blob,) = cache_folder().glob("*.blob")
    assert np.array_equal(shown(), first) and len(compiled) == 1
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    assert np.array_equal(shown(), first) and len(compiled) == 2 and "damaged" in said[0]
    # a blob that OpenVINO itself does not take: of another version, say
    junk = b"not compiled"
    blob.write_bytes(hashlib.sha256(junk).digest() + junk)
    assert np.array_equal(shown(), first) and len(compiled) == 3 and "cannot be used" in said[1]
    shown()
    assert len(compiled) == 3 and len(said) == 2
    for i in range(KEPT):
        (cache_folder() / f"{i}.blob").write_bytes(b"")
    OpenVinoBackend(bundle, threads=2, say=said.append).close()  # other settings: another blob
    assert len(list(cache_folder().glob("*.blob"))) == KEPT
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    assert np.array_equal(shown(), first) and "not kept" in said[-1]


def quantised_bundle(folder: Path) -> Path:
    """A bundle of one INT8 convolution with large weights over `body`: what saturates without VNNI."""
    rng = np.random.default_rng(1)
    values = {
        "q": rng.integers(-127, 128, (16, 3, 3, 3)).astype(np.int8), "scale": np.full(16, 0.02, np.float32),
        "zeros": np.zeros(16, np.int8), "step": np.float32(1 / 127), "zero": np.int8(0),
        "ones": np.full((3, 16, 1, 1), 1.5, np.float32), "middle": np.float32(128), "low": np.float32(0),
        "high": np.float32(255), "small": np.float32(0.0),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["body", "step", "zero"], ["bq"]),
        helper.make_node("DequantizeLinear", ["bq", "step", "zero"], ["bd"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zeros"], ["w"], axis=0),
        helper.make_node("Conv", ["bd", "w"], ["y"], pads=[1] * 4),
        helper.make_node("Relu", ["y"], ["r"]),
        helper.make_node("Conv", ["r", "ones"], ["c"]),
        helper.make_node("ReduceMean", ["keypoints"], ["pose"], keepdims=0),
        helper.make_node("Mul", ["pose", "small"], ["nothing"]),
        helper.make_node("Add", ["c", "nothing"], ["moved"]),
        helper.make_node("Add", ["moved", "middle"], ["grey"]),
        helper.make_node("Clip", ["grey", "low", "high"], ["clipped"]),
        helper.make_node("Transpose", ["clipped"], ["rows"], perm=[0, 2, 3, 1]),
        helper.make_node("Cast", ["rows"], ["image"], to=TensorProto.UINT8),
    ]
    inputs = [
        helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, ["N", 18, 3]),
        helper.make_tensor_value_info("body", TensorProto.FLOAT, ["N", 3, 256, 192]),
    ]
    outputs = [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 256, 192, 3])]
    initial = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "tryon", inputs, outputs, initial)
    folder.mkdir()
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), folder / "tryon.onnx"
    )
    from spgvton.bundle import write_manifest

    network = {"label_set": "cihp", "height": 256, "width": 192}
    write_manifest(folder, {"network": network, "precision": "int8"}, ["tryon.onnx"])
    return folder


def test_int8_is_computed_in_int8(tmp_path: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle.open(quantised_bundle(tmp_path / "int8"))
    with closing(open_backend("onnxruntime", bundle, threads=1)) as reference:
        wanted = picture(reference, samples[0])
    assert wanted.std() > 10
    said: list[str] = []

    def shown() -> tuple[dict[str, str], float]:
        with closing(OpenVinoBackend(bundle, threads=1, say=said.append)) as backend:
            return backend.describe(), psnr(picture(backend, samples[0]), wanted)

    described, likeness = shown()
    has_vnni = bool(machine.cpu_flags() & VNNI_FLAGS)
    assert {part.split()[0] for part in described["convolutions"].split(", ")} & {"i8", "u8"} and bool(said) != has_vnni
    said.clear()
    if has_vnni:
        assert likeness > 40 and "int8_weights" not in described
    # as if there were VNNI alone: unsigned activations, the same numbers
    monkeypatch.setattr(machine, "is_x86", lambda: True)
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset({"avx512_vnni"}))
    assert Settings.of(bundle, 1) == Settings(1, unsigned=True)
    described, likeness = shown()
    assert "int8_weights" not in described and (likeness > 40 or not has_vnni)  # without it, products saturate
    # and without it: weights of seven bits besides, and told so
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset({"avx2"}))
    assert Settings.of(bundle, 1) == Settings(1, unsigned=True, halve_weights=True)
    described, likeness = shown()
    assert "7 bits" in described["int8_weights"] and likeness > 30
    assert len(said) == 1 and "cut to 7 bits" in said[0]
    assert Settings.of(Bundle.open(), 1) == Settings(1)  # nothing of this concerns a float bundle


SATURATION = """
import sys
import numpy as np
from spgvton import machine
from spgvton.backends.openvino import OpenVinoBackend
from spgvton.bundle import Bundle

bundle = Bundle.open(sys.argv[1])
for flags in ({"avx2", "avx_vnni"}, {"avx2"}):  # what the processor is believed to have; oneDNN uses AVX2 alone
    machine.cpu_flags = lambda: flags
    backend = OpenVinoBackend(bundle, threads=1, say=print)
    backend.set_static("body", np.load(sys.argv[2]))
    np.save(sys.argv[2 + len(flags)], backend.run(np.zeros((1, 18, 3), np.float32))[0])
"""


@pytest.mark.skipif(not machine.is_x86(), reason="oneDNN's instruction sets can be limited on x86 only")
def test_the_overflow_fix_on_real_avx2_kernels(tmp_path: Path) -> None:
    """ONEDNN_MAX_CPU_ISA keeps oneDNN to AVX2, which saturates; seven bits do not."""
    folder = quantised_bundle(tmp_path / "int8")
    body = np.sign(np.random.default_rng(0).standard_normal((1, 3, 256, 192))).astype(np.float32)
    np.save(tmp_path / "body.npy", body)
    with closing(open_backend("onnxruntime", Bundle.open(folder), threads=1)) as reference:
        reference.set_static("body", body)
        wanted = reference.run(np.zeros((1, 18, 3), np.float32))[0]
    arguments = [str(folder), *(str(tmp_path / f"{name}.npy") for name in ("body", "seven", "eight"))]
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", SATURATION, *arguments], check=True, env=environment)
    eight, seven = (psnr(np.load(tmp_path / f"{name}.npy"), wanted) for name in ("eight", "seven"))
    assert eight < 40 and seven > 48, (eight, seven)


def test_halved_weights_mean_the_same_in_seven_bits(tmp_path: Path) -> None:
    model = onnx.load(quantised_bundle(tmp_path / "int8") / "tryon.onnx")

    def weights() -> tuple[np.ndarray, np.ndarray]:
        stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        return stored["q"].astype(int), stored["scale"]

    q, scale = weights()
    assert openvino_graph.halve_weights(model) == 1  # not the activations
    halved, doubled = weights()
    assert np.abs(q).max() > 64 >= np.abs(halved).max()
    assert np.abs(halved * doubled[0] - q * scale[0]).max() <= scale[0] * 1.001


def test_siblings_share_the_engine_and_nothing_else(samples: list[Sample], expected: list[np.ndarray]) -> None:
    for name in ("onnxruntime", "openvino"):
        first = TryOn(backend=open_backend(name, Bundle.open(), threads=1))
        backends = [first._backend, first.sibling()._backend, first.sibling()._backend]
        with pytest.raises(SpgvtonError, match="no person"):
            dress(backends[0], samples[0])
            backends[1].run(samples[0]["keypoints"])
        found: list[list[np.ndarray]] = [[], [], []]

        def mirror(i: int, backends: list[Backend] = backends, found: list[list[np.ndarray]] = found) -> None:
            for _ in range(3):
                found[i].append(picture(backends[i], samples[4 * i]))

        threads = [threading.Thread(target=mirror, args=(i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for pictures, wanted in zip(found, expected):
            assert len(pictures) == 3
            for shown in pictures:
                difference = np.abs(shown.astype(int) - wanted)
                assert difference.max() <= 2 and difference.mean() < 0.01


def test_nothing_of_a_person_stays_in_the_session_graphs_outputs(samples: list[Sample]) -> None:
    with closing(open_backend("openvino", Bundle.open(), threads=1)) as backend:
        assert isinstance(backend, OpenVinoBackend) and isinstance(backend._engine, Engine)
        picture(backend, samples[0])
        outputs = [backend._prepare.get_tensor(port).data for port in backend._prepare.model_outputs]
        assert any(o.any() for o in outputs)
        backend.set_static("body", np.zeros_like(samples[0]["body"]))
        assert not any(o.any() for o in outputs)
