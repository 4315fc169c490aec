"""The array types of the renderer, and triangles made of quads and sheets."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.floating[Any]]  # float32 wherever it is stored
Int = NDArray[np.integer[Any]]


def triangles(quads: Int) -> Int:
    """Quads (n, 4) -> triangles (2n, 3): the first halves, then the second halves."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


@cache
def grid(rows: int, columns: int) -> Int:
    """Triangles of a sheet of vertices, both sides."""
    row, column = np.mgrid[0 : rows - 1, 0 : columns - 1].reshape(2, -1)
    corner = row * columns + column
    front = triangles(np.stack([corner, corner + 1, corner + columns + 1, corner + columns], 1))
    return np.concatenate([front, front[:, ::-1]])
