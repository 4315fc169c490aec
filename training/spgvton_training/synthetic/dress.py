"""The skirt of a dress: how it is shaped, how it lies flat below the bodice, and where it is on the body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton_training.synthetic import body
from spgvton_training.synthetic.assets import SKIRT, Float, Int, load, triangles
from spgvton_training.synthetic.outline import WAIST_X

WAIST: Final = 1.70  # rest-pose height where bodice and skirt meet
_AXIS: Final = 0.2  # rest-pose z of the middle of the body


@dataclass(frozen=True)
class Dress:
    """The cut of a skirt. Few values, so that its layout can be cached."""

    flare: float  # how much wider each decimetre further down, on each side


FLARES: Final = (0.08, 0.20, 0.34)  # straight, A-line, wide


@dataclass(frozen=True)
class FlatSkirt:
    """The skirt in the flat plane; n = 720 vertices of the helper mesh."""

    xy: Float  # (n, 2) decimetres
    depth: Float  # (n,)
    normals: Float  # (n, 3)
    triangles: Int  # (m, 3)
    front: NDArray[np.bool_]  # (m,)


def unroll_skirt(dress: Dress, waist: float) -> FlatSkirt:
    """Lay the skirt flat, its upper edge at WAIST (flat y): each height becomes a straight line across."""
    v, faces = load().vertices[SKIRT], triangles(load().quads["skirt"]) - SKIRT.start
    angle, height = np.arctan2(v[:, 0], v[:, 2] - _AXIS), v[:, 1]
    middle = angle[faces]
    # a face is on the front if its middle is; the seam vertices are drawn onto the sides below
    front = np.abs(np.arctan2(np.sin(middle).mean(1), np.cos(middle).mean(1))) < np.pi / 2
    fold = np.where(np.abs(angle) <= np.pi / 2, angle, np.sign(angle) * (np.pi - np.abs(angle))) / (np.pi / 2)
    both = np.isin(np.arange(len(v)), faces[front]) & np.isin(np.arange(len(v)), faces[~front])
    share = np.where(both, np.sign(fold), np.sign(fold) * np.sin(np.abs(fold) * np.pi / 2) ** 0.9)
    drop = np.maximum(WAIST - height, -0.3)
    width = WAIST_X + dress.flare * np.maximum(drop, 0)
    xy = np.stack([share * width, waist - drop], 1).astype(np.float32)
    return FlatSkirt(xy, v[:, 2] + np.float32(0.05), body.normals(v, faces), faces, front)


def shape_skirt(vertices: Float, dress: Dress) -> Float:
    """The worn skirt (n, 3) of a morphed body (V, 3), flared from the waist down."""
    v = vertices[SKIRT].copy()
    drop = np.maximum(1.2 - v[:, 1], 0)
    angle = np.arctan2(v[:, 0], v[:, 2] - _AXIS)
    wide = 1.03 + 0.45 * (dress.flare - FLARES[0]) * drop
    waves = 1 + 0.10 * dress.flare * drop * np.cos(angle * 9)
    v[:, 0] *= wide * waves
    v[:, 2] = (v[:, 2] - _AXIS) * (wide * 1.03) * waves + _AXIS
    return v.astype(np.float32)
