"""numpy's spline is the networks' own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spgvton.live.spline import cloth_positions
from spgvton_training.networks.tps import control_points, tps_grid


def test_the_identity_samples_every_pixel_at_its_own_place() -> None:
    at = cloth_positions(control_points(5).astype(np.float32), (256, 192))
    rows, columns = np.mgrid[:256, :192]
    np.testing.assert_allclose(at, np.stack([columns, rows], -1), atol=0.05)


@given(seed=st.integers(0, 10_000), grid=st.integers(2, 5))
@settings(max_examples=20, deadline=None)
def test_it_agrees_with_the_reference(seed: int, grid: int) -> None:
    rng = np.random.default_rng(seed)
    theta = (control_points(grid) + rng.normal(0, 0.2, (2, grid**2))).astype(np.float32)
    expected = (tps_grid(torch.from_numpy(theta)[None], (256, 192))[0].numpy() + 1) * (191 / 2, 255 / 2)
    difference = np.abs(cloth_positions(theta, (256, 192)) - expected)
    assert difference.max() < 0.02


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="theta"):
        cloth_positions(np.zeros((2, 24), np.float32), (256, 192))
