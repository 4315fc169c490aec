"""Proof of a float16 bundle: error of every output and of every layer against float32, on real inputs.

Each graph is fed what the float32 chain feeds it. Two float16 runs are compared with the float32 bundle, and both must
pass: the graph with every rounding written out (fp16.graph.emulate), which also gives the layers, and the file itself in
ONNX Runtime, which folds batch norm into float16 weights.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from tqdm import tqdm

from spgvton.backends.onnxruntime import session_options
from spgvton.bundle import MODES, RESIDUAL, Bundle
from spgvton.errors import SpgvtonError
from spgvton_export.fp16.graph import LARGEST
from spgvton_export.samples import Sample

Array = NDArray[Any]

# What the error is measured against. The default is for images in [-1, 1] and normalised coordinates (theta).
FULL_SCALE: Final = {"semantic": 1.0, "clothes_mask": 1.0, "uint8": 255.0, "default": 2.0}
TOLERANCE: Final = 2e-3  # of full scale, for the mean absolute error of each output
LAYERED: Final = ("gmm2", "tryon")  # together they hold every network once
WORST: Final = 8  # layers that are listed


@dataclass
class Error:
    """Running absolute error of one output or layer."""

    scale: float = 1.0
    largest: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    reference_squares: float = 0.0
    peak: float = 0.0  # largest absolute float32 value
    count: int = 0
    finite: bool = True

    def add(self, found: Array, expected: Array) -> None:
        a, b = found.astype(np.float64), expected.astype(np.float64)
        self.finite &= bool(np.isfinite(a).all())
        self.peak = max(self.peak, float(np.abs(b).max(initial=0)))
        d = np.abs(a - b)
        self.largest = max(self.largest, float(d.max(initial=0)))
        self.total += float(d.sum())
        self.squares += float((d * d).sum())
        self.reference_squares += float((b * b).sum())
        self.count += d.size

    @property
    def mean(self) -> float:
        return self.total / max(self.count, 1)

    @property
    def psnr(self) -> float:
        """In dB against full scale; 200 for equal values, so that JSON can hold it."""
        mse = self.squares / max(self.count, 1) / self.scale**2
        return min(200.0, -10 * float(np.log10(max(mse, 1e-30))))

    def to_json(self, suffix: str = "") -> dict[str, float]:
        return {f"max{suffix}": self.largest, f"mean{suffix}": self.mean, f"psnr{suffix}": self.psnr}

    @property
    def relative(self) -> float:
        """Root mean square error over root mean square of the float32 values."""
        return float(np.sqrt(self.squares / max(self.reference_squares, 1e-30)))


@dataclass
class Report:
    """outputs: graph -> output -> (every rounding done, the file in ONNX Runtime). layers: graph -> layer -> error."""

    outputs: dict[str, dict[str, tuple[Error, Error]]] = field(default_factory=dict)
    layers: dict[str, dict[str, Error]] = field(default_factory=dict)
    samples: int = 0

    def worst(self, count: int = WORST) -> list[tuple[str, str, Error]]:
        """(graph, layer, error) of the layers with the largest relative error."""
        every = [(g, name, e) for g, layers in self.layers.items() for name, e in layers.items()]
        return sorted(every, key=lambda item: -item[2].relative)[:count]

    def largest_activation(self) -> tuple[str, float]:
        """Layer and size of the largest float32 value that float16 must hold."""
        name, error = max(
            ((n, e) for layers in self.layers.values() for n, e in layers.items()), key=lambda item: item[1].peak
        )
        return name, error.peak

    def check(self) -> None:
        """Raise SpgvtonError, naming layers, for overflow, values that are not finite, or error above TOLERANCE."""
        for layers in self.layers.values():
            for name, e in layers.items():  # in order of computation: the first is the cause
                if not np.isfinite(e.peak):
                    raise SpgvtonError(f"layer {name} is not finite in float32 already: train or export it again")
                if e.peak > LARGEST or not e.finite:
                    raise SpgvtonError(
                        f"layer {name} reaches {e.peak:.6g}, float16 ends at {LARGEST:.0f}: keep this bundle in fp32"
                    )
        worst = ", ".join(f"{name} ({e.relative:.1%})" for _, name, e in self.worst(3))
        for graph, outputs in self.outputs.items():
            for name, runs in outputs.items():
                for e in runs:
                    if not e.finite or not e.mean <= TOLERANCE * e.scale:
                        raise SpgvtonError(
                            f"{graph}.onnx: {name} differs from float32 by {e.mean / e.scale:.2%} of full scale on "
                            f"average (limit {TOLERANCE:.1%}); worst layers: {worst}: keep this bundle in fp32"
                        )

    def table(self) -> list[str]:
        """Lines for people: every output, then the worst layers."""
        lines = ["graph  output         max        mean       PSNR dB  (the file in ONNX Runtime: max, mean)"]
        for graph, outputs in self.outputs.items():
            for name, (e, real) in outputs.items():
                lines.append(
                    f"{graph:6} {name:13} {e.largest:.2e}   {e.mean:.2e}   {e.psnr:6.1f}   ({real.largest:.2e}, {real.mean:.2e})"
                )
        lines.append("worst layers: relative error (rms), largest error, largest value")
        for _, name, e in self.worst():
            lines.append(f"  {name:42} {e.relative:.2e}   {e.largest:.2e}   {e.peak:.4g}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """The report as bundle.json holds it."""
        name, peak = self.largest_activation()
        return {
            "samples": self.samples,
            "tolerance_mean_of_full_scale": TOLERANCE,
            "outputs": {
                g: {n: {**e.to_json(), **real.to_json("_in_onnxruntime")} for n, (e, real) in outputs.items()}
                for g, outputs in self.outputs.items()
            },
            "worst_layers": [
                {"graph": g, "layer": n, "relative_rms": e.relative, "max": e.largest, "largest_value": e.peak}
                for g, n, e in self.worst()
            ],
            "largest_activation": {"layer": name, "value": peak},
        }


def expose(model: onnx.ModelProto, values: Iterable[str]) -> onnx.ModelProto:
    """A copy of MODEL with VALUES as further outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    have = {o.name for o in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=v) for v in values if v not in have)
    return copy


def open_session(path: Path, *, plain: bool = False) -> ort.InferenceSession:
    """PLAIN: without graph optimisations, so that every value is computed as the graph has it."""
    options = session_options(None)
    if plain:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as e:  # ONNX Runtime's exceptions share no base class of its own
        raise SpgvtonError(f"ONNX Runtime cannot load {path}: {' '.join(str(e).split())[:300]}") from e


def run_session(session: ort.InferenceSession, values: dict[str, Array]) -> dict[str, Array]:
    """All outputs by name; takes the inputs that the graph has from VALUES."""
    missing = [i.name for i in session.get_inputs() if i.name not in values]
    if missing:
        raise SpgvtonError(f"the graph takes {', '.join(missing)}: it is not a graph of spgvton export")
    names = [o.name for o in session.get_outputs()]
    try:
        return dict(zip(names, session.run(names, {i.name: values[i.name] for i in session.get_inputs()})))
    except Exception as e:  # ONNX Runtime's exceptions share no base class of its own
        raise SpgvtonError(f"a graph does not run: {' '.join(str(e).split())[:300]}; export the bundle again") from e


def warp_graph(tryon: onnx.ModelProto) -> onnx.ModelProto:
    """The warp of the joint graph as a graph of its own: image, theta -> warped."""
    nodes = [n for n in tryon.graph.node if n.domain == "spgvton"]
    if len(nodes) != 1:
        raise SpgvtonError(f"tryon.onnx has {len(nodes)} warp nodes, expected one: export the bundle again")
    model = onnx.ModelProto()
    model.CopyFrom(tryon)
    node = onnx.NodeProto()
    node.CopyFrom(nodes[0])
    node.input[:], node.output[:] = ["image", "theta"], ["warped"]
    make, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    inputs = [make("image", kind, ["N", "C", "H", "W"]), make("theta", kind, ["N", 2, "K"])]
    outputs = [make("warped", kind, ["N", "C", "H", "W"])]
    model.graph.CopyFrom(onnx.helper.make_graph([node], "warp", inputs, outputs))
    return model


_ORDER: Final = ("g1", "g2", "gmm1", "gmm2", RESIDUAL, "g3")


class Chain:
    """The graphs g1, g2, gmm1, gmm2, residual if there is one, and g3 of a bundle one after the other, the warp in between."""

    def __init__(self, bundle: Bundle, warp: onnx.ModelProto) -> None:
        self._sessions = {n: open_session(bundle.graph(n)) for n in _ORDER if n in bundle.graphs}
        options = session_options(None)
        self._warp = ort.InferenceSession(warp.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def run(self, sample: Sample) -> dict[str, tuple[dict[str, Array], dict[str, Array]]]:
        """Graph -> (what it was fed, what it gave); `tryon` is fed SAMPLE and gives nothing here."""
        values: dict[str, Array] = dict(sample)
        made = {"tryon": (dict(values), dict[str, Array]())}
        for name, session in self._sessions.items():
            if name == "gmm2":
                for image, warped in (("cloth", "warped"), ("cloth_mask", "warped_mask")):
                    feed = {"image": values[image], "theta": values["theta"]}
                    values[warped] = run_session(self._warp, feed)["warped"]
                values["splined"] = np.concatenate([values["warped"], values["warped_mask"]], 1)
            given = dict(values)
            out = run_session(session, given)
            made[name] = given, out
            if name != "gmm2":  # its theta warps back
                values.update(out)
            values["body"] = values.get("aligned_body", values["body"])
        return made


@dataclass(frozen=True)
class Candidate:
    """One converted graph on disk. half: the file. rounded: the same with every rounding; layers and reference: where
    layers are compared, their names by value, and the float32 graph that gives the same values."""

    half: Path
    rounded: Path
    layers: dict[str, str] = field(default_factory=dict)
    reference: Path | None = None


class _Measure:
    """Runs CANDIDATES beside float32 and collects the errors."""

    def __init__(self, source: Bundle, candidates: dict[str, Candidate], samples: int) -> None:
        self.report = Report(samples=samples)
        self._candidates = candidates
        self._joint = {n: open_session(source.graph(n)) for n in MODES.values() if n in candidates}
        self._half = {n: open_session(c.half) for n, c in candidates.items()}
        self._rounded = {n: open_session(c.rounded, plain=True) for n, c in candidates.items()}
        self._references = {n: open_session(c.reference, plain=True) for n, c in candidates.items() if c.reference}

    def add(self, name: str, given: dict[str, Array], expected: dict[str, Array]) -> None:
        """Graph NAME on GIVEN; EXPECTED: its float32 outputs, which a joint graph makes itself where there are none."""
        expected = expected or run_session(self._joint[name], given)
        a, b = run_session(self._rounded[name], given), run_session(self._half[name], given)
        outputs = self.report.outputs.setdefault(name, {})
        for output, value in expected.items():
            scale = FULL_SCALE["uint8"] if value.dtype == np.uint8 else FULL_SCALE.get(output, FULL_SCALE["default"])
            pair = outputs.setdefault(output, (Error(scale), Error(scale)))
            pair[0].add(a[output], value)
            pair[1].add(b[output], value)
        if name in self._references:
            true = run_session(self._references[name], given)
            layers = self.report.layers.setdefault(name, {})
            for value_name, layer in self._candidates[name].layers.items():
                layers.setdefault(layer, Error()).add(a[value_name], true[value_name])


def measure(
    source: Bundle, warp: onnx.ModelProto, candidates: dict[str, Candidate], samples: list[Sample],
    live: Sequence[Sample] = (),
) -> Report:  # fmt: skip
    """Compare CANDIDATES with the float32 bundle SOURCE on SAMPLES, and the live graph, if it is one, on LIVE.

    Raises SpgvtonError for graphs that do not run.
    """
    chain, found = Chain(source, warp), _Measure(source, candidates, len(samples))
    for sample in tqdm(samples, desc="compare", unit="sample"):
        for name, (given, expected) in chain.run(sample).items():
            found.add(name, given, expected)
    for sample in live if MODES["live"] in candidates else ():
        found.add(MODES["live"], dict(sample), {})
    report = found.report
    report.outputs = {n: report.outputs[n] for n in source.graphs if n in report.outputs}
    return report


def latency(before: Path, after: Path, sample: Sample, *, seconds: float) -> dict[str, float]:
    """Median milliseconds of both joint graphs in ONNX Runtime on this CPU, run in turn, and their ratio."""
    sessions = [open_session(before), open_session(after)]
    times: list[list[float]] = [[], []]
    for s in sessions:
        run_session(s, dict(sample))  # warm-up
    end = time.perf_counter() + seconds
    while len(times[0]) < 3 or (time.perf_counter() < end and len(times[0]) < 50):
        for s, found in zip(sessions, times):
            start = time.perf_counter()
            run_session(s, dict(sample))
            found.append(1e3 * (time.perf_counter() - start))
    a, b = (float(np.median(t)) for t in times)
    return {"fp32_ms": round(a, 2), "fp16_ms": round(b, 2), "ratio": round(b / a, 3), "runs": len(times[0])}
