"""Q/DQ placement: what the shipped networks' INT8 graphs hold, and that each kind of fault is found."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from test_qdq import block

from spgvton.bundle import Bundle
from spgvton_calibration import fusion
from spgvton_calibration.network import Network
from spgvton_calibration.norm_folding import fold_norms_behind_relu
from spgvton_calibration.placement import FUSED, WHY, check, main
from spgvton_calibration.qdq import insert, quantise_weight

FLOAT, FLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16


def quantised(network: Network) -> onnx.ModelProto:
    """Every layer that may be in INT8, in INT8, with one range for all that is of the size of theirs."""
    chosen = [x for x in network.layers if not x.ends]
    weights = {x.name: quantise_weight(*network.weights(x), network.element_type(x)) for x in chosen}
    return insert(network, chosen, {t: 8.0 for x in chosen for t in x.tensors}, weights)


@pytest.mark.parametrize("name", ["realtime", "live"])
def test_the_shipped_networks(name: str) -> None:
    network = Network(Bundle.open(name).graph("tryon"))
    model = quantised(network)
    behind_relu = [p.conv for p in check(model) if p.epilogue == ("Relu", "BatchNormalization")]
    assert len(behind_relu) == 8  # four in each of the GMM's two feature extractions
    placements = check(fold_norms_behind_relu(model))
    assert len(placements) == sum(not x.ends for x in network.layers) > 40
    assert not [p for p in placements if p.faults]
    assert {p.epilogue for p in placements} - FUSED <= set(WHY)
    assert all(p.writes_int8 for p in placements if p.conv in behind_relu)
    kinds = Counter(p.writes_int8 for p in placements)
    assert kinds[True] > kinds[False]


@pytest.mark.parametrize("kind", [FLOAT, FLOAT16])
def test_epilogues(kind: int, tmp_path: Path) -> None:
    found = {p.conv: p for p in check(quantised(block(tmp_path, kind)))}
    assert {name: p.epilogue for name, p in found.items()} == {
        "net.a": ("Relu", "Q"), "net.b": ("Add", "Relu", "Resize"), "net.c": ("Relu", "Conv"),
    }  # fmt: skip
    assert [name for name, p in found.items() if p.writes_int8] == ["net.a"]


def broken(model: onnx.ModelProto, what: str) -> None:
    """Spoil what stands round net.a, or the sum of net.b."""
    nodes = {n.name: n for n in model.graph.node}
    by_output = {o: n for n in model.graph.node for o in n.output}
    tensors = {t.name: t for t in model.graph.initializer}
    conv = next(n for n in model.graph.node if n.op_type == "Conv" and n.input[1] == "net.a.weight.dq")
    weight = by_output["net.a.weight.dq"]
    if what == "is not dequantised":
        conv.input[0] = nodes[by_output[conv.input[0]].name.replace("dequantise", "quantise")].input[0]
    elif what == "was not quantised":
        by_output[conv.input[0]].input[0] = "int8.zero"
    elif what == "is not symmetric int8":
        tensors["int8.zero"].CopyFrom(numpy_helper.from_array(np.array(3, np.int8), "int8.zero"))
    elif what == "has not one scale":
        scale = tensors[by_output[conv.input[0]].input[1]]
        scale.CopyFrom(numpy_helper.from_array(np.ones(8, np.float32), scale.name))
    elif what == "one scale an output channel":
        del weight.attribute[:]
    elif what == "no int8 constant":
        weight.input[0] = "x"
    elif what == "no multiples of 4":
        values = numpy_helper.to_array(tensors[weight.input[0]])[:, :7]
        tensors[weight.input[0]].CopyFrom(numpy_helper.from_array(values, weight.input[0]))
    else:
        total = by_output["sum"]
        total.input[0] = by_output[by_output[total.input[0]].input[0]].input[0]


@pytest.mark.parametrize(
    "what",
    [
        "is not dequantised", "was not quantised", "is not symmetric int8", "has not one scale",
        "one scale an output channel", "no int8 constant", "no multiples of 4", "the other input of its sum",
    ],
)  # fmt: skip
def test_every_fault_is_found(what: str, tmp_path: Path) -> None:
    model = quantised(block(tmp_path))
    broken(model, what)
    found = [fault for p in check(model) for fault in p.faults]
    assert any(what in fault for fault in found), found
    assert not all(p.writes_int8 for p in check(model))


LOG = """\
Total Activation Memory: 47170560 bytes
Total Weights Memory: 4480032 bytes
Name: g1/a_myl0_36, LayerType: correlation, Inputs: [ { Name: x, Dimensions: [1,8,4,4], Strides: [1], Datatype: Int8, \
Format: (NHWC) }], Constants: [ { Name: w, Dimensions: [8], Datatype: Int8 }], Outputs: [ { Name: y, Dimensions: [1], \
Datatype: Float, Format: (NHWC) }], TacticName: t, StreamId: 0, Metadata:
Name: __myl_MulAddReluMinMaxRounCast_myl0_37, LayerType: kgen, Inputs: [ { Name: y, Datatype: Float }], Outputs: [ { Name: \
z, Dimensions: [1], Datatype: Int8 }], TacticName: t
Name: __myl_CorrMulAddRelu_myl0_38, LayerType: runtime_fusion, Inputs: [ { Name: z, Datatype: Half }], Constants: [ { Name: \
w, Datatype: Half }, { Name: b, Datatype: Float }], Outputs: [ { Name: o, Datatype: Half }], TacticName: t
"""


def test_the_builders_log_is_read() -> None:
    plan = fusion._described(9, LOG)
    assert plan == fusion.Plan(
        9, 4480032, 47170560, {"Half": 1, "Int8": 1}, {"Half -> Half": 1, "Int8 -> Float": 1}, 1, 3, 1
    )


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main([str(Bundle.open("realtime").folder)]) == 0
    assert "0 INT8 convolutions" in capsys.readouterr().out
    assert main([str(tmp_path)]) == 1
    assert "placement: " in capsys.readouterr().err
