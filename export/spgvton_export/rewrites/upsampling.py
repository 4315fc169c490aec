"""nearest x2 -> 3x3 convolution: the same sums on the small map.

Of a 3x3 window on the doubled map, each output sees 2x2 different values only; which ones depends on the parity of its
row and column. Zero padding agrees as well: a doubled row outside the picture is a row outside the small one.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from spgvton_export.rewrites.nodes import constant, convolutions, make, replace

# From here on four convolutions and a DepthToSpace are faster in ONNX Runtime than one transposed convolution, whose
# scattered sums cost more than the products saved.
FOUR_PHASES_FROM: Final = 64
# Which of the three taps along an axis fall on the same small pixel: even outputs see (before, own + own), odd ones
# (own + own, after).
_TAPS: Final = (np.array([[1, 0, 0], [0, 1, 1]], np.float32), np.array([[1, 1, 0], [0, 0, 1]], np.float32))


def phase_matrix(row: int, column: int) -> NDArray[np.float32]:
    """(9, 4): from a flattened 3x3 kernel to the 2x2 kernel of outputs with the parities ROW and COLUMN."""
    return np.einsum("ay,bx->yxab", _TAPS[row], _TAPS[column]).reshape(9, 4).astype(np.float32)


def transposed_matrix() -> NDArray[np.float32]:
    """(9, 16): to the 4x4 kernel of a transposed convolution of stride 2 and padding 1."""
    kernel = np.zeros((9, 4, 4), np.float32)
    for row in (0, 1):
        for column in (0, 1):  # output 2 i + row takes input i - 1 + row + a by tap 3 - row - 2 a
            taps = phase_matrix(row, column).reshape(9, 2, 2)
            kernel[:, 3 - row :: -2, 3 - column :: -2] = taps
    return kernel.reshape(9, 16)


def convolve_before_upsampling(graph: gs.Graph) -> int:
    """Replace each nearest x2 upsampling that a 3x3 convolution follows. Returns how many."""
    count = 0
    for conv in convolutions(graph):
        resize = conv.inputs[0].inputs[0] if conv.inputs[0].inputs else None
        if resize is None or not _doubles(resize):
            continue
        build = _phases if conv.inputs[1].shape[1] >= FOUR_PHASES_FROM else _transposed
        replace(conv, build(graph, conv, resize.inputs[0]))
        count += 1
    return count


def _doubles(node: gs.Node) -> bool:
    """Whether NODE repeats every pixel in a square of 2x2."""
    if node.op != "Resize" or node.attrs.get("mode", "nearest") != "nearest":
        return False
    before, after = node.inputs[0].shape, node.outputs[0].shape
    rule = (node.attrs.get("coordinate_transformation_mode"), node.attrs.get("nearest_mode"))
    return list(after) == [*before[:2], 2 * before[2], 2 * before[3]] and rule == ("asymmetric", "floor")


def _kernels(graph: gs.Graph, conv: gs.Node, matrix: NDArray[np.float32], name: str, size: int) -> gs.Variable:
    """CONV's weight (o, i, 3, 3) times MATRIX (9, size^2): (o, i, size, size), computed while the graph is loaded."""
    weight = conv.inputs[1]
    o, i = weight.shape[:2]
    flat = make(graph, "Reshape", f"{name}/flat", [weight, constant(f"{name}/rows", [o * i, 9])], [o * i, 9])
    made = make(graph, "MatMul", f"{name}/taps", [flat, constant(f"{name}/matrix", matrix)], [o * i, size * size])
    shape = [o, i, size, size]
    return make(graph, "Reshape", f"{name}/kernel", [made, constant(f"{name}/shape", shape)], shape)


def _phases(graph: gs.Graph, conv: gs.Node, x: gs.Variable) -> gs.Variable:
    n, _, h, w = x.shape
    o = conv.inputs[1].shape[0]
    phases = []
    for row in (0, 1):
        for column in (0, 1):
            name = f"{conv.name}/phase{row}{column}"
            kernel = _kernels(graph, conv, phase_matrix(row, column), name, 2)
            pads = [1 - row, 1 - column, row, column]
            phases.append(make(graph, "Conv", name, [x, kernel, *conv.inputs[2:]], [n, o, h, w], pads=pads))
    whole = make(graph, "Concat", f"{conv.name}/phases", phases, [n, 4 * o, h, w], axis=1)
    return make(graph, "DepthToSpace", f"{conv.name}/woven", [whole], [n, o, 2 * h, 2 * w], blocksize=2, mode="DCR")


def _transposed(graph: gs.Graph, conv: gs.Node, x: gs.Variable) -> gs.Variable:
    n, i, h, w = x.shape
    o = conv.inputs[1].shape[0]
    kernel = _kernels(graph, conv, transposed_matrix(), f"{conv.name}/transposed", 4)
    turned = make(graph, "Transpose", f"{conv.name}/turned", [kernel], [i, o, 4, 4], perm=[1, 0, 2, 3])
    return make(
        graph, "ConvTranspose", f"{conv.name}/doubled", [x, turned, *conv.inputs[2:]], [n, o, 2 * h, 2 * w],
        strides=[2, 2], pads=[1, 1, 1, 1],
    )  # fmt: skip
