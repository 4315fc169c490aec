"""Hair that hangs or is tied: a curtain behind the head, a pony tail, a bun. Sheets and tubes on a grid of vertices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spgvton_training.synthetic.drawing.arrays import Float, Int, grid
from spgvton_training.synthetic.people import body
from spgvton_training.synthetic.people.assets import BONE, TIGHTS, load
from spgvton_training.synthetic.people.hair import ear_tips
from spgvton_training.synthetic.people.hairstyle import Hairstyle

_COLUMNS, _ROWS = 64, 30
_LONG = 2.6  # decimetres: from here on hair reaches beyond the shoulders


@dataclass(frozen=True)
class Shape:
    """A mesh of hair in the rest pose. n vertices."""

    rest: Float  # (n, 3) on the base head: where paint goes
    vertices: Float  # (n, 3) on the morphed head
    outwards: Float  # (n, 3) the side that light falls on, unit vectors
    triangles: Int
    cut: Float  # (n,) > 0 is drawn
    weights: Float  # (n, B)


def to_head(vertices: Float, heads: Float, points: Float) -> Float:
    """Points (n, 3) of the base head on a morphed body (V, 3) with bone HEADS (B, 3): as wide as that head."""
    assets = load()
    left, right = ear_tips()
    width = np.linalg.norm(vertices[left] - vertices[right]) / np.linalg.norm(
        assets.vertices[left] - assets.vertices[right]
    )
    rest_heads, _ = body.joints(assets.vertices)
    moved = (points - rest_heads[BONE["head"]]) * np.array([width, 1, width], np.float32) + heads[BONE["head"]]
    return np.asarray(moved, np.float32)


def _hanging(y: Float) -> Float:
    """Skinning weights (n, B): the ends of long hair rest on the shoulders."""
    weights = np.zeros((len(y), len(BONE)), np.float32)
    weights[:, BONE["spine01"]] = np.clip((6.6 - y) / 1.6, 0, 1) * 0.75
    weights[:, BONE["head"]] = 1 - weights[:, BONE["spine01"]]
    return weights


def hair_shapes(vertices: Float, heads: Float, style: Hairstyle) -> list[Shape]:
    """What hangs or is tied in STYLE on a morphed body (V, 3) with bone HEADS (B, 3)."""
    if style.length > 0:
        return [_curtain(vertices, heads, style), *_front_locks(vertices, heads, style)]
    if style.kind == "ponytail":
        return [_tail(vertices, heads, style)]
    if style.kind == "bun":
        return [_bun(vertices, heads, style)]
    return []


def _curtain(vertices: Float, heads: Float, style: Hairstyle) -> Shape:
    rng = np.random.default_rng([style.seed, 1])
    phase = rng.uniform(0, 6.28, 4)
    drop = np.linspace(0, 1, _ROWS) * (style.length + 0.25)
    angle, y = np.meshgrid(np.linspace(style.opening, 2 * np.pi - style.opening, _COLUMNS), 7.9 - drop)
    # locks of the front swing a little to and fro
    side = np.sign(np.pi - angle)
    angle = angle + side * 0.05 * np.sin(2.6 * y + phase[0]) * np.clip(7.4 - y, 0, 1)
    fall = np.clip((7.0 - y) / 4, 0, 1)
    a = 0.90 + 0.30 * fall - 0.12 * np.clip(7.3 - y, 0, 1) * np.clip(y - 5.2, 0, 1)
    b = 1.02 + 0.12 * fall
    crown = np.clip((y - 7.3) / 0.6, 0, 1)
    end = 7.9 - style.length
    if style.kind == "bob":  # full at the cheeks, turned in at the ends
        full = 0.10 * np.exp(-(((y - end - 0.5) / 0.45) ** 2)) - 0.10 * np.clip(1 - (y - end) / 0.3, 0, 1)
        a, b = a + full, b + full
    wave = (
        style.wave
        * np.clip(7.4 - y, 0, 1)
        * 0.055
        * (np.sin(5.2 * y + 2.5 * angle + phase[1]) + 0.5 * np.sin(9 * angle))
    )
    strand = 0.04 * np.sin(angle * 7 + phase[2]) * np.clip(7.2 - y, 0, 1)
    x = np.sin(angle) * (a * (1 - 0.26 * crown**2) + wave + strand)
    z = 0.42 + np.cos(angle) * (b * (1 - 0.20 * crown**2) + wave + strand) - 0.25 * np.clip(6.2 - y, 0, 1)
    rest = np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32)
    # the ends are not cut with a ruler, and get thinner towards the face
    tips = np.convolve(rng.standard_normal(_COLUMNS + 2), [0.25, 0.5, 0.25], "valid")
    edge = np.linspace(-1, 1, _COLUMNS) ** 8 * (0.5 if style.length > 2 else 0.08)
    cut = y - end - 0.13 * tips[None] * (0.5 + style.length / 4) - edge[None]
    outwards = np.stack([np.sin(angle), 0.15 + 0 * angle, np.cos(angle)], -1).reshape(-1, 3)
    return Shape(
        rest, to_head(vertices, heads, rest), body.unit(outwards.astype(np.float32)), grid(_ROWS, _COLUMNS),
        cut.ravel().astype(np.float32), _hanging(rest[:, 1]),
    )  # fmt: skip


def _tube(path: Float, radius: Float, columns: int = 14) -> tuple[Float, Float]:
    """A tube (n * columns, 3) around a PATH (n, 3) of RADIUS (n,), and its directions outwards."""
    along = body.unit(np.gradient(path, axis=0).astype(np.float32))
    side = body.unit(np.cross(along, np.array([0, 0, 1], np.float32)).astype(np.float32))
    other = np.cross(along, side)
    angle = np.linspace(0, 2 * np.pi, columns)[None, :, None]
    outwards = np.cos(angle) * side[:, None] + np.sin(angle) * other[:, None]
    points = path[:, None] + outwards * radius[:, None, None]
    return points.reshape(-1, 3).astype(np.float32), outwards.reshape(-1, 3).astype(np.float32)


def _front_locks(vertices: Float, heads: Float, style: Hairstyle) -> list[Shape]:
    """Long hair that lies before one shoulder or both, half of all long hair."""
    rng = np.random.default_rng([style.seed, 3])
    if style.length < _LONG or rng.random() < 0.5:
        return []
    sides = ((1,), (-1,), (-1, 1), (-1, 1))[rng.integers(4)]
    return [_lock(vertices, heads, style, side, rng.uniform(0.75, 1.0) * style.length) for side in sides]


def _lock(vertices: Float, heads: Float, style: Hairstyle, side: int, length: float) -> Shape:
    """A flat lock from the temple over the front of the shoulder, on whatever chest there is."""
    rows, columns = 26, 14
    t = np.linspace(0, 1, rows)
    y = 7.45 - (length - 0.45) * t
    x = side * (0.80 - 0.10 * np.sin(np.clip(t * 3, 0, 1) * np.pi) + 0.12 * t + 0.05 * style.wave * np.sin(t * 17))
    cloth, base = vertices[TIGHTS], load().vertices[TIGHTS]
    near = np.abs(base[:, 0] - side * 0.85) < 0.5
    chest = np.array([cloth[near & (np.abs(base[:, 1] - v) < 0.35), 2].max(initial=0.55) for v in y])
    z = 0.62 + np.clip((7.0 - y) / 1.2, 0, 1) * (chest + 0.22 - 0.62)
    z = np.convolve(np.pad(z, 3, mode="edge"), np.ones(7) / 7, "valid")
    radius = 0.24 * np.sin(np.clip(t * 4 + 0.3, 0, 1) * np.pi / 2) * (1 - 0.8 * np.clip((t - 0.6) / 0.4, 0, 1) ** 1.5)
    rest, outwards = _tube(np.stack([x, y, z], 1), radius, columns)
    rest[:, 2] = np.repeat(z, columns) + 0.5 * (rest[:, 2] - np.repeat(z, columns))
    cut = np.ones(len(rest), np.float32)
    return Shape(rest, to_head(vertices, heads, rest), outwards, grid(rows, columns), cut, _hanging(rest[:, 1]))


def _tail(vertices: Float, heads: Float, style: Hairstyle) -> Shape:
    """A pony tail: behind the back, or drawn over one shoulder."""
    rng = np.random.default_rng([style.seed, 1])
    side, high = float(rng.choice([-1, 0, 1], p=[0.4, 0.2, 0.4])), rng.uniform(7.5, 8.15)
    length, rows = rng.uniform(2.0, 3.4), 26
    t = np.linspace(0, 1, rows)
    x = side * 0.95 * np.clip(t * 2.2, 0, 1) ** 1.3 + 0.04 * np.sin(t * 9 + style.wave * 4)
    z = -0.40 - 0.45 * np.sin(np.clip(t * 4, 0, 1) * np.pi / 2) + abs(side) * 1.75 * np.clip((t - 0.28) * 2.4, 0, 1)
    y = high + 0.12 * np.sin(np.clip(t * 6, 0, 1) * np.pi) - length * t**1.15
    radius = 0.20 * np.sin(np.clip(t * 5 + 0.35, 0, 1) * np.pi / 2) * (1 - 0.75 * np.clip((t - 0.55) / 0.45, 0, 1))
    rest, outwards = _tube(np.stack([x, y, z], 1), radius * (1 + 0.15 * style.wave * np.sin(t * 22)))
    cut = np.ones(len(rest), np.float32)
    return Shape(rest, to_head(vertices, heads, rest), outwards, grid(rows, 14), cut, _hanging(rest[:, 1]))


def _bun(vertices: Float, heads: Float, style: Hairstyle) -> Shape:
    """A knot on top of the head or behind it."""
    rng = np.random.default_rng([style.seed, 1])
    rows, columns = 12, 18
    up, around = np.meshgrid(
        np.linspace(-np.pi / 2, np.pi / 2, rows), np.linspace(0, 2 * np.pi, columns), indexing="ij"
    )
    outwards = np.stack([np.cos(up) * np.sin(around), np.sin(up), np.cos(up) * np.cos(around)], -1).reshape(-1, 3)
    radius = rng.uniform(0.26, 0.38) * (1 + 0.05 * np.sin(around * 3 + up * 4)).reshape(-1, 1)
    height = rng.uniform(7.7, 8.62)
    centre = np.array([0, height, np.interp(height, (7.7, 8.1, 8.62), (-0.72, -0.55, 0.25))])
    rest = (centre + outwards * radius * (1, 0.85, 1)).astype(np.float32)
    weights = np.zeros((len(rest), len(BONE)), np.float32)
    weights[:, BONE["head"]] = 1
    cut = np.ones(len(rest), np.float32)
    faces = grid(rows, columns)
    return Shape(rest, to_head(vertices, heads, rest), outwards.astype(np.float32), faces, cut, weights)
