"""INT8 of the human parser: Q/DQ for TensorRT, integers for ONNX Runtime, the gate on labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from spgvton.bundle import PARSER, PARSER_INTEGER, Bundle
from spgvton.cli import main
from spgvton.errors import SpgvtonError, UsageError
from spgvton_calibration.outcome import Settings
from spgvton_calibration.parser import calibrate_parser, miou
from spgvton_export.parser_export import export_parser, parser_samples, run
from spgvton_training.parsing.checkpoint import ParserCheckpoint
from spgvton_training.parsing.network import ParserConfig, ParserNetwork

SIZE = (64, 48)


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Untrained, but sure of something."""
    torch.manual_seed(0)
    network = ParserNetwork(ParserConfig(*SIZE, channels=(16, 16, 24, 32)))
    torch.nn.init.normal_(network.head.weight, std=20.0)
    checkpoint = ParserCheckpoint(network.config, dict(network.state_dict()))
    return export_parser(checkpoint, tmp_path_factory.mktemp("parser") / "bundle")


@pytest.fixture(scope="module")
def int8(
    parser: Bundle, data_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bundle, dict[str, object]]:
    out = tmp_path_factory.mktemp("int8") / "bundle"
    outcome = calibrate_parser(parser, out, Settings("minmax", gate=False), data_folder, 8, 4)
    assert outcome.bundle is not None
    return outcome.bundle, outcome.facts()


def operators(bundle: Bundle, name: str) -> list[str]:
    return [n.op_type for n in onnx.load(str(bundle.graph(name))).graph.node]


def test_both_forms(int8: tuple[Bundle, dict[str, object]], parser: Bundle) -> None:
    bundle, facts = int8
    assert bundle.precision == "int8" and bundle.is_parser
    assert facts["layers_int8"] == 17 and facts["layers_float"] == ["parser.stem.0", "parser.pose", "parser.head"]
    assert operators(bundle, PARSER).count("QuantizeLinear") >= 17 and "QLinearConv" not in operators(bundle, PARSER)
    assert operators(bundle, PARSER_INTEGER).count("QLinearConv") == 17
    samples = parser_samples(SIZE)
    exact = run(parser.graph(PARSER), samples).argmax(1)
    for name in (PARSER, PARSER_INTEGER):
        assert (run(bundle.graph(name), samples).argmax(1) == exact).mean() > 0.8, name
    assert (bundle.folder / "calibration" / "ranges.json").is_file()
    assert "miou_float" in (bundle.folder / "calibration" / "calibration.md").read_text()


def test_a_budget_that_nothing_meets(parser: Bundle, data_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SpgvtonError, match="no layer can be quantised"):
        calibrate_parser(parser, tmp_path / "b", Settings("minmax"), data_folder, 8, 2, max_drop=-1.0)
    assert not (tmp_path / "b").exists()


def test_miou_counts_labels_that_are_there() -> None:
    truth = np.array([[0, 0, 5, 5]], np.uint8)
    assert miou([truth], [truth]) == 1
    assert miou([np.array([[0, 0, 5, 9]], np.uint8)], [truth]) == pytest.approx((1 + 0.5) / 2)


def test_by_the_verb(parser: Bundle, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["calibrate", "--bundle", str(parser.folder), "--data", str(data_folder), "--out", str(tmp_path / "b")]
    assert main([*given, "--samples", "8", "--held-out", "2", "--no-gate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["layers_int8"] == 17
    assert main([*given, "--ranges", "x.json"]) == 2
    assert "is of try-on bundles" in capsys.readouterr().err
    with pytest.raises(UsageError, match="8 --samples or more"):
        calibrate_parser(parser, tmp_path / "c", Settings(), data_folder, 4, 2)
    with pytest.raises(SpgvtonError, match="ask for fewer"):
        calibrate_parser(parser, tmp_path / "c", Settings(), data_folder, 500, 2)
