"""The garment laid flat: where each cloth vertex lies in the in-shop plane.

An average body in an A-pose is dressed, projected, and its front and back are relaxed as a spring net until lengths in
the plane match lengths on the body; then its seams are drawn straight (outline.py). A dress's skirt is unrolled below it.
One set of coordinates then serves the print, the picture and the exact flow.
Flat coordinates are decimetres, y up; plane coordinates are pixels of a canvas, y down, edges at integers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from spgvton_training.synthetic.clothes import cloth
from spgvton_training.synthetic.clothes.dress import WAIST, Dress, skirt_mesh, unroll_skirt
from spgvton_training.synthetic.clothes.outline import Outline, straighten
from spgvton_training.synthetic.clothes.shop import Sleeves
from spgvton_training.synthetic.drawing.arrays import Float, Int
from spgvton_training.synthetic.drawing.raster import Fragments, interpolate, rasterise
from spgvton_training.synthetic.people import body
from spgvton_training.synthetic.people.assets import TIGHTS
from spgvton_training.synthetic.people.pose import Limbs, Pose, solve

_HOODED_SCALE, _HOODED_CENTRE = 56.0, 3.5
_LONG_REACH, _SHORT_REACH = 6.05, 2.3  # decimetres of a sleeve that the canvas must hold


@dataclass(frozen=True)
class Layout:
    """The flat cloth, independent of resolution. N vertices: the S cloth vertices, and for a dress its skirt's."""

    outline: Outline
    xy: Float  # (N, 2) flat coordinates
    depth: Float  # (N,) z in the A-pose
    normals: Float  # (N, 3)
    triangles: Int  # (F, 3) those of the cloth, then those of a skirt
    front: NDArray[np.bool_]  # (F,) the triangle is on the front panel
    shown: NDArray[np.bool_]  # (F,) it may appear in the in-shop picture
    on_front: NDArray[np.bool_]  # (N,) the vertex touches the front panel
    on_back: NDArray[np.bool_]  # (N,)
    scale: float  # pixels per decimetre on a canvas 768 high
    centre: float  # flat y at the middle of the canvas


@dataclass(frozen=True)
class Panel:
    """One side of the flat cloth on a canvas."""

    pixel: NDArray[np.intp]  # (n,) row * width + column
    corners: Int  # (n, 3) vertices of the layout
    bary: Float  # (n, 3)

    def at(self, attribute: Float) -> Float:
        """A vertex attribute (N,) or (N, c) at the panel's pixels."""
        return interpolate(attribute, self.corners, self.bary)


@dataclass(frozen=True)
class Canvas:
    """A layout at a resolution."""

    layout: Layout
    size: tuple[int, int]  # height, width
    scale: float  # pixels per decimetre
    uv: Float  # (N, 2) plane coordinates of the vertices
    x: Float  # (1, width) flat x of the pixel centres
    y: Float  # (height, 1)
    front: Panel
    back: Panel


@dataclass(frozen=True)
class _Relaxed:
    """The cloth of an average body before its outline is drawn."""

    xy: Float  # (T, 2)
    posed: Float  # (T, 3)
    facing: NDArray[np.bool_]  # (Q,) the quad is on the front
    seam: NDArray[np.bool_]  # (T,) where front and back meet


@cache
def _relaxed(sleeves: Sleeves) -> _Relaxed:
    weights: dict[str, float] = {}
    for female in (False, True):
        for name, k in body.macro_weights(female=female, ancestry=(1, 1, 1), cup=-0.4, weight=-0.45).items():
            weights[name] = weights.get(name, 0) + k / 2
    vertices = body.morph(weights)
    draped = cloth.drape(vertices[TIGHTS], 1.0, push=0.06, sleeve=0.10, taper=0.0)
    direction = np.array([*sleeves.direction, 0])
    limbs = Limbs(direction, direction)
    skeleton = solve(*body.joints(vertices), Pose(limbs, limbs, bend=0.0))
    topo = cloth.topology()
    posed = body.skin(draped, skeleton.bones, cloth.fine().weights[: len(topo.rest)])
    a, b, c = (posed[topo.triangles[:, i]] for i in range(3))
    turned = np.cross(b - a, c - a)[:, 2] > 0
    quads = len(topo.quads)
    facing = turned[:quads] | turned[quads:]
    front, back = (np.isin(np.arange(len(posed)), topo.quads[side]) for side in (facing, ~facing))
    xy = _relax(posed)
    seam = front & back & (topo.rest[:, 1] < 6.0) & (topo.rest[:, 1] > -1.3)
    seam &= (np.abs(xy[:, 0]) > 1.6) | (topo.rest[:, 1] > 3)  # not between the legs
    return _Relaxed(xy, posed, facing, seam)


@cache
def layout(sleeves: Sleeves, dress: Dress | None = None) -> Layout:
    """The flat cloth with its SLEEVES; DRESS adds a waist and a skirt."""
    topo, rest, found = cloth.topology(), cloth.fine().rest, _relaxed(sleeves)
    neck = found.seam & (topo.rest[:, 1] > 5.2) & (np.abs(np.abs(found.xy[:, 0]) - 1.05) < 0.25)
    neck_y = float(found.xy[neck, 1].max())
    waist = None
    if dress is not None:
        at_waist = np.abs(topo.rest[:, 1] - WAIST) < 0.25
        waist = float(found.xy[at_waist, 1].mean())
    outline = Outline(neck_y, sleeves.direction, 1.0, waist)
    arms = topo.along_arm > 1.5
    reach = outline.along_sleeve(np.abs(found.xy[arms, 0]), found.xy[arms, 1])
    outline = replace(outline, length=float(reach.max()))

    xy = cloth.subdivide_linear(straighten(found.xy, found.seam, outline))
    depth = cloth.subdivide_linear(found.posed[:, 2])
    normals = cloth.subdivide_linear(body.normals(found.posed, topo.triangles))
    front = np.tile(found.facing, 8)  # 4 quads of 2 triangles each per quad
    faces = topo.fine_triangles
    lowest = -1.4 if dress is None else WAIST - 0.5
    usable: NDArray[np.bool_] = np.asarray(rest[faces, 1].min(1) > lowest)
    if dress is not None:
        skirt = unroll_skirt(dress, waist or 0.0)
        faces = np.concatenate([faces, skirt_mesh().triangles + len(xy)])
        front, usable = np.concatenate([front, skirt.front]), np.concatenate([usable, np.ones_like(skirt.front)])
        xy, depth = np.concatenate([xy, skirt.xy]), np.concatenate([depth, skirt.depth])
        normals = np.concatenate([normals, skirt.normals])
    on_front, on_back = (np.isin(np.arange(len(xy)), faces[side & usable]) for side in (front, ~front))
    aside = (_LONG_REACH if sleeves.long else _SHORT_REACH) * sleeves.direction[0]
    scale = min(288 / (2.35 + aside), 72.0)
    centre = 2.75 if sleeves.long else 2.9
    if dress is not None:
        scale, centre = min(scale, 52.0), 0.6
    return Layout(outline, xy, depth, normals, faces, front, usable, on_front, on_back, scale, centre)


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


@lru_cache(maxsize=20)
def canvas(sleeves: Sleeves, size: tuple[int, int], dress: Dress | None = None, *, hooded: bool = False) -> Canvas:
    """The flat cloth on a canvas of SIZE (height, width) pixels; HOODED leaves room above the neck."""
    flat = layout(sleeves, dress)
    if hooded:
        flat = replace(flat, scale=min(flat.scale, _HOODED_SCALE), centre=_HOODED_CENTRE)
    height, width = size
    scale = flat.scale * min(height / 768, width / 576)
    uv = np.stack([width / 2 + flat.xy[:, 0] * scale, height / 2 - (flat.xy[:, 1] - flat.centre) * scale], 1)

    def panel(side: NDArray[np.bool_], sign: int) -> Panel:
        faces = flat.triangles[side & flat.shown]
        points = np.concatenate([uv, sign * flat.depth[:, None]], 1)
        found: Fragments = rasterise(points, faces, size, cull=False)
        return Panel(found.pixel, faces[found.triangle], found.bary)

    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / scale
    y = flat.centre - (np.arange(height, dtype=np.float32) + 0.5 - height / 2) / scale
    return Canvas(
        flat, size, scale, uv.astype(np.float32), x[None].astype(np.float32), y[:, None].astype(np.float32),
        panel(flat.front, 1), panel(~flat.front, -1),
    )  # fmt: skip
