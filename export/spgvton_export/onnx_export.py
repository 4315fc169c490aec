"""Checkpoint -> bundle: ONNX graphs that share one weights file, each checked against PyTorch."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Collection
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

import onnx
import onnxruntime as ort
import torch
from tqdm import tqdm

from spgvton.backends.onnxruntime import session_options
from spgvton.bundle import MANIFEST, MODES, PAIRS, WEIGHTS, Bundle, write_manifest
from spgvton.files import make_folder, write_bytes
from spgvton.version import __version__
from spgvton_export.folding import fold, remove_metadata
from spgvton_export.graphs import Graph, graphs, live_graphs
from spgvton_export.joint_graph import assemble, assemble_live
from spgvton_export.parity import Arrays, differences
from spgvton_export.rewrites import REWRITES, split_and_rewrite
from spgvton_export.rewrites.check import compare_split
from spgvton_export.shared_weights import attach_weights, detach_weights, share_weights
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.networks.joint import Inputs
from spgvton_training.networks.live import LiveInputs

OPSET: Final = 18


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
    """Difference per output between ONNX Runtime on the saved graph and PyTorch, see parity.differences()."""
    session = ort.InferenceSession(str(path), session_options(None), providers=["CPUExecutionProvider"])
    needed = {i.name for i in session.get_inputs()}
    found = session.run(list(graph.outputs), {k: v.numpy() for k, v in graph.inputs.items() if k in needed})
    with torch.no_grad():
        made = graph.module(*graph.inputs.values())
    expected = [v.numpy() for v in (made if isinstance(made, tuple) else (made,))]
    return differences(
        dict(zip(graph.outputs, found)), dict(zip(graph.outputs, expected)), f"{path.name} differs from PyTorch"
    )


def export(
    checkpoint: Checkpoint, out: str | Path, inputs: Inputs, live_inputs: LiveInputs, *, half_storage: bool = False,
    rewrites: Collection[str] | None = tuple(REWRITES),
) -> Bundle:  # fmt: skip
    """Write the bundle of CHECKPOINT into folder OUT, every graph checked on the real INPUTS and LIVE_INPUTS.

    g1, g2, the GMMs and g3 are traced and folded; the joint graph is assembled from them, and the live graph from the same
    g2 and gmm1 and parts of its own.

    rewrites: names of those that the pairs session.onnx, frame.onnx and live_garment.onnx, live_frame.onnx get; None for a
    bundle without these four.
    half_storage: weights are stored as float16 (the graphs still compute in float32, from the rounded weights).
    Raises SpgvtonError when OUT cannot be written or a graph differs from PyTorch; the manifest, written last, makes a
    folder a bundle, so an interrupted export leaves none.
    """
    folder = make_folder(out)
    (folder / MANIFEST).unlink(missing_ok=True)
    checkpoint.save(folder / WEIGHTS, half=half_storage)
    checkpoint = Checkpoint.load(folder / WEIGHTS)  # with half storage: the rounded weights, as the graphs see them
    writer = _Writer(folder, checkpoint)
    model = checkpoint.model()
    report = writer.write_parts_and_joint(graphs(model, inputs), live_graphs(model, live_inputs))
    rewritten: dict[str, Any] = {}
    if rewrites is not None:
        samples = {"tryon": inputs._asdict(), "live": live_inputs._asdict()}
        values = {joint: {k: v.numpy() for k, v in sample.items()} for joint, sample in samples.items()}
        rewritten = {"rewrites": {joint: writer.write_pair(joint, rewrites, values[joint]) for joint in PAIRS}}
    manifest = {
        "spgvton": __version__,
        "modes": list(MODES),
        "network": {**checkpoint.config.to_dict(), "extensions": checkpoint.config.extensions},
        "precision": "fp32",
        "weights_storage": "fp16" if half_storage else "fp32",
        "opset": OPSET,
        "error_against_pytorch": report,
        **rewritten,
        "provenance": checkpoint.provenance,
    }
    return write_manifest(folder, manifest, [WEIGHTS, *(f"{name}.onnx" for name in writer.written)])


class _Writer:
    """Writes the graphs of one checkpoint into a folder that holds its weights already."""

    def __init__(self, folder: Path, checkpoint: Checkpoint) -> None:
        self.folder, self.config = folder, checkpoint.config
        self.written: list[str] = []
        self.weights: dict[str, onnx.TensorProto] = {}
        self.joint: dict[str, onnx.ModelProto] = {}

    def write_parts_and_joint(
        self, modules: dict[str, Graph], live: dict[str, Graph]
    ) -> dict[str, dict[str, dict[str, float]]]:
        """Trace, write and compare every graph of GRAPHS. Returns the differences from PyTorch, by graph and output."""
        c = self.config
        report = {}
        parts: dict[str, onnx.ModelProto] = {}
        for name, graph in tqdm({**modules, "live": live["live"]}.items(), desc="export", unit="graph"):
            if name == "tryon":
                model = assemble(parts, c.size, grid_size=c.grid_size, padding="border")
            elif name == "live":
                own = {part: self._traced(live[part]) for part in live if part != name}
                model = assemble_live({**parts, **own}, grid_size=c.grid_size, padding="border")
            else:
                model = parts[name] = self._traced(graph)
            if name in PAIRS:
                self.joint[name] = model
            self._write(name, model)
            report[name] = compare(self.folder / f"{name}.onnx", graph)
        return report

    def write_pair(self, joint: str, rewrites: Collection[str], inputs: Arrays) -> dict[str, Any]:
        """Write the pair of graph JOINT. Returns how often each rewrite was applied, and the differences from JOINT."""
        once, each, changes = split_and_rewrite(self.joint[joint], self.weights, rewrites)
        for name, model in zip(PAIRS[joint], (once, each)):
            self._write(name, model)
        return {"changes": changes, f"error_against_{joint}": compare_split(self.folder, joint, inputs)}

    def _traced(self, graph: Graph) -> onnx.ModelProto:
        model = share_weights(trace(graph), self.folder / WEIGHTS)
        self.weights |= detach_weights(model)
        fold(model)
        remove_metadata(model)
        return model

    def _write(self, name: str, model: onnx.ModelProto) -> None:
        write_graph(model, self.weights, self.folder / f"{name}.onnx")
        self.written.append(name)
