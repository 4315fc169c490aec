"""The rasteriser: pixels inside and no others, the nearest, and cuts."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from spgvton_training.synthetic.drawing.raster import interpolate, rasterise

Float = NDArray[np.float32]


FRAME = (24, 32)


@settings(max_examples=150, deadline=None)
@given(hnp.arrays(np.float32, (3, 3), elements=st.floats(-8, 40, width=32)))
def test_rasteriser_on_random_triangles(points: Float) -> None:
    """Covers the pixel centres inside, no others, and barycentric interpolation of any linear function is exact."""
    a, b, c = points[:, :2].astype(np.float64)
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    assume(abs(area) > 4)
    corners = np.array([[0, 1, 2]])
    found = rasterise(points, corners, FRAME, cull=False)
    y, x = np.divmod(found.pixel, FRAME[1])
    # the positions are themselves linear over the triangle, and known at each pixel
    at = interpolate(points, corners[found.triangle], found.bary)
    np.testing.assert_allclose(at, np.column_stack([x + 0.5, y + 0.5, found.depth]), atol=0.02)
    one = interpolate(np.ones(3, np.float32), corners[found.triangle], found.bary)
    np.testing.assert_allclose(one, 1, atol=1e-5)

    # inside by half planes, in float64, written independently
    gy, gx = np.mgrid[: FRAME[0], : FRAME[1]] + 0.5
    edges = ((a, b), (b, c), (c, a))
    cross = [((q[0] - p[0]) * (gy - p[1]) - (q[1] - p[1]) * (gx - p[0])) * np.sign(area) for p, q in edges]
    inside, tolerance = np.minimum.reduce(cross), 2e-3 + 3e-5 * abs(area)
    covered = np.bincount(found.pixel, minlength=inside.size).reshape(FRAME) > 0
    assert covered[inside > tolerance].all()
    assert not covered[inside < -tolerance].any()

    drawn = rasterise(points, corners, FRAME)
    np.testing.assert_array_equal(drawn.pixel, found.pixel if area < 0 else [])


@given(st.permutations([0.5, 2.0, 1.25, -3.0]))
def test_rasteriser_keeps_the_nearest(depths: list[float]) -> None:
    square = np.array([(0, 0), (0, 24), (32, 24), (32, 0)], np.float32)
    points = np.concatenate([np.column_stack([square, np.full(4, d, np.float32)]) for d in depths])
    corners = np.concatenate([np.array([[0, 1, 2], [0, 2, 3]]) + 4 * i for i in range(len(depths))])
    found = rasterise(points, corners, FRAME)
    np.testing.assert_array_equal(found.pixel, np.arange(24 * 32))
    assert set((found.triangle // 2).tolist()) == {int(np.argmax(depths))}
    assert set(found.depth.tolist()) == {2.0}


def test_rasteriser_cuts_where_the_distance_is_negative() -> None:
    points = np.array([(0, 0, 0), (0, 24, 0), (32, 24, 0), (32, 0, 0)], np.float32)
    found = rasterise(points, np.array([[0, 1, 2], [0, 2, 3]]), FRAME, cut=points[:, 0] - 10)
    assert set((found.pixel % 32).tolist()) == set(range(10, 32))
