"""The TensorFlow.js converter on a small graph of known arithmetic, and on damaged input."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch.nn import functional as F

from spgvton.errors import SpgvtonError, UsageError
from spgvton_export import tfjs

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(3, 3, 2, 4)).astype(np.float16)
BIAS = RNG.normal(size=4).astype(np.float16)


def b64(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def model(folder: Path, *, op: str = "_FusedConv2D", cut: int = 0) -> Path:
    """conv 3x3, stride 2, SAME, + bias + ReLU on (1, 8, 6, 2), weights stored as float16 shards."""
    weights = KERNEL.tobytes() + BIAS.tobytes()
    (folder / "w.bin").write_bytes(weights[: len(weights) - cut])
    half = {"dtype": "float16", "original_dtype": "float32"}
    dimensions = [{"size": str(d)} for d in (1, 8, 6, 2)]
    nodes: list[dict[str, Any]] = [
        {"name": "x", "op": "Placeholder", "attr": {"dtype": {"type": "DT_FLOAT"}, "shape": {"shape": {"dim": dimensions}}}},
        {"name": "k", "op": "Const", "attr": {"dtype": {"type": "DT_FLOAT"}}},
        {"name": "b", "op": "Const", "attr": {"dtype": {"type": "DT_FLOAT"}}},
        {
            "name": "y", "op": op, "input": ["x", "k", "b"],
            "attr": {
                "strides": {"list": {"i": ["1", "2", "2", "1"]}}, "padding": {"s": b64("SAME")},
                "data_format": {"s": b64("NHWC")}, "num_args": {"i": "1"},
                "fused_ops": {"list": {"s": [b64("BiasAdd"), b64("Relu")]}},
            },
        },
    ]  # fmt: skip
    manifest = [
        {
            "paths": ["w.bin"],
            "weights": [
                {"name": "k", "shape": list(KERNEL.shape), "dtype": "float32", "quantization": half},
                {"name": "b", "shape": [4], "dtype": "float32", "quantization": half},
            ],
        }
    ]
    file = folder / "model.json"
    file.write_text(json.dumps({"modelTopology": {"node": nodes}, "weightsManifest": manifest}))
    return file


def test_a_fused_convolution_equals_torch(tmp_path: Path) -> None:
    target = tmp_path / "out.onnx"
    tfjs.convert(model(tmp_path), target, {"y": "features"})
    session = ort.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    x = RNG.normal(size=(1, 8, 6, 2)).astype(np.float32)
    (found,) = session.run(["features"], {session.get_inputs()[0].name: x})
    kernel = torch.from_numpy(KERNEL.astype(np.float32)).permute(3, 2, 0, 1)
    # SAME with stride 2 on even sizes pads only after: TensorFlow's rule, unlike torch's symmetric one
    padded = F.pad(torch.from_numpy(x).permute(0, 3, 1, 2), (0, 1, 0, 1))
    expected = F.conv2d(padded, kernel, torch.from_numpy(BIAS.astype(np.float32)), 2).relu().permute(0, 2, 3, 1)
    assert found.shape == (1, 4, 3, 4) and np.allclose(found, expected.numpy(), atol=1e-5)


def test_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing"):
        tfjs.convert(model(tmp_path), tmp_path / "o.onnx", {"nothing": "n"})
    with pytest.raises(SpgvtonError, match="FancyOp"):
        tfjs.convert(model(tmp_path, op="FancyOp"), tmp_path / "o.onnx")
    with pytest.raises(SpgvtonError):
        tfjs.convert(model(tmp_path, cut=5), tmp_path / "o.onnx")
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(SpgvtonError):
        tfjs.convert(tmp_path / "model.json", tmp_path / "o.onnx")
    assert not (tmp_path / "o.onnx").exists()
    assert tfjs.main([str(tmp_path / "missing.json"), str(tmp_path / "o.onnx")]) == 1
