"""Every graph of a bundle alone: latency, work, and what part of this machine's peak that is.

The peak is measured in the same run and by the same back end, between the graphs, so that a machine that is busy or
throttles is so for both. Times are those of the call with inputs already in the back end's memory or not, as it wants them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime as ort

from spgvton.backends import CPU_BACKENDS, openvino_graph
from spgvton.backends.onnxruntime import open_graph, session_options
from spgvton.backends.samples import demo_samples, live_samples
from spgvton.bench import peak
from spgvton.bench.inputs import graph_inputs
from spgvton.bench.macs import gmac
from spgvton.bench.statistics import describe
from spgvton.bundle import Bundle
from spgvton.errors import UsageError

WARM_UP: Final = 3
PEAK_RUNS: Final = 3  # of each model, before and after every graph

Inputs = Mapping[str, Any]
Run = Callable[[Inputs], object]
Say = Callable[[str], None]


class Runner:
    """Opens any graph on one of CPU_BACKENDS. Raises UsageError for another name."""

    def __init__(self, backend: str, bundle: Bundle, threads: int | None, say: Say) -> None:
        if backend not in CPU_BACKENDS:
            raise UsageError(f"bench model measures {', '.join(CPU_BACKENDS)}; for TensorRT use spgvton doctor --gpu")
        self._bundle, self._say, self._options = bundle, say, session_options(threads)
        self._options.add_free_dimension_override_by_name("N", 1)
        self._settings = None
        if backend != CPU_BACKENDS[0]:
            self._settings = openvino_graph.Settings.of(bundle, threads, bf16=backend == "openvino-bf16")

    def graph(self, name: str) -> Run:
        """Graph NAME of the bundle. Raises SpgvtonError where it cannot be loaded."""
        if self._settings is None:
            return _onnxruntime(open_graph(self._bundle.graph(name), self._options))
        return _openvino(openvino_graph.compile_graph(self._bundle, name, self._settings, self._say))

    def model(self, model: onnx.ModelProto) -> Run:
        """MODEL, which holds its weights and has fixed sizes."""
        if self._settings is None:
            providers = ["CPUExecutionProvider"]
            return _onnxruntime(ort.InferenceSession(model.SerializeToString(), self._options, providers=providers))
        ov = openvino_graph.load()
        made = openvino_graph.convert(model, self._settings, Path("peak"))
        return _openvino(ov.Core().compile_model(made, "CPU", self._settings.properties()))


def _onnxruntime(session: ort.InferenceSession) -> Run:
    return lambda inputs: session.run(None, inputs)


def _openvino(compiled: Any) -> Run:
    request = compiled.create_infer_request()
    taken = {name for port in compiled.inputs for name in port.names}  # OpenVINO drops inputs that change nothing
    return lambda inputs: request.infer(
        {k: v for k, v in inputs.items() if k in taken}, share_inputs=True, share_outputs=True
    )


@dataclass
class GraphTimes:
    """One graph: its work and every measured time, in ms, of the clock and of all threads' processor time."""

    name: str
    gmac: float
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def row(self, peak_gmac_s: float) -> dict[str, Any]:
        latency = describe(self.wall)
        rate = self.gmac / latency["p50"] * 1e3
        return {
            "graph": self.name, "gmac": round(self.gmac, 4), **{k: latency[k] for k in ("p50", "p90", "p95", "p99", "max")},
            "cpu_p50": describe(self.cpu)["p50"], "gmac_s": round(rate, 2),
            "percent_of_peak": round(100 * rate / peak_gmac_s, 1),
        }  # fmt: skip


@dataclass
class ModelTimes:
    """graphs: by name. peaks: fastest GMAC/s of each model of peak.models()."""

    graphs: dict[str, GraphTimes]
    peaks: dict[str, float]

    @property
    def peak(self) -> float:
        return max(self.peaks.values())

    def rows(self) -> list[dict[str, Any]]:
        return [g.row(self.peak) for g in self.graphs.values()]

    def as_dict(self) -> dict[str, Any]:
        out = {}
        for name, graph in self.graphs.items():
            row = graph.row(self.peak)
            out[name] = {"latency_ms": describe(graph.wall), "cpu_ms": describe(graph.cpu),
                         **{k: row[k] for k in ("gmac", "gmac_s", "percent_of_peak")}}  # fmt: skip
        return {
            "graphs": out,
            "peak_gmac_s": {**{k: round(v, 2) for k, v in self.peaks.items()}, "used": round(self.peak, 2)},
        }


def measure(bundle: Bundle, backend: str, threads: int | None, runs: int, say: Say, done: Say) -> ModelTimes:
    """RUNS of every graph of BUNDLE after WARM_UP others. done: told the name of each graph. Raises SpgvtonError."""
    runner = Runner(backend, bundle, threads, say)
    fed = graph_inputs(
        bundle, demo_samples(bundle.size, bundle.label_set)[0], live_samples(bundle.size, bundle.label_set)[0]
    )
    largest = {name: (runner.model(model), work) for name, (model, work) in peak.models(bundle.precision).items()}
    x = {name: {"x": _peak_input(name)} for name in largest}
    peaks = dict.fromkeys(largest, 0.0)
    graphs = {}
    for name, inputs in fed.items():
        run = runner.graph(name)
        graphs[name] = GraphTimes(name, gmac(bundle.graph(name), inputs))
        for _ in range(WARM_UP):
            run(inputs)
        for part in np.array_split(np.arange(runs), 3):
            for _ in part:
                wall, cpu = time.perf_counter(), time.process_time()
                run(inputs)
                graphs[name].cpu.append(1e3 * (time.process_time() - cpu))
                graphs[name].wall.append(1e3 * (time.perf_counter() - wall))
            for title, (product, work) in largest.items():
                for _ in range(PEAK_RUNS):
                    begin = time.perf_counter()
                    product(x[title])
                    peaks[title] = max(peaks[title], work / (time.perf_counter() - begin))
        done(name)
    return ModelTimes(graphs, peaks)


def _peak_input(name: str) -> np.ndarray:
    shape = (1, peak.CHANNELS, peak.SIDE, peak.SIDE) if name == "convolution" else (1, peak.GEMM, peak.GEMM)
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)
