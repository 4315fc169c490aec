"""spgvton::TpsGridSample in ONNX: its function body = torch = C++, one node per warp, and attach()'s refusals."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.inliner import inline_local_functions

from spgvton.errors import SpgvtonError
from spgvton_export.tps_op import (
    DOMAIN,
    GRID_SIZES,
    NAME,
    PADDINGS,
    TpsAttributes,
    attach,
    attributes_of,
    find_nodes,
    function_proto,
    symbolic,
)
from spgvton_training.networks.tps import control_points, tps_grid_sample

Array = NDArray[Any]
Shape = tuple[int | str, ...]
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
MODES = [TpsAttributes(g, a, p) for g in GRID_SIZES for a in (True, False) for p in PADDINGS]


def warp_node(output: str = "warped", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(NAME, ["image", "theta"], [output], domain=DOMAIN, **attributes)


def bare_model(
    *nodes: onnx.NodeProto, shape: Shape = ("N", "C", "H", "W"), dtype: int = FLOAT, grid_size: int = 5, opset: int = 18
) -> onnx.ModelProto:
    """A model of NODES without the function."""
    image = helper.make_tensor_value_info("image", dtype, shape)
    theta = helper.make_tensor_value_info("theta", dtype, [shape[0], 2, grid_size**2])
    outputs = [helper.make_tensor_value_info(n.output[0], dtype, shape) for n in nodes]
    graph = helper.make_graph(nodes, "warp", [image, theta], outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def warp_model(mode: TpsAttributes, **options: Any) -> onnx.ModelProto:
    model = bare_model(warp_node(**mode.node_attributes()), grid_size=mode.grid_size, **options)
    assert attach(model) == 1
    onnx.checker.check_model(model, full_check=True)
    return model


def session(model: onnx.ModelProto, optimized: Path | None = None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if optimized:
        options.optimized_model_filepath = str(optimized)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@cache
def session_of(mode: TpsAttributes, dtype: int = FLOAT) -> ort.InferenceSession:
    return session(warp_model(mode, dtype=dtype))


def torch_warp(image: Array, theta: Array, mode: TpsAttributes) -> Array:
    return tps_grid_sample(torch.from_numpy(image), torch.from_numpy(theta), *mode).numpy()


def inputs(seed: int, mode: TpsAttributes, shape: tuple[int, ...], folding: float = 0.1) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    theta = control_points(mode.grid_size) + folding * rng.standard_normal((shape[0], 2, mode.grid_size**2))
    return rng.random(shape, dtype=np.float32), theta.astype(np.float32)


# ----- the function body ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("shape", [(1, 3, 32, 24), (3, 1, 7, 9), (2, 2, 1, 8), (1, 2, 8, 1), (1, 1, 1, 1)], ids=str)
def test_body_equals_torch(mode: TpsAttributes, shape: tuple[int, ...]) -> None:
    image, theta = inputs(7, mode, shape)
    for static in (False, True):
        run = session(warp_model(mode, shape=shape)) if static else session_of(mode)
        (out,) = run.run(None, {"image": image, "theta": theta})
        np.testing.assert_allclose(out, torch_warp(image, theta, mode), atol=2e-4, rtol=0)


@given(
    seed=st.integers(0, 2**32 - 1),
    mode=st.sampled_from(MODES),
    size=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    folding=st.sampled_from([0.0, 0.1, 1.0, 3.0]),
    offset=st.sampled_from([0.0, 0.7, -40.0]),
)
@settings(max_examples=200, deadline=None)
def test_body_equals_torch_for_any_theta(
    seed: int, mode: TpsAttributes, size: tuple[int, int], folding: float, offset: float
) -> None:
    """Folded, and far outside; tests/training/test_tps.py compares torch with the C++ code in the same way."""
    image, theta = inputs(seed, mode, (2, 2, *size), folding)
    theta += np.float32(offset)
    expected = torch_warp(image, theta, mode)
    # Neighbouring pixels differ by up to 1, so an error of a position, which grows with theta, shows in full.
    tolerance = 1e-6 + 1e-5 * max(size) / 2 * max(1.0, float(abs(theta).max()))
    (body,) = session_of(mode).run(None, {"image": image, "theta": theta})
    np.testing.assert_allclose(body, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("mode", [TpsAttributes(padding=p) for p in PADDINGS], ids=str)
def test_body_computes_in_float32_inside_half_precision(mode: TpsAttributes) -> None:
    image, theta = (a.astype(np.float16) for a in inputs(8, mode, (1, 3, 64, 48)))
    (out,) = session_of(mode, HALF).run(None, {"image": image, "theta": theta})
    assert out.dtype == np.float16
    expected = torch_warp(image.astype(np.float32), theta.astype(np.float32), mode)
    np.testing.assert_allclose(out.astype(np.float32), expected, atol=6e-4, rtol=0)  # half's own rounding: 5e-4


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_body_survives_a_theta_that_is_no_number(bad: float, padding: str) -> None:
    mode = TpsAttributes(padding=padding)
    image, theta = inputs(9, mode, (2, 1, 6, 5), folding=0)
    theta[0, :, 12] = bad
    (out,) = session_of(mode).run(None, {"image": image, "theta": theta})
    np.testing.assert_allclose(out[1], image[1], atol=2e-5)  # the other item is untouched


def test_body_is_compact_and_uniquely_named() -> None:
    for mode in MODES:
        function = function_proto(*mode)
        assert len(function.SerializeToString()) < 8000
        names = {name for node in function.node for name in (*node.input, *node.output)}
        assert all(name.startswith("tps_") for name in names | {*function.input, *function.output})
        assert {a.name for a in function.attribute_proto} == set(mode.node_attributes())
        assert {node.domain for node in function.node} == {""}


def test_body_survives_inlining() -> None:
    mode = TpsAttributes(4, False, "zeros")
    model = warp_model(mode)
    inlined = inline_local_functions(model)
    assert find_nodes(inlined) == []
    assert len(inlined.functions) == 0
    image, theta = inputs(10, mode, (2, 3, 16, 12))
    feeds = {"image": image, "theta": theta}
    np.testing.assert_array_equal(session(inlined).run(None, feeds)[0], session(model).run(None, feeds)[0])


def test_onnxruntime_folds_the_basis_where_the_shape_is_static(tmp_path: Path) -> None:
    session(warp_model(TpsAttributes(), shape=(1, 4, 256, 192)), tmp_path / "optimized.onnx")
    operators = [n.op_type for n in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert operators.count("GridSample") == 1
    assert not {"Shape", "Range", "Log", "Concat"} & set(operators)


def test_body_at_opset_19_equals_opset_18() -> None:
    mode = TpsAttributes()
    image, theta = inputs(11, mode, (1, 2, 16, 12))
    model = warp_model(mode, opset=19)
    assert [(o.domain, o.version) for o in model.functions[0].opset_import] == [("", 19)]
    (out,) = session(model).run(None, {"image": image, "theta": theta})
    np.testing.assert_allclose(out, torch_warp(image, theta, mode), atol=1e-4, rtol=0)


# ----- attach ---------------------------------------------------------------------------------------------------------


def test_attach_gives_what_the_nodes_need_and_can_be_repeated() -> None:
    mode = TpsAttributes(3, False, "zeros")
    nodes = [warp_node(o, **mode.node_attributes()) for o in ("a", "b")]
    model = bare_model(*nodes, grid_size=3)
    model.ir_version = 8
    assert attach(model) == 2
    once = model.SerializeToString(deterministic=True)
    assert attach(model) == 2
    assert model.SerializeToString(deterministic=True) == once
    assert [(f.domain, f.name) for f in model.functions] == [(DOMAIN, NAME)]
    assert {o.domain: o.version for o in model.opset_import} == {"": 18, DOMAIN: 1}
    onnx.checker.check_model(model, full_check=True)


def test_attach_leaves_a_model_without_the_operator_alone() -> None:
    model = bare_model(helper.make_node("Relu", ["image"], ["warped"]))
    before = model.SerializeToString()
    assert attach(model) == 0
    assert model.SerializeToString() == before


def test_attach_finds_nodes_in_branches_and_functions() -> None:
    branch = helper.make_graph(
        [warp_node("inner")], "branch", [], [helper.make_tensor_value_info("inner", FLOAT, ["N", "C", "H", "W"])]
    )
    condition = helper.make_node(
        "Constant", [], ["condition"], value=helper.make_tensor("c", TensorProto.BOOL, [], [1])
    )
    choice = helper.make_node("If", ["condition"], ["warped"], then_branch=branch, else_branch=branch)
    model = bare_model(condition, choice)
    del model.graph.output[0]  # the condition
    imports = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)]
    model.functions.append(helper.make_function("other", "Warp", ["image", "theta"], ["y"], [warp_node("y")], imports))
    assert attach(model) == 3
    assert {f.name for f in model.functions} == {"Warp", NAME}
    image, theta = inputs(12, TpsAttributes(), (1, 1, 8, 6))
    (out,) = session(model).run(None, {"image": image, "theta": theta})
    np.testing.assert_allclose(out, torch_warp(image, theta, TpsAttributes()), atol=1e-4, rtol=0)


def test_missing_attributes_have_defaults() -> None:
    assert attributes_of(warp_node()) == TpsAttributes(5, True, "border")
    assert attach(bare_model(warp_node("a"), warp_node("b", padding="border", align_corners=1))) == 2


@pytest.mark.parametrize(
    ("nodes", "options", "message"),
    [
        ([{}, {"padding": "zeros"}], {}, "mixes .*padding=border.* and .*padding=zeros"),
        ([{}, {"align_corners": 0}], {}, "mixes"),
        ([{"grid_size": 6}], {}, "grid_size must be one of"),
        ([{"grid_size": 1}], {}, "grid_size must be one of"),
        ([{"padding": "reflection"}], {}, "padding must be one of"),
        ([{"align_corners": 2}], {}, "align_corners must be 0 or 1"),
        ([{}], {"opset": 17}, "opset must be one of"),
        ([{}], {"opset": 20}, "opset must be one of"),
    ],
)
def test_attach_refuses(nodes: list[dict[str, object]], options: dict[str, Any], message: str) -> None:
    model = bare_model(*(warp_node(f"out{i}", **a) for i, a in enumerate(nodes)), **options)
    before = model.SerializeToString()
    with pytest.raises(SpgvtonError, match=message):
        attach(model)
    assert model.SerializeToString() == before


def test_attach_refuses_another_version_of_the_domain() -> None:
    model = bare_model(warp_node())
    model.opset_import.append(helper.make_opsetid(DOMAIN, 2))
    with pytest.raises(SpgvtonError, match="opset 2"):
        attach(model)


# ----- export from torch ----------------------------------------------------------------------------------------------


class Warp(torch.nn.Module):
    """A network with one warp, as the try-on network has it."""

    def __init__(self, mode: TpsAttributes) -> None:
        super().__init__()
        self.mode = mode
        self.convolution = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.points = torch.nn.Parameter(torch.from_numpy(control_points(mode.grid_size)).float())

    def forward(self, image: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        warp = symbolic if torch.onnx.is_in_onnx_export() else tps_grid_sample
        return self.convolution(warp(image, self.points + offsets, *self.mode))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_export_keeps_one_node(dtype: torch.dtype) -> None:
    mode = TpsAttributes(4, False, "zeros")
    network = Warp(mode).to(dtype).eval()
    generator = torch.Generator().manual_seed(13)
    image = torch.rand(2, 4, 32, 24, generator=generator).to(dtype)
    offsets = (0.1 * torch.randn(2, 2, 16, generator=generator)).to(dtype)
    batch = {0: torch.export.Dim("N", min=1, max=8)}
    program = torch.onnx.export(
        network,
        (image, offsets),
        dynamo=True,
        opset_version=18,
        input_names=["image", "offsets"],
        output_names=["out"],
        dynamic_shapes=(batch, batch),
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    (node,) = find_nodes(model)
    assert {a.name: helper.get_attribute_value(a) for a in node.attribute} == {
        "grid_size": 4,
        "align_corners": 0,
        "padding": b"zeros",
        "plugin_version": b"1",
        "plugin_namespace": b"",
    }
    assert attach(model) == 1
    onnx.checker.check_model(model, full_check=True)
    assert [f.name for f in model.functions] == [NAME]
    run = session(model)
    for n in (1, 2):
        (out,) = run.run(None, {"image": image[:n].numpy(), "offsets": offsets[:n].numpy()})
        with torch.no_grad():
            expected = network(image[:n], offsets[:n])
        assert out.dtype == expected.numpy().dtype
        # float16: theta rounded by 2**-11 moves a sample by up to 16 * 2**-11 pixels, and this noise changes by 1 a pixel.
        tolerance = 1e-4 if dtype == torch.float32 else 16 * 2**-11 + 2**-11
        np.testing.assert_allclose(out, expected.numpy(), atol=tolerance, rtol=0)


def test_symbolic_refuses_unknown_attributes() -> None:
    image, theta = torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 36)
    with pytest.raises(SpgvtonError, match="grid_size"):
        symbolic(image, theta, grid_size=6)
    with pytest.raises(SpgvtonError, match="padding"):
        symbolic(image, theta, padding="reflection")
