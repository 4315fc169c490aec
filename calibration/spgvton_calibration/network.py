"""The convolutions of a bundle's graph that INT8 can compute, found by operator and by the names of their weights.

A layer is a Conv whose weight is a constant, with the batch normalisation that follows it (folded into weight and bias
when it is quantised). Node names play no part: graphs that were assembled in another way give the same layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from spgvton.engine.graph import load_weights
from spgvton.errors import SpgvtonError

Array = NDArray[Any]
Float = NDArray[np.float32]

QUANTISED: Final = {
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
    "MatMulInteger",
}  # fmt: skip
_WEIGHTED: Final = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


@dataclass(frozen=True)
class Layer:
    """One convolution.

    name: of its weight, e.g. `g1.res3.conv_a.0`. output: the value after batch norm. source: its input, which is quantised.
    residual, sum: where its output is added to another value, that value and the output name of the Add: TensorRT
    fuses Conv and Add when that value is quantised too. ends: it is the first or the last layer of its network.
    """

    name: str
    conv: str
    norm: str | None
    output: str
    source: str
    residual: str | None
    sum: str | None
    ends: bool

    @property
    def tensors(self) -> tuple[str, ...]:
        """The values that are quantised when this layer is."""
        return (self.source,) if self.residual is None else (self.source, self.residual)


class GraphIndex:
    """Who makes and who reads each value of MODEL's graph; its constants by name, and the names of its outputs."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.tensors = {t.name: t for t in model.graph.initializer}
        self.made_by = {o: n for n in model.graph.node for o in n.output}
        self.used_by: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for value in set(node.input):
                self.used_by.setdefault(value, []).append(node)
        self.outputs = {o.name for o in model.graph.output}

    def only_user(self, value: str) -> onnx.NodeProto | None:
        """The one node that reads VALUE; None where several do or it is an output of the graph."""
        users = self.used_by.get(value, [])
        return users[0] if len(users) == 1 and value not in self.outputs else None


class Network(GraphIndex):
    """A graph with its weights and its layers in order of computation.

    Raises SpgvtonError for a file that is no ONNX graph, cannot find its weights, or is quantised already.
    """

    def __init__(self, path: Path) -> None:
        try:
            model = onnx.load(str(path), load_external_data=False)
        except Exception as e:  # OSError, and protobuf's own kinds
            raise SpgvtonError(
                f"{path} is not an ONNX graph ({' '.join(str(e).split())[:100]}): export it again"
            ) from e
        if any(n.op_type in QUANTISED for n in model.graph.node):
            raise SpgvtonError(f"{path} is quantised already: give the fp32 or fp16 bundle that it was made of")
        del model.graph.value_info[:]
        load_weights(model, path.parent)
        super().__init__(model)
        self.path = path
        self.layers = self._find()

    def constant(self, name: str) -> Array | None:
        """The value of a constant; None where it is computed from inputs.

        Exported biases of zeros may be Expand(CastLike(0, x), Shape(weight)).
        """
        if name in self.tensors:
            return np.asarray(numpy_helper.to_array(self.tensors[name]))
        node = self.made_by.get(name)
        if node is None:
            return None
        if node.op_type == "Shape" and node.input[0] in self.tensors:
            part = {a.name: a.i for a in node.attribute}
            return np.array(self.tensors[node.input[0]].dims[part.get("start", 0) : part.get("end")], np.int64)
        if node.op_type not in ("CastLike", "Expand"):
            return None
        value = self.constant(node.input[0])
        if node.op_type == "CastLike" or value is None:
            return value
        shape = self.constant(node.input[1])
        return None if shape is None else np.broadcast_to(value, np.broadcast_shapes(value.shape, tuple(shape)))

    def weights(self, layer: Layer) -> tuple[Float, Float]:
        """Weight (O, I, kh, kw) and bias (O,) of LAYER in float32, batch norm folded in.

        Raises SpgvtonError where they are not finite.
        """
        weight, bias = self._folded(layer)
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise SpgvtonError(f"the weights of {layer.name} hold NaN or infinity: train or export it again")
        return weight, bias

    def _folded(self, layer: Layer) -> tuple[Float, Float]:
        conv = self.made_by[layer.conv]
        weight = self._float(conv.input[1])
        bias = self._float(conv.input[2]) if len(conv.input) > 2 else np.zeros(len(weight), np.float32)
        if layer.norm is None:
            return weight, bias
        norm = self.made_by[layer.norm]
        epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
        gain, shift, mean, variance = (self._float(i) for i in norm.input[1:5])
        factor = gain / np.sqrt(variance + np.float32(epsilon))
        return weight * factor[:, None, None, None], (bias - mean) * factor + shift

    def element_type(self, layer: Layer) -> int:
        """FLOAT or FLOAT16: what LAYER computes in before it is quantised."""
        return int(self.tensors[self.made_by[layer.conv].input[1]].data_type)

    def _float(self, name: str) -> Float:
        value = self.constant(name)
        if value is None:
            raise SpgvtonError(
                f"{self.path.name}: {name} is computed, a constant was expected: export the bundle again"
            )
        return value.astype(np.float32)

    def _norm_after(self, conv: onnx.NodeProto) -> str | None:
        user = self.only_user(conv.output[0])
        if user is None or user.op_type != "BatchNormalization" or any(i not in self.tensors for i in user.input[1:5]):
            return None
        return user.output[0]

    def _find(self) -> list[Layer]:
        convs = [n for n in self.model.graph.node if n.op_type == "Conv" and n.input[1] in self.tensors]
        outputs = {self._norm_after(c) or c.output[0] for c in convs}
        ends = self._ends()
        layers: dict[str, Layer] = {}
        for conv in convs:
            name = layer_name(conv)
            while name in layers:  # one weight, used twice
                name += "'"
            norm = self._norm_after(conv)
            output = norm or conv.output[0]
            residual, total = self._residual(output, outputs)
            layers[name] = Layer(
                name, conv.output[0], norm, output, conv.input[0], residual, total, conv.output[0] in ends
            )
        return list(layers.values())

    def _residual(self, output: str, outputs: set[str]) -> tuple[str | None, str | None]:
        """What OUTPUT is added to, and the sum. Of two convolutions that are added, the Add is the second's."""
        add = self.only_user(output)
        if add is None or add.op_type != "Add" or add.input[0] == add.input[1]:
            return None, None
        other = add.input[1] if add.input[0] == output else add.input[0]
        if self.constant(other) is not None or (other in outputs and add.input[0] == output):
            return None, None
        return other, add.output[0]

    def _ends(self) -> set[str]:
        """Outputs of the convolutions before or after which their network (first part of the name) has no other layer."""
        found = set()
        for forward in (True, False):
            reached: dict[str, frozenset[str]] = {}
            for node in self.model.graph.node if forward else reversed(self.model.graph.node):
                before, after = (node.input, node.output) if forward else (node.output, node.input)
                here = frozenset().union(*(reached.get(v, frozenset()) for v in before))
                if node.op_type in _WEIGHTED and node.input[1] in self.tensors:
                    network = layer_name(node).partition(".")[0]
                    if network not in here:
                        found.add(node.output[0])
                    here |= {network}
                for v in after:
                    reached[v] = reached.get(v, frozenset()) | here
        return found


def layer_name(node: onnx.NodeProto) -> str:
    """The name of NODE's weight without the exporter's `model.` and without `.weight`."""
    return str(node.input[1]).removeprefix("model.").removesuffix(".weight")
