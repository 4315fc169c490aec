"""Reading a float TensorFlow Lite network as a list of layers with NCHW weights, and the exact shortcuts taken in that list."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import tflite
from numpy.typing import NDArray

Array = NDArray[Any]

DTYPES: Final = {tflite.TensorType.FLOAT32: np.float32, tflite.TensorType.INT32: np.int32}
NAMES: Final = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
OPTIONS: Final = {
    "CONV_2D": tflite.Conv2DOptions, "DEPTHWISE_CONV_2D": tflite.DepthwiseConv2DOptions, "ADD": tflite.AddOptions,
    "MUL": tflite.MulOptions, "SOFTMAX": tflite.SoftmaxOptions, "SUM": tflite.ReducerOptions,
    "RESIZE_BILINEAR": tflite.ResizeBilinearOptions, "RESIZE_NEAREST_NEIGHBOR": tflite.ResizeNearestNeighborOptions,
    "TRANSPOSE_CONV": tflite.TransposeConvOptions, "RESHAPE": None, "TRANSPOSE": None,
}  # fmt: skip


@dataclass
class Layer:
    """One operator. inputs: ids of the tensors it computes with. shape: of its output, as TFLite has it (NHWC).

    A convolution (kind CONV_2D) has weights (out, in / groups, kh, kw) and a bias (out,).
    """

    kind: str
    inputs: list[int]
    output: int
    shape: tuple[int, ...]
    relu: bool = False
    weights: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    bias: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    groups: int = 1
    stride: int = 1
    pads: tuple[int, ...] = (0, 0, 0, 0)  # top, left, bottom, right
    axes: tuple[int, ...] = ()  # of TRANSPOSE (the order) and SUM

    @property
    def pointwise(self) -> bool:
        """A 1x1 convolution of single pixels."""
        return self.kind == "CONV_2D" and self.weights.shape[2:] == (1, 1) and self.stride == 1

    @property
    def scale(self) -> bool:
        """A factor and an offset for every channel, nothing else."""
        return self.pointwise and self.weights.shape[1] == 1 and self.groups == len(self.bias) and not self.relu


class Network:
    """A .tflite file: layers in order, the ids of its input and output."""

    def __init__(self, path: Path) -> None:
        self._model = tflite.Model.GetRootAsModel(path.read_bytes(), 0)
        self._graph = self._model.Subgraphs(0)
        self.input, self.output = int(self._graph.Inputs(0)), int(self._graph.Outputs(0))
        self.layers = [self._read(self._graph.Operators(i)) for i in range(self._graph.OperatorsLength())]

    def shape(self, tensor: int) -> tuple[int, ...]:
        t = self._graph.Tensors(tensor)
        return tuple(int(v) for v in t.ShapeAsNumpy()) if t.ShapeLength() else ()

    def constant(self, tensor: int) -> Array | None:
        """The values of a constant tensor; None where an operator computes it."""
        t = self._graph.Tensors(tensor)
        buffer = self._model.Buffers(t.Buffer())
        if not buffer.DataLength():
            return None
        return np.frombuffer(buffer.DataAsNumpy().tobytes(), DTYPES[t.Type()]).reshape(self.shape(tensor))

    def _read(self, operator: Any) -> Layer:
        code = self._model.OperatorCodes(operator.OpcodeIndex())
        kind = NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        if kind not in OPTIONS:
            raise SystemExit(f"operator {kind} is not known here")
        options: Any = None
        if OPTIONS[kind] is not None:
            options, table = OPTIONS[kind](), operator.BuiltinOptions()
            options.Init(table.Bytes, table.Pos)
        inputs = [int(operator.Inputs(i)) for i in range(operator.InputsLength())]
        output = int(operator.Outputs(0))
        layer = Layer(kind, [i for i in inputs if self.constant(i) is None], output, self.shape(output))
        activation = options.FusedActivationFunction() if hasattr(options, "FusedActivationFunction") else 0
        if activation not in (tflite.ActivationFunctionType.NONE, tflite.ActivationFunctionType.RELU):
            raise SystemExit(f"{kind}: activation {activation} is not known here")
        layer.relu = activation == tflite.ActivationFunctionType.RELU
        constants = [c for c in (self.constant(i) for i in inputs) if c is not None]
        return self._fill(layer, options, constants)

    def _fill(self, layer: Layer, options: Any, constants: list[Array]) -> Layer:
        """LAYER with what its kind needs of OPTIONS and CONSTANTS."""
        if layer.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            return self._convolution(layer, options, *constants)
        if layer.kind == "TRANSPOSE_CONV":
            weights, bias = constants[-2:]  # after the output's shape
            if weights.shape[1:3] != (2, 2) or (options.StrideH(), options.StrideW()) != (2, 2):
                raise SystemExit("only transposed convolutions of 2x2 with stride 2 are known here")
            return replace(layer, weights=weights.transpose(0, 3, 1, 2), bias=bias)
        if layer.kind in ("ADD", "MUL") and constants:
            return self._channel_scale(layer, constants[0])
        if layer.kind in ("TRANSPOSE", "SUM"):
            layer.axes = tuple(int(v) for v in np.atleast_1d(constants[0]))
        return layer

    def _convolution(self, layer: Layer, options: Any, weights: Array, bias: Array) -> Layer:
        depthwise = layer.kind == "DEPTHWISE_CONV_2D"
        stride = options.StrideH()
        if (options.DilationHFactor(), options.StrideW()) != (1, stride):
            raise SystemExit("dilated convolutions and unequal strides are not known here")
        nchw = weights.transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
        _, h, w, channels = self.shape(layer.inputs[0])
        layer.pads = (0, 0, 0, 0)
        if options.Padding() == tflite.Padding.SAME:
            (top, bottom), (left, right) = (same_padding(n, k, stride) for n, k in zip((h, w), nchw.shape[2:]))
            layer.pads = (top, left, bottom, right)
        groups = channels // nchw.shape[1]
        return replace(layer, kind="CONV_2D", weights=nchw, bias=bias, groups=groups, stride=stride)

    @staticmethod
    def _channel_scale(layer: Layer, values: Array) -> Layer:
        """An addition or multiplication of one constant for each channel, as the 1x1 convolution that it is."""
        channels = layer.shape[-1]
        if values.shape != (channels,):
            raise SystemExit(f"{layer.kind} of a constant {values.shape} is not known here")
        plain = np.ones(channels, np.float32), np.zeros(channels, np.float32)
        factor, offset = (plain[0], values) if layer.kind == "ADD" else (values, plain[1])
        return replace(layer, kind="CONV_2D", weights=factor[:, None, None, None], bias=offset, groups=channels)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding before and behind an axis of SIZE."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def fold_scales(layers: list[Layer]) -> list[Layer]:
    """LAYERS without those that only scale channels in front of 1x1 convolutions, which take the factors over. Exact."""
    out = list(layers)
    for layer in layers:
        users = [u for u in out if layer.output in u.inputs]
        if not (layer.scale and users and all(u.pointwise for u in users)):
            continue
        factor = layer.weights[:, 0, 0, 0].astype(np.float64)
        for user in users:
            w = user.weights[:, :, 0, 0].astype(np.float64)
            per_channel = user.groups > 1  # (C, 1): its own factors
            scaled = w * (factor[:, None] if per_channel else factor[None])
            offset = w[:, 0] * layer.bias if per_channel else w @ layer.bias
            user.weights = scaled[..., None, None].astype(np.float32)
            user.bias = (user.bias + offset).astype(np.float32)
            user.inputs = [layer.inputs[0] if i == layer.output else i for i in user.inputs]
        out.remove(layer)
    return out


def fold_upsampling(layers: list[Layer]) -> list[Layer]:
    """LAYERS with a transposed convolution (2x2, stride 2) and the 1x1 convolution behind it as one 1x1 convolution that
    gives the four pixels of each block as channels (kind UPSAMPLING; DepthToSpace, mode CRD, orders them). Exact."""
    out = list(layers)
    for layer in [la for la in layers if la.kind == "TRANSPOSE_CONV"]:
        (user,) = [u for u in out if layer.output in u.inputs]
        if layer.relu or not user.pointwise or user.groups != 1:
            raise SystemExit("a transposed convolution must stand before a 1x1 convolution here")
        w = user.weights[:, :, 0, 0].astype(np.float64)
        weights = np.einsum("om,miyx->oyxi", w, layer.weights.astype(np.float64))
        user.bias = np.repeat(w @ layer.bias + user.bias, 4).astype(np.float32)
        user.weights = weights.reshape(-1, weights.shape[-1])[..., None, None].astype(np.float32)
        user.kind, user.inputs = "UPSAMPLING", layer.inputs
        out.remove(layer)
    return out
