"""`spgvton bench model | compare | single-stream | mirrors`, and the statistics behind them."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from spgvton import image, machine
from spgvton.backends import open_backend
from spgvton.backends.onnxruntime import OnnxRuntimeBackend
from spgvton.backends.samples import by_garment, demo_samples, dress, live_samples
from spgvton.backends.sharing import Turns, sibling
from spgvton.bench import compare, latency_plot, mirrors, peak, report, single_stream, statistics
from spgvton.bench.inputs import graph_inputs
from spgvton.bench.macs import gmac
from spgvton.bundle import Bundle, shipped
from spgvton.cli import main
from spgvton.errors import SpgvtonError, UsageError
from spgvton.recording import Recorder


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_percentiles_are_measured_values() -> None:
    found = statistics.describe(np.arange(1.0, 101.0)[::-1])
    assert found == {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "max": 100.0, "mean": 50.5}


def test_ratio_interval_covers_and_narrows() -> None:
    rng = np.random.default_rng(0)
    covered, widths = 0, {20: 0.0, 200: 0.0}
    for trial in range(30):
        for n in widths:
            disturbance = rng.lognormal(0, 0.5, n)  # of the machine: on both of a pair
            a, b = 10 * disturbance * rng.lognormal(0, 0.1, n), 8 * disturbance * rng.lognormal(0, 0.1, n)
            found = statistics.ratio_of_medians(a, b, seed=trial)
            covered += found.low <= 0.8 <= found.high
            widths[n] += found.high - found.low
    assert 0.9 < covered / 60 <= 1
    assert widths[200] < widths[20] / 2
    same = statistics.ratio_of_medians([1.0] * 5, [2.0] * 5)
    assert (same.ratio, same.low, same.high) == (2, 2, 2)
    with pytest.raises(ValueError, match="5 pairs"):
        statistics.ratio_of_medians([1.0] * 4, [1.0] * 4)


def test_early_stopping_is_mlperfs() -> None:
    # 64 and 662 queries are the published minima for the 90th and the 99th percentile
    assert statistics.queries_needed(1, 0.9) == 64 and statistics.queries_needed(1, 0.99) == 662
    for over in (0, 1, 2, 5, 20):  # the smallest n, by the definition, with exact arithmetic
        n = statistics.queries_needed(over, 0.9)

        def chance(n: int, over: int = over) -> float:
            return sum(math.comb(n, k) * 0.1**k * 0.9 ** (n - k) for k in range(over + 1))

        assert chance(n) < 0.01 <= chance(n - 1)
    times = np.random.default_rng(0).permutation(np.arange(1.0, 65.0))
    assert statistics.early_stopping(times[:63]) is None
    found = statistics.early_stopping(times)
    assert found is not None and (found.value, found.discarded, found.queries) == (64.0, 0, 64)
    more = statistics.early_stopping(np.arange(1.0, 10_001.0))
    assert more is not None and 9000 < more.value < 9100 and more.next_at > 10_000


def test_early_stopping_bounds_the_percentile() -> None:
    rng = np.random.default_rng(1)
    true = -math.log(0.1)  # the 90th percentile of an exponential distribution
    bounds = [statistics.early_stopping(rng.exponential(size=200)) for _ in range(400)]
    assert sum(b is not None and b.value < true for b in bounds) / 400 < 0.03  # 1% allowed


def test_macs_are_counted_from_the_graph(tmp_path: Path) -> None:
    weights = {
        "w": np.zeros((8, 2, 3, 3), np.float32), "t": np.zeros((8, 5, 4, 4), np.float32),
        "m": np.zeros((6, 7), np.float32), "g": np.zeros((9, 2), np.float32), "unused": np.zeros((6, 6), np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], group=2, strides=[2, 2], pads=[1] * 4),
        helper.make_node("ConvTranspose", ["c", "t"], ["d"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("MatMul", ["unused", "m"], ["constant"]),  # of weights alone
        helper.make_node("MatMul", ["y", "m"], ["e"]),
        helper.make_node("Gemm", ["z", "g"], ["f"], transA=1),
    ]
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in
              (("x", [2, 4, 6, 6]), ("y", [5, 3, 6]), ("z", [9, 4]))]  # fmt: skip
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("d", "e", "f", "constant")]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(v, k) for k, v in weights.items()])
    path = tmp_path / "g.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    shapes = {"x": (2, 4, 6, 6), "y": (5, 3, 6), "z": (9, 4)}
    fed = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    expected = 2 * 8 * 9 * 18 + 2 * 8 * 9 * 5 * 16 + 5 * 3 * 7 * 6 + 4 * 2 * 9
    assert gmac(path, fed) * 1e9 == pytest.approx(expected)


def test_peak_models_do_what_they_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "SIDE", 8)
    for precision in ("fp32", "int8"):
        for name, (model, work) in peak.models(precision).items():
            path = tmp_path / f"{name}.onnx"
            onnx.save(model, path)
            shape = (1, peak.CHANNELS, 8, 8) if name == "convolution" else (1, peak.GEMM, peak.GEMM)
            assert gmac(path, {"x": np.zeros(shape, np.float32)}) == pytest.approx(work)


def test_graph_inputs_make_the_joint_graphs_picture() -> None:
    bundle = Bundle.open()
    sample = demo_samples(bundle.size, bundle.label_set)[4]
    fed = graph_inputs(bundle, sample, live_samples(bundle.size, bundle.label_set)[0])
    assert set(fed) == {"g1", "g2", "gmm1", "g3", "session", "frame", "tryon", "live_garment", "live_frame", "live"}
    from spgvton.backends.onnxruntime import open_graph, session_options

    options = session_options(1)
    (rendered,) = open_graph(bundle.graph("g3"), options).run(["image"], fed["g3"])
    (picture,) = open_graph(bundle.graph("tryon"), options).run(["image"], fed["tryon"])
    made = np.clip(np.rint((rendered[0].transpose(1, 2, 0) + 1) * 127.5), 0, 255)
    assert np.abs(made - picture[0]).max() <= 1


def run(arguments: list[str], out: Path, capsys: pytest.CaptureFixture[str]) -> tuple[dict, list[dict[str, str]], str]:
    """The report, the CSV's rows and the table of a verb; the PNG is looked at."""
    assert main(["bench", *arguments, "--out", str(out), "--json"]) == 0
    stdout, stderr = capsys.readouterr()
    data = json.loads(stdout)
    name = arguments[0]
    assert data == json.loads((out / f"{name}.json").read_text())
    with (out / f"{name}.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert all(row["cpu"] == machine.cpu_model() for row in rows)
    assert image.read(out / f"{name}.png").std() > 5
    assert set(data) >= {"machine", "versions", "load", "clocks", "precision", "resolution", "backend", "excluded"}
    assert "machine " in stderr and "excluded " in stderr
    return data, rows, stderr


def test_model(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
               monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(peak, "SIDE", 16)
    monkeypatch.setattr(peak, "GEMM", 256)
    arguments = ["model", "--backend", "onnxruntime", "--bundle", str(tiny_bundle), "--runs", "6", "--threads", "1"]
    data, rows, _ = run(arguments, tmp_path, capsys)
    check_model(data, "onnxruntime")
    assert rows[0]["graph"] == "tryon" and rows[0]["backend"] == "onnxruntime" and rows[0]["threads"] == "1"


def test_model_with_openvino(tiny_bundle: Path, tmp_path: Path) -> None:
    """In a process of its own: after other libraries' tests in one worker this crashed the interpreter."""
    pytest.importorskip("openvino")
    command = [sys.executable, "-m", "spgvton", "bench", "model", "--backend", "openvino", "--bundle", str(tiny_bundle)]
    done = subprocess.run(
        [*command, "--runs", "6", "--threads", "1", "--json"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    check_model(json.loads(done.stdout), "openvino")


def check_model(data: dict[str, Any], backend: str) -> None:
    assert set(data["graphs"]) == {"tryon", "live"} and data["backend"]["backend"] == backend
    graph = data["graphs"]["tryon"]
    assert set(graph) >= {"latency_ms", "gmac", "percent_of_peak"}
    assert set(graph["latency_ms"]) >= {"p50", "p90", "p95", "p99"} and graph["gmac"] == 0 == graph["percent_of_peak"]
    assert data["peak_gmac_s"]["used"] == max(data["peak_gmac_s"].values()) > 0


def test_percent_of_peak() -> None:
    from spgvton.bench.model import GraphTimes, ModelTimes

    times = ModelTimes({"g1": GraphTimes("g1", 2.0, [100.0] * 5, [90.0] * 5)}, {"convolution": 40.0, "product": 80.0})
    assert times.as_dict()["graphs"]["g1"]["percent_of_peak"] == 25  # 20 of 80 GMAC/s
    assert times.rows()[0]["cpu_p50"] == 90


class Twice(OnnxRuntimeBackend):
    """Waits before every frame, and shows a picture that is one step off everywhere."""

    order: list[str] = []  # noqa: RUF012

    def run(self, keypoints: np.ndarray) -> np.ndarray:
        Twice.order.append("B")
        time.sleep(0.02)
        return super().run(keypoints) ^ np.uint8(1)


def test_compare_interleaves_and_compares_pictures(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle.open(tiny_bundle)
    first = OnnxRuntimeBackend(bundle, threads=1)
    real = first.run

    def logged(keypoints: np.ndarray) -> np.ndarray:
        Twice.order.append("A")
        return real(keypoints)

    monkeypatch.setattr(first, "run", logged)
    Twice.order.clear()
    samples = compare.samples_of(bundle)
    found = compare.measure((first, Twice(bundle, threads=1)), samples, 18, lambda: None)
    order = "".join(Twice.order)
    assert order.count("A") == order.count("B") and "AAAAA" not in order and order.endswith("ABBA")
    assert [len(side.wall) for side in found] == [18, 18]
    assert found[0].as_dict(found[0])["psnr_db"]["worst"] == 100
    figures = found[1].as_dict(found[0])
    assert figures["pictures"] == 9
    assert (
        figures["ratio"]["low"] <= figures["ratio"]["ratio"] <= figures["ratio"]["high"] and figures["ratio"]["low"] > 1
    )
    assert 48.1 < figures["psnr_db"]["mean"] < 48.2  # a difference of 1 is 48.13 dB
    assert 0.9 < figures["ssim"]["worst"] <= 1


def test_compare_on_the_command_line(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    side = f"onnxruntime@{tiny_bundle}:1"
    data, rows, text = run(["compare", side, side, f"@{tiny_bundle}", "--rounds", "9"], tmp_path, capsys)
    assert len(data["sides"]) == len(rows) == 3 and data["rounds"] == 9
    assert data["sides"][1]["psnr_db"] == {"mean": 100.0, "worst": 100.0} and data["sides"][2]["ssim"]["mean"] == 1
    assert data["sides"][1]["backend"]["threads"] == "1" and rows[1]["side"] == side
    assert rows[0]["ratio"] == rows[0]["ratio_low"] == "1.0" and "bootstrap" in text
    assert main(["bench", "compare", side]) == 2
    with pytest.raises(UsageError, match="BACKEND"):
        compare.Side.parse("tpu")
    for wrong in ("onnxruntime:0", "onnxruntime:two", "onnxruntime:"):
        with pytest.raises(UsageError):
            compare.Side.parse(wrong)
    assert compare.Side.parse("@realtime").open_bundle().folder == shipped().parent / "realtime"
    assert compare.Side.parse("openvino@a/b:2") == compare.Side("openvino@a/b:2", "openvino", "a/b", 2)
    assert main(["bench", "compare", "onnxruntime@nowhere", "onnxruntime"]) == 1


def test_single_stream(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["single-stream", "--bundle", str(tiny_bundle), "--queries", "70", "--seconds", "0"]
    data, rows, text = run(arguments, tmp_path, capsys)
    stop = data["early_stopping"]
    assert data["queries"] == 70 and stop["queries_needed"] == 64 and stop["discarded"] == 0
    assert stop["estimate_ms"] == data["latency_ms"]["max"] >= data["latency_ms"]["p90"]
    assert stop["one_more_discarded_at"] == statistics.queries_needed(2) and "64 queries are needed" in text
    assert float(rows[0]["p90_early_stopping"]) == stop["estimate_ms"]
    backend = open_backend("onnxruntime", Bundle.open(tiny_bundle), threads=1)
    samples = by_garment(demo_samples((256, 192), "cihp"))[0]
    assert len(single_stream.measure(backend, samples, 1, 0.0, lambda: None).times) == 64
    assert single_stream.measure(backend, samples, 1, 1.0, lambda: None).seconds >= 1


@pytest.mark.parametrize("mode", ["live", "pose"])
def test_mirrors(mode: str, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "mirrors",
        "--mode",
        mode,
        "--bundle",
        str(tiny_bundle),
        "--seconds",
        "0.4",
        "--rounds",
        "3",
        "--threads",
        "1",
    ]
    data, rows, _ = run(arguments, tmp_path, capsys)
    assert data["mode"] == mode
    found = {(row["kind"], row["count"]): row for row in data["rows"]}
    assert set(found) == {("mirrors", n) for n in (1, 2, 3, 4)} | {("batch", n) for n in (1, 2, 4, 8)}
    assert found["mirrors", 1]["relative"] == 1 == found["batch", 1]["relative"] == found["mirrors", 1]["fairness"]
    assert 0 < found["mirrors", 4]["fairness"] <= 1 and found["mirrors", 4]["frames"] >= 4
    assert len(rows) == 8 and rows[3]["count"] == "4"


def test_mirrors_are_isolated(tiny_bundle: Path) -> None:
    """Four customers at once, each in other clothes: every picture is the one that its mirror gives alone."""
    bundle = Bundle.open(tiny_bundle)
    samples = [s[0] for s in by_garment(demo_samples(bundle.size, bundle.label_set))]
    samples.append({**samples[0], "body": -samples[0]["body"]})  # the first one's clothes on another person
    first = open_backend("onnxruntime", bundle, threads=1)
    alone = []
    for sample in samples:
        dress(first, sample)
        alone.append(first.run(sample["keypoints"]))
    assert len({a.tobytes() for a in alone}) == 4
    backends = [first, *(sibling(first) for _ in range(3))]
    wrong: list[int] = []

    class Checked:
        def __init__(self, i: int) -> None:
            self.i = i

        def infer(self, frame: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            made = backends[self.i].infer(frame)
            if not np.array_equal(made["image"], alone[self.i]):
                wrong.append(self.i)
            return made

        def set_static(self, name: str, value: np.ndarray) -> None:
            backends[self.i].set_static(name, value)

    found = mirrors.together([Checked(i) for i in range(4)], [[s] for s in samples], 0.5)  # type: ignore[misc]
    assert not wrong and sum(map(len, found.times)) > 4


def test_an_error_in_one_mirror_is_raised(tiny_bundle: Path) -> None:
    first = open_backend("onnxruntime", Bundle.open(tiny_bundle), threads=1)
    samples = by_garment(demo_samples((256, 192), "cihp"))
    second = sibling(first)
    calls = iter(range(5))

    class Fails:
        set_static = second.set_static

        def infer(self, frame: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            if next(calls) == 4:
                raise SpgvtonError("out of memory")
            return second.infer(frame)

    with pytest.raises(SpgvtonError, match="out of memory"):
        mirrors.together([first, Fails()], samples[:2], 0.3)  # type: ignore[list-item]


def test_turns_come_in_the_order_of_asking() -> None:
    turns, order = Turns(), []
    turns.__enter__()

    def ask(i: int) -> None:
        with turns:
            order.append(i)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(5)]
    for i, thread in enumerate(threads):
        thread.start()
        while len(turns._waiting) < i + 1:
            time.sleep(0.001)
    turns.__exit__()
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4] and not turns._taken


def test_a_recording_serves_one_mirror(tiny_bundle: Path, tmp_path: Path) -> None:
    backend = open_backend("onnxruntime", Bundle.open(tiny_bundle), threads=1)
    with pytest.raises(SpgvtonError, match="serves one mirror"):
        sibling(Recorder(backend, tmp_path / "r.npz", 3, (256, 192), "cihp"))


def test_report_parts() -> None:
    rows = [{"name": "a", "ms": 1.0, "more": None}, {"name": "long", "ms": 10.5, "more": 3}]
    assert report.table(rows) == ["name  ms      more", "a     1.000   -", "long  10.500  3"]
    assert report.as_csv(rows) == "name,ms,more\na,1.0,\nlong,10.5,3\n"
    assert latency_plot.draw({"one": [1.0, 1.0], "two": [1.0, 5.0, 2.0]}, "caption").shape == (374, 960, 3)


def test_clocks_are_read_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "scaling_governor").write_text("powersave\n")
    assert machine.clocks(str(tmp_path))["governor"] == "powersave"
    assert "governor" not in machine.clocks(str(tmp_path / "none"))
