"""What a script of `polygraphy run` calls for --spgvton-torch: a graph of a bundle, computed by PyTorch."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray
from polygraphy.backend.base import BaseRunner
from polygraphy.common import TensorMetadata

from spgvton.bundle import MODES, WEIGHTS, Bundle
from spgvton_export.cli import real_inputs, real_live_inputs
from spgvton_export.graphs import graphs, live_graphs
from spgvton_export.polygraphy.errors import one_line
from spgvton_training.checkpoint import Checkpoint


class TorchRunner(BaseRunner):  # type: ignore[misc]
    """Runs graph GRAPH of the bundle in FOLDER in float32, with the weights that the bundle stores (an FP16 bundle: the
    rounded ones), on the CPU. Inputs and outputs have the names that the ONNX graph has."""

    def __init__(self, folder: str, graph: str, name: str | None = None) -> None:
        super().__init__(name=name, prefix="spgvton-torch")
        self.folder = folder
        self.graph = graph

    def activate_impl(self) -> None:
        with one_line():
            checkpoint = Checkpoint.load(Bundle.open(self.folder).folder / WEIGHTS)
            model, c = checkpoint.model(), checkpoint.config
            if self.graph == MODES["live"]:
                self.network = live_graphs(model, real_live_inputs(c))[self.graph]
            else:
                self.network = graphs(model, real_inputs(c))[self.graph]

    def get_input_metadata_impl(self) -> TensorMetadata:
        metadata = TensorMetadata()
        for name, example in self.network.inputs.items():
            metadata.add(name, example.numpy().dtype, (None, *example.shape[1:]))
        return metadata

    def infer_impl(self, feed_dict: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        inputs = [torch.as_tensor(feed_dict[name]) for name in self.network.inputs]
        start = time.perf_counter()
        with torch.no_grad():
            outputs = self.network.module(*inputs)
        self.inference_time = time.perf_counter() - start
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return {name: tensor.numpy() for name, tensor in zip(self.network.outputs, outputs)}

    def deactivate_impl(self) -> None:
        del self.network
