"""The garment laid flat: where each cloth vertex lies in the in-shop plane.

An average body in an A-pose is dressed, projected, and its front and back are relaxed as a spring net until lengths in
the plane match lengths on the body. One set of coordinates then serves the print, the picture and the exact flow.
Flat coordinates are decimetres, y up; plane coordinates are pixels of a canvas, y down, edges at integers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from spgvton_training.synthetic import body, cloth
from spgvton_training.synthetic.assets import TIGHTS, Float, Int
from spgvton_training.synthetic.pose import Limbs, Pose, solve
from spgvton_training.synthetic.raster import Fragments, interpolate, rasterise


@dataclass(frozen=True)
class Layout:
    """The flat cloth, independent of resolution. S cloth vertices, F fine triangles."""

    xy: Float  # (S, 2) flat coordinates
    depth: Float  # (S,) z in the A-pose
    normals: Float  # (S, 3)
    front: NDArray[np.bool_]  # (F,) the triangle is on the front panel
    on_front: NDArray[np.bool_]  # (S,) the vertex touches the front panel
    on_back: NDArray[np.bool_]  # (S,)
    neck: float  # flat y of the side of the neck
    scale: float  # pixels per decimetre on a canvas 768 high
    centre: float  # flat y at the middle of the canvas


@dataclass(frozen=True)
class Panel:
    """One side of the flat cloth on a canvas."""

    pixel: NDArray[np.intp]  # (n,) row * width + column
    corners: Int  # (n, 3) cloth vertices
    bary: Float  # (n, 3)

    def at(self, attribute: Float) -> Float:
        """A cloth vertex attribute (S,) or (S, c) at the panel's pixels."""
        return interpolate(attribute, self.corners, self.bary)


@dataclass(frozen=True)
class Canvas:
    """A layout at a resolution."""

    layout: Layout
    size: tuple[int, int]  # height, width
    scale: float  # pixels per decimetre
    uv: Float  # (S, 2) plane coordinates of the cloth vertices
    x: Float  # (1, width) flat x of the pixel centres
    y: Float  # (height, 1)
    front: Panel
    back: Panel


@cache
def layout(long: bool) -> Layout:
    """Relax the flat cloth; LONG sleeves hang lower than short ones."""
    weights: dict[str, float] = {}
    for female in (False, True):
        for name, k in body.macro_weights(female=female, ancestry=(1, 1, 1), cup=-0.4, weight=-0.45).items():
            weights[name] = weights.get(name, 0) + k / 2
    vertices = body.morph(weights)
    draped = cloth.drape(vertices[TIGHTS], 1.0, push=0.06, sleeve=0.10, taper=0.0)
    angle = math.radians(25 if long else 44)
    direction = np.array([math.sin(angle), -math.cos(angle), 0])
    limbs = Limbs(direction, direction)
    skeleton = solve(*body.joints(vertices), Pose(limbs, limbs, bend=0.0))
    topo, attributes = cloth.topology(), cloth.fine()
    count = len(topo.rest)
    posed = body.skin(draped, skeleton.bones, attributes.weights[:count])

    a, b, c = (posed[topo.triangles[:, i]] for i in range(3))
    facing = np.cross(b - a, c - a)[:, 2] > 0
    quads = len(topo.quads)
    front = np.tile(facing[:quads] | facing[quads:], 8)  # 4 quads of 2 triangles each per quad

    xy = _relax(posed)
    fine_xy = cloth.subdivide_linear(xy)
    on_front, on_back = (np.isin(np.arange(len(fine_xy)), topo.fine_triangles[side]) for side in (front, ~front))
    rim = on_front & on_back & (attributes.rest[:, 1] > 5.2)
    rim &= (np.abs(fine_xy[:, 0]) > 0.95) & (np.abs(fine_xy[:, 0]) < 1.20)
    return Layout(
        xy=fine_xy,
        depth=cloth.subdivide_linear(posed[:, 2]),
        normals=cloth.subdivide_linear(body.normals(posed, topo.triangles)),
        front=front,
        on_front=on_front,
        on_back=on_back,
        neck=float(fine_xy[rim, 1].mean()),
        scale=66.0 if long else 88.0,
        centre=2.75 if long else 2.9,
    )


def _relax(posed: Float, steps: int = 250) -> Float:
    """Move the projection (T, 2) until edges and diagonals have their 3D length again (only what a top can use)."""
    topo = cloth.topology()
    diagonals = np.concatenate([topo.quads[:, [0, 2]], topo.quads[:, [1, 3]]])
    springs = np.concatenate([topo.edges, diagonals])
    springs = springs[(posed[:, 1] > -1.2)[springs].all(1)]
    first, second = springs.T
    length = np.linalg.norm(posed[first] - posed[second], axis=1)
    rate = 1.2 / np.maximum(np.bincount(springs.ravel(), minlength=len(posed)), 1)
    xy = posed[:, :2].astype(np.float64)
    for _ in range(steps):
        d = xy[second] - xy[first]
        now = np.linalg.norm(d, axis=1) + 1e-9
        pull = d * ((now - length) / now * 0.5)[:, None]
        for i in (0, 1):
            move = np.bincount(first, pull[:, i], len(xy)) - np.bincount(second, pull[:, i], len(xy))
            xy[:, i] += move * rate
    return xy.astype(np.float32)


@lru_cache(maxsize=4)
def canvas(long: bool, size: tuple[int, int]) -> Canvas:
    """The flat cloth on a canvas of SIZE (height, width) pixels."""
    flat, rest = layout(long), cloth.fine().rest
    height, width = size
    scale = flat.scale * min(height / 768, width / 576)
    uv = np.stack([width / 2 + flat.xy[:, 0] * scale, height / 2 - (flat.xy[:, 1] - flat.centre) * scale], 1)
    fine_triangles = cloth.topology().fine_triangles
    usable = (rest[fine_triangles][:, :, 1] > -1.4).all(1)

    def panel(side: NDArray[np.bool_], sign: int) -> Panel:
        faces = fine_triangles[side & usable]
        points = np.concatenate([uv, sign * flat.depth[:, None]], 1)
        found: Fragments = rasterise(points, faces, size, cull=False)
        return Panel(found.pixel, faces[found.triangle], found.bary)

    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / scale
    y = flat.centre - (np.arange(height, dtype=np.float32) + 0.5 - height / 2) / scale
    return Canvas(
        flat, size, scale, uv.astype(np.float32), x[None].astype(np.float32), y[:, None].astype(np.float32),
        panel(flat.front, 1), panel(~flat.front, -1),
    )  # fmt: skip
