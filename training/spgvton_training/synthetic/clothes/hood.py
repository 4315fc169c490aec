"""Hoods: in the shop above the neckline, up or lying flat; worn, down: around the neck, on the shoulders and behind them.

A worn hood is a roll about the neck hole, so it follows every body. It is not in the flow: no point of a hood that lies on
the shoulders is seen at a known place of one that was laid out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton_training.synthetic.clothes import cloth
from spgvton_training.synthetic.clothes.outline import Outline
from spgvton_training.synthetic.drawing.arrays import Float, Int, grid
from spgvton_training.synthetic.people import body

_ROWS, _COLUMNS = 14, 72  # around the roll, around the neck
_AXIS: Final = 0.1  # rest-pose z of the neck's middle
_NEAR: Final = 0.30  # decimetres: vertices as near to the neck hole as this tell where it runs


@dataclass(frozen=True)
class Hood:
    """A hood; decimetres, degrees."""

    height: float = 2.4  # in the shop, above the shoulder's end: 1.3 lies flat, 3 is up
    width: float = 1.4  # half of it, in the shop
    opening: float = 0.66  # of that width is open
    bulk: float = 1.0  # how thick it lies when worn
    lining: Float | None = None  # colour (3,) of the inside; None: the cloth, darker
    cords: float = 1.4  # length of the drawstrings; 0: none
    tone: float = 235.0  # of the drawstrings


def sample_hood(rng: np.random.Generator) -> Hood:
    """A random hood."""
    height, tone = rng.uniform(1.4, 3.0), float(rng.choice([20, 120, 240]))
    grey = np.full(3, rng.uniform(60, 225), np.float32)
    return Hood(
        height=height,
        width=rng.uniform(1.2, 1.45) + 0.12 * (3.0 - height),
        opening=rng.uniform(0.58, 0.76),
        bulk=rng.uniform(0.75, 1.25),
        lining=grey if rng.random() < 0.3 else None,
        cords=rng.uniform(0.8, 2.2) if rng.random() < 0.75 else 0.0,
        tone=tone,
    )


# ------------------------------------------------------------------ in the shop
@dataclass(frozen=True, eq=False)
class LaidHood:
    """Signed distances (H, W) in the flat plane, > 0 inside: of all of it, and of its opening."""

    whole: Float
    opening: Float


def lay_hood(hood: Hood, outline: Outline, neck: tuple[float, float], x: Float, y: Float) -> LaidHood:
    """HOOD above a neck hole of NECK (half width, depth) at flat coordinates x (1, W), y (H, 1)."""
    width, depth = neck
    base = outline.neck_at(width)
    middle, half = base + 0.45 * hood.height, 0.55 * hood.height
    across = np.abs(x)
    # a dome that narrows towards the neck, where it is sewn on
    share = np.clip((y - base + 0.2) / (middle - base + 0.2), 0, 1)
    wide = width + 0.14 + (hood.width - width - 0.14) * np.sin(share * np.pi / 2)
    dome = (1 - np.hypot(across / hood.width, np.maximum(y - middle, 0) / half)) * min(hood.width, half)
    whole = np.where(y > middle, dome, np.minimum(wide - across, y - base + depth + 0.4))
    low, high = base - depth + 0.10, base + hood.height - max(0.28, 0.18 * hood.height)
    centre, reach = (low + high) / 2, (high - low) / 2
    # pointed where both edges meet at the throat
    narrow = 0.55 + 0.45 * np.clip((y - low) / (0.8 * reach), 0, 1)
    opening = (1 - np.hypot(across / (hood.opening * hood.width * narrow), (y - centre) / reach)) * reach * 0.7
    return LaidHood(np.asarray(whole, np.float32), np.asarray(opening, np.float32))


def paint_hood(hood: Hood, laid: LaidHood, print_: Float, scale: float) -> tuple[Float, Float, Float]:
    """The laid-out hood: colours (H, W, 3), its share and that of its inside, (H, W). PRINT_ (H, W, 3) is its cloth."""
    share, hollow = (np.clip(d * scale + 0.5, 0, 1) for d in (laid.whole, laid.opening))
    inner = laid.opening
    seam = np.clip(1 - np.abs(inner + 0.20) / 0.035, 0, 1)
    rim = np.clip(1 - np.abs(inner + 0.02) / 0.06, 0, 1)
    level = (1 - 0.25 * seam) * (1 - 0.12 * rim) * (0.80 + 0.20 * np.clip(laid.whole / 0.35, 0, 1))
    shell = print_ * level[..., None]
    inside = print_ * np.float32(0.8) if hood.lining is None else np.broadcast_to(hood.lining, print_.shape)
    deep = 0.72 - 0.34 * np.clip(inner / 0.5, 0, 1)
    colours = shell + (inside * deep[..., None] - shell) * hollow[..., None]
    return colours.astype(np.float32), share.astype(np.float32), (hollow * share).astype(np.float32)


# ------------------------------------------------------------------ worn
@dataclass(frozen=True, eq=False)
class WornHood:
    """A hood that is down, in the rest pose. n vertices."""

    vertices: Float  # (n, 3)
    where: Float  # (n, 3): angle from the front, angle around the roll (pi: towards the neck), 0
    weights: Float  # (n, B)
    triangles: Int


def wear_hood(hood: Hood, top: Float, hole: Float, gap: float, seed: int) -> WornHood:
    """HOOD on a draped TOP (S, 3) whose vertices are HOLE (S,) away from the neck hole; GAP: half that of an open front."""
    fine = cloth.fine()
    near = np.flatnonzero((np.abs(hole) < _NEAR) & (fine.rest[:, 1] > 4.3) & (np.abs(fine.rest[:, 0]) < 1.8))
    begin = 0.04 + gap / 1.1
    angle = np.linspace(begin, 2 * np.pi - begin, _COLUMNS)
    own = np.arctan2(top[near, 0], top[near, 2] - _AXIS)
    apart = np.abs(np.angle(np.exp(1j * (angle[:, None] - own))))
    share = np.exp(-0.5 * (apart / 0.12) ** 2 - 0.5 * (hole[near] / 0.12) ** 2) + 1e-12
    share = (share / share.sum(1, keepdims=True)).astype(np.float32)
    edge, weights = share @ top[near], share @ fine.weights[near]

    behind = (0.5 - 0.5 * np.cos(angle)) ** 0.6
    wrinkle = 1 + 0.10 * np.sin(angle * 5 + seed % 7) + 0.05 * np.sin(angle * 11 + seed % 5)
    rise = (0.20 + 0.55 * hood.bulk * behind) * wrinkle
    out = (0.18 + 0.54 * hood.bulk * behind) * wrinkle
    around = np.linspace(0, 2 * np.pi, _ROWS)[:, None]
    outwards = np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], 1)
    reach = out * (0.30 + 0.70 * np.cos(around))
    height = rise * (0.30 + 0.70 * np.sin(around)) - 0.12 * behind * (np.cos(around) > 0) * np.cos(around)
    vertices = edge + reach[..., None] * outwards + height[..., None] * np.array([0, 1, 0])
    where = np.stack(np.broadcast_arrays(angle[None], around, np.zeros((1, 1))), -1).reshape(-1, 3)
    return WornHood(
        vertices.reshape(-1, 3).astype(np.float32),
        where.astype(np.float32),
        np.tile(weights, (_ROWS, 1)).astype(np.float32),
        grid(_ROWS, _COLUMNS),
    )


def worn_colours(hood: Hood, cloth_: NDArray[np.float32], where: Float) -> Float:
    """Colours (n, 3) of a worn hood's points WHERE (n, 3), whose cloth has the colours CLOTH_ (n, 3)."""
    turn = where[:, 1]
    inner = np.clip((np.sin(turn - 0.9) * 0.2 - np.cos(turn)) * 3, 0, 1)[:, None]  # what faces the neck
    lining = cloth_ * np.float32(0.62) if hood.lining is None else np.broadcast_to(hood.lining * 0.7, cloth_.shape)
    seam = np.clip(1 - np.abs(turn - 1.35) / 0.10, 0, 1)[:, None]
    return np.asarray((cloth_ + (lining - cloth_) * inner) * (1 - 0.2 * seam), np.float32)


def normals_of(vertices: Float, triangles: Int) -> Float:
    """Normals (n, 3) of a posed roll: its first and last row are one seam."""
    out = body.normals(vertices, triangles).reshape(_ROWS, _COLUMNS, 3)
    seam = body.unit(out[0] + out[-1])
    out[0] = out[-1] = seam
    return np.asarray(out.reshape(-1, 3))
