"""The parser's graph: exact inputs and outputs, the same as PyTorch's, in float16, and an engine of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from spgvton.bundle import PARSER, Bundle
from spgvton.cli import main
from spgvton.engine.build import Options, build
from spgvton.errors import SpgvtonError
from spgvton.perception.parser_options import ParserOptions
from spgvton.perception.small import SmallParser
from spgvton_export.parser_export import convert_parser, parser_samples
from spgvton_training.parsing.checkpoint import ParserCheckpoint
from spgvton_training.parsing.network import ParserConfig, ParserNetwork

SIZE = (64, 48)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = ParserNetwork(ParserConfig(*SIZE, channels=(16, 16, 24, 32)))
    torch.nn.init.normal_(network.head.weight, std=20.0)  # untrained, but sure of something
    torch.nn.init.normal_(network.pose.weight, std=0.5)
    path = tmp_path_factory.mktemp("parser") / "model.safetensors"
    ParserCheckpoint(network.config, dict(network.state_dict()), {"test": True}).save(path)
    return path


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundle") / "parser"
    assert main(["export", "--parser", str(checkpoint), "--out", str(folder), "--storage", "fp16"]) == 0
    return Bundle.open(folder)


def test_inputs_and_outputs(bundle: Bundle) -> None:
    session = ort.InferenceSession(str(bundle.graph(PARSER)))
    assert {i.name: (i.type, i.shape) for i in session.get_inputs()} == {
        "picture": ("tensor(uint8)", [1, *SIZE, 3]), "keypoints": ("tensor(float)", [1, 18, 3]),
    }  # fmt: skip
    (output,) = session.get_outputs()
    assert (output.name, output.type, output.shape) == ("probabilities", "tensor(uint8)", [1, 21, 32, 24])
    assert (
        bundle.is_parser
        and bundle.modes == ()
        and bundle.size == SIZE
        and bundle.manifest["provenance"] == {"test": True}
    )
    errors = bundle.manifest["error_against_pytorch"][PARSER]["probabilities"]
    assert errors["max"] <= 2 and errors["mean"] < 0.05


def test_weights_are_half_and_softmax_is_spelt_out(bundle: Bundle) -> None:
    graph = onnx.load(str(bundle.graph(PARSER))).graph
    large = [t for t in graph.initializer if np.prod(t.dims) >= 256]
    assert large and all(t.data_type == onnx.TensorProto.FLOAT16 for t in large)
    assert "Softmax" not in {n.op_type for n in graph.node}


def test_the_runtime_takes_it(bundle: Bundle) -> None:
    parser = ParserOptions().open(str(bundle.graph(PARSER)))
    assert isinstance(parser, SmallParser) and parser.size == SIZE
    sample = parser_samples(SIZE)[0]
    maps = parser._session.run(None, sample)[0][0]
    total = maps.astype(int).sum(0)
    assert abs(total - 255).max() <= 10 and maps.max() > 150


def test_keypoints_count(bundle: Bundle) -> None:
    session = ort.InferenceSession(str(bundle.graph(PARSER)))
    samples = parser_samples(SIZE)
    assert len(samples) == 3 and (samples[0]["picture"] == samples[2]["picture"]).all()
    with_pose, without = (session.run(None, samples[i])[0].astype(int) for i in (0, 2))
    assert np.abs(with_pose - without).max() > 10


def test_float16(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "export",
        "--bundle",
        str(bundle.folder),
        "--precision",
        "fp16",
        "--out",
        str(tmp_path / "half"),
        "--json",
    ]
    assert main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["precision"] == "fp16" and report["graphs"][PARSER]["max_abs_error"] < 20
    half = Bundle.open(tmp_path / "half")
    convolutions = [n for n in onnx.load(str(half.graph(PARSER))).graph.node if n.op_type == "Conv"]
    types = {t.name: t.data_type for t in onnx.load(str(half.graph(PARSER))).graph.initializer}
    assert len(convolutions) == 20 and {types[n.input[1]] for n in convolutions} == {onnx.TensorProto.FLOAT16}
    with pytest.raises(SpgvtonError, match="fp16 already"):
        convert_parser(half, tmp_path / "again")
    pytest.importorskip("tensorrt_rtx")
    built = build(half, Options("fp16", "tensorrt-rtx", PARSER, folder=tmp_path / "engines"))
    assert built.engine.stat().st_size > 10_000 and built.facts["plugin_layers"] == 0


@pytest.mark.parametrize(
    "more, words", [(["--equalise"], "are not of --parser"), (["--rewrites", "none"], "are not of --parser")]
)
def test_what_makes_no_sense(checkpoint: Path, more: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--parser", str(checkpoint), "--out", "/nowhere", *more]) == 2
    assert words in capsys.readouterr().err


def test_a_parser_cannot_dress(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--parser", str(tmp_path / "none.safetensors"), "--out", str(tmp_path / "x")]) == 1
    assert "none.safetensors" in capsys.readouterr().err and not (tmp_path / "x" / "bundle.json").exists()
    with pytest.raises(SpgvtonError, match="has no live mode"):
        bundle.graph("live")
