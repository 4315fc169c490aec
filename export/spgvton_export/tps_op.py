"""The ONNX operator spgvton::TpsGridSample and its function body of standard operators.

The warp stays one node in every graph. ONNX Runtime runs the function body; TensorRT runs the plugin where it is
registered and the body where it is not. The convention is stated in training/spgvton_training/networks/tps.py and
specified in docs/tps-grid-sample.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from onnxscript import opset18 as op
from onnxscript import script
from onnxscript.values import Opset
from torch import Tensor

from spgvton.errors import SpgvtonError
from spgvton_training.networks.tps import control_points, inverse

DOMAIN: Final = "spgvton"
NAME: Final = "TpsGridSample"
VERSION: Final = 1
GRID_SIZES: Final = (2, 3, 4, 5)
PADDINGS: Final = ("zeros", "border")
# The body's operators mean the same in these opsets. In 20 GridSample's mode became "linear", which TensorRT 10.3 reads
# as "nearest".
OPSETS: Final = (18, 19)
MIN_IR_VERSION: Final = 9  # the first whose functions declare attributes with defaults


class TpsAttributes(NamedTuple):
    """The attributes that decide what the operator computes, with the operator's defaults."""

    grid_size: int = 5
    align_corners: bool = True
    padding: str = "border"

    def check(self) -> TpsAttributes:
        """Return self, or raise SpgvtonError for values that the operator does not allow."""
        if self.grid_size not in GRID_SIZES:
            raise SpgvtonError(f"{NAME}: grid_size must be one of {GRID_SIZES}, got {self.grid_size!r}")
        if self.align_corners not in (0, 1):  # True and False are 1 and 0
            raise SpgvtonError(f"{NAME}: align_corners must be 0 or 1, got {self.align_corners!r}")
        if self.padding not in PADDINGS:
            raise SpgvtonError(f"{NAME}: padding must be one of {PADDINGS}, got {self.padding!r}")
        return self

    def node_attributes(self) -> dict[str, Any]:
        """All attributes of a node. The plugin_* pair is how TensorRT's parser finds the plugin."""
        return {
            "grid_size": self.grid_size,
            "align_corners": int(self.align_corners),
            "padding": self.padding,
            "plugin_version": "1",
            "plugin_namespace": "",
        }


def symbolic(
    image: Tensor, theta: Tensor, grid_size: int = 5, align_corners: bool = True, padding: str = "border"
) -> Tensor:
    """The operator as one node of a graph that torch.onnx.export(dynamo=True) is capturing; elsewhere zeros.

    image: (N, C, H, W). theta: (N, 2, G*G). Returns a tensor of image's shape and dtype. Raises SpgvtonError for
    attributes that the operator does not allow.
    """
    attributes = TpsAttributes(grid_size, align_corners, padding).check().node_attributes()
    return torch.onnx.ops.symbolic(
        f"{DOMAIN}::{NAME}", (image, theta), attributes, dtype=image.dtype, shape=image.shape, version=VERSION
    )


@cache
def _body(attributes: TpsAttributes) -> onnx.FunctionProto:
    points = control_points(attributes.grid_size)[:, :, None].astype(np.float32)
    function = _scripted(
        numpy_helper.from_array(points[0], "control_points_x"), numpy_helper.from_array(points[1], "control_points_y"),
        numpy_helper.from_array(inverse(attributes.grid_size).T.astype(np.float32), "inverse"),
        attributes.padding, int(attributes.align_corners),
    )  # fmt: skip
    _prefix_names(function)
    return function


def _scripted(
    points_x: onnx.TensorProto, points_y: onnx.TensorProto, transposed_inverse: onnx.TensorProto, padding_mode: str,
    corners: int,
) -> onnx.FunctionProto:  # fmt: skip
    lowest = 1e-12  # log's argument where r = 0; r^2 log r^2 is 0 there all the same

    # The terms depend on H and W alone: ONNX Runtime folds them into one constant where image's shape is static.
    @script(Opset(DOMAIN, VERSION), default_opset=op)
    def TpsGridSample(
        tps_image,
        tps_theta,
        grid_size: int = 5,
        align_corners: int = 1,
        padding: str = "border",
        plugin_version: str = "1",
        plugin_namespace: str = "",
    ):
        tps_zero = op.Constant(value_int=0)
        tps_one = op.Constant(value_int=1)
        tps_two = op.Constant(value_float=2.0)
        tps_row_axis = op.Constant(value_ints=[0])
        tps_column_axis = op.Constant(value_ints=[1])
        tps_flat = op.Constant(value_ints=[1, -1])
        tps_height = op.Shape(tps_image, start=2, end=3)
        tps_width = op.Shape(tps_image, start=3, end=4)
        # Positions of the output pixels: (2 i - (n - 1)) / (n - 1) or, without align_corners, / n; a single pixel at 0.
        tps_height_f = op.Cast(tps_height, to=1)
        tps_width_f = op.Cast(tps_width, to=1)
        tps_last_row = op.Sub(tps_height_f, op.Constant(value_float=1.0))
        tps_last_column = op.Sub(tps_width_f, op.Constant(value_float=1.0))
        tps_span = op.Constant(value_float=float(corners))
        tps_height_span = op.Max(op.Sub(tps_height_f, tps_span), op.Constant(value_float=1.0))
        tps_width_span = op.Max(op.Sub(tps_width_f, tps_span), op.Constant(value_float=1.0))
        tps_rows = op.Cast(op.Range(tps_zero, op.Squeeze(tps_height), tps_one), to=1)
        tps_columns = op.Cast(op.Range(tps_zero, op.Squeeze(tps_width), tps_one), to=1)
        tps_y_axis = op.Div(op.Sub(op.Mul(tps_rows, tps_two), tps_last_row), tps_height_span)
        tps_x_axis = op.Div(op.Sub(op.Mul(tps_columns, tps_two), tps_last_column), tps_width_span)
        tps_size = op.Concat(tps_height, tps_width, axis=0)
        tps_y = op.Reshape(op.Expand(op.Unsqueeze(tps_y_axis, tps_column_axis), tps_size), tps_flat)  # (1, H*W)
        tps_x = op.Reshape(op.Expand(op.Unsqueeze(tps_x_axis, tps_row_axis), tps_size), tps_flat)
        # Terms (G*G + 3, H*W) of the spline, and its coefficients (N, 2, G*G + 3).
        tps_dx = op.Sub(tps_x, op.Constant(value=points_x))
        tps_dy = op.Sub(tps_y, op.Constant(value=points_y))
        tps_r2 = op.Add(op.Mul(tps_dx, tps_dx), op.Mul(tps_dy, tps_dy))
        tps_u = op.Mul(tps_r2, op.Log(op.Max(tps_r2, op.Constant(value_float=lowest))))
        tps_ones = op.Expand(op.Constant(value_float=1.0), op.Shape(tps_x))
        tps_terms = op.Concat(tps_u, tps_ones, tps_x, tps_y, axis=0)
        tps_coefficients = op.MatMul(op.Cast(tps_theta, to=1), op.Constant(value=transposed_inverse))
        # Coefficients x terms, not theta x (inverse x terms): less work where the terms are not folded. The transposed
        # product, which would spare the Transpose, is 3 times slower in ONNX Runtime.
        tps_xy = op.Transpose(op.MatMul(tps_coefficients, tps_terms), perm=[0, 2, 1])
        tps_grid_shape = op.Concat(op.Constant(value_ints=[-1]), tps_size, op.Constant(value_ints=[2]), axis=0)
        tps_grid = op.Reshape(tps_xy, tps_grid_shape)
        tps_warped = op.GridSample(
            op.Cast(tps_image, to=1), tps_grid, mode="bilinear", padding_mode=padding_mode, align_corners=corners
        )
        return op.CastLike(tps_warped, tps_image)

    return TpsGridSample.to_function_proto()


def _prefix_names(function: onnx.FunctionProto) -> None:
    """Start every name with tps_: TensorRT before 10.8 binds a name that also occurs outside to the wrong tensor."""
    for names in (function.input, function.output, *(names for n in function.node for names in (n.input, n.output))):
        names[:] = [name if name.startswith("tps_") else f"tps_{name}" for name in names]


def function_proto(
    grid_size: int = 5, align_corners: bool = True, padding: str = "border", *, opset: int = 18
) -> onnx.FunctionProto:
    """The operator's body of standard operators of OPSET (18 or 19) for one combination of attributes.

    Its constants depend on the attributes, so it is right for nodes of this combination only. The spline is computed in
    float32 whatever image's type is. H and W may be dynamic. Raises SpgvtonError for a combination that does not exist.
    """
    if opset not in OPSETS:
        raise SpgvtonError(f"{NAME}: the model's opset must be one of {OPSETS}, got {opset}; export it with opset 18")
    function = onnx.FunctionProto()
    function.CopyFrom(_body(TpsAttributes(grid_size, align_corners, padding).check()))
    function.opset_import[0].version = opset
    return function


def _walk(nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """All nodes, those of the branches of If and the bodies of Loop and Scan included."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _walk(graph.node)


def find_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The TpsGridSample nodes of MODEL's graph, its subgraphs and its functions."""
    roots = [model.graph.node, *(f.node for f in model.functions)]
    return [n for root in roots for n in _walk(root) if (n.domain, n.op_type) == (DOMAIN, NAME)]


def attributes_of(node: onnx.NodeProto) -> TpsAttributes:
    """The attributes of a TpsGridSample node; missing ones have the operator's defaults. Raises SpgvtonError."""
    values: dict[str, Any] = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    values = {k: v.decode() if isinstance(v, bytes) else v for k, v in values.items() if k in TpsAttributes._fields}
    attributes = TpsAttributes(**values).check()
    return attributes._replace(align_corners=bool(attributes.align_corners))


def attach(model: onnx.ModelProto) -> int:
    """Give MODEL, in place, the function and the opset import that its TpsGridSample nodes need.

    A function that is there already is replaced. Returns the number of nodes; a model without any is left as it is.
    Raises SpgvtonError, and leaves MODEL as it is, for attributes that differ between nodes (a model can hold one body),
    for attributes that do not exist, and for an opset other than 18 and 19.
    """
    nodes = find_nodes(model)
    if not nodes:
        return 0
    combinations = sorted({attributes_of(n) for n in nodes})
    if len(combinations) > 1:
        raise SpgvtonError(
            f"{NAME}: a model can hold the function of one combination of attributes, this one mixes "
            + " and ".join(f"({', '.join(f'{k}={v}' for k, v in c._asdict().items())})" for c in combinations)
        )
    imports = {o.domain: o.version for o in model.opset_import}
    if imports.get(DOMAIN, VERSION) != VERSION:
        raise SpgvtonError(f"{NAME}: the model imports opset {imports[DOMAIN]} of {DOMAIN}, this is opset {VERSION}")
    function = function_proto(*combinations[0], opset=imports.get("", imports.get("ai.onnx", 0)))

    others = [f for f in model.functions if (f.domain, f.name) != (DOMAIN, NAME)]
    del model.functions[:]
    model.functions.extend([*others, function])
    if DOMAIN not in imports:
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, VERSION))
    model.ir_version = max(model.ir_version, MIN_IR_VERSION)
    return len(nodes)
