"""3x3 convolution by Winograd's minimal filtering F(4x4, 3x3), in standard operators.

36 products instead of 144 for a tile of 4x4 outputs (Lavin and Gray, Fast algorithms for convolutional neural networks,
CVPR 2016). What the transforms cost does not depend on how many channels are summed, so it pays for many channels only.
Rounding errors are about 20 times those of the direct sum (1e-5 of the largest output): not for float16.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from spgvton_export.rewrites.nodes import constant, convolutions, make, replace

CHANNELS_FROM: Final = 128  # input and output; ratios per layer are in docs/graph-passes.md
TILE: Final = 4
WINDOW: Final = TILE + 2
_INPUT: Final = np.array(
    [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0],
     [0, 4, 0, -5, 0, 1]], np.float64,
)  # fmt: skip
_KERNEL: Final = np.array(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], np.float64
) / 24  # fmt: skip
_OUTPUT: Final = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float64
)


def _both(matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """MATRIX (a, b) along rows and columns: (a * a, b * b)."""
    return np.kron(matrix, matrix).astype(np.float32)


def tile_convolutions(graph: gs.Graph) -> int:
    """Replace the 3x3 convolutions of at least CHANNELS_FROM channels on maps of whole tiles. Returns how many."""
    count = 0
    transforms = _Transforms()
    for conv in convolutions(graph):
        x, weight = conv.inputs[:2]
        n, i, h, w = x.shape
        o = weight.shape[0]
        if n != 1 or h % TILE or w % TILE or min(i, o) < CHANNELS_FROM:
            continue
        replace(conv, _convolution(graph, conv, transforms, (i, o), (h, w)))
        count += 1
    return count


class _Transforms:
    """The three constant matrices, which all convolutions share."""

    def __init__(self) -> None:
        self.input = constant("winograd/input", _both(_INPUT).reshape(-1, 1, WINDOW, WINDOW))
        self.kernel = constant("winograd/kernel", _both(_KERNEL))
        self.output = constant("winograd/output", _both(_OUTPUT))


def _convolution(
    graph: gs.Graph, conv: gs.Node, transforms: _Transforms, channels: tuple[int, int], size: tuple[int, int]
) -> gs.Variable:
    """CONV from CHANNELS[0] to CHANNELS[1] channels on a map of SIZE (height, width)."""
    (i, o), (h, w) = channels, size
    name, (rows, columns) = f"{conv.name}/winograd", (h // TILE, w // TILE)
    x, weight = conv.inputs[:2]
    tiles, points = rows * columns, WINDOW * WINDOW

    def reshape(value: gs.Tensor, what: str, shape: list[int]) -> gs.Variable:
        return make(graph, "Reshape", f"{name}/{what}", [value, constant(f"{name}/{what}.shape", shape)], shape)

    # Kernels (points, o, i), computed while the graph is loaded.
    taps = reshape(weight, "taps", [o * i, 9])
    taps = make(
        graph, "Transpose", f"{name}/tap_planes", [taps], [9, o * i], perm=[1, 0]
    )  # 9 planes, before they are 36
    kernels = make(graph, "MatMul", f"{name}/kernel_planes", [transforms.kernel, taps], [points, o * i])
    kernels = reshape(kernels, "kernels", [points, o, i])
    # Tiles: a convolution of stride 4 with the input transform as its kernels, channel by channel.
    planes = reshape(x, "planes", [i, 1, h, w])
    windows = make(
        graph, "Conv", f"{name}/windows", [planes, transforms.input], [i, points, rows, columns], strides=[TILE, TILE],
        pads=[1] * 4,
    )  # fmt: skip
    by_channel = reshape(windows, "by_channel", [i, points, tiles])
    by_point = make(graph, "Transpose", f"{name}/by_point", [by_channel], [points, i, tiles], perm=[1, 0, 2])
    products = make(graph, "MatMul", f"{name}/products", [kernels, by_point], [points, o, tiles])
    # Back: 16 outputs per tile, woven into the map.
    flat = reshape(products, "flat", [points, o * tiles])
    outputs = make(graph, "MatMul", f"{name}/outputs", [transforms.output, flat], [TILE * TILE, o * tiles])
    packed = reshape(outputs, "packed", [1, TILE * TILE * o, rows, columns])
    y = make(graph, "DepthToSpace", f"{name}/woven", [packed], [1, o, h, w], blocksize=TILE, mode="DCR")
    if len(conv.inputs) == 3:
        y = make(graph, "Add", f"{name}/biased", [y, reshape(conv.inputs[2], "bias", [1, o, 1, 1])], [1, o, h, w])
    return y
