"""Checkpoint -> bundle: ONNX graphs that share one weights file, each checked against PyTorch."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Collection
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime as ort
import torch
from tqdm import tqdm

from spgvton import __version__
from spgvton.backends.onnxruntime import session_options
from spgvton.bundle import MANIFEST, SESSION_AND_FRAME, WEIGHTS, Bundle, write_manifest
from spgvton.errors import SpgvtonError
from spgvton.files import make_folder, write_bytes
from spgvton_export.folding import fold, remove_metadata
from spgvton_export.graphs import Graph, graphs
from spgvton_export.joint_graph import assemble
from spgvton_export.rewrites import REWRITES, session_and_frame
from spgvton_export.rewrites.check import compare_split
from spgvton_export.shared_weights import attach_weights, detach_weights, share_weights
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.networks.joint import Inputs

OPSET: Final = 18
# Largest difference from PyTorch per output: 1 of 255 for the uint8 image, else absolute in the output's own unit.
TOLERANCE: Final = {"image": 5e-3, "theta": 2e-3, "default": 5e-3, "uint8": 2.0}


def trace(graph: Graph) -> onnx.ModelProto:
    """One graph as ONNX with dynamic batch, its weights inside."""
    batch = torch.export.Dim("N", min=1, max=64)
    shapes = tuple({0: batch} for _ in graph.inputs)
    for noisy in ("torch.onnx", "onnx_ir"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    # torch.export prints progress to stdout, where --json may be read
    with tempfile.TemporaryFile("w+") as noise, redirect_stdout(noise), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph.module.eval(), tuple(graph.inputs.values()), dynamo=True, opset_version=OPSET, verbose=False,
            input_names=list(graph.inputs), output_names=list(graph.outputs), dynamic_shapes=shapes, optimize=False,
        )  # fmt: skip
    assert program is not None
    return program.model_proto


def write_graph(model: onnx.ModelProto, weights: dict[str, onnx.TensorProto], path: Path) -> None:
    """MODEL, whose weights are inputs, as a file that refers to the bundle's weights file beside it."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    attach_weights(whole, weights, path.parent / WEIGHTS)
    write_bytes(path, whole.SerializeToString(deterministic=True))


def compare(path: Path, graph: Graph) -> dict[str, dict[str, float]]:
    """Largest and mean absolute difference per output between ONNX Runtime on the saved graph and PyTorch.

    Raises SpgvtonError above TOLERANCE.
    """
    session = ort.InferenceSession(str(path), session_options(None), providers=["CPUExecutionProvider"])
    needed = {i.name for i in session.get_inputs()}
    found = session.run(list(graph.outputs), {k: v.numpy() for k, v in graph.inputs.items() if k in needed})
    with torch.no_grad():
        expected = graph.module(*graph.inputs.values())
    expected = expected if isinstance(expected, tuple) else (expected,)
    errors = {}
    for name, a, b in zip(graph.outputs, found, expected):
        difference = np.abs(np.asarray(a, np.float64) - b.numpy().astype(np.float64))
        limit = TOLERANCE["uint8"] if a.dtype == np.uint8 else TOLERANCE.get(name, TOLERANCE["default"])
        errors[name] = {"max": float(difference.max()), "mean": float(difference.mean())}
        if not difference.max() <= limit:  # also true for NaN
            raise SpgvtonError(f"{path.name}: {name} differs from PyTorch by {difference.max():.2g} (limit {limit:g})")
    return errors


def export(
    checkpoint: Checkpoint, out: str | Path, inputs: Inputs, *, half_storage: bool = False,
    rewrites: Collection[str] | None = tuple(REWRITES),
) -> Bundle:  # fmt: skip
    """Write the bundle of CHECKPOINT into folder OUT, every graph checked on the real INPUTS.

    g1, g2, the GMMs and g3 are traced and folded; the joint graph is assembled from them.

    rewrites: names of those that session.onnx and frame.onnx get; None for a bundle without these two.
    half_storage: weights are stored as float16 (the graphs still compute in float32, from the rounded weights).
    Raises SpgvtonError when OUT cannot be written or a graph differs from PyTorch; the manifest, written last, makes a
    folder a bundle, so an interrupted export leaves none.
    """
    folder = make_folder(out)
    (folder / MANIFEST).unlink(missing_ok=True)
    checkpoint.save(folder / WEIGHTS, half=half_storage)
    checkpoint = Checkpoint.load(folder / WEIGHTS)  # with half storage: the rounded weights, as the graphs see them
    model = checkpoint.model()
    c = checkpoint.config
    parts: dict[str, onnx.ModelProto] = {}
    weights: dict[str, onnx.TensorProto] = {}
    report: dict[str, Any] = {}
    for name, graph in tqdm(graphs(model, inputs).items(), desc="export", unit="graph"):
        if name == "tryon":
            parts[name] = assemble(parts, c.size, grid_size=c.grid_size, padding="border")
        else:
            parts[name] = share_weights(trace(graph), folder / WEIGHTS)
            weights |= detach_weights(parts[name])
            fold(parts[name])
            remove_metadata(parts[name])
        write_graph(parts[name], weights, folder / f"{name}.onnx")
        report[name] = compare(folder / f"{name}.onnx", graph)
    names = list(report)
    rewritten: dict[str, Any] = {}
    if rewrites is not None:
        session, frame, changes = session_and_frame(parts["tryon"], weights, rewrites)
        for name, model in zip(SESSION_AND_FRAME, (session, frame)):
            write_graph(model, weights, folder / f"{name}.onnx")
            names.append(name)
        error = compare_split(folder, {k: v.numpy() for k, v in inputs._asdict().items()}, TOLERANCE["uint8"])
        rewritten = {"rewrites": {"changes": changes, "error_against_tryon": error}}
    manifest = {
        "spgvton": __version__,
        "network": {**checkpoint.config.to_dict(), "extensions": checkpoint.config.extensions},
        "precision": "fp32",
        "weights_storage": "fp16" if half_storage else "fp32",
        "opset": OPSET,
        "error_against_pytorch": report,
        **rewritten,
        "provenance": checkpoint.provenance,
    }
    return write_manifest(folder, manifest, [WEIGHTS, *(f"{name}.onnx" for name in names)])
