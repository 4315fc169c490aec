"""Float bundle -> INT8 bundle, from ranges to the quality gate: the order of the steps and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
import onnx

from spgvton.bundle import Bundle
from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import make_folder, write_text
from spgvton.range_table import RangeTable, graph_hash
from spgvton_calibration.bundle import check_folder, write_int8
from spgvton_calibration.data import Source
from spgvton_calibration.execution import Inputs, Pair, collect, pictures
from spgvton_calibration.histogram import Histogram
from spgvton_calibration.integer import integer_pair, results
from spgvton_calibration.mixed import as_csv, choose, sensitivity
from spgvton_calibration.network import Layer, Network
from spgvton_calibration.norm_folding import fold_norms_behind_relu
from spgvton_calibration.outcome import Frame, Outcome, Settings
from spgvton_calibration.qdq import Int8Weight, insert, quantise_weight
from spgvton_calibration.quality import REGIONS, Judge, UInt8
from spgvton_calibration.ranges import TRAINED, needed, table_of, tensorrt_cache, trained_ranges
from spgvton_calibration.report import Pictures, contact_sheet, histograms, markdown, plot

REPORT: Final = "calibration"  # folder inside the bundle
_TRIED: Final = 16  # samples on which the ranges of both runs are tried


class Ranges(NamedTuple):
    """Of one run of the chain, "float" or "int8": amax by tensor, and the histograms that it is from."""

    run: str
    amax: dict[str, float]
    histograms: dict[str, Histogram]


def select(network: Network, keep_float: Sequence[str]) -> tuple[list[Layer], list[str]]:
    """Layers to quantise and names of those that stay float: first and last of each network, and KEEP_FLOAT.

    Raises UsageError for a pattern that fits no layer, or when nothing is left.
    """
    for pattern in keep_float:
        if not any(fnmatchcase(layer.name, pattern) for layer in network.layers):
            known = ", ".join(layer.name for layer in network.layers[:3])
            raise UsageError(f"--keep-float {pattern} fits no layer (there are {known}, ...)")
    floating = [x.name for x in network.layers if x.ends or any(fnmatchcase(x.name, p) for p in keep_float)]
    chosen = [x for x in network.layers if x.name not in floating]
    if not chosen:
        raise UsageError("no layer is left to quantise: give fewer --keep-float")
    return chosen, floating


class RangeFinder:
    """Finds amax of every tensor that LAYERS read, by whichever method; what does not depend on it is computed once.

    The joint graph is run, so each network sees what those before it really emit: first in float, then with all LAYERS
    quantised by the ranges of the first run. Either may be the better one (the second adapts to what is clipped upstream,
    and with some methods clips more at every step), so both are tried on some of the samples, and the one whose pictures
    are nearer to the float graph's is kept.
    """

    def __init__(
        self, network: Network, layers: Sequence[Layer], weights: Mapping[str, Int8Weight], samples: Sequence[Inputs],
        made: Mapping[str, str] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """made: by layer name, further tensors whose amax is wanted (integer.results)."""
        self._network, self._layers, self._weights, self._samples = network, layers, weights, samples
        self._names: dict[str, str] = {}  # of tensors, in errors
        for layer in layers:
            for tensor in layer.tensors:
                self._names.setdefault(tensor, f"the input of {layer.name} ({tensor})")
        for layer_name, tensor in made.items():
            self._names.setdefault(tensor, f"the output of {layer_name} ({tensor})")
        self._in_float = self._collect(network.model, "float")
        self._exact = pictures(network.model, samples[:_TRIED], "float pictures")

    def find(self, method: str) -> Ranges:
        first = Ranges("float", {t: h.amax(method) for t, h in self._in_float.items()}, self._in_float)
        histograms = self._collect(insert(self._network, self._layers, first.amax, self._weights), "int8")
        second = Ranges("int8", {t: h.amax(method) for t, h in histograms.items()}, histograms)
        return min((first, second), key=self._error)

    def _collect(self, model: onnx.ModelProto, run: str) -> dict[str, Histogram]:
        found = {tensor: Histogram() for tensor in self._names}
        collect(model, found, self._samples, f"ranges ({run})", self._names.__getitem__)
        return found

    def _error(self, candidate: Ranges) -> float:
        """Mean squared error of the pictures, in grey levels."""
        model = insert(self._network, self._layers, candidate.amax, self._weights)
        images = pictures(model, self._samples[:_TRIED], f"trying the ranges of the {candidate.run} run")
        return float(np.mean([np.square(a.astype(float) - b).mean() for a, b in zip(images, self._exact)]))


def _further(
    network: Network, layers: Sequence[Layer], amax: Mapping[str, float], weights: Mapping[str, Int8Weight],
    made: Mapping[str, str], samples: Sequence[Inputs],
) -> dict[str, float]:  # fmt: skip
    """amax, as Settings.method finds it, of those of MADE (see RangeFinder) that AMAX lacks; LAYERS compute in INT8."""
    found = {tensor: Histogram() for tensor in made.values() if tensor not in amax}
    collect(insert(network, layers, amax, weights), found, samples, "further ranges", lambda tensor: tensor)
    return {tensor: h.amax(Settings.method) for tensor, h in found.items()}


def calibrate(
    source: Bundle, out: Path, settings: Settings, data: Source, *, ranges: str | Path | None = None,
    reference: Bundle | None = None,
) -> Outcome:  # fmt: skip
    """Write the INT8 bundle of SOURCE into folder OUT, with its report.

    ranges: a table to apply instead of running calibration samples, or ranges.TRAINED. reference: the float32 bundle that SOURCE, a float16
    bundle, was made of; the drop is measured against it (default: against SOURCE).
    Raises UsageError and SpgvtonError; OUT is then as it was. A bundle whose drop exceeds the budget with every layer in
    INT8 is written with the dearest layers in float, never as it is, unless the gate is off.
    """
    check_folder(source, out)  # before minutes of work
    network = Network(source.graph("tryon"))
    layers, by_rule = select(network, settings.keep_float)
    weights = {x.name: quantise_weight(*network.weights(x), network.element_type(x)) for x in layers}
    digest = graph_hash(source)
    found: dict[str, Histogram] = {}
    made = results(network, layers) if source.precision == "fp32" else {}
    samples = [s.inputs for s in data.calibration]
    if ranges == TRAINED:
        made = made if samples else {}
        amax = trained_ranges(source, layers)
        amax |= _further(network, layers, amax, weights, made, samples)
        table = table_of(
            layers, amax, digest, TRAINED, "trained by spgvton train --qat", len(samples), made
        )  # fmt: skip
    elif ranges is not None:
        table = RangeTable.load(Path(ranges), digest, needed(layers, made))
    else:
        chosen = RangeFinder(network, layers, weights, samples, made).find(settings.method)
        found = chosen.histograms
        source_words = f"{data.description}; {chosen.run} run"
        table = table_of(layers, chosen.amax, digest, settings.method, source_words, len(samples), made)
    outcome = Outcome(settings, table, layers, by_rule, [])
    judge = _open_judge(network, source, reference, data) if data.held_out else None
    compared = _judge(outcome, judge, network, weights, source, reference) if judge else None
    pair = integer_pair(source, outcome.chosen, made, table.amax, weights) if made else None
    if pair and judge:
        outcome.frame = _judge_pair(pair, judge, settings)

    def report(folder: Path) -> None:
        target = make_folder(folder / REPORT)
        table.save(target / "ranges.json")
        write_text(target / "tensorrt.cache", tensorrt_cache(table))
        if found:
            histograms(found, table, target / "histograms.png")
        if outcome.costs:
            write_text(target / "sensitivity.csv", as_csv(outcome.costs))
            plot(outcome.costs, set(outcome.given_up), target / "sensitivity.png")
        if compared:
            contact_sheet(compared, target / "sheet.jpg")
        write_text(target / "calibration.md", markdown(source, outcome, found, bool(compared)))

    outcome.bundle = write_int8(
        source, network, outcome.chosen, table.amax, weights, pair if outcome.frame is None or outcome.frame.kept else None,
        out, _facts(outcome), report,
    )  # fmt: skip
    return outcome


def _open_judge(network: Network, source: Bundle, reference: Bundle | None, data: Source) -> Judge:
    base = reference or source
    exact = network.model if base is source else Network(base.graph("tryon")).model
    return Judge(data.held_out, exact, Network(base.graph("g1")).model, base.label_set)


def _judge_pair(pair: Pair, judge: Judge, settings: Settings) -> Frame:
    """What session and frame graph cost; above the budget they are not kept, and a line says so."""
    images = judge.run_pair(pair, "frame graph in integers")
    drop = judge.drop(images)
    kept = not settings.gate or max(drop.values()) <= settings.max_ssim_drop
    if not kept:
        worst = ", ".join(f"{r} {drop[r]:.4f}" for r in REGIONS)
        print(f"SSIM drop of frame.onnx: {worst}; it is left out, ONNX Runtime will run tryon.onnx", file=sys.stderr)
    return Frame(kept, drop, judge.fidelity(images))


def _judge(
    outcome: Outcome, judge: Judge, network: Network, weights: Mapping[str, Int8Weight], source: Bundle,
    reference: Bundle | None,
) -> Pictures:  # fmt: skip
    """Measure the drop, choose layers where it is too large; fills OUTCOME. Returns the pictures for the contact sheet."""
    settings, amax = outcome.settings, outcome.table.amax
    base = reference or source
    made: dict[int, list[UInt8]] = {}  # number of layers in INT8 -> pictures

    def drop(chosen: Sequence[Layer]) -> dict[str, float]:
        model = fold_norms_behind_relu(insert(network, chosen, amax, weights))
        made[len(chosen)] = judge.run(model, f"{len(chosen)} layers in INT8")
        return judge.drop(made[len(chosen)])

    outcome.held_out = len(judge.samples)
    outcome.reference_ssim = judge.mean_reference_ssim()
    outcome.full_drop = outcome.drop = drop(outcome.chosen)
    exceeded = settings.gate and max(outcome.full_drop.values()) > settings.max_ssim_drop
    if settings.sensitivity or exceeded:
        count = settings.sensitivity or Settings.sensitivity
        outcome.costs = sensitivity(network, outcome.chosen, amax, weights, judge, count)
    if exceeded:
        every = outcome.chosen
        worst = ", ".join(f"{r} {outcome.full_drop[r]:.4f}" for r in REGIONS)
        print(
            f"SSIM drop with {len(every)} layers in INT8: {worst}; searching for layers to keep float", file=sys.stderr
        )
        outcome.chosen, outcome.drop = choose(every, outcome.costs, drop, settings.max_ssim_drop)
        kept = {layer.name for layer in outcome.chosen}
        outcome.given_up = [layer.name for layer in every if layer.name not in kept]
    images = made[len(outcome.chosen)]
    outcome.fidelity = judge.fidelity(images)
    rows = Pictures([base.precision.upper()], [judge.images[: Pictures.ROWS]])
    if base is not source:
        rows.add(source.precision.upper(), judge.run(network.model, source.precision, Pictures.ROWS))
    rows.add("INT8", images[: Pictures.ROWS])
    return rows


def _facts(outcome: Outcome) -> dict[str, Any]:
    """What bundle.json holds of all this."""
    return {
        "method": outcome.table.method, "samples": outcome.table.samples, "data": outcome.table.source,
        "layers_int8": len(outcome.chosen), "layers_float": outcome.layers_float,
        "ssim_drop": outcome.drop, "held_out": outcome.held_out, "gate": outcome.settings.gate,
        "max_ssim_drop": outcome.settings.max_ssim_drop, "frame": outcome.frame and outcome.frame._asdict(),
    }  # fmt: skip


def result(outcome: Outcome) -> dict[str, Any]:
    """What --json prints."""
    if outcome.bundle is None:
        raise SpgvtonError("the bundle is not written yet")
    facts = {k: v for k, v in _facts(outcome).items() if k not in ("data", "gate")}
    return {
        "bundle": str(outcome.bundle.folder), **facts, "layers_given_up": outcome.given_up,
        "reference_ssim": outcome.reference_ssim, "fidelity": outcome.fidelity,
        "sensitivity": [asdict(c) for c in outcome.costs],
    }  # fmt: skip
