"""A human parser's checkpoint -> its bundle: human_parser.onnx, weights inside, checked against PyTorch; and the same in float16."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton.backends.onnxruntime import session_options
from spgvton.backends.samples import live_samples
from spgvton.bundle import MANIFEST, PARSER, Bundle, derived_manifest, write_manifest
from spgvton.engine.graph import load_weights
from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import make_folder, write_bytes
from spgvton.version import __version__
from spgvton_export.folding import fold, remove_metadata, store_half
from spgvton_export.fp16.bundle import load_graph
from spgvton_export.fp16.graph import convert, emulate
from spgvton_export.parity import differences
from spgvton_export.rewrites.softmax import spell_out_softmax

if TYPE_CHECKING:  # converting a bundle needs no torch
    from spgvton_export.graphs import Graph
    from spgvton_training.parsing.checkpoint import ParserCheckpoint

OUTPUT: Final = "probabilities"
LABEL_SET: Final = "cihp"
MEAN_LIMIT: Final = 0.5  # of 255: how far float16 may be from float32 on average
Sample = dict[str, NDArray[Any]]


def parser_samples(size: tuple[int, int]) -> list[Sample]:
    """Inputs of the graph at SIZE (height, width): the shipped demo person and her mirror image, and a room without a customer."""
    samples: list[Sample] = [
        {"picture": s["picture"], "keypoints": s["keypoints"]} for s in live_samples(size, LABEL_SET)[::3]
    ]
    return [*samples, {**samples[0], "keypoints": np.zeros((1, kp.NUM_KEYPOINTS, 3), np.float32)}]


def run(model: onnx.ModelProto | Path, samples: list[Sample]) -> NDArray[Any]:
    """The maps (n, 21, h, w) that MODEL gives of SAMPLES in ONNX Runtime. Raises SpgvtonError."""
    given = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
    try:
        session = ort.InferenceSession(given, session_options(None), providers=["CPUExecutionProvider"])
        return np.concatenate([session.run([OUTPUT], sample)[0] for sample in samples])
    except Exception as e:  # ONNX Runtime's exceptions share no base class of its own
        raise SpgvtonError(f"the parser's graph does not run: {' '.join(str(e).split())[:300]}") from e


def export_parser(checkpoint: ParserCheckpoint, out: str | Path, *, half_storage: bool = False) -> Bundle:
    """Write the bundle of CHECKPOINT into folder OUT.

    half_storage: weights are stored as float16 (the graph still computes in float32). Raises SpgvtonError when OUT cannot be written
    or the graph differs from PyTorch; the manifest, written last, makes a folder a bundle.
    """
    import torch

    from spgvton_export.graphs import parser_graph
    from spgvton_export.onnx_export import OPSET

    folder = make_folder(out)
    (folder / MANIFEST).unlink(missing_ok=True)
    size = checkpoint.config.size
    samples = parser_samples(size)
    two = {k: torch.from_numpy(np.concatenate([s[k] for s in samples[:2]])) for k in samples[0]}
    graph = parser_graph(checkpoint.network(), two)
    model = _traced(graph)
    if half_storage:
        store_half(model)
    with torch.no_grad():
        expected = np.concatenate([graph.module(*map(torch.from_numpy, s.values())).numpy() for s in samples])
    errors = differences({OUTPUT: run(model, samples)}, {OUTPUT: expected}, f"{PARSER}.onnx differs from PyTorch")
    write_bytes(folder / f"{PARSER}.onnx", model.SerializeToString(deterministic=True))
    manifest = {
        "spgvton": __version__,
        "modes": [],
        "network": {**checkpoint.config.to_dict(), "label_set": LABEL_SET},
        "precision": "fp32",
        "weights_storage": "fp16" if half_storage else "fp32",
        "opset": OPSET,
        "error_against_pytorch": {PARSER: errors},
        "provenance": checkpoint.provenance,
    }
    return write_manifest(folder, manifest, [f"{PARSER}.onnx"])


def _traced(graph: Graph) -> onnx.ModelProto:
    """GRAPH for one picture at a time, its softmax as ONNX Runtime likes it: an eighth of the parser's time."""
    import onnx_graphsurgeon as gs

    from spgvton_export.onnx_export import trace

    model = trace(graph)
    for value in (*model.graph.input, *model.graph.output):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.dim_value = 1
    del model.graph.value_info[:]
    fold(model)
    remove_metadata(model)
    surgeon = gs.import_onnx(onnx.shape_inference.infer_shapes(model, data_prop=True))
    spell_out_softmax(surgeon)
    out = gs.export_onnx(surgeon.cleanup().toposort(), do_type_check=False)
    out.ir_version = model.ir_version
    return out


def convert_parser(source: Bundle, out: str | Path) -> Bundle:
    """Write the parser's bundle SOURCE (float32) into folder OUT, computing in float16 (for TensorRT).

    Two runs are compared with float32: the file in ONNX Runtime, and the graph with every rounding written out. Raises SpgvtonError
    for a bundle that is not float32, for what float16 cannot hold, and for maps that differ by more than MEAN_LIMIT on average.
    """
    if source.precision != "fp32":
        raise SpgvtonError(f"{source.folder} is {source.precision} already: give the fp32 bundle that it was made of")
    if Path(out).resolve() == source.folder.resolve():
        raise UsageError(f"--out {out} is the bundle itself: name another folder")
    model = load_graph(source.graph(PARSER))
    load_weights(model, source.folder)
    converted = convert(model)
    rounded, _ = emulate(converted)
    samples = parser_samples(source.size)
    expected = run(source.graph(PARSER), samples).astype(np.float64)
    found = {"max": 0.0, "mean": 0.0}
    for maps in (run(converted.model, samples), run(rounded, samples)):
        difference = np.abs(maps - expected)
        found = {"max": max(found["max"], difference.max()), "mean": max(found["mean"], float(difference.mean()))}
    if not found["mean"] <= MEAN_LIMIT:
        raise SpgvtonError(
            f"float16 changes the maps by {found['mean']:.2g} of 255 on average: keep this parser in fp32"
        )
    folder = make_folder(out)
    (folder / MANIFEST).unlink(missing_ok=True)
    write_bytes(folder / f"{PARSER}.onnx", converted.model.SerializeToString(deterministic=True))
    manifest = derived_manifest(source, [f"{PARSER}.onnx"]) | {
        "precision": "fp16", "weights_storage": "fp16", "float32_nodes": {PARSER: converted.float32},
        "error_against_fp32": {"inputs": "shipped demo", "outputs": {PARSER: {OUTPUT: found}}},
    }  # fmt: skip
    return write_manifest(folder, manifest, [f"{PARSER}.onnx"])
