"""Weights between two checkpoints, or two exported files, of one network."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from average_weights import of_checkpoints, of_graphs
from spgvton.errors import SpgvtonError
from spgvton_training.parsing.checkpoint import ParserCheckpoint
from spgvton_training.parsing.network import ParserConfig


def test_weights_lie_between_and_counts_are_the_new_ones() -> None:
    config = ParserConfig()
    old = ParserCheckpoint(config, {"w": torch.tensor([0.0, 4.0]), "n": torch.tensor(3)}, {"run": "old"})
    new = ParserCheckpoint(config, {"w": torch.tensor([10.0, 4.0]), "n": torch.tensor(8)}, {"run": "new"})
    found = of_checkpoints(old, new, 0.75)
    assert found.weights["w"].tolist() == [7.5, 4.0] and int(found.weights["n"]) == 8
    assert found.provenance == {"run": "new", "share_of_new": 0.75, "old": {"run": "old"}}
    with pytest.raises(SpgvtonError, match="different networks"):
        of_checkpoints(old, ParserCheckpoint(ParserConfig(64, 48), new.weights), 0.5)


def graph(weight: list[float], shape: list[int]) -> onnx.ModelProto:
    tensors = [
        numpy_helper.from_array(np.array(weight, np.float16), "w.f16"),
        numpy_helper.from_array(np.array(shape), "shape"),
    ]
    return onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], tensors))


def test_weights_of_files_lie_between_and_shapes_stay() -> None:
    found = of_graphs(graph([0, 4], [1, 2]), graph([10, 4], [1, 2]), 0.25)
    weight, shape = (numpy_helper.to_array(t) for t in found.graph.initializer)
    assert weight.dtype == np.float16 and weight.tolist() == [2.5, 4.0] and shape.tolist() == [1, 2]
    with pytest.raises(SpgvtonError, match="different networks"):
        of_graphs(graph([0, 4, 1], [1, 2]), graph([10, 4], [1, 2]), 0.5)
