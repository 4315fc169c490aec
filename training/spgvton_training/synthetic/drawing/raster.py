"""A z-buffer in numpy: triangles -> the visible fragment of each pixel.

Pixel (column x, row y) is sampled at its centre (x + 0.5, y + 0.5). Triangles of similar extent are evaluated together
on a small grid, so the work is a few dozen array operations however many triangles there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton_training.synthetic.drawing.arrays import Float, Int

_GRIDS: Final = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 64, 128)
_MAX_SAMPLES: Final = 2_000_000  # grid samples held at once: bounds the memory
_DEPTH_STEP: Final = 2.0**-20


@dataclass(frozen=True)
class Fragments:
    """The visible surface, one entry per covered pixel, ordered by pixel."""

    pixel: NDArray[np.intp]  # (n,) row * width + column
    triangle: NDArray[np.intp]  # (n,)
    bary: Float  # (n, 3) barycentric coordinates
    depth: Float  # (n,)


def interpolate(attribute: Float, corners: Int, bary: Float) -> Float:
    """ATTRIBUTE (V,) or (V, c) of the triangle CORNERS (n, 3), blended with BARY (n, 3) -> (n,) or (n, c)."""
    first, second, third = corners.T
    w0, w1, w2 = bary.T
    if attribute.ndim == 1:
        return attribute[first] * w0 + attribute[second] * w1 + attribute[third] * w2
    out = np.empty((len(corners), attribute.shape[1]), np.float32)
    for i, column in enumerate(np.ascontiguousarray(attribute.T)):  # much faster than rows of three
        out[:, i] = column[first] * w0 + column[second] * w1 + column[third] * w2
    return out


def rasterise(
    points: Float, triangles: Int, size: tuple[int, int], *, cull: bool = True, cut: Float | None = None
) -> Fragments:
    """Rasterise TRIANGLES (m, 3) over POINTS (n, 3) = (x, y down, depth; larger is nearer) into SIZE (height, width).

    CULL drops triangles that turn away from the viewer. CUT (n,) is a signed distance: only the part of a triangle
    where its interpolated value is positive is drawn, which gives cloth a smooth hem on a coarse mesh.
    """
    height, width = size
    drawn = _set_up(np.ascontiguousarray(points, np.float32), triangles, size, cull=cull)
    face, pixel, w1, w2 = _cover(drawn, size)
    w0 = 1 - w1 - w2
    if cut is not None:
        at_a, at_b, at_c = (cut[triangles[drawn.faces, i]] for i in range(3))
        keep = w0 * at_a[face] + w1 * at_b[face] + w2 * at_c[face] > 0
        face, pixel, w0, w1, w2 = face[keep], pixel[keep], w0[keep], w1[keep], w2[keep]
    near, to_b, to_c = drawn.depth.T
    depth = near[face] + w1 * to_b[face] + w2 * to_c[face]

    # nearest fragment per pixel: quantised depth in the high bits, fragment number in the low ones
    key = (np.rint(depth / _DEPTH_STEP).astype(np.int64) << 32) + np.arange(len(depth))
    best = np.full(height * width, np.iinfo(np.int64).min)
    np.maximum.at(best, pixel, key)
    covered = np.flatnonzero(best != np.iinfo(np.int64).min)
    winner = best[covered] & 0xFFFFFFFF
    bary = np.stack([w0[winner], w1[winner], w2[winner]], 1)
    return Fragments(covered, drawn.faces[face[winner]], bary, depth[winner])


@dataclass(frozen=True, eq=False)
class _Drawn:
    """The k triangles that may cover a pixel."""

    faces: NDArray[np.intp]  # (k,) among all triangles
    left: NDArray[np.int64]  # (k,) first column of the box around one, and its top row
    top: NDArray[np.int64]
    columns: Float  # (k,) its extent, 0 for a single pixel
    rows: Float
    # w1 and w2 are linear in the pixel: value at the first pixel of the box, step in x, step in y, each (k,)
    w1: tuple[Float, Float, Float]
    w2: tuple[Float, Float, Float]
    depth: Float  # (k, 3) of the first corner, and what the second and the third add


def _set_up(points: Float, triangles: Int, size: tuple[int, int], *, cull: bool) -> _Drawn:
    height, width = size
    a, b, c = (points[triangles[:, i]] for i in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    faces = np.flatnonzero(area < -1e-6 if cull else np.abs(area) > 1e-6)
    a, b, c, area = a[faces], b[faces], c[faces], area[faces]
    low = np.minimum(np.minimum(a, b), c)
    high = np.maximum(np.maximum(a, b), c)
    x0 = np.maximum(np.ceil(low[:, 0] - 0.5), 0).astype(np.int64)
    y0 = np.maximum(np.ceil(low[:, 1] - 0.5), 0).astype(np.int64)
    x1 = np.minimum(np.floor(high[:, 0] - 0.5), width - 1).astype(np.int64)
    y1 = np.minimum(np.floor(high[:, 1] - 0.5), height - 1).astype(np.int64)
    kept = np.flatnonzero((x1 >= x0) & (y1 >= y0))
    faces, area, x0, y0, x1, y1 = faces[kept], area[kept], x0[kept], y0[kept], x1[kept], y1[kept]
    a, b, c = a[kept], b[kept], c[kept]

    inv = 1 / area
    dx, dy = x0 + np.float32(0.5) - a[:, 0], y0 + np.float32(0.5) - a[:, 1]
    dx, dy = dx.astype(np.float32), dy.astype(np.float32)
    w1x, w1y = (c[:, 1] - a[:, 1]) * inv, -(c[:, 0] - a[:, 0]) * inv
    w2x, w2y = -(b[:, 1] - a[:, 1]) * inv, (b[:, 0] - a[:, 0]) * inv
    w1, w2 = (dx * w1x + dy * w1y, w1x, w1y), (dx * w2x + dy * w2y, w2x, w2y)
    columns, rows = (x1 - x0).astype(np.float32), (y1 - y0).astype(np.float32)
    depth = np.stack([a[:, 2], b[:, 2] - a[:, 2], c[:, 2] - a[:, 2]], 1)
    return _Drawn(faces, x0, y0, columns, rows, w1, w2, depth)


def _cover(drawn: _Drawn, size: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.int64], Float, Float]:
    """All fragments (n,): the number of the drawn triangle, the pixel, the weights of its second and third corner."""
    height, width = size
    extent = np.maximum(drawn.columns, drawn.rows) + 1
    nothing = np.zeros(0, np.float32)
    found: list[tuple[NDArray[np.intp], NDArray[np.int64], Float, Float]] = [
        (np.zeros(0, np.intp), np.zeros(0, np.int64), nothing, nothing)
    ]
    corner = drawn.top * width + drawn.left
    smallest = 0
    for grid in (*_GRIDS, max(height, width)):
        chosen = np.flatnonzero((extent > smallest) & (extent <= grid))
        smallest = max(grid, smallest)
        if not len(chosen):
            continue
        gy, gx = np.mgrid[0:grid, 0:grid].reshape(2, 1, -1)
        fx, fy = gx.astype(np.float32), gy.astype(np.float32)
        for s in np.array_split(chosen, max(1, len(chosen) * grid * grid // _MAX_SAMPLES)):
            w1, w2 = (w0[s, None] + fx * wx[s, None] + fy * wy[s, None] for w0, wx, wy in (drawn.w1, drawn.w2))
            inside = (w1 >= -1e-5) & (w2 >= -1e-5) & (w1 + w2 <= 1 + 1e-5)
            inside &= fx <= drawn.columns[s, None]
            inside &= fy <= drawn.rows[s, None]
            hit = np.flatnonzero(inside)
            row, sample = np.divmod(hit, grid * grid)
            face = s[row]
            found.append((face, corner[face] + (gy * width + gx)[0, sample], w1.ravel()[hit], w2.ravel()[hit]))
    face, pixel, w1, w2 = (np.concatenate(part) for part in zip(*found))
    return face, pixel, w1, w2
