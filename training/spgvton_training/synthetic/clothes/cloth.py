"""Cloth made of the tights helper mesh: topology, smoothing, one subdivision step, skinning weights, and the drape.

"Tights vertices" are the T = 2674 vertices of the helper mesh; "cloth vertices" the S of its subdivision, tights first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.video import cv2
from spgvton_training.synthetic.drawing.arrays import Float, Int, triangles
from spgvton_training.synthetic.drawing.texture import lookup
from spgvton_training.synthetic.people import body
from spgvton_training.synthetic.people.assets import BODY, BONE, SKIRT, TIGHTS, bone_weight, load

_ARM: Final = ("upperarm01", "upperarm02", "lowerarm01", "lowerarm02", "wrist")


@dataclass(frozen=True)
class Topology:
    """Connectivity of the tights and what is constant over all bodies."""

    quads: Int  # (Q, 4)
    triangles: Int  # (2Q, 3)
    edges: Int  # (E, 2) undirected
    degree: Float  # (T,)
    boundary: NDArray[np.bool_]  # (T,)
    quad_edges: Int  # (Q, 4) edge number of each side
    edge_boundary: NDArray[np.bool_]  # (E,)
    fine_triangles: Int  # of the subdivision: 8Q
    rest: Float  # (T, 3) base-mesh position
    arm: Float  # (T,) how much a vertex belongs to an arm
    along_arm: Float  # (T,) < 0 torso, 0..1 shoulder to elbow, 1..2 elbow to wrist
    nearest: NDArray[np.intp]  # (13380,) the tights vertex nearest to each body vertex
    nearest_to_skirt: NDArray[np.intp]  # (720,) the same for the skirt


@dataclass(frozen=True)
class Fine:
    """Attributes of the cloth vertices (S,)."""

    rest: Float
    arm: Float
    along_arm: Float
    weights: Float  # (S, B)


@cache
def topology() -> Topology:
    """Build the tables once per process."""
    assets = load()
    quads = assets.quads["tights"] - TIGHTS.start
    rest, weights = assets.vertices[TIGHTS], assets.weights[TIGHTS]
    count = len(rest)
    sides = np.sort(np.stack([quads, np.roll(quads, -1, 1)], 2).reshape(-1, 2), 1)
    edges, quad_edges = np.unique(sides, axis=0, return_inverse=True)
    quad_edges = quad_edges.reshape(-1, 4)
    edge_boundary = np.bincount(quad_edges.ravel(), minlength=len(edges)) == 1
    boundary = np.zeros(count, bool)
    boundary[edges[edge_boundary].ravel()] = True
    centre = count + len(edges) + np.arange(len(quads))
    fine = np.concatenate(
        [np.stack([quads[:, i], count + quad_edges[:, i], centre, count + quad_edges[:, i - 1]], 1) for i in range(4)]
    )
    arms = {s: bone_weight(weights, *(f"{b}.{s}" for b in _ARM)) for s in "LR"}
    return Topology(
        quads=quads,
        triangles=triangles(quads),
        edges=edges,
        degree=np.bincount(edges.ravel(), minlength=count).astype(np.float32),
        boundary=boundary,
        quad_edges=quad_edges,
        edge_boundary=edge_boundary,
        fine_triangles=triangles(fine),
        rest=rest,
        arm=arms["L"] + arms["R"],
        along_arm=_along_arm(rest, weights, arms),
        nearest=_nearest(assets.vertices[BODY], rest),
        nearest_to_skirt=_nearest(assets.vertices[SKIRT], rest),
    )


def _along_arm(rest: Float, weights: Float, arms: dict[str, Float]) -> Float:
    heads, _ = body.joints(load().vertices)
    out = np.full(len(rest), -9, np.float32)
    for side, sign in (("L", 1), ("R", -1)):
        shoulder, elbow, wrist = (heads[BONE[f"{b}.{side}"]] for b in ("upperarm01", "lowerarm01", "wrist"))
        u, f = elbow - shoulder, wrist - elbow
        upper, fore = (rest - shoulder) @ u / (u @ u), (rest - elbow) @ f / (f @ f)
        is_fore = bone_weight(weights, *(f"{b}.{side}" for b in ("lowerarm01", "lowerarm02", "wrist"))) > 0.5
        t = np.where(is_fore, 1 + np.clip(fore, -0.1, 1.2), np.clip(upper, -2, 1.05))
        t = np.where(arms[side] > 0.12, t, np.minimum(t, -0.15))
        own = rest[:, 0] * sign > 0
        out[own] = t[own]
    return out


def _nearest(points: Float, targets: Float) -> NDArray[np.intp]:
    p, t = points.astype(np.float64), targets.astype(np.float64)
    squares = (t * t).sum(1)
    return np.concatenate([(squares - 2 * chunk @ t.T).argmin(1) for chunk in np.array_split(p, 16)])


def smooth(values: Float, steps: int, *, fixed: NDArray[np.bool_] | None = None) -> Float:
    """Laplacian smoothing of values (T, c) over the tights; FIXED vertices (by default the boundary) stay."""
    topo = topology()
    hold = topo.boundary if fixed is None else fixed
    first, second = topo.edges.T
    ends, others = np.concatenate([first, second]), np.concatenate([second, first])
    rate = np.where(hold, 0, np.float32(0.5))[:, None]
    out = values.astype(np.float32)
    for _ in range(steps):
        mean = np.stack([np.bincount(ends, column[others], len(out)) for column in out.T], 1) / topo.degree[:, None]
        out = out + rate * (mean.astype(np.float32) - out)
    return out


def subdivide_linear(values: Float) -> Float:
    """Attributes (T,) or (T, c) on the cloth vertices: themselves, edge middles, quad centres."""
    topo = topology()
    middle = (values[topo.edges[:, 0]] + values[topo.edges[:, 1]]) / 2
    return np.concatenate([values, middle, values[topo.quads].mean(1)]).astype(np.float32)


def subdivide(vertices: Float) -> Float:
    """One Catmull-Clark step: positions (T, 3) -> (S, 3)."""
    topo = topology()
    count, edges = len(vertices), topo.edges
    centre = vertices[topo.quads].mean(1)
    middle = (vertices[edges[:, 0]] + vertices[edges[:, 1]]) / 2

    def gather(index: Int, values: Float, size: int) -> Float:
        return np.stack([np.bincount(index, column, size) for column in values.T], 1).astype(np.float32)

    beside = gather(topo.quad_edges.ravel(), np.repeat(centre, 4, 0), len(edges))
    edge_points = np.where(topo.edge_boundary[:, None], middle, (2 * middle + beside) / 4)
    n = np.maximum(np.bincount(topo.quads.ravel(), minlength=count), 1)[:, None].astype(np.float32)
    q = gather(topo.quads.ravel(), np.repeat(centre, 4, 0), count) / n
    r = gather(edges.T.ravel(), np.concatenate([middle, middle]), count) / np.maximum(topo.degree, 1)[:, None]
    corner = np.where(topo.boundary[:, None], vertices, (q + 2 * r + (n - 3) * vertices) / n)
    return np.concatenate([corner, edge_points, centre]).astype(np.float32)


@cache
def fine() -> Fine:
    """Constant attributes of the cloth vertices. Cloth follows smoothed weights: it does not crease like skin."""
    topo = topology()
    nothing = np.zeros(len(topo.rest), bool)
    weights = smooth(load().weights[TIGHTS], 2, fixed=nothing)
    return Fine(
        rest=subdivide_linear(topo.rest),
        arm=subdivide_linear(topo.arm),
        along_arm=subdivide_linear(topo.along_arm),
        weights=subdivide_linear(weights),
    )


@cache
def skirt_weights() -> Float:
    """Skinning weights (720, B) of the skirt: legs blended left to right, so that it bridges them."""
    assets = load()
    w, x = assets.weights[SKIRT].copy(), assets.vertices[SKIRT, 0]
    share = np.clip(0.5 + x / 2.6, 0, 1)
    for bone in ("upperleg01", "upperleg02", "lowerleg01", "lowerleg02"):
        total = w[:, BONE[f"{bone}.L"]] + w[:, BONE[f"{bone}.R"]]
        w[:, BONE[f"{bone}.L"]], w[:, BONE[f"{bone}.R"]] = total * share, total * (1 - share)
    for bone in ("lowerleg01", "lowerleg02"):
        for side in "LR":
            shin = w[:, BONE[f"{bone}.{side}"]]
            w[:, BONE[f"upperleg02.{side}"]] += shin * 0.6
            w[:, BONE["root"]] += shin * 0.4
            shin[:] = 0
    return w / w.sum(1, keepdims=True)


def drape(vertices: Float, fit: float, *, push: float, sleeve: float, taper: float = 0.10) -> Float:
    """A loose top over morphed tights (T, 3) in the rest pose.

    FIT runs from 0 (tight) to 1 (boxy). PUSH is the distance from the skin, SLEEVE what sleeves add to it. Cloth hangs:
    in each direction around the torso it may get narrower by at most TAPER per unit of height on its way down.
    """
    topo = topology()
    arm = np.clip(topo.arm, 0, 1)
    v = smooth(vertices, 3)
    loose = np.clip(topo.along_arm + 0.4, 0, 1.2) * (
        1 - 0.55 * np.clip(topo.along_arm - 1, 0, 1)
    )  # narrow at the wrist
    offset = push + arm * sleeve * loose + (1 - arm) * push * fit
    v = v + body.normals(v, topo.triangles) * offset[:, None].astype(np.float32)
    if fit > 0:
        v = smooth(_hang(v, fit, taper), 3)
    flare = 0.16 * np.clip(2.7 - v[:, 1], 0, 1) * (topo.arm < 0.25)
    return v + body.normals(v, topo.triangles) * flare[:, None].astype(np.float32)


def lengthen(vertices: Float, heads: Float, over: float) -> Float:
    """A draped top (T, 3) of a body with bone HEADS (B, 3) whose sleeves reach OVER decimetres further, over the hands."""
    topo, out = topology(), vertices.copy()
    ramp = np.clip((topo.along_arm - 1.35) / 0.6, 0, 1)
    for side, sign in (("L", 1), ("R", -1)):
        elbow, wrist = (heads[BONE[f"{bone}.{side}"]] for bone in ("lowerarm01", "wrist"))
        along = body.unit((wrist - elbow)[None])[0]
        own = (topo.rest[:, 0] * sign > 0) & (ramp > 0)
        from_axis = out[own] - elbow
        from_axis = from_axis - (from_axis @ along)[:, None] * along
        # a hand is wider than a wrist
        out[own] += ramp[own, None] * (over * along + np.float32(0.25 + 0.25 * over) * from_axis)
    return out


def _hang(v: Float, fit: float, taper: float) -> Float:
    topo = topology()
    middle, bins, bottom, step = np.float32(0.15), 48, -0.8, 0.2
    rows = int((5.2 - bottom) / step)
    angle, radius, y = np.arctan2(v[:, 0], v[:, 2] - middle), np.hypot(v[:, 0], v[:, 2] - middle), v[:, 1]
    torso = (topo.arm < 0.25) & (y > -0.7) & (y < 5.0)
    fx, fy = (angle + np.pi) / (2 * np.pi) * bins, (y - bottom) / step
    column, row = fx.astype(int) % bins, np.clip(fy.astype(int), 0, rows - 1)
    outline = np.zeros((rows, bins), np.float32)
    np.maximum.at(outline, (row[torso], column[torso]), radius[torso])
    for _ in range(6):  # fill empty bins from their neighbours
        empty = outline == 0
        if not empty.any():
            break
        around = (
            np.roll(outline, 1, 1), np.roll(outline, -1, 1),
            np.concatenate([outline[1:], outline[-1:]]), np.concatenate([outline[:1], outline[:-1]]),
        )  # fmt: skip
        mean = np.sum(around, 0) / np.maximum(np.sum([a > 0 for a in around], 0), 1)
        outline[empty] = mean[empty]
    for i in range(rows - 2, -1, -1):
        outline[i] = np.maximum(outline[i], outline[i + 1] - step * taper)
    wrapped = cv2.GaussianBlur(np.hstack([outline[:, -6:], outline, outline[:, :6]]), (0, 0), 1.2)
    reach = lookup(wrapped, fx + 5.5, fy - 0.5)
    torso_share = np.where(topo.arm < 0.25, 1, np.clip(1 - (topo.arm - 0.25) * 3, 0, 1))
    share = np.maximum(fit, np.clip((0.6 - y) / 0.6, 0, 1))  # below the hips no cloth follows the legs
    share = share * torso_share * np.clip((4.9 - y) / 0.8, 0, 1) * np.clip((y + 1.0) / 0.4, 0, 1)
    radius = radius + share * np.maximum(reach - radius, 0)
    return np.stack([np.sin(angle) * radius, y, middle + np.cos(angle) * radius], 1).astype(np.float32)
