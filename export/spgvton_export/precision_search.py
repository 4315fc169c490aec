"""Which nodes of a graph must stay float32, so that the rest in float16 keeps to a given error: found by bisection.

  python -m spgvton_export.precision_search --bundle bundles/realtime
  python -m spgvton_export.precision_search --bundle bundles/realtime --limit 0.0005 --out bundles/realtime-mixed

Networks of TensorRT 11 and TensorRT-RTX are strongly typed: precision is the graph's, and no builder flag can lift a layer to
float32 as `polygraphy debug precision` did. So each trial converts the graph anew (fp16.graph.convert), some nodes kept, with
the casts that this needs, rounds every float16 value as a GPU does (fp16.graph.emulate) and is run by ONNX Runtime.

The error is the mean absolute difference of the worst output, as a share of its full scale; a value that float16 cannot hold
counts as infinite. The nodes are found by delta debugging (Zeller and Hildebrandt 2002, "Simplifying and isolating
failure-inducing input"): none of those found can be given up alone. With --out the mixed bundle is written, and proved as
`spgvton export --precision fp16` proves every one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import numpy_helper
from tqdm import tqdm

from spgvton.backends.onnxruntime import session_options
from spgvton.backends.samples import live_samples
from spgvton.bundle import MODES, WEIGHTS, Bundle
from spgvton.errors import SpgvtonError, UsageError
from spgvton_export.fp16.bundle import convert_bundle, load_graph
from spgvton_export.fp16.check import FULL_SCALE, TOLERANCE, Error, run_session
from spgvton_export.fp16.graph import FLOAT, LAYERS, Float16Graph, convert, emulate
from spgvton_export.samples import Sample, demo_samples
from spgvton_export.shared_weights import stored_name

Array = NDArray[Any]
Keep = frozenset[str]

TRIALS: Final = 200
SAMPLES: Final = 2


@dataclass(frozen=True)
class Found:
    """keep: node (first output) -> its layer's name, in order of computation. error: with them in float32. without: node ->
    error when it alone is in float16 again. all_half: error with none kept. minimal: whether none can be given up, which
    is not known where the trials ran out.
    """

    keep: dict[str, str]
    error: float
    all_half: float
    trials: int
    minimal: bool
    without: dict[str, float] = field(default_factory=dict)


class Trials:
    """How far the graph with some nodes kept in float32 is from the graph in float32; each set of nodes is tried once.

    model: as load_graph() gives it. tensors: the weights' values by stored name. samples: the graph's inputs.
    """

    def __init__(self, model: onnx.ModelProto, tensors: Mapping[str, Array], samples: Sequence[Sample]) -> None:
        self._model, self._tensors, self._samples = model.SerializeToString(), tensors, samples
        reference = convert(self._copy())  # its folded float32 graph has the same value names
        self.candidates = reference.layers
        self._layers = {n.output[0] for n in reference.reference.graph.node if n.op_type in LAYERS}
        session = _session(self._filled(reference.reference, self._types(reference)))
        self._expected = [run_session(session, dict(sample)) for sample in samples]
        self._errors: dict[Keep, float] = {frozenset(self.candidates): 0.0}

    def __len__(self) -> int:
        return len(self._errors) - 1

    def _copy(self) -> onnx.ModelProto:
        return onnx.ModelProto.FromString(self._model)

    @staticmethod
    def _types(graph: Float16Graph) -> dict[str, int]:
        """What the float32 graph's weights are: integers stay integers."""
        return {n: t.data_type if t.data_type == onnx.TensorProto.INT64 else FLOAT for n, t in graph.weights.items()}

    def _filled(self, model: onnx.ModelProto, types: Mapping[str, int], halves: Sequence[str] = ()) -> onnx.ModelProto:
        """MODEL, whose weights are inputs, with their values; those of HALVES rounded to float16."""
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        inputs = [i for i in copy.graph.input if i.name not in types]
        del copy.graph.input[:]
        copy.graph.input.extend(inputs)
        for name, kind in types.items():
            value = self._tensors[stored_name(name)]
            if name in halves:
                with np.errstate(over="ignore"):  # seen in what is computed from it
                    value = value.astype(np.float16)
            wide = value.astype(np.float32) if kind == FLOAT else value
            copy.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(wide), name))
        return copy

    def __call__(self, keep: Keep) -> float:
        """The error (see the module) with KEEP, of the candidates, in float32."""
        if keep not in self._errors:
            self._errors[keep] = self._measure(keep)
        return self._errors[keep]

    def _measure(self, keep: Keep) -> float:
        if keep >= self._layers:
            return 0.0  # nothing is computed in float16
        graph = convert(self._copy(), keep)
        rounded, types = emulate(graph)
        halves = [n for n, t in graph.weights.items() if t.data_type == onnx.TensorProto.FLOAT16]
        model = self._filled(rounded, {n: t.data_type for n, t in types.items()}, halves)
        narrow = [n.output[0] for n in model.graph.node if n.op_type == "Cast" and n.input[0].endswith(".half")]
        outputs = {o.name for o in model.graph.output}
        model.graph.output.extend(onnx.ValueInfoProto(name=v) for v in narrow if v not in outputs)
        session = _session(model)
        errors: dict[str, Error] = {}
        for sample, expected in zip(self._samples, self._expected):
            made = run_session(session, dict(sample))
            if not all(np.isfinite(made[value]).all() for value in narrow):
                return float("inf")
            for name, value in expected.items():
                scale = FULL_SCALE["uint8"] if value.dtype == np.uint8 else FULL_SCALE.get(name, FULL_SCALE["default"])
                errors.setdefault(name, Error(scale)).add(made[name], value)
        return max(e.mean / e.scale for e in errors.values())


def _session(model: onnx.ModelProto) -> ort.InferenceSession:
    """MODEL as it stands: no optimisation may leave a rounding out."""
    options = session_options(None)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as e:  # ONNX Runtime's exceptions share no base class of its own
        raise SpgvtonError(f"ONNX Runtime cannot load the graph: {' '.join(str(e).split())[:300]}") from e


class _OutOfTrials(Exception):
    pass


def search(trials: Trials, limit: float, most: int = TRIALS, done: Callable[[], object] = lambda: None) -> Found:
    """The fewest nodes that bisection finds, with which the error is at most LIMIT. MOST: trials; done: called after each."""

    def holds(keep: Keep) -> bool:
        if len(trials) >= most:
            raise _OutOfTrials
        found = trials(keep) <= limit
        done()
        return found

    all_half = trials(frozenset())
    kept, minimal = [], True
    if all_half > limit:
        kept = list(trials.candidates)
        try:
            for smaller in _shrink(kept, holds):
                kept = smaller
        except _OutOfTrials:
            minimal = False
    without = {n: trials(frozenset(kept) - {n}) for n in kept} if minimal else {}
    return Found(
        {n: trials.candidates[n] for n in kept}, trials(frozenset(kept)), all_half, len(trials), minimal, without
    )


def _shrink(kept: list[str], holds: Callable[[Keep], bool]) -> Any:
    """Delta debugging: yields ever smaller lists that hold; of the last one no single node can be given up."""
    parts = 2
    yield kept
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        slices = [kept[i : i + size] for i in range(0, len(kept), size)]
        one = next((part for part in slices if len(part) < len(kept) and holds(frozenset(part))), None)
        if one is not None:
            kept, parts = one, 2
            yield kept
            continue
        rests = ([n for n in kept if n not in part] for part in slices) if parts > 2 else iter(())
        rest = next((r for r in rests if holds(frozenset(r))), None)
        if rest is not None:
            kept, parts = rest, max(parts - 1, 2)
            yield kept
        elif parts < len(kept):
            parts = min(len(kept), 2 * parts)
        else:
            return


def samples_of(bundle: Bundle, graph: str, count: int) -> list[Sample]:
    """COUNT inputs of GRAPH, a joint graph, of the shipped demo, spread over garments and poses."""
    every = (live_samples if graph == MODES["live"] else demo_samples)(bundle.size, bundle.label_set)
    return [dict(every[i]) for i in np.linspace(0, len(every) - 1, min(count, len(every))).round().astype(int)]


def search_bundle(bundle: Bundle, graph: str, limit: float, *, samples: int = SAMPLES, most: int = TRIALS) -> Found:
    """search() of one joint graph of a float32 BUNDLE on the shipped demo. Raises SpgvtonError."""
    from safetensors.numpy import load_file

    if bundle.precision != "fp32":
        raise SpgvtonError(f"{bundle.folder} is {bundle.precision} already: give the fp32 bundle that it was made of")
    model = load_graph(bundle.graph(graph))
    trials = Trials(model, load_file(bundle.folder / WEIGHTS), samples_of(bundle, graph, samples))
    with tqdm(total=most, unit="trial", desc=graph, disable=None, leave=False) as bar:
        return search(trials, limit, most, bar.update)


def told(graph: str, found: Found, limit: float) -> list[str]:
    """FOUND for people."""
    head = f"{graph}: error {found.all_half:.2e} of full scale with everything in float16 (limit {limit:.2e})"
    if not found.keep:
        return [f"{head}: nothing must stay float32"]
    known = "none of them can be given up" if found.minimal else "there may be fewer: the trials ran out"
    lines = [f"{head}; {found.error:.2e} with {len(found.keep)} nodes in float32 ({found.trials} trials; {known})"]
    for node, layer in found.keep.items():
        alone = found.without.get(node)
        lines.append(f"  {layer} ({node})" + (f": {alone:.2e} without it" if alone is not None else ""))
    return lines


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m spgvton_export.precision_search", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--bundle", metavar="DIR", help="an fp32 bundle; otherwise the shipped one")
    parser.add_argument("--graph", choices=tuple(MODES.values()), help="one joint graph (all that the bundle has)")
    parser.add_argument("--limit", type=float, default=TOLERANCE, metavar="E", help=f"of the error ({TOLERANCE})")
    parser.add_argument("--samples", type=int, default=SAMPLES, metavar="N", help=f"of the shipped demo ({SAMPLES})")
    parser.add_argument("--trials", type=int, default=TRIALS, metavar="N", help=f"of each graph at most ({TRIALS})")
    parser.add_argument("--out", type=Path, metavar="NEW", help="write the bundle with these layers in float32")
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    args = parser.parse_args(arguments)
    try:
        if not 0 < args.limit < 1 or args.samples < 1 or args.trials < 1:
            raise UsageError(
                "--limit is a share of full scale, for instance 0.002; --samples and --trials are 1 or more"
            )
        return _run(args)
    except SpgvtonError as e:
        print(f"precision_search: {e}", file=sys.stderr)
        return 2 if isinstance(e, UsageError) else 1


def _run(args: argparse.Namespace) -> int:
    bundle = Bundle.open(args.bundle)
    graphs = [args.graph] if args.graph else [g for g in MODES.values() if g in bundle.graphs]
    found = {g: search_bundle(bundle, g, args.limit, samples=args.samples, most=args.trials) for g in graphs}
    lines = [line for g, f in found.items() for line in told(g, f, args.limit)]
    print("\n".join(lines), file=sys.stderr if args.json else sys.stdout)
    if args.out:
        layers = {layer for f in found.values() for layer in f.keep.values()}
        samples = demo_samples(bundle.size, bundle.label_set)
        made, _ = convert_bundle(bundle, args.out, samples, inputs="shipped demo", keep_layers=layers)
        print(f"wrote {made.folder}", file=sys.stderr)
    if args.json:
        print(json.dumps({"limit": args.limit, **{g: asdict(f) for g, f in found.items()}}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
