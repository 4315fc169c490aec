"""Choosing and checking a GPU back end: what is said where something lacks, --backend, and spgvton doctor --gpu."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from fake_gpu import Array, EngineSpec, FakeGpu
from numpy.typing import NDArray
from test_engine import RTX, bundle_of, warp_model
from tiny_bundle import make_bundle

from spgvton import machine
from spgvton.backends import Backend, cuda, open_backend, tensorrt
from spgvton.backends.onnxruntime import OnnxRuntimeBackend, session_options
from spgvton.bench import parity as check
from spgvton.bench.parity import benchmark, parity
from spgvton.bundle import PRECISIONS, Bundle
from spgvton.cli import main
from spgvton.demo_assets import DemoAssets
from spgvton.engine import build as build_module
from spgvton.engine import flavour
from spgvton.engine.build import Built, Options, build, explain
from spgvton.engine.flavour import Flavour
from spgvton.engine.gpu import Gpu
from spgvton.engine.load import LoadedEngine
from spgvton.errors import SpgvtonError, UsageError
from spgvton.session import TryOn

ASSETS = DemoAssets.open().folder
DEVICE = Gpu("NVIDIA Fake", "87", 8 << 30, 8)


def a_gpu_answers(monkeypatch: pytest.MonkeyPatch, device: Gpu | None = DEVICE) -> None:
    for module in (tensorrt, build_module):
        monkeypatch.setattr(module, "first_gpu", lambda: device)


# ----- what is missing is said ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tensorrt", RTX])
@pytest.mark.parametrize("verb", [["doctor", "--gpu"], ["demo", "--mode", "pose"]])
def test_without_a_gpu_it_is_one_line_and_exit_1(
    name: str, verb: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    a_gpu_answers(monkeypatch, None)
    monkeypatch.chdir(tmp_path)
    assert main([*verb, "--backend", name]) == 1
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    *before, error = stderr.splitlines()
    assert [line for line in before if not line.startswith("spgvton demo: opening the networks")] == []
    assert f"back end {name} needs an NVIDIA GPU and its driver" in error
    assert "onnxruntime" in error
    with pytest.raises(SpgvtonError, match="needs an NVIDIA GPU"):
        TryOn(backend=name)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    a_gpu_answers(monkeypatch)
    trt = Flavour(RTX, None, None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)  # type: ignore[arg-type]
    with pytest.raises(SpgvtonError, match=r"pip install 'spgvton\[tensorrt-rtx\]'"):
        open_backend(RTX, Bundle.open())
    monkeypatch.setattr(flavour, "load", lambda name: trt)
    monkeypatch.setitem(sys.modules, "pycuda", None)  # type: ignore[arg-type]
    with pytest.raises(SpgvtonError, match=r"pycuda.* is missing: pip install 'spgvton\[cuda\]' .*nvcc"):
        open_backend(RTX, Bundle.open())
    monkeypatch.delitem(sys.modules, "pycuda")
    (tmp_path / "pycuda").mkdir()
    (tmp_path / "pycuda" / "__init__.py").write_text("")
    (tmp_path / "pycuda" / "driver.py").write_text("raise ImportError('libcuda.so.1: cannot open\\nmore')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        SpgvtonError, match=r"cannot be loaded \(libcuda\.so\.1: cannot open\): install the NVIDIA driver"
    ):
        open_backend(RTX, Bundle.open())
    monkeypatch.delitem(sys.modules, "pycuda", raising=False)
    monkeypatch.setattr(tensorrt, "import_driver", lambda: None)
    monkeypatch.setitem(sys.modules, "spgvton.engine.build", None)  # type: ignore[arg-type]
    with pytest.raises(SpgvtonError, match=r"is missing: pip install 'spgvton\[tensorrt-rtx\]'"):
        open_backend(RTX, Bundle.open())


def test_options_of_the_other_back_end_are_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="--threads is for"):
        open_backend("tensorrt", Bundle.open(), threads=2)
    with pytest.raises(UsageError, match="--warp and --plugin are for"):
        open_backend("onnxruntime", Bundle.open(), warp="plugin")
    for given in (["--warp", "plugin"], ["--backend", "tensorrt"], ["--report", "x.json"], ["--replays", "5"]):
        assert main(["doctor", *given]) == 2
        assert "go with --gpu" in capsys.readouterr().err


def test_real_tensorrt_rtx_refuses_foreign_and_truncated_engines(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx-cu13: its builder needs no GPU")
    trt = flavour.load(RTX)
    built = build(bundle_of(tmp_path / "b", warp_model()), Options(backend=RTX, folder=tmp_path))
    whole = built.engine.read_bytes()
    for plan in (b"no engine" * 100, b"", whole[: len(whole) // 2]):
        built.engine.write_bytes(plan)
        with pytest.raises(SpgvtonError, match=r"tensorrt-rtx cannot load .*\.engine \(.+\): delete it") as e:
            LoadedEngine(trt, built.engine, None)
        assert "\n" not in str(e.value) and "no reason given" not in str(e.value)
    built.engine.unlink()
    with pytest.raises(SpgvtonError, match=r"cannot read .*No such file"):
        LoadedEngine(trt, built.engine, None)


def test_a_failure_with_a_plugin_is_explained_by_itself(plugin: Path, tmp_path: Path) -> None:
    """Asking the registry for what is not there yet is logged as an error by TensorRT, before the one that matters."""
    trt = flavour.load(RTX)
    engine = tmp_path / "e.engine"
    engine.write_bytes(b"no engine" * 100)
    with pytest.raises(SpgvtonError, match="cannot load") as e:
        LoadedEngine(trt, engine, plugin)
    assert "Cannot find plugin" not in str(e.value) and "no reason given" not in str(e.value)


def test_an_error_belongs_to_the_call_before_it() -> None:
    trt = Flavour(RTX, None, None)

    def failing() -> bool:
        trt.errors.extend(["first\n  line", "second"])
        return False

    trt.errors.append("of an earlier call")
    assert trt.attempt(failing) is False
    assert trt.first_error("no reason given") == "first line"
    trt.errors.append("of an earlier call")
    assert trt.attempt(bool, 1) is True
    assert trt.first_error("no reason given") == "no reason given"


def test_one_logger_a_process(rtx: Any) -> None:
    """TensorRT keeps that of the first runtime: with a second one, errors of plugins would go where nobody looks."""
    one, other = flavour.load(RTX), flavour.load(RTX)
    assert one.logger is other.logger and one.errors is other.errors


def test_rtx_on_turing_is_one_line(gpu: FakeGpu, tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    a_gpu_answers(monkeypatch, Gpu("Tesla T4", "75", 16 << 30, 40))
    with pytest.raises(SpgvtonError, match=r"Tesla T4 \(SM 75\): TensorRT-RTX cannot compile .* --backend tensorrt"):
        open_backend(RTX, tiny)
    open_backend("tensorrt", tiny, say=lambda _: None).close()


def test_explain_loads_the_engine_with_its_plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[Any] = []
    layers = '{"Layers": ["fused", {"Name": "warp", "Precision": "FP32"}]}'

    class Loaded:
        def __init__(self, *arguments: Any) -> None:
            opened.append(arguments[1:])
            self.engine, self.create_engine_inspector = self, lambda: self
            self.get_engine_information = lambda layer_format: layers

        def close(self) -> None:
            opened.append("closed")

    trt = SimpleNamespace(LayerInformationFormat=SimpleNamespace(JSON="json"))
    a_gpu_answers(monkeypatch)
    monkeypatch.setattr(build_module, "LoadedEngine", Loaded)
    monkeypatch.setattr(flavour, "load", lambda name: Flavour(name, trt, object()))
    built = Built(tmp_path / "e.engine", tmp_path / "p.so", "hit", "tensorrt", "fp32", {})
    assert explain(built) == [{"Name": "fused"}, {"Name": "warp", "Precision": "FP32"}]
    layers = "no JSON"
    with pytest.raises(ValueError, match="Expecting value"):
        explain(built)
    assert opened == [(tmp_path / "e.engine", tmp_path / "p.so"), "closed"] * 2


# ----- through the command line ---------------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path: Path) -> Bundle:
    return Bundle.open(make_bundle(tmp_path / "tiny"))


@pytest.fixture
def gpu(tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    """A fake GPU whose engines compute what the tiny bundle's graph does, with ONNX Runtime."""
    session = ort.InferenceSession(str(tiny.graph("tryon")), session_options(1), providers=["CPUExecutionProvider"])
    tensors = [(i.name, True, "FLOAT", (-1, *i.shape[1:])) for i in session.get_inputs()]
    tensors += [(o.name, False, "UINT8", (-1, *o.shape[1:])) for o in session.get_outputs()]

    def compute(inputs: dict[str, Array]) -> Array:
        return np.asarray(session.run(["image"], inputs)[0])

    fake = FakeGpu(EngineSpec(tensors, compute))
    a_gpu_answers(monkeypatch)
    monkeypatch.setattr(flavour, "load", lambda name: Flavour(name, fake.trt, object()))
    for module in (cuda, tensorrt):
        monkeypatch.setattr(module, "import_driver", lambda: fake.driver)
    monkeypatch.setattr(cuda, "load_libcuda", lambda: fake.library)
    monkeypatch.setattr(build_module, "_build_plan", lambda *_: (b"plan", {"plugin_layers": 0, "layers": {}}))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return fake


def test_a_session_by_name_gives_the_cpus_pictures(
    gpu: FakeGpu, tiny: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPGVTON_PLUGIN", str(tiny.graph("tryon")))  # any file: what it holds is TensorRT's affair
    monkeypatch.setattr(LoadedEngine, "__init__", without_plugin(LoadedEngine.__init__))
    frames, size = check.demo_poses()
    picture, labels = DemoAssets.open().person()
    garment = DemoAssets.open().garment(2)
    pictures = []
    sessions = [TryOn(tiny, backend="tensorrt"), TryOn(tiny)]
    for session in sessions:
        session.set_person(picture, labels=labels)
        session.set_garment(garment.picture, mask=garment.mask)
        pictures.append([session(keypoints, size) for keypoints in frames[:3]])
        session.close()
    np.testing.assert_array_equal(pictures[0], pictures[1])
    said = capsys.readouterr().err
    assert "tryon-tensorrt-fp32-plugin-b1-sm87.engine: built" in said
    assert not gpu.live and not gpu.primary
    TryOn(tiny, backend="tensorrt").close()
    assert "engine: hit" in capsys.readouterr().err


def without_plugin(init: Any) -> Any:
    def checked(self: LoadedEngine, trt: Flavour, path: Path, plugin: Path | None) -> None:
        assert plugin is not None and plugin.name == "tryon.onnx"  # from $SPGVTON_PLUGIN to where the engine is loaded
        init(self, trt, path, None)

    return checked


def test_tensorrt_without_a_plugin_says_who_warps(gpu: FakeGpu, tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """So `auto`, the kiosk and TryOn(backend="tensorrt") work where nobody built the plugin."""
    monkeypatch.delenv("SPGVTON_PLUGIN", raising=False)
    said: list[str] = []
    open_backend("tensorrt", tiny, say=said.append).close()
    assert said[0].startswith("engine tryon-tensorrt-fp32-function-")
    assert "no plugin was given" in said[1] and "standard operators" in said[1]
    said.clear()
    for explicit in ("tensorrt", RTX):
        open_backend(explicit, tiny, warp="function", say=said.append).close()
    assert len(said) == 2  # it was asked for
    with pytest.raises(SpgvtonError, match="--warp plugin needs the library"):
        open_backend("tensorrt", tiny, warp="plugin", say=said.append)


def test_run_on_the_gpu(gpu: FakeGpu, tiny: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "run",
        "--source",
        str(ASSETS / "clip.mp4"),
        "--garment",
        str(ASSETS / "garment_1.jpg"),
        "--sink",
        "null",
    ]
    arguments += ["--garment-mask", str(ASSETS / "garment_1_mask.png"), "--person", str(ASSETS / "person.jpg")]
    arguments += ["--parsing", str(ASSETS / "person_parsing.png"), "--bundle", str(tiny.folder), "--max-frames", "6"]
    assert main([*arguments, "--json", "--backend", "tensorrt", "--warp", "function"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["frames_out"] == 6
    assert report["backend"]["backend"] == "tensorrt"
    assert report["backend"]["cuda_graph"] == "replayed"
    assert gpu.ran == 6
    assert not gpu.live and not gpu.primary  # closed from another thread than the one that ran the frames


def test_demo_on_the_gpu(gpu: FakeGpu, tiny: Bundle, tmp_path: Path) -> None:
    arguments = ["demo", "--mode", "pose", "--bundle", str(tiny.folder), "--seconds", "0.4", "--out", str(tmp_path)]
    assert main([*arguments, "--backend", RTX]) == 0
    report = json.loads((tmp_path / "demo.json").read_text())
    assert (report["backend"]["backend"], report["frames_out"], gpu.ran) == (RTX, 6, 6)
    assert not gpu.live and not gpu.primary
    assert len(list((tmp_path / "cache").rglob(f"*.{DEVICE.slug}.kernels"))) == 1


def test_every_precision_has_a_tolerance() -> None:
    assert set(check.TOLERANCES) == set(PRECISIONS)


# ----- parity and benchmark -------------------------------------------------------------------------------------------


class Shifted:
    """A back end that is wrong by one pixel of the pose."""

    def __init__(self, right: Backend) -> None:
        self.set_static, self.describe, self.close = right.set_static, right.describe, right.close
        self._right = right

    def run(self, keypoints: NDArray[np.float32]) -> NDArray[np.uint8]:
        return self._right.run(keypoints + np.array([1, 0, 0], np.float32))


def test_parity_sees_a_shift_by_one_pixel() -> None:
    bundle = Bundle.open()
    right = OnnxRuntimeBackend(bundle, threads=1)
    wrong: Any = Shifted(right)
    shifted = parity(TryOn(bundle, backend=wrong), TryOn(bundle, backend=right), poses=2)
    assert not shifted.holds
    assert shifted.mean_error > 3 * shifted.allowed_mean and shifted.psnr_db is not None


def test_benchmark_counts_every_frame_after_the_warm_up(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    session = TryOn(tiny)
    picture, labels = DemoAssets.open().person()
    durations = [5.0] * 3 + [0.001 * n for n in range(1, 11)]
    now, ticks = 0.0, []
    for seconds in durations:
        ticks += [now, now + seconds]
        now += seconds
    session.set_person(picture, labels=labels)
    monkeypatch.setattr(session, "set_person", lambda *a, **k: None)
    monkeypatch.setattr(check.time, "perf_counter", iter(ticks).__next__)
    found = benchmark(session, frames=10, warm_up=3)
    monkeypatch.undo()
    assert found.latency_ms == {"p50": 5.0, "p90": 9.0, "p95": 10.0, "p99": 10.0, "max": 10.0}


def test_clocks_and_power_mode_where_they_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.gpu_state(str(tmp_path)) == {}
    for name, says in (
        ("nvidia-smi", "P2, 1980 MHz, 2520 MHz, 10251 MHz, [N/A], 450.00 W, 41, Enabled"),
        ("nvpmodel", "NVPM WARN: x\nNV Power Mode: MAXN_SUPER\n2"),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n/bin/cat <<'E'\n{says}\nE\n")
        (tmp_path / name).chmod(0o755)
    for folder, files in (("17000000.gpu", ("cur_freq", "max_freq")), ("13e00000.host1x", ("cur_freq",))):
        (tmp_path / folder).mkdir()
        for file in files:
            (tmp_path / folder / file).write_text("306000000\n" if file == "cur_freq" else "1020000000\n")
    assert machine.gpu_state(str(tmp_path)) == {
        "pstate": "P2", "clocks.sm": "1980 MHz", "clocks.max.sm": "2520 MHz", "clocks.mem": "10251 MHz",
        "power.limit": "450.00 W", "temperature.gpu": "41", "persistence_mode": "Enabled",
        "power_mode": "MAXN_SUPER", "clock": "306000000", "max_clock": "1020000000",
    }  # fmt: skip
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho broken\nexit 9\n")
    assert "pstate" not in machine.gpu_state(str(tmp_path / "none"))
