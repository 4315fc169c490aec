"""numpy's spline is the networks' own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spgvton.live.spline import NODES, cloth_positions
from spgvton_training.networks.tps import control_points, tps_grid


def test_the_identity_samples_every_pixel_at_its_own_place() -> None:
    at = cloth_positions(control_points(5).astype(np.float32), (256, 192))
    assert at.shape == (*NODES, 2)
    np.testing.assert_allclose(at[..., 0], np.broadcast_to(np.linspace(0, 191, NODES[1]), NODES), atol=1e-2)
    np.testing.assert_allclose(at[..., 1], np.broadcast_to(np.linspace(0, 255, NODES[0])[:, None], NODES), atol=1e-2)


@given(seed=st.integers(0, 10_000), grid=st.integers(2, 5))
@settings(max_examples=20, deadline=None)
def test_it_agrees_with_the_reference(seed: int, grid: int) -> None:
    rng = np.random.default_rng(seed)
    theta = (control_points(grid) + rng.normal(0, 0.2, (2, grid**2))).astype(np.float32)
    expected = tps_grid(torch.from_numpy(theta)[None], NODES)[0].numpy()
    found = cloth_positions(theta, (256, 192)) / np.array([191 / 2, 255 / 2], np.float32) - 1
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="theta"):
        cloth_positions(np.zeros((2, 24), np.float32), (256, 192))
