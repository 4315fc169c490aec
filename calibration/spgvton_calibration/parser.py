"""A human parser's float bundle -> its INT8 bundle: ranges from photographs, the same labels, a report.

As calibrate.py does it for try-on, but judged by what a parser gives: mIoU of the labels over the classes that the photographs show,
against their true maps. Beside the Q/DQ graph for TensorRT stands its form in ONNX Runtime's integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import onnx

from spgvton import labels as lb
from spgvton.bundle import PARSER, PARSER_INTEGER, Bundle, derived_manifest, sha256, write_manifest
from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import make_folder, write_bytes, write_text
from spgvton.perception.soft_maps import parse_of
from spgvton.range_table import RangeTable
from spgvton_calibration.bundle import check_folder, staged
from spgvton_calibration.calibrate import REPORT, select
from spgvton_calibration.data import MIN_SAMPLES, Photo, photos
from spgvton_calibration.execution import Inputs, Runner, collect
from spgvton_calibration.histogram import Histogram
from spgvton_calibration.integer import insert_integer, results
from spgvton_calibration.mixed import Cost, choose, gmacs
from spgvton_calibration.network import Layer, Network
from spgvton_calibration.outcome import Settings
from spgvton_calibration.qdq import OPSET, Int8Weight, insert, quantise_weight
from spgvton_calibration.ranges import table_of

MAX_DROP: Final = 0.01  # of mIoU
LABELS: Final = "labels"  # the one region that is judged


class Score(NamedTuple):
    """miou: against the true labels. same: share of pixels whose label is that of the float graph."""

    miou: float
    same: float


@dataclass
class ParserOutcome:
    """What is told of a run. chosen: layers in INT8; given_up: those that the gate returned to float."""

    table: RangeTable
    chosen: list[Layer]
    by_rule: list[str]
    float_miou: float
    score: Score
    integer: Score | None  # None of a float16 bundle, which has no such form
    held_out: int
    given_up: list[str] = field(default_factory=list)
    bundle: Bundle | None = None

    def facts(self) -> dict[str, Any]:
        """What bundle.json and --json hold of it."""
        return {
            "method": self.table.method, "samples": self.table.samples, "data": self.table.source, "layers_int8": len(self.chosen),
            "layers_float": [*self.by_rule, *self.given_up], "held_out": self.held_out, "miou_float": round(self.float_miou, 4),
            "miou_int8": round(self.score.miou, 4), "same_labels": round(self.score.same, 4),
            "miou_integer": round(self.integer.miou, 4) if self.integer else None,
        }  # fmt: skip


def miou(found: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> float:
    """Mean intersection over union of the labels that TRUTH (each (H, W)) holds, over all pictures together."""
    counts = np.zeros((lb.NUM_LABELS, lb.NUM_LABELS), np.int64)
    for a, b in zip(found, truth):
        counts += np.bincount(b.ravel().astype(int) * lb.NUM_LABELS + a.ravel(), minlength=counts.size).reshape(
            counts.shape
        )
    both, union = counts.diagonal(), counts.sum(0) + counts.sum(1) - counts.diagonal()
    return float((both / np.maximum(union, 1))[counts.sum(1) > 0].mean())


class _Judge:
    """Scores graphs on photographs that no range was found on."""

    def __init__(self, held_out: Sequence[Photo], exact: onnx.ModelProto) -> None:
        self._inputs = [p.inputs for p in held_out]
        self._truth = [p.labels for p in held_out]
        self._exact = self._labels(exact, "float labels")
        self.float_miou = miou(self._exact, self._truth)

    def _labels(self, model: onnx.ModelProto, what: str) -> list[np.ndarray]:
        size = self._truth[0].shape

        def read(made: dict[str, Any]) -> np.ndarray:
            try:
                return parse_of(made["probabilities"][0], (size[0], size[1])).labels
            except SpgvtonError:  # nobody, says a graph that lost too much
                return np.zeros(size, np.uint8)

        return Runner(model).map(self._inputs, read, what)

    def score(self, model: onnx.ModelProto, what: str) -> Score:
        found = self._labels(model, what)
        same = float(np.mean([(a == b).mean() for a, b in zip(found, self._exact)]))
        return Score(miou(found, self._truth), same)

    def drop(self, model: onnx.ModelProto, what: str) -> Mapping[str, float]:
        return {LABELS: self.float_miou - self.score(model, what).miou}


def calibrate_parser(
    source: Bundle, out: Path, settings: Settings, data: Path, samples: int, held_out: int, max_drop: float = MAX_DROP
) -> ParserOutcome:
    """Write the INT8 bundle of the parser's bundle SOURCE into folder OUT.

    data: a data set in MPV layout: ranges from SAMPLES photographs of its training split, judged on HELD_OUT of its test split. Layers
    go back to float until mIoU falls by at most MAX_DROP (unless the gate is off). Raises UsageError and SpgvtonError.
    """
    check_folder(source, out)
    if samples < MIN_SAMPLES or held_out < 1:
        raise UsageError(
            f"a parser needs {MIN_SAMPLES} --samples or more and 1 --held-out, got {samples} and {held_out}"
        )
    network = Network(source.graph(PARSER))
    layers, by_rule = select(network, settings.keep_float)
    weights = {x.name: quantise_weight(*network.weights(x), network.element_type(x)) for x in layers}
    made = results(network, layers)
    ranges = [p.inputs for p in photos(data, "train", samples, source.size)]
    amax = _ranges(network, layers, made, ranges, settings.method)
    words = f"{data.name}: {samples} training photographs, {held_out} test photographs"
    table = table_of(layers, amax, sha256(source.graph(PARSER)), settings.method, words, samples, made)
    judge = _Judge(photos(data, "test", held_out, source.size), network.model)
    chosen, given_up = _chosen(network, layers, amax, weights, judge, max_drop if settings.gate else np.inf)
    model = insert(network, chosen, amax, weights)
    models, score = {PARSER: model}, None
    if source.precision == "fp32":
        models[PARSER_INTEGER] = _integer(network, chosen, made, amax, weights)
        score = judge.score(models[PARSER_INTEGER], "integers")
    outcome = ParserOutcome(
        table, chosen, by_rule, judge.float_miou, judge.score(model, "INT8"), score, held_out, given_up
    )
    outcome.bundle = _write(source, out, models, outcome)
    return outcome


def _ranges(
    network: Network, layers: Sequence[Layer], made: Mapping[str, str], samples: Sequence[Inputs], method: str
) -> dict[str, float]:
    """amax of every tensor that LAYERS read, and of those they make."""
    found = {t: Histogram() for t in [*(t for layer in layers for t in layer.tensors), *made.values()]}
    collect(network.model, found, samples, "ranges", lambda tensor: tensor)
    return {tensor: h.amax(method) for tensor, h in found.items()}


def _chosen(
    network: Network, layers: list[Layer], amax: Mapping[str, float], weights: Mapping[str, Int8Weight], judge: _Judge,
    budget: float,
) -> tuple[list[Layer], list[str]]:  # fmt: skip
    """LAYERS, and names of those that must stay float so that the labels stay: the dearest for what they save."""

    def drop(some: Sequence[Layer]) -> Mapping[str, float]:
        return judge.drop(insert(network, some, amax, weights), f"{len(some)} layers in INT8")

    if drop(layers)[LABELS] <= budget:
        return layers, []
    work = gmacs(network, network.layers, judge._inputs[0])
    costs = [Cost(x.name, work[x.name], max(0.0, drop([x])[LABELS]), 0.0, work[x.name]) for x in layers]
    kept, _ = choose(layers, costs, drop, budget)
    names = {x.name for x in kept}
    return kept, [x.name for x in layers if x.name not in names]


def _integer(
    network: Network, layers: Sequence[Layer], made: Mapping[str, str], amax: Mapping[str, float],
    weights: Mapping[str, Int8Weight],
) -> onnx.ModelProto:  # fmt: skip
    """NETWORK's graph with LAYERS on ONNX Runtime's integer kernels; norms are folded first, as these want it."""
    import onnx_graphsurgeon as gs

    from spgvton_export.rewrites.batch_norm import fold_batch_norm  # takes a second to import

    inferred = onnx.shape_inference.infer_shapes(network.model, data_prop=True)
    graph = gs.import_onnx(inferred)
    fold_batch_norm(graph)
    model: onnx.ModelProto = gs.export_onnx(graph.cleanup().toposort(), do_type_check=False)
    model.ir_version = network.model.ir_version
    if insert_integer(model, layers, made, amax, weights) != len(layers):
        raise SpgvtonError("the parser's graph is not as spgvton export writes it: export it again")
    return model


def _write(source: Bundle, out: Path, models: Mapping[str, onnx.ModelProto], outcome: ParserOutcome) -> Bundle:
    with staged(out) as work:
        for name, model in models.items():
            write_bytes(work / f"{name}.onnx", model.SerializeToString(deterministic=True))
        target = make_folder(work / REPORT)
        outcome.table.save(target / "ranges.json")
        lines = [f"- {key}: {value}" for key, value in outcome.facts().items()]
        write_text(target / "calibration.md", "\n".join(["# The parser in INT8", "", *lines]) + "\n")
        manifest = derived_manifest(source, [f"{PARSER}.onnx"]) | {
            "precision": "int8", "float_precision": source.precision, "weights_storage": "int8", "opset": OPSET,
            "int8": outcome.facts(),
        }  # fmt: skip
        write_manifest(work, manifest, [f"{name}.onnx" for name in models])
    return Bundle.open(out)
