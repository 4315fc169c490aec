"""Whether an INT8 graph has its Q/DQ where TensorRT can fuse them: read off the graph, no TensorRT and no GPU needed.

  python -m spgvton_calibration.placement bundles/realtime-int8

For every convolution with an int8 weight: are both inputs dequantised, with scales of the kind that its INT8 kernels take; and
what stands behind it. TensorRT's guide ("Explicit Quantization", "Types of Fusions") fuses a sum, whose other input is
dequantised, and a ReLU into the convolution, and the quantisation that follows them. What else stands there is an exception:
the convolution then writes float, for the reason that is printed (WHY). Exit code 1 where a convolution has a fault, or an
epilogue that is neither fused nor a known exception.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
from onnx import numpy_helper

from spgvton.bundle import Bundle
from spgvton.engine.graph import load_weights
from spgvton.errors import SpgvtonError
from spgvton_calibration.network import GraphIndex

FUSED: Final = {("Q",), ("Relu", "Q"), ("Add", "Q"), ("Add", "Relu", "Q")}  # into an INT8 convolution that writes int8
# What else may stand behind an INT8 convolution, which then writes float, and why.
_FLOAT: Final = "what follows is computed in float"
_RESIZED: Final = "quantised behind the upsampling, see qdq.py"
WHY: Final = {
    ("Relu", "Tanh"): _FLOAT, ("Tanh",): _FLOAT,  # a generator's tail without Conv10, and with it
    ("Relu", "Div and Pow"): "the L2 norm of the GMM's features is float", ("Relu", "Reshape"): "theta's layer is float",
    ("Add", "Resize"): _RESIZED, ("Add", "Relu", "Resize"): _RESIZED, ("Resize",): _RESIZED,
    ("Relu", "Conv"): "the next convolution is its network's last, and float",
    ("Add", "Relu", "Add and QuantizeLinear"): "the residual flow adds it to what comes back up, in float",
}  # fmt: skip
FOLLOWED: Final = {"Add", "Relu"}
CHANNELS: Final = 4  # of which INT8 kernels take multiples without padding


@dataclass(frozen=True)
class Placement:
    """One INT8 convolution. epilogue: operators behind it, up to the first that is not fused; "Q" is QuantizeLinear.

    faults: what keeps it from being an INT8 convolution, or a sum from being fused.
    """

    conv: str
    epilogue: tuple[str, ...]
    faults: tuple[str, ...]

    @property
    def writes_int8(self) -> bool:
        """Whether everything up to the next quantisation is fused into it."""
        return self.epilogue in FUSED and not self.faults


class _Graph(GraphIndex):
    def dequantiser(self, value: str) -> onnx.NodeProto | None:
        node = self.made_by.get(value)
        return node if node is not None and node.op_type == "DequantizeLinear" else None

    def zero(self, node: onnx.NodeProto) -> bool:
        """Whether the zero point of a Q or DQ is int8 and 0 (symmetric)."""
        point = self.tensors.get(node.input[2]) if len(node.input) > 2 else None
        return point is not None and point.data_type == onnx.TensorProto.INT8 and not numpy_helper.to_array(point).any()

    def activation_fault(self, value: str, what: str) -> str | None:
        node = self.dequantiser(value)
        if node is None:
            return f"{what} is not dequantised"
        source = self.made_by.get(node.input[0])
        if source is None or source.op_type != "QuantizeLinear":
            return f"{what} is dequantised and was not quantised"
        if not (self.zero(node) and self.zero(source)):
            return f"{what} is not symmetric int8"
        if node.input[1] != source.input[1] or self.tensors[node.input[1]].dims:
            return f"{what} has not one scale"
        return None

    def weight_faults(self, value: str) -> list[str]:
        node = self.dequantiser(value)
        assert node is not None  # or it is no INT8 convolution
        weight = self.tensors.get(node.input[0])
        if weight is None or weight.data_type != onnx.TensorProto.INT8:
            return ["its weight is no int8 constant"]
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        out, inner = weight.dims[0], weight.dims[1]
        faults = []
        if list(self.tensors[node.input[1]].dims) != [out] or axis != 0:
            faults.append("its weight has not one scale an output channel")
        if not self.zero(node):
            faults.append("its weight is not symmetric int8")
        if out % CHANNELS or inner % CHANNELS:
            faults.append(f"its channels ({inner} to {out}) are no multiples of {CHANNELS}")
        return faults

    def epilogue(self, value: str) -> tuple[list[str], list[str]]:
        """Operators behind VALUE, and what is wrong with the sums among them."""
        steps: list[str] = []
        faults: list[str] = []
        while True:
            users = [] if value in self.outputs else self.used_by.get(value, [])
            if users and all(u.op_type == "QuantizeLinear" for u in users):
                return [*steps, "Q"], faults
            if len(users) != 1:
                names = sorted({u.op_type for u in users}) or ["the graph's output"]
                return [*steps, " and ".join(names)], faults
            (user,) = users
            steps.append(user.op_type)
            if user.op_type not in FOLLOWED or user.op_type in steps[:-1]:
                return steps, faults
            if user.op_type == "Add":
                other = user.input[1] if user.input[0] == value else user.input[0]
                fault = self.activation_fault(other, "the other input of its sum")
                faults += [fault] if fault else []
            value = user.output[0]


def check(model: onnx.ModelProto) -> list[Placement]:
    """Every convolution of MODEL whose weight is dequantised, in order. Others are meant to be float."""
    graph, found = _Graph(model), []
    for conv in (n for n in model.graph.node if n.op_type == "Conv"):
        if graph.dequantiser(conv.input[1]) is None:
            continue
        fault = graph.activation_fault(conv.input[0], "its input")
        steps, sums = graph.epilogue(conv.output[0])
        faults = [*([fault] if fault else []), *graph.weight_faults(conv.input[1]), *sums]
        name = graph.made_by[conv.input[1]].input[0].removeprefix("model.").removesuffix(".weight.int8")
        found.append(Placement(name, tuple(steps), tuple(faults)))
    return found


def read(path: Path) -> onnx.ModelProto:
    """The graph at PATH with its weights. Raises SpgvtonError."""
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as e:  # OSError, and protobuf's own kinds
        raise SpgvtonError(f"{path} is not an ONNX graph ({' '.join(str(e).split())[:100]})") from e
    load_weights(model, path.parent)
    return model


def main(folders: list[str]) -> int:
    if not folders:
        print(__doc__, file=sys.stderr)
        return 2
    faulty = False
    try:
        for folder in folders:
            placements = check(read(Bundle.open(folder).graph("tryon")))
            print(f"{folder}: {len(placements)} INT8 convolutions, {sum(p.writes_int8 for p in placements)} write int8")
            for steps, count in Counter(p.epilogue for p in placements).most_common():
                why = "" if steps in FUSED else f"  (writes float: {WHY.get(steps, 'NOT a known exception')})"
                print(f"  {count:3} {' > '.join(steps)}{why}")
                faulty |= steps not in FUSED and steps not in WHY
            for p in placements:
                faulty |= bool(p.faults)
                for fault in p.faults:
                    print(f"  {p.conv}: {fault}")
    except SpgvtonError as e:
        print(f"placement: {e}", file=sys.stderr)
        return 1
    return int(faulty)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
