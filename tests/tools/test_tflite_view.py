"""Reshapes and transpositions that are remembered instead of carried out give what NumPy gives."""

from __future__ import annotations

import numpy as np
import pytest

from tflite_view import View


def carried_out(view: View, stored: np.ndarray) -> np.ndarray:
    shape, order = view.recipe()
    return stored.reshape(shape).transpose(order).reshape(view.shape)


def test_patches_of_an_attention_block() -> None:
    """What MobileViT does: (1, 8, 8, 3) in NHWC, stored as NCHW, to 4 pixels of 16 patches and back again."""
    nchw = np.arange(1 * 3 * 8 * 8).reshape(1, 3, 8, 8)
    view, true = View.stored("x", nchw.shape).transpose((0, 2, 3, 1)), nchw.transpose(0, 2, 3, 1)
    for step in ((4, 2, 4, 6), (0, 2, 1, 3), (1, 16, 4, 3), (0, 2, 1, 3)):
        if max(step) < 4 and sorted(step) == [0, 1, 2, 3]:
            view, true = view.transpose(step), true.transpose(step)
        else:
            view, true = view.reshape(step), true.reshape(step)
        assert view.shape == true.shape
        assert (carried_out(view, nchw) == true).all()
    assert view.shape == (1, 4, 16, 3)


def test_axes_of_one_cost_nothing() -> None:
    view = View.stored("x", (1, 1, 16, 64)).transpose((0, 2, 3, 1)).reshape((1, 16, 1, 64))
    assert view.recipe()[1] == (0, 1)


def test_uneven_cuts_are_refused() -> None:
    view = View.stored("x", (4, 6)).transpose((1, 0))
    with pytest.raises(ValueError, match="cannot be seen"):
        view.reshape((4, 6))
    with pytest.raises(ValueError, match="different numbers"):
        view.reshape((5, 5))
