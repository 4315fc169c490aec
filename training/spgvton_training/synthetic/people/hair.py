"""Hair on the body mesh: the scalp it grows on, and a cap of hair over it. What hangs or is tied is in hair_shapes.py."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton_training.synthetic.drawing.arrays import Float, Int, triangles
from spgvton_training.synthetic.people import body
from spgvton_training.synthetic.people.assets import BODY, bone_weight, load
from spgvton_training.synthetic.people.hairstyle import Hairstyle, above_hairline, above_hat_line

_BELOW_LINE: Final = 0.45  # how far below the usual hair line the scalp reaches: a fringe may


@dataclass(frozen=True)
class Scalp:
    """The part of the body mesh that hair grows on, subdivided once. n vertices."""

    near: NDArray[np.intp]  # (n, 4) the body vertices whose mean a vertex is
    rest: Float  # (n, 3) on the base mesh
    triangles: Int
    weights: Float  # (n, B)

    def at(self, values: Float) -> Float:
        """Values (13380, c) of body vertices on the scalp (n, c)."""
        return np.asarray(values[self.near].mean(1), np.float32)


@cache
def scalp() -> Scalp:
    """Find the scalp once: above the hair line or the rim of a hat, on the head, neither ear nor the inside of mouth and eyes."""
    assets = load()
    v, weights = assets.vertices[BODY], assets.weights[BODY]
    line = above_hairline(None, v)
    head = (v[:, 1] > 6.3) & (np.abs(v[:, 0]) < 0.95) & (bone_weight(weights, "head", "neck03", "neck02") > 0.5)
    inside = (np.hypot(v[:, 0] / 0.72, v[:, 2] - 0.55) < 0.55) & (v[:, 1] < 7.8)
    reach = np.where(v[:, 2] > 0.95, _BELOW_LINE, 0.15)
    chosen = ((line > -reach) | (above_hat_line(v) > -0.15)) & head & ~inside & (assets.masks["ears"][BODY] < 0.5)
    quads = assets.quads["body"]
    quads = quads[chosen[quads].all(1)]
    # one linear subdivision: corners, edge middles, centres
    sides = np.sort(np.stack([quads, np.roll(quads, -1, 1)], 2).reshape(-1, 2), 1)
    edges, of_side = np.unique(sides, axis=0, return_inverse=True)
    of_side = of_side.reshape(-1, 4)
    corners, number = np.unique(quads, return_inverse=True)
    number = number.reshape(-1, 4)
    near = np.concatenate([np.repeat(corners[:, None], 4, 1), edges[:, [0, 0, 1, 1]], quads])
    middle, centre = len(corners) + of_side, len(corners) + len(edges) + np.arange(len(quads))
    fine = [np.stack([number[:, i], middle[:, i], centre, middle[:, i - 1]], 1) for i in range(4)]
    return Scalp(near, v[near].mean(1), triangles(np.concatenate(fine)), weights[near].mean(1))


@dataclass(frozen=True)
class Cap:
    """A cap of hair in the rest pose."""

    vertices: Float  # (n, 3)
    cut: Float  # (n,) > 0 is drawn


def grow_cap(vertices: Float, style: Hairstyle, *, flat: Float | None = None) -> Cap:
    """The cap of STYLE on a morphed body (V, 3). FLAT (n,) in [0, 1] presses it down, as a hat does."""
    skull = scalp()
    rest, line = skull.rest, above_hairline(style, skull.rest)
    thick = cap_thickness(style, rest, line)
    if flat is not None:
        thick = thick * (1 - flat) + 0.03 * flat
    normal = skull.at(body.normals(vertices[BODY], triangles(load().quads["body"])))
    out = skull.at(vertices[BODY]) + normal * thick[:, None]
    if style.kind == "quiff":
        rise = np.clip((rest[:, 2] - 0.75) / 0.5, 0, 1) * np.clip(line / 0.2, 0, 1) * (1 if flat is None else 1 - flat)
        out = out + rise[:, None] * np.array([0, 0.16, 0.07], np.float32)
    return Cap(out.astype(np.float32), (line + 0.10).astype(np.float32))


def cap_thickness(style: Hairstyle, rest: Float, line: Float) -> Float:
    """Thickness (n,) of the hair at rest-pose points (n, 3) that are LINE (n,) above the hair line."""
    x, y, z = rest.T
    phase = np.random.default_rng([style.seed, 0]).uniform(0, 6.28, 6)
    upper = np.clip((y - 7.65) / 0.75, 0, 1)
    upper = upper * upper * (3 - 2 * upper)
    thick = style.sides + (style.top - style.sides) * upper
    # locks: a few slow waves over the head
    locks = np.sin(5.1 * x + 3.1 * z + phase[0]) + np.sin(4.3 * z - 3.7 * x + phase[1]) + np.sin(6.1 * y + phase[2])
    rough = {"crop": 0.13, "side": 0.09, "quiff": 0.10, "afro": 0.04}.get(style.kind, 0.05)
    thick = thick * (1 + rough * locks)
    if style.strands == "parted":
        thick = thick * (1 - 0.35 * np.exp(-(((x - style.parting) / 0.10) ** 2)) * (z > 0.3) * (y > 7.7))
    ramp = 0.55 if style.curly else (0.30 if style.fringe < 0.1 else 0.12)
    rise = np.clip((line + 0.02) / ramp, 0, 1) ** 0.7
    return np.asarray(np.maximum(thick * rise, 0.012), np.float32)


@cache
def ear_tips() -> tuple[int, int]:
    """Vertices furthest out on the left and the right ear."""
    assets = load()
    x = np.where(assets.masks["ears"] > 0.5, assets.vertices[:, 0], 0)
    return int(x.argmax()), int(x.argmin())
