# ruff: noqa: F811 - fixtures that are imported
"""`spgvton doctor --gpu`: each step, on the CPU where it can run there and on the fake GPU; faults; the report."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_gpu import FakeGpu
from test_gpu_live import shipped_on_gpu  # noqa: F401
from test_gpu_open import DEVICE, RTX, a_gpu_answers, gpu, tiny  # noqa: F401
from test_power import Counting
from tiny_bundle import make_bundle

from spgvton import image
from spgvton.bundle import Bundle, write_manifest
from spgvton.cli import doctor_gpu, main
from spgvton.doctor import engines, live_loop, memory, parity, percentiles, plugin, power, report, sessions
from spgvton.doctor.contract import PASSED, Outcome, Rig, Skipped, Verdict
from spgvton.doctor.steps import STEPS, run_steps, skip_all
from spgvton.engine.parts import FRAME, GARMENT
from spgvton.errors import SpgvtonError
from spgvton.live.tryon import LiveTryOn
from spgvton.session import TryOn
from spgvton.stream import live_stage
from spgvton.stream.frames import Frame, Source, Wrapped

QUICK: dict[str, Any] = {"seconds": 0.2, "frames": 20, "live_frames": 45, "say": lambda _: None}


def other_precision(folder: Path, precision: str) -> Bundle:
    """The tiny bundle, told to be of PRECISION; without live mode, as INT8 bundles are."""
    made = Bundle.open(make_bundle(folder))
    manifest = {"network": made.manifest["network"], "precision": precision, "no_live": "it was not calibrated"}
    return write_manifest(made.folder, manifest, ["tryon.onnx"])


@pytest.fixture
def cpu(tiny: Bundle) -> Rig:
    return Rig(tiny, "onnxruntime", **QUICK)


# ----- the steps that any back end can run, really run ----------------------------------------------------------------


def test_parity_and_percentiles_on_the_cpu(cpu: Rig) -> None:
    compared = parity.run(cpu)
    assert not compared.fault and compared.facts["holds"] and compared.facts["inputs"] == 20
    timed = percentiles.run(cpu)
    assert timed.facts["frames"] == 20 == len(timed.times["frame"])
    assert timed.facts["latency_ms"]["max"] == round(max(timed.times["frame"]), 3)
    assert timed.facts["backend"]["backend"] == "onnxruntime" and "200" not in timed.words


def test_memory_on_the_cpu(cpu: Rig) -> None:
    found = memory.run(cpu)
    assert found.facts["frames"] >= 75 and found.facts["garments"] >= 1
    assert set(found.facts["trends"]) == {*memory.FLOORS} - {memory.GPU_MEMORY}
    assert "cannot be read" in found.facts["gpu"]
    assert found.lines is not None and len(found.lines[0]) == found.facts["frames"]


def rows(rss: float = 0.0, gpu_memory: float = 0.0) -> np.ndarray:
    """90 samples in 90 seconds; RSS and GPU_MEMORY: MiB that are lost a second."""
    seconds = np.arange(90.0)
    noise = np.random.default_rng(0).normal(0, 0.2, 90)
    still = np.full(90, 12.0)
    return np.stack([seconds, 400 + rss * seconds + noise, 90 + gpu_memory * seconds, still, still], axis=1)


def test_what_leaks_is_named() -> None:
    assert memory.judged(rows(), 90, 3).fault == ""
    assert memory.judged(rows(rss=0.05), 90, 3).fault == ""  # 3 MiB: below the floor
    assert memory.judged(rows(rss=0.5), 90, 3).fault == "it grows: resident memory, MiB"
    leaky = memory.judged(rows(gpu_memory=0.2), 90, 3)
    assert leaky.fault == f"it grows: {memory.GPU_MEMORY}" and "gpu" not in leaky.facts


class Patient(Wrapped):
    """A camera that waits after its first frames until the networks have answered, however busy the machine is."""

    def __init__(self, source: Source, answered: threading.Event) -> None:
        super().__init__(source)
        self._answered = answered

    def read(self) -> Frame | None:
        frame = self._source.read()
        if frame is not None and frame.index > 12:
            assert self._answered.wait(300)
        return frame


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set by the first answer, for which the camera of the live step waits."""
    event, opened, real = threading.Event(), live_loop.open_source, LiveTryOn.answer

    def answer(self: LiveTryOn, *arguments: Any) -> Any:
        try:
            return real(self, *arguments)
        finally:
            event.set()

    monkeypatch.setattr(LiveTryOn, "answer", answer)
    monkeypatch.setattr(live_loop, "open_source", lambda *a, **k: Patient(opened(*a, **k), event))
    monkeypatch.setattr(live_stage, "MAX_AGE_S", 600.0)
    return event


def test_the_live_loop_on_the_cpu(cpu: Rig, answered: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    found = live_loop.run(cpu)
    assert found.facts["size"] == [1280, 720] and found.facts["dressed"] > 0 and not found.fault
    assert "targets" in found.words and len(next(iter(found.times.values()))) == found.facts["frames_counted"] + 10

    def nobody(*_: Any, **__: Any) -> Any:
        answered.set()
        raise SpgvtonError("the parser does not see you")

    monkeypatch.setattr(LiveTryOn, "answer", nobody)
    undressed = live_loop.run(replace(cpu, live_frames=14))
    assert "none was dressed" in undressed.fault


def test_the_live_loop_on_the_gpu(shipped_on_gpu: FakeGpu, answered: threading.Event) -> None:
    """The session that a GPU runs, with both of its engines: what they compute is the shipped live graph."""
    fake = shipped_on_gpu
    rig = Rig(Bundle.open(mode="live"), "tensorrt", DEVICE, warp="function", **{**QUICK, "live_frames": 20})
    (verdict,) = run_steps(rig, {"live": STEPS["live"]})
    assert verdict.verdict == PASSED and verdict.outcome is not None
    facts = verdict.outcome.facts
    assert facts["backend"]["backend"] == "tensorrt" and facts["backend"]["device"] == "NVIDIA Fake (SM 87)"
    assert facts["size"] == [1280, 720] and facts["dressed"] > 0 and "targets" in verdict.outcome.words
    assert fake.runs[:2] == [GARMENT, FRAME] and fake.runs.count(GARMENT) == 1
    assert not fake.live and not fake.primary
    fake.fail("execute_async_v3", False)
    (failed,) = run_steps(rig, {"live": STEPS["live"]})
    assert failed.failed and "TensorRT cannot run" in failed.verdict
    assert not fake.live and not fake.primary


def test_sessions_one_after_another_are_compared(cpu: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    found = sessions.run(cpu)
    assert found.facts == {"opened": 3, "frames_each": 3, "equal": True} and not found.fault
    opened: list[TryOn] = []
    real = Rig.session

    def second_is_darker(self: Rig) -> Any:
        opened.append(real(self))
        if len(opened) != 2:
            return opened[-1]
        dark = opened[-1]
        monkeypatch.setattr(dark, "_opened", Darker(dark._opened))
        return dark

    monkeypatch.setattr(Rig, "session", second_is_darker)
    assert sessions.run(cpu).fault == "session 2 gave other pictures than the first one"


class Darker:
    """A back end whose pictures are half as bright."""

    def __init__(self, right: Any) -> None:
        self.set_static, self.describe, self.close, self._right = right.set_static, right.describe, right.close, right

    def run(self, keypoints: Any) -> Any:
        return self._right.run(keypoints) // 2


def test_power_where_a_sensor_answers(cpu: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power.sensors, "find", lambda: None)
    with pytest.raises(Skipped, match="no power sensor"):
        power.run(cpu)
    sensor = Counting()
    monkeypatch.setattr(power.sensors, "find", lambda: sensor)
    found = power.run(replace(cpu, seconds=1.0))
    assert found.facts["frames"] > 0 and found.facts["joules_per_frame"] > 0 and sensor.closed == 1


def test_the_cpu_skips_what_is_the_gpus(cpu: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power.sensors, "find", lambda: None)
    names = ("engine", "plugin", "build_fp16", "build_int8", "replays", "power")
    verdicts = run_steps(cpu, {name: STEPS[name] for name in names})
    assert all(v.verdict.startswith("skipped: ") and len(v.verdict) > 20 for v in verdicts)
    assert not report.as_dict(verdicts, cpu.bundle, "onnxruntime", "")["ok"]  # nothing ran


# ----- the runner, the report, the picture ----------------------------------------------------------------------------


def step(says: str | BaseException) -> Callable[[Rig], Outcome]:
    def run(rig: Rig) -> Outcome:
        if isinstance(says, BaseException):
            raise says
        return Outcome("it ran", {"value": 3}, says, {"frames": [1.0, 2.0, 9.0]})

    return run


def test_a_fault_in_one_step_lets_the_others_run(cpu: Rig) -> None:
    steps = {
        "a": step(SpgvtonError("no\n engine")), "b": step(ZeroDivisionError("of one's own")), "c": step(""),
        "d": step("too slow"), "e": step(Skipped("no sensor")),
    }  # fmt: skip
    verdicts = run_steps(cpu, steps)
    assert [v.verdict for v in verdicts] == [
        "failed: no engine", "failed: ZeroDivisionError: of one's own", PASSED, "failed: too slow", "skipped: no sensor",
    ]  # fmt: skip
    data = report.as_dict(verdicts, cpu.bundle, "onnxruntime", "a card")
    assert data["ok"] is False and data["c"] == data["d"] == {"value": 3} and "a" not in data
    assert json.loads(json.dumps(data)) == data
    with pytest.raises(KeyboardInterrupt):
        run_steps(cpu, {"a": step(KeyboardInterrupt())})


def test_ok_needs_something_that_passed_and_nothing_that_failed(cpu: Rig) -> None:
    def ok(*verdicts: str) -> bool:
        made = [Verdict(str(i), v, 0.0) for i, v in enumerate(verdicts)]
        return bool(report.as_dict(made, cpu.bundle, "tensorrt", "")["ok"])

    assert ok(PASSED, "skipped: x") and not ok("skipped: x") and not ok(PASSED, "failed: x") and not ok()


def test_the_picture_holds_verdicts_times_and_memory(cpu: Rig) -> None:
    leaky = memory.judged(rows(rss=0.5), 90, 3)
    verdicts = [
        Verdict("benchmark", PASSED, 1.0, Outcome("", times={"frame": [float(n % 7 + 5) for n in range(300)]})),
        Verdict("memory", f"failed: {leaky.fault}", 9.0, leaky), Verdict("power", "skipped: no sensor", 0.0),
    ]  # fmt: skip
    picture = report.draw(verdicts, "title", "caption")
    head = report.draw([replace(v, outcome=None) for v in verdicts], "title", "caption")
    assert picture.shape[1] == head.shape[1] == 960 and picture.shape[0] - head.shape[0] == (170 + 34) + (4 * 170 + 34)
    colours = [tuple(picture[report.LINE * (i + 2) + 1, 25]) for i in range(3)]
    assert len(set(colours)) == 3 and colours[1] == (200, 60, 40)
    long = report.draw([Verdict("live", "failed: " + "x" * 900, 0.0)], "t" * 900, "c" * 900)
    assert long.shape[1] == 960


# ----- through the command line ---------------------------------------------------------------------------------------


def test_without_a_gpu_the_report_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a_gpu_answers(monkeypatch, None)
    file = tmp_path / "new/gpu.json"
    assert main(["doctor", "--gpu", "--bundle", "realtime", "--report", str(file)]) == 1
    stdout, stderr = capsys.readouterr()
    assert stdout == "" and len(stderr.splitlines()) == 1 and "needs an NVIDIA GPU and its driver" in stderr
    data = json.loads(file.read_text())
    assert data["ok"] is False and list(data["steps"]) == list(STEPS)
    assert all(
        s["verdict"].startswith("skipped: back end tensorrt needs an NVIDIA GPU") for s in data["steps"].values()
    )
    assert image.read(file.with_suffix(".png")).shape[1] == 960
    assert sorted(f.name for f in file.parent.iterdir()) == ["gpu.json", "gpu.png"]


def test_wrong_use_is_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for given in (["--report", "x.png"], ["--replays", "0"]):
        assert main(["doctor", "--gpu", *given]) == 2
    assert main(["doctor", "--gpu", "--report", f"{tmp_path}.json", "--also", str(tmp_path)]) == 1
    (tmp_path / "there.json").mkdir()
    assert main(["doctor", "--gpu", "--report", str(tmp_path / "there.json")]) == 1
    assert "it is a folder" in capsys.readouterr().err


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_gpu, "Rig", partial(Rig, **{**QUICK, "replays": 30}))
    monkeypatch.setattr(power.sensors, "find", lambda: None)
    monkeypatch.delenv("SPGVTON_PLUGIN", raising=False)


def verdicts_of(data: dict[str, Any]) -> dict[str, str]:
    return {name: s["verdict"].partition(":")[0] for name, s in data["steps"].items()}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_precision_has_its_steps(
    gpu: FakeGpu,
    quick: None,
    precision: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The bundle given, and those given beside it; INT8 has no live graph, and that is said."""
    bundle = other_precision(tmp_path / "given", precision)
    beside = [p for p in ("fp16", "int8") if p != precision]
    also = [word for p in beside for word in ("--also", str(other_precision(tmp_path / p, p).folder))]
    arguments = ["doctor", "--gpu", "--bundle", str(bundle.folder), "--backend", RTX, "--json"]
    assert main([*arguments, *also]) == 0
    stdout, stderr = capsys.readouterr()
    data = json.loads(stdout)
    skipped = {"plugin", "live", "power"}
    assert verdicts_of(data) == {name: "skipped" if name in skipped else PASSED for name in STEPS}
    assert data["parity"]["holds"] and data["backend"]["precision"] == data["precision"] == precision
    assert "has no live mode: it was not calibrated" in data["steps"]["live"]["verdict"]
    assert data["build_int8"]["bundle"] == ("given" if precision == "int8" else "int8")
    assert data["build_int8"]["parity"]["allowed_max"] == 96 and data["build_fp16"]["parity"]["allowed_max"] == 32
    assert data["engine"]["live"].startswith("skipped: ") and data["engine"]["tryon"]["bytes"] == 4
    assert "FP16 is probably faster" in stderr  # said of INT8 on TensorRT-RTX
    assert data["replays"]["frames"] == 30 and data["replays"]["cuda_graph"] == "captured by TensorRT-RTX"
    assert {"gpu_state", "machine", "versions"} <= set(data) and {"tensorrt_rtx", "pycuda"} <= set(data["versions"])
    assert not gpu.live and not gpu.primary


def test_forms_that_are_missing_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for precision, wanted, words in (
        ("fp32", "int8", "spgvton calibrate --bundle .* then --also NEW"), ("fp16", "int8", "spgvton calibrate"),
        ("int8", "fp16", "is int8, which holds no fp16 form: give one by --also"),
        ("fp32", "fp16", r"no FP16 bundle \(spgvton export: .*\): give one by --also"),  # the tiny graphs cannot be converted
    ):  # fmt: skip
        rig = Rig(other_precision(tmp_path / f"{precision}-{wanted}", precision), RTX, DEVICE)
        with pytest.raises(Skipped, match=words):
            engines.form(rig, wanted)


def test_what_fails_is_told_and_the_rest_runs(
    gpu: FakeGpu,
    quick: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = other_precision(tmp_path / "given", "fp16")
    file = tmp_path / "gpu.json"
    arguments = ["doctor", "--gpu", "--bundle", str(bundle.folder), "--report", str(file)]
    right = gpu.spec.compute
    gpu.spec.compute = lambda inputs: np.asarray(right(inputs)) // 2
    assert main(arguments) == 1
    stdout, stderr = capsys.readouterr()
    assert "DOES NOT HOLD on 20 inputs" in stdout
    assert "the GPU's pictures are not ONNX Runtime's" in stderr.splitlines()[-1]
    data = json.loads(file.read_text())
    assert [n for n, v in verdicts_of(data).items() if v == "failed"] == ["parity", "build_fp16"]
    assert verdicts_of(data)["memory"] == verdicts_of(data)["benchmark"] == PASSED
    gpu.spec.compute = right
    gpu.fail("execute_async_v3", False)  # while pictures are compared
    assert main(arguments) == 1
    data = json.loads(file.read_text())
    assert data["steps"]["parity"]["verdict"].startswith("failed: TensorRT cannot run")
    assert [n for n, v in verdicts_of(data).items() if v == "failed"] == ["parity"]
    assert not gpu.live and not gpu.primary


def test_frames_that_are_not_replayed_are_a_fault(
    gpu: FakeGpu,
    quick: None,
    tiny: Bundle,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rig = Rig(tiny, "tensorrt", DEVICE, warp="function", **{**QUICK, "replays": 20})
    found = STEPS["replays"](rig)
    assert not found.fault and found.facts["cuda_graph"] == "replayed" and len(found.times["replays"]) == 20
    gpu.fail("cuStreamEndCapture")
    refused = STEPS["replays"](rig)
    assert refused.fault.startswith("frames were not replayed: CUDA: cuStreamEndCapture failed")


def test_the_plugin_is_compared_with_standard_operators(
    gpu: FakeGpu,
    quick: None,
    tiny: Bundle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(Skipped, match="no plugin was given"):
        plugin.run(Rig(tiny, "tensorrt", DEVICE, **QUICK))
    warps: list[str | None] = []
    real = Rig.session

    def session(self: Rig, bundle: Bundle | None = None, *, warp: str | None = None) -> TryOn:
        warps.append(warp)
        return real(self, bundle, warp="function")

    monkeypatch.setattr(Rig, "session", session)
    monkeypatch.setattr(plugin, "FRAMES", 5)
    found = plugin.run(Rig(tiny, "tensorrt", DEVICE, plugin=Path("libspgvton_plugin.so"), **QUICK))
    assert warps == ["plugin", "function"] and not found.fault and set(found.facts["p50_ms"]) == {"plugin", "function"}


def test_skip_all_names_every_step() -> None:
    assert [v.step for v in skip_all("no GPU")] == list(STEPS) and not any(v.passed or v.failed for v in skip_all("x"))


def test_the_verbs_start_without_onnx(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The steps' modules need nothing beyond the runtime until they run."""
    monkeypatch.setitem(sys.modules, "spgvton.engine.build", None)  # type: ignore[arg-type]
    rig = Rig(Bundle.open("realtime"), RTX, DEVICE, say=lambda _: None)
    (verdict,) = run_steps(rig, {"engine": STEPS["engine"]})
    assert verdict.verdict.startswith("failed: ") and "pip install 'spgvton[tensorrt-rtx]'" in verdict.verdict
