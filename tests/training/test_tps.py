"""The thin-plate spline warp: the convention of networks/tps.py, and torch = C++."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from torch import Tensor

from spgvton_training.networks.tps import control_points, inverse, tps_grid, tps_grid_sample

Array = NDArray[np.float32]
GRID_SIZES = (2, 3, 4, 5)
MODES = [(a, p) for a in (True, False) for p in ("zeros", "border")]


def identity(grid_size: int = 5, n: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(control_points(grid_size)).to(dtype).repeat(n, 1, 1)


def picture(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def pixel_positions(size: int, align_corners: bool) -> NDArray[np.float64]:
    """Written independently of the implementation: centres at -1 ... 1, or the centres of SIZE equal parts of [-1, 1]."""
    if align_corners:
        return np.linspace(-1, 1, size)
    edges = np.linspace(-1, 1, size + 1)
    return (edges[1:] + edges[:-1]) / 2


def test_control_points_run_right_then_down() -> None:
    p = control_points(5)
    assert p.shape == (2, 25)
    assert p[:, 0].tolist() == [-1, -1]
    assert p[:, 1].tolist() == [-0.5, -1]
    assert p[:, 5].tolist() == [-1, -0.5]
    assert p[:, 24].tolist() == [1, 1]


@pytest.mark.parametrize("grid_size", GRID_SIZES)
def test_inverse_has_no_bending_for_affine_values(grid_size: int) -> None:
    p, m = control_points(grid_size), inverse(grid_size)
    assert m.shape == (grid_size**2 + 3, grid_size**2)
    coefficients = m @ (0.3 - 0.7 * p[0] + 1.9 * p[1])
    np.testing.assert_allclose(coefficients, [*[0] * grid_size**2, 0.3, -0.7, 1.9], atol=1e-12)


@pytest.mark.parametrize(("align_corners", "padding"), MODES)
@pytest.mark.parametrize("grid_size", GRID_SIZES)
def test_identity(grid_size: int, align_corners: bool, padding: str) -> None:
    image = picture(2, 3, 16, 12)
    out = tps_grid_sample(image, identity(grid_size, 2), grid_size, align_corners, padding)
    torch.testing.assert_close(out, image, atol=2e-5, rtol=0)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("grid_size", GRID_SIZES)
def test_affine_is_exact(grid_size: int, align_corners: bool) -> None:
    matrix = torch.tensor([[0.8, -0.3, 0.1], [0.25, 1.1, -0.2]], dtype=torch.float64)
    theta = (matrix[:, :2] @ identity(grid_size, dtype=torch.float64)[0] + matrix[:, 2:])[None]
    expected = torch.nn.functional.affine_grid(matrix[None], [1, 1, 9, 13], align_corners)
    torch.testing.assert_close(tps_grid(theta, (9, 13), align_corners), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("grid_size", GRID_SIZES)
def test_equals_scipys_thin_plate_spline(grid_size: int, align_corners: bool) -> None:
    points = control_points(grid_size)
    theta = points + 0.3 * np.random.default_rng(grid_size).standard_normal(points.shape)
    x, y = np.meshgrid(pixel_positions(9, align_corners), pixel_positions(7, align_corners))
    spline = RBFInterpolator(points.T, theta.T, kernel="thin_plate_spline")
    expected = spline(np.stack([x.ravel(), y.ravel()], 1)).reshape(7, 9, 2)
    grid = tps_grid(torch.from_numpy(theta)[None], (7, 9), align_corners)[0].numpy()
    np.testing.assert_allclose(grid, expected, atol=1e-10)


@pytest.mark.parametrize("grid_size", GRID_SIZES)
def test_interpolates_the_control_points(grid_size: int) -> None:
    theta = identity(grid_size, 2) + torch.randn(2, 2, grid_size**2, generator=torch.Generator().manual_seed(1))
    grid = tps_grid(theta, (grid_size, grid_size))  # with align_corners the pixels lie on the control points
    torch.testing.assert_close(grid.flatten(1, 2).transpose(1, 2), theta, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("align_corners", "padding"), MODES)
def test_theta_maps_output_to_input(align_corners: bool, padding: str) -> None:
    """A theta that looks 3 pixels to the right and 1 down moves the picture 3 pixels to the left and 1 up."""
    image = picture(1, 2, 10, 14)
    h, w = (10 - align_corners, 14 - align_corners)
    out = tps_grid_sample(image, identity() + torch.tensor([[[3 * 2 / w], [2 / h]]]), 5, align_corners, padding)
    torch.testing.assert_close(out[:, :, :-1, :-3], image[:, :, 1:, 3:], atol=2e-5, rtol=0)
    edge = torch.zeros_like(image[:, :, 1:, -1]) if padding == "zeros" else image[:, :, 1:, -1]
    torch.testing.assert_close(out[:, :, :-1, -1], edge, atol=2e-5, rtol=0)


@pytest.mark.parametrize(("align_corners", "padding"), MODES)
def test_gradients(align_corners: bool, padding: str) -> None:
    image = picture(2, 2, 5, 4, dtype=torch.float64).requires_grad_()
    noise = torch.randn(2, 2, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    theta = (0.9 * identity(3, 2, torch.float64) + 0.1 * noise).requires_grad_()
    assert torch.autograd.gradcheck(lambda i, t: tps_grid_sample(i, t, 3, align_corners, padding), (image, theta))


def test_gradients_after_inference_mode() -> None:
    """What inference computed first must not be kept in a form that training cannot use."""
    theta = identity().requires_grad_()
    with torch.inference_mode():
        tps_grid(identity(), (11, 17))
    tps_grid(theta, (11, 17)).sum().backward()
    assert theta.grad is not None


def test_values_after_tracing() -> None:
    """What torch.export traced first must not leave a tensor without data behind."""

    class Warp(torch.nn.Module):
        def forward(self, image: Tensor, theta: Tensor) -> Tensor:
            return tps_grid_sample(image, theta)

    image = picture(1, 1, 13, 11)
    torch.export.export(Warp(), (image, identity()))
    torch.testing.assert_close(torch.tensor(tps_grid_sample(image, identity()).tolist()), image, atol=2e-5, rtol=0)


def test_each_item_of_a_batch_has_its_own_theta() -> None:
    image = picture(3, 2, 9, 7)
    theta = identity(5, 3) + 0.2 * torch.randn(3, 2, 25, generator=torch.Generator().manual_seed(3))
    together = tps_grid_sample(image, theta)
    for i in range(3):
        alone = tps_grid_sample(image[i : i + 1], theta[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=2e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_computes_in_float32_inside_half_precision(dtype: torch.dtype) -> None:
    image, theta = picture(1, 3, 32, 24).to(dtype), (identity() * 0.83).to(dtype)
    out = tps_grid_sample(image, theta)
    assert out.dtype == dtype
    assert torch.equal(out, tps_grid_sample(image.float(), theta.float()).to(dtype))


@pytest.mark.parametrize("shape", [(1, 50), (1, 2, 24), (1, 3, 25), (1, 2, 1), (1, 2, 36), (2, 25)])
def test_wrong_theta_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="theta"):
        tps_grid_sample(picture(1, 1, 4, 4), torch.zeros(shape))
    with pytest.raises(ValueError, match="theta"):
        tps_grid(torch.zeros(shape), (4, 4))


def test_theta_of_another_grid_size_is_refused() -> None:
    with pytest.raises(ValueError, match="control points"):
        tps_grid_sample(picture(1, 1, 4, 4), identity(4), grid_size=5)


@given(
    seed=st.integers(0, 2**32 - 1),
    grid_size=st.sampled_from(GRID_SIZES),
    align_corners=st.booleans(),
    padding=st.sampled_from(["zeros", "border"]),
    size=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    folding=st.sampled_from([0.0, 0.1, 1.0, 3.0]),
    offset=st.sampled_from([0.0, 0.7, -40.0]),
)
@settings(max_examples=200, deadline=None)
def test_torch_equals_cpp(
    tps_host: Callable[..., Array],
    seed: int,
    grid_size: int,
    align_corners: bool,
    padding: str,
    size: tuple[int, int],
    folding: float,
    offset: float,
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.random((2, 2, *size), dtype=np.float32)
    noise = folding * rng.standard_normal((2, 2, grid_size**2))
    theta = (control_points(grid_size) + noise + offset).astype(np.float32)
    mode = (grid_size, align_corners, padding)
    expected = tps_grid_sample(torch.from_numpy(image), torch.from_numpy(theta), *mode).numpy()
    # Neighbouring pixels differ by up to 1, so an error of a position, which grows with theta, shows in full.
    pixels = max(size) / 2 * max(1.0, float(abs(theta).max()))
    np.testing.assert_allclose(tps_host(image, theta, *mode), expected, atol=1e-5 * pixels + 1e-6, rtol=0)


@pytest.mark.parametrize(("align_corners", "padding"), MODES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_cpp_treats_a_position_that_is_no_number_as_outside(
    tps_host: Callable[..., Array], bad: float, align_corners: bool, padding: str
) -> None:
    image = 1 + picture(2, 1, 6, 5).numpy()
    theta = identity(5, 2).numpy()
    theta[0, :, 12] = bad
    out = tps_host(image, theta, 5, align_corners, padding)
    assert np.isfinite(out).all()
    np.testing.assert_allclose(out[1], image[1], atol=2e-5)  # the other item is untouched
    if np.isnan(bad):
        assert (out[0] == (0 if padding == "zeros" else image[0, 0, 0, 0])).all()
