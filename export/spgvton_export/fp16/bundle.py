"""Float32 bundle -> float16 bundle. Needs no torch: a bundle can be converted where it is used."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path

import onnx
import onnxruntime as ort
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from tqdm import tqdm

from spgvton.backends.samples import live_samples
from spgvton.bundle import MANIFEST, WEIGHTS, Bundle, derived_manifest, write_manifest
from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import make_folder, write_bytes
from spgvton.machine import cores, cpu_model
from spgvton_export.fp16.check import LAYERED, Candidate, Report, expose, latency, measure, warp_graph
from spgvton_export.fp16.graph import Float16Graph, convert, emulate, to_float16
from spgvton_export.samples import Sample
from spgvton_export.shared_weights import attach_weights, stored_name


def load_graph(path: Path) -> onnx.ModelProto:
    """A graph without its external data. Raises SpgvtonError when the file is not an ONNX graph."""
    try:
        return onnx.load(str(path), load_external_data=False)
    except Exception as e:  # protobuf raises its own kinds
        raise SpgvtonError(f"{path} is not an ONNX graph ({' '.join(str(e).split())[:100]}): export it again") from e


def half_weights(source: Path, names: set[str]) -> bytes:
    """The weights file SOURCE with the tensors NAMES as float16, the others and what is said of them unchanged.

    Raises SpgvtonError for a damaged file, a name that it lacks, or a weight beyond float16's range.
    """
    try:
        with safe_open(source, framework="np") as f:
            metadata = f.metadata()
            tensors = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as e:
        raise SpgvtonError(f"cannot read {source}: {e}") from e
    lacks = names - set(tensors)
    if lacks:
        raise SpgvtonError(f"{source} lacks {min(lacks)}: export the bundle again")
    if all(tensors[n].dtype == "float16" for n in names):
        return source.read_bytes()
    for name in names:
        tensors[name] = to_float16(tensors[name], f"weight {name}")
    data: bytes = save(tensors, metadata)
    return data


def _candidate(name: str, graph: Float16Graph, folder: Path, scratch: Path) -> Candidate:
    """Write the graph that is compared with float32 (see check.py) into SCRATCH, beside a copy of the weights."""
    layered = name in LAYERED
    rounded, types = emulate(graph)
    reference = scratch / f"{name}.reference.onnx" if layered else None
    path = scratch / f"{name}.rounded.onnx"
    values = graph.layers if layered else {}
    weights = attach_weights(expose(rounded, values), types, scratch / WEIGHTS)
    write_bytes(path, weights.SerializeToString(deterministic=True))
    if reference:
        model = attach_weights(expose(graph.reference, values), float32_types(graph), scratch / f"source.{WEIGHTS}")
        write_bytes(reference, model.SerializeToString(deterministic=True))
    return Candidate(folder / f"{name}.onnx", path, values, reference)


def float32_types(graph: Float16Graph) -> dict[str, onnx.TensorProto]:
    """The weights of GRAPH's float32 reference."""
    types = {}
    for name, tensor in graph.weights.items():
        kind = tensor.data_type if tensor.data_type == onnx.TensorProto.INT64 else onnx.TensorProto.FLOAT
        types[name] = onnx.TensorProto(name=name, dims=tensor.dims, data_type=kind)
    return types


def convert_bundle(
    source: Bundle,
    out: str | Path,
    samples: list[Sample],
    *,
    inputs: str,
    seconds: float = 3.0,
    keep_layers: Collection[str] = (),
) -> tuple[Bundle, Report]:
    """Write bundle SOURCE (float32) into folder OUT, computing in float16, measured on SAMPLES.

    inputs: their source, for bundle.json. seconds: how long both are timed. keep_layers: stay float32, too (precision_search).
    Raises SpgvtonError for a bundle that is not float32, a foreign or damaged graph, a weight or an activation beyond
    float16's range, or an output that differs from float32 by more than check.TOLERANCE. The manifest, written last,
    makes a folder a bundle, so nothing of this leaves one.
    """
    if source.precision != "fp32":
        raise SpgvtonError(f"{source.folder} is {source.precision} already: give the fp32 bundle that it was made of")
    if Path(out).resolve() == source.folder.resolve():
        raise UsageError(f"--out {out} is the bundle itself: name another folder")
    graphs = {}
    for name in tqdm(source.graphs, desc="convert", unit="graph"):
        path = source.graph(name)
        try:
            graphs[name] = convert(load_graph(path), keep_layers=keep_layers)
        except SpgvtonError as e:
            raise SpgvtonError(f"{path.name}: {e}") from e
    half = {
        stored_name(n) for g in graphs.values() for n, t in g.weights.items() if t.data_type == onnx.TensorProto.FLOAT16
    }
    data = half_weights(source.folder / WEIGHTS, half)

    folder = make_folder(out)
    (folder / MANIFEST).unlink(missing_ok=True)
    write_bytes(folder / WEIGHTS, data)
    warp = warp_graph(graphs["tryon"].reference)
    for name, graph in graphs.items():
        model = onnx.ModelProto()
        model.CopyFrom(graph.model)
        attach_weights(model, graph.weights, folder / WEIGHTS)
        write_bytes(folder / f"{name}.onnx", model.SerializeToString(deterministic=True))
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        write_bytes(scratch / WEIGHTS, data)
        write_bytes(scratch / f"source.{WEIGHTS}", (source.folder / WEIGHTS).read_bytes())
        candidates = {name: _candidate(name, graph, folder, scratch) for name, graph in graphs.items()}
        report = measure(source, warp, candidates, samples, live_samples(source.size, source.label_set))
    report.check()

    names = [WEIGHTS, *(f"{name}.onnx" for name in graphs)]
    speed = latency(source.graph("tryon"), folder / "tryon.onnx", samples[0], seconds=seconds)
    manifest = derived_manifest(source, names) | {
        "precision": "fp16",
        "weights_storage": "fp16",
        "error_against_fp32": {"inputs": inputs, **report.to_json()},
        "float32_nodes": {name: graph.float32 for name, graph in graphs.items()},
        **({"float32_layers": sorted(keep_layers)} if keep_layers else {}),
        "onnxruntime_cpu": {**speed, "version": ort.__version__, "cpu": cpu_model(), "cores": cores()},
    }
    return write_manifest(folder, manifest, names), report
