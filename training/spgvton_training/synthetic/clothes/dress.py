"""The skirt of a dress: how it is shaped, how it lies flat below the bodice, and where it is on the body."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton_training.synthetic.clothes.outline import WAIST_X
from spgvton_training.synthetic.drawing.arrays import Float, Int, triangles
from spgvton_training.synthetic.people import body
from spgvton_training.synthetic.people.assets import SKIRT, load

WAIST: Final = 1.70  # rest-pose height where bodice and skirt meet
_COLUMNS, _ROWS = 56, 34
_AXIS: Final = 0.2  # rest-pose z of the middle of the body


@dataclass(frozen=True)
class Dress:
    """The cut of a skirt. Few values, so that its layout can be cached."""

    flare: float  # how much wider each decimetre further down, on each side


FLARES: Final = (0.08, 0.20, 0.34)  # straight, A-line, wide


@dataclass(frozen=True)
class FlatSkirt:
    """The skirt in the flat plane; n vertices of skirt_mesh()."""

    xy: Float  # (n, 2) decimetres
    depth: Float  # (n,)
    normals: Float  # (n, 3)
    front: NDArray[np.bool_]  # (m,)


@dataclass(frozen=True)
class SkirtMesh:
    """A regular net around the legs, whose columns run straight down: so do the sides of the flat skirt. n vertices."""

    near: NDArray[np.intp]  # (n, 8) vertices of MakeHuman's helper skirt
    share: Float  # (n, 8) how much of each a vertex is
    rest: Float  # (n, 3)
    angle: Float  # (n,) from the front, in radians
    triangles: Int  # (m, 3)

    def at(self, values: Float) -> Float:
        """Values (720, c) of the helper skirt on the net (n, c)."""
        return np.einsum("nk,nkc->nc", self.share, values[self.near]).astype(np.float32)


@cache
def skirt_mesh() -> SkirtMesh:
    """Build the net once."""
    v = load().vertices[SKIRT]
    around = np.arange(_COLUMNS) * 2 * np.pi / _COLUMNS - np.pi
    angle, height = np.tile(around, _ROWS), np.repeat(np.linspace(1.75, -6.8, _ROWS), _COLUMNS)
    turn = angle[:, None] - np.arctan2(v[:, 0], v[:, 2] - _AXIS)
    apart = np.abs(np.arctan2(np.sin(turn), np.cos(turn))) * 1.5  # decimetres around the body
    squares = apart**2 + (height[:, None] - v[:, 1]) ** 2
    near = np.argsort(squares, 1)[:, :8]
    share = np.exp(-np.take_along_axis(squares, near, 1) / (2 * 0.22**2)) + 1e-9
    share = (share / share.sum(1, keepdims=True)).astype(np.float32)
    row, column = np.mgrid[0 : _ROWS - 1, 0:_COLUMNS].reshape(2, -1)
    beside = (column + 1) % _COLUMNS
    corners = [
        row * _COLUMNS + column,
        (row + 1) * _COLUMNS + column,
        (row + 1) * _COLUMNS + beside,
        row * _COLUMNS + beside,
    ]
    rest = np.einsum("nk,nkc->nc", share, v[near]).astype(np.float32)
    return SkirtMesh(near, share, rest, angle.astype(np.float32), triangles(np.stack(corners, 1)))


def unroll_skirt(dress: Dress, waist: float) -> FlatSkirt:
    """Lay the skirt flat, its upper edge at WAIST (flat y): each height becomes a straight line across."""
    mesh = skirt_mesh()
    angle, height = mesh.angle, mesh.rest[:, 1]
    front = np.abs(angle[mesh.triangles]).max(1) < np.pi / 2 + 1e-4
    # sideways as far as around the body, a little more in the middle: what turns away is seen more narrow
    fold = np.where(np.abs(angle) <= np.pi / 2, angle, np.sign(angle) * (np.pi - np.abs(angle)))
    across = np.sign(fold) * np.sin(np.minimum(np.abs(fold), np.pi / 2)) ** 0.9
    drop = np.maximum(WAIST - height, -0.3)
    width = WAIST_X + dress.flare * np.maximum(drop, 0)
    xy = np.stack([across * width, waist - drop], 1).astype(np.float32)
    return FlatSkirt(xy, mesh.rest[:, 2] + np.float32(0.05), body.normals(mesh.rest, mesh.triangles), front)


def shape_skirt(vertices: Float, dress: Dress) -> Float:
    """The worn skirt (n, 3) of a morphed body (V, 3), flared from the waist down."""
    mesh = skirt_mesh()
    v = mesh.at(vertices[SKIRT])
    drop = np.maximum(1.2 - mesh.rest[:, 1], 0)
    wide = 1.03 + 0.45 * (dress.flare - FLARES[0]) * drop
    waves = 1 + 0.10 * dress.flare * drop * np.cos(mesh.angle * 9)
    v[:, 0] *= wide * waves
    v[:, 2] = (v[:, 2] - _AXIS) * (wide * 1.03) * waves + _AXIS
    return v.astype(np.float32)
