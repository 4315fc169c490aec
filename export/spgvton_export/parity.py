"""How far two runs of a graph may differ: the one rule for every graph that is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError

# Largest difference per output: 2 of 255 for bytes, else absolute in the output's own unit. Labels have no distance: of
# the live graph's semantic map (uint8) it is the share of pixels that differ.
TOLERANCE: Final = {"image": 5e-3, "theta": 2e-3, "default": 5e-3, "uint8": 2.0, "labels": 2e-3}

Arrays = Mapping[str, NDArray[Any]]


def differences(found: Arrays, expected: Arrays, what: str) -> dict[str, dict[str, float]]:
    """Largest and mean absolute difference ("max", "mean") of every output, of labels the "share" of pixels that differ.

    WHAT: for the message, such as "g1.onnx differs from PyTorch". Raises SpgvtonError above TOLERANCE, and for NaN.
    """
    errors = {}
    for name, value in expected.items():
        a, b = np.asarray(found[name]), np.asarray(value)
        if a.dtype == np.uint8 and name == "semantic":
            limit = TOLERANCE["labels"]
            largest = float(np.mean(a != b))
            errors[name] = {"share": largest}
        else:
            limit = TOLERANCE["uint8"] if a.dtype == np.uint8 else TOLERANCE.get(name, TOLERANCE["default"])
            difference = np.abs(a.astype(np.float64) - b.astype(np.float64))
            largest = float(difference.max())
            errors[name] = {"max": largest, "mean": float(difference.mean())}
        if not largest <= limit:  # also true for NaN
            raise SpgvtonError(f"{what} by {largest:.2g} in {name} (limit {limit:g})")
    return errors
