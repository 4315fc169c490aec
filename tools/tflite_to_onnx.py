"""Convert Google's selfie_multiclass_256x256 from TensorFlow Lite to ONNX; TensorFlow is not needed, `pip install tflite onnx` is.

    python tools/tflite_to_onnx.py selfie_multiclass_256x256.tflite selfie_multiclass.onnx

runtime/spgvton/assets/models/selfie_multiclass.onnx was made by this file (the README.md there says where the .tflite comes
from), and the same input gives the same bytes again. It knows the operators of that network and refuses any other.

What it does beyond writing one operator for another:
- Data stays in NCHW from the first convolution to the last (tflite_view).
- What only scales channels is folded into the convolutions behind it, and the last transposed convolution into the 1x1 one behind
  it, so that nothing but the result is computed at 256x256 (tflite_layers).
- Weights are stored as float16 and cast to float32, which ONNX Runtime does once, at load: half the file.
- The picture comes in as uint8 and is scaled inside.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tflite_layers import Layer, Network, fold_scales, fold_upsampling
from tflite_view import View

Array = NDArray[Any]

OPSET: Final = 18
IR_VERSION: Final = 9  # what ONNX Runtime 1.17 reads
FP16_MIN_SIZE: Final = 16  # below that a Cast node costs more bytes than it saves
NHWC: Final = (0, 1, 2, 3)
NCHW: Final = (0, 3, 1, 2)
FROM_NCHW: Final = (0, 2, 3, 1)
ELEMENTWISE: Final = {"ADD": "Add", "MUL": "Mul"}
RESIZE_MODES: Final = {"RESIZE_BILINEAR": "linear", "RESIZE_NEAREST_NEIGHBOR": "nearest"}


class Converter:
    """Builds the ONNX graph. Every TFLite tensor is a View of a tensor stored in the ONNX graph."""

    def __init__(self) -> None:
        self.views: dict[int, View] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: dict[bytes, onnx.TensorProto] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}  # of stored tensors
        self._ordered: dict[tuple[View, tuple[int, ...]], str] = {}

    # ---- building blocks

    def node(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, value: Array) -> str:
        """An initialiser; long float ones become float16 with a Cast."""
        value = np.ascontiguousarray(value)
        halve = value.dtype == np.float32 and value.size >= FP16_MIN_SIZE
        stored = value.astype(np.float16) if halve else value
        if not np.isfinite(stored).all():
            raise SystemExit("a weight is beyond the range of float16")
        key = stored.tobytes() + repr((stored.shape, stored.dtype.str)).encode()
        if key not in self.initialisers:
            self.initialisers[key] = numpy_helper.from_array(stored, f"constant_{len(self.initialisers)}")
        name = self.initialisers[key].name
        return self.node("Cast", [name], to=TensorProto.FLOAT) if halve else name

    def keep(self, tensor: int, name: str, shape: tuple[int, ...], order: tuple[int, ...]) -> None:
        """TENSOR is stored as NAME with SHAPE; its axes are the stored ones in ORDER."""
        self._shapes[name] = shape
        self.views[tensor] = View.stored(name, shape).transpose(order)

    def ordered(self, tensor: int, order: tuple[int, ...] = NCHW) -> str:
        """The name of TENSOR with its axes in ORDER; what has to be moved for that is moved once."""
        key = (self.views[tensor], order)
        if key not in self._ordered:
            view = self.views[tensor].transpose(order)
            shape, transposition = view.recipe()
            name, current = view.name, self._shapes[view.name]
            if transposition != tuple(range(len(shape))):
                if current != shape:
                    name = self.node("Reshape", [name, self.constant(np.array(shape, np.int64))])
                name = self.node("Transpose", [name], perm=transposition)
                current = tuple(shape[i] for i in transposition)
            if current != view.shape:
                name = self.node("Reshape", [name, self.constant(np.array(view.shape, np.int64))])
            self._ordered[key] = name
        return self._ordered[key]

    # ---- the operators

    def convert(self, layer: Layer) -> None:
        if layer.kind == "RESHAPE":
            self.views[layer.output] = self.views[layer.inputs[0]].reshape(layer.shape)
        elif layer.kind == "TRANSPOSE":
            self.views[layer.output] = self.views[layer.inputs[0]].transpose(layer.axes)
        elif layer.kind == "SOFTMAX":  # over the last axis, wherever the data lies
            name = self.node("Softmax", [self.ordered(layer.inputs[0], NHWC)], axis=-1)
            self.keep(layer.output, name, layer.shape, NHWC)
        else:
            name = self._computed(layer)
            if layer.relu:
                name = self.node("Relu", [name])
            self.keep(layer.output, name, tuple(layer.shape[i] for i in NCHW), FROM_NCHW)

    def _computed(self, layer: Layer) -> str:
        """The nodes of a LAYER that computes in NCHW."""
        inputs = [self.ordered(i) for i in layer.inputs]
        if layer.kind in ELEMENTWISE:
            return self.node(ELEMENTWISE[layer.kind], inputs)
        if layer.kind in ("CONV_2D", "UPSAMPLING"):
            weights, bias = self.constant(layer.weights), self.constant(layer.bias)
            name = self.node(
                "Conv", [*inputs, weights, bias], group=layer.groups, pads=layer.pads, strides=(layer.stride,) * 2,
                kernel_shape=layer.weights.shape[2:],
            )  # fmt: skip
            return self.node("DepthToSpace", [name], blocksize=2, mode="CRD") if layer.kind == "UPSAMPLING" else name
        if layer.kind == "SUM":
            axes = [NCHW.index(axis) for axis in layer.axes]
            return self.node("ReduceSum", [*inputs, self.constant(np.array(axes, np.int64))], keepdims=1)
        if layer.kind in RESIZE_MODES:  # the half-pixel nearest neighbour of a whole factor is the one below
            linear = layer.kind == "RESIZE_BILINEAR"
            size = self.constant(np.array([layer.shape[i] for i in NCHW], np.int64))
            return self.node(
                "Resize", [*inputs, "", "", size], mode=RESIZE_MODES[layer.kind], nearest_mode="floor",
                coordinate_transformation_mode="half_pixel" if linear else "asymmetric",
            )  # fmt: skip
        raise SystemExit(f"operator {layer.kind} is not known here")


def convert(source: Path) -> onnx.ModelProto:
    """The ONNX model of SOURCE: `picture` uint8 (1, 256, 256, 3) RGB -> `logits` float32 (1, 6, 256, 256)."""
    network = Network(source)
    layers = fold_upsampling(fold_scales(network.layers))
    shape = network.shape(network.input)
    converter = Converter()
    picture = converter.node("Cast", ["picture"], to=TensorProto.FLOAT)
    scaled = converter.node("Mul", [picture, converter.constant(np.array(1 / 255, np.float32))])
    converter.keep(network.input, scaled, shape, NHWC)
    for layer in layers:
        converter.convert(layer)
    out = converter.ordered(network.output)
    converter.nodes[-1].output[0] = "logits"
    if converter.nodes[-1].name != out:
        raise SystemExit("the last operator must make the output")
    size = [network.shape(network.output)[i] for i in NCHW]
    graph = helper.make_graph(
        converter.nodes, "selfie_multiclass", [helper.make_tensor_value_info("picture", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, size)], list(converter.initialisers.values()),
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="spgvton")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the .tflite file")
    parser.add_argument("target", type=Path, help="the .onnx file to write")
    arguments = parser.parse_args()
    model = convert(arguments.source)
    arguments.target.write_bytes(model.SerializeToString(deterministic=True))
    print(f"{arguments.target}: {len(model.graph.node)} nodes, {arguments.target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
