"""Hair: a cap over the scalp of the body mesh, and a curtain behind the head for long hair."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton_training.synthetic import body
from spgvton_training.synthetic.assets import BODY, BONE, Float, Int, bone_weight, load, triangles

SHOULDER_LONG: Final = 2
_CAP: Final = {0: 0.10, 1: 0.20, 2: 0.20, 3: 0.17}  # thickness by style
_LENGTH: Final = {2: 2.1, 3: 4.2}
# the hair line in profile: height over depth
_LINE_Z: Final = (-0.6, -0.3, 0.0, 0.22, 0.34, 0.50, 0.66, 0.80, 0.92, 1.0, 1.15, 1.4, 1.7)
_LINE_Y: Final = (6.35, 6.45, 6.62, 6.95, 7.32, 7.44, 7.40, 7.22, 7.40, 7.66, 7.86, 8.02, 8.10)
_COLUMNS, _ROWS = 56, 26  # of the curtain


@dataclass(frozen=True)
class Hair:
    """Rest-pose hair. The curtain is empty for short hair."""

    cap: Float  # (n, 3)
    curtain: Float  # (m, 3)
    curtain_weights: Float  # (m, B)


@dataclass(frozen=True)
class Scalp:
    """The part of the body mesh that hair grows on."""

    vertices: NDArray[np.intp]  # (n,) body vertices
    triangles: Int  # into `vertices`
    above_line: Float  # (n,) height above the hair line
    weights: Float  # (n, B)


def above_hairline(points: Float) -> Float:
    """Height (n,) of rest-pose points (n, 3) above the hair line."""
    return (points[:, 1] - np.interp(points[:, 2], _LINE_Z, _LINE_Y)).astype(np.float32)


@cache
def scalp() -> Scalp:
    """Find the scalp once: above the hair line, on the head, neither ear nor the inside of mouth and eyes."""
    assets = load()
    v, weights = assets.vertices[BODY], assets.weights[BODY]
    line = above_hairline(v)
    head = (v[:, 1] > 6.3) & (np.abs(v[:, 0]) < 0.95) & (bone_weight(weights, "head", "neck03", "neck02") > 0.5)
    inside = (np.hypot(v[:, 0] / 0.72, v[:, 2] - 0.55) < 0.55) & (v[:, 1] < 7.8)
    chosen = (line > -0.12) & head & ~inside & (assets.masks["ears"][BODY] < 0.5)
    quads = assets.quads["body"]
    quads = quads[chosen[quads].all(1)]
    vertices = np.flatnonzero(chosen)
    number = np.full(len(v), -1)
    number[vertices] = np.arange(len(vertices))
    return Scalp(vertices, triangles(number[quads]), line[vertices], weights[vertices])


@cache
def curtain_triangles() -> Int:
    """Triangles of the curtain, both sides."""
    row, column = np.mgrid[0 : _ROWS - 1, 0 : _COLUMNS - 1].reshape(2, -1)
    corner = row * _COLUMNS + column
    front = triangles(np.stack([corner, corner + 1, corner + _COLUMNS + 1, corner + _COLUMNS], 1))
    return np.concatenate([front, front[:, ::-1]])


@cache
def curtain_rest(style: int) -> tuple[Float, Float]:
    """Base-body curtain (m, 3) of a long STYLE and the angle (m,) of each vertex around the head; 0 is the front."""
    angle, y = np.meshgrid(
        np.linspace(np.radians(62), np.radians(298), _COLUMNS), np.linspace(7.9, 7.9 - _LENGTH[style], _ROWS)
    )
    fall = np.clip((7.0 - y) / 4, 0, 1)
    a = 0.90 + 0.30 * fall - 0.12 * np.clip(7.3 - y, 0, 1) * np.clip(y - 5.2, 0, 1)
    b = 1.02 + 0.12 * fall
    crown = np.clip((y - 7.3) / 0.6, 0, 1)
    x = np.sin(angle) * a * (1 - 0.12 * crown)
    z = (0.42 + np.cos(angle) * b - 0.25 * np.clip(6.2 - y, 0, 1)) * (1 - 0.05 * crown)
    return np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32), angle.ravel().astype(np.float32)


def grow(vertices: Float, heads: Float, style: int, seed: int) -> Hair:
    """Hair of STYLE on a morphed body (V, 3) with bone HEADS (B, 3)."""
    assets, skull = load(), scalp()
    wave = np.random.default_rng([seed, 0]).standard_normal(3)
    rest = assets.vertices[skull.vertices]
    thick = np.clip((skull.above_line + 0.05) / 0.35, 0.02, 1) * _CAP[style]
    if style > 0:
        thick = thick * (1 + 0.25 * np.sin(rest[:, 0] * 5 + wave[0] * 3))
    if style < SHOULDER_LONG:
        thick = thick + 0.10 * np.clip((rest[:, 1] - 8.1) / 0.4, 0, 1)
    normal = body.normals(vertices[BODY], triangles(assets.quads["body"]))[skull.vertices]
    cap = (vertices[skull.vertices] + normal * thick[:, None]).astype(np.float32)
    if style < SHOULDER_LONG:
        return Hair(cap, np.zeros((0, 3), np.float32), np.zeros((0, len(BONE)), np.float32))

    base, angle = curtain_rest(style)
    y = base[:, 1]
    left, right = ear_tips()
    width = np.linalg.norm(vertices[left] - vertices[right]) / np.linalg.norm(
        assets.vertices[left] - assets.vertices[right]
    )
    rest_heads, _ = body.joints(assets.vertices)
    curtain = (base - rest_heads[BONE["head"]]) * np.array([width, 1, width], np.float32) + heads[BONE["head"]]
    strand = 0.05 * np.sin(angle * 7 + wave[1] * 4) * np.clip(7.2 - y, 0, 1)
    curtain = curtain + strand[:, None] * np.stack([np.sin(angle), 0 * angle, np.cos(angle)], 1)
    # the ends rest on the shoulders
    weights = np.zeros((len(base), len(BONE)), np.float32)
    weights[:, BONE["spine01"]] = np.clip((6.6 - y) / 1.6, 0, 1) * 0.75
    weights[:, BONE["head"]] = 1 - weights[:, BONE["spine01"]]
    return Hair(cap, curtain.astype(np.float32), weights)


@cache
def ear_tips() -> tuple[int, int]:
    """Vertices furthest out on the left and the right ear."""
    assets = load()
    x = np.where(assets.masks["ears"] > 0.5, assets.vertices[:, 0], 0)
    return int(x.argmax()), int(x.argmin())
