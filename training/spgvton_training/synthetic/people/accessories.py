"""What is worn on the head: hats (cap, beanie, brimmed hat) and glasses (sunglasses, clear ones), as meshes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Final

import numpy as np

from spgvton_training.synthetic.drawing.arrays import Float, Int, grid
from spgvton_training.synthetic.drawing.texture import colour_array
from spgvton_training.synthetic.people import body
from spgvton_training.synthetic.people.assets import BODY, BONE, load
from spgvton_training.synthetic.people.hair import scalp
from spgvton_training.synthetic.people.hairstyle import above_hat_line

HATS: Final = ("cap", "beanie", "brimmed")
_HAT_CHANCE, _GLASSES_CHANCE, _SUN = 0.09, 0.10, 0.6
_COLOURS: Final = colour_array(
    (28, 28, 32), (236, 234, 228), (150, 30, 38), (38, 56, 104), (196, 176, 140), (92, 100, 76), (120, 116, 114),
    (214, 160, 52), (206, 120, 140),
)  # fmt: skip
_FRAMES: Final = colour_array((24, 22, 22), (86, 54, 34), (150, 120, 70), (120, 26, 34), (190, 190, 192))
_LENSES: Final = colour_array((24, 24, 28), (52, 38, 28), (34, 46, 54), (60, 44, 62))


@dataclass(frozen=True, eq=False)
class Hat:
    """A hat; lengths in decimetres."""

    kind: str
    colour: Float  # (3,) RGB in [0, 255]
    second: Float  # visor, fold or ribbon
    brim: float
    height: float


@dataclass(frozen=True, eq=False)
class Glasses:
    """Glasses; half width and height of a lens in decimetres."""

    sun: bool
    frame: Float  # (3,) RGB
    lens: Float  # (3,)
    width: float
    height: float
    square: float  # exponent of the outline: 2 round .. 5 square
    rim: float


@dataclass(frozen=True, eq=False)
class Accessories:
    """What somebody wears on the head."""

    hat: Hat | None = None
    glasses: Glasses | None = None


def sample_accessories(rng: np.random.Generator) -> Accessories:
    """Mostly none."""
    hat = glasses = None
    if rng.random() < _HAT_CHANCE:
        kind = str(rng.choice(HATS, p=[0.42, 0.33, 0.25]))
        colour, second = _COLOURS[rng.choice(len(_COLOURS), 2, replace=False)]
        if rng.random() < 0.5:
            second = colour * 0.85
        hat = Hat(kind, colour, second, brim=rng.uniform(0.55, 0.95), height=rng.uniform(0.10, 0.40))
    if rng.random() < _GLASSES_CHANCE:
        glasses = Glasses(
            sun=bool(rng.random() < _SUN), frame=_FRAMES[rng.integers(len(_FRAMES))], lens=_LENSES[rng.integers(4)],
            width=rng.uniform(0.20, 0.25), height=rng.uniform(0.13, 0.19), square=rng.uniform(2, 4.5),
            rim=rng.uniform(0.030, 0.055),
        )  # fmt: skip
    return Accessories(hat, glasses)


@dataclass(frozen=True)
class Worn:
    """A mesh that moves with the head. n vertices."""

    name: (
        str  # hat, brim, glasses, lens; all but a hat are sheets: the second half of their triangles is the other side
    )
    rest: Float  # (n, 3) on the base head: where paint goes
    vertices: Float  # (n, 3)
    triangles: Int
    cut: Float = field(default_factory=lambda: np.zeros(0, np.float32))  # (n,), empty: all is drawn


def head_weights(count: int) -> Float:
    """Skinning weights (COUNT, B) of what moves with the head."""
    weights = np.zeros((count, len(BONE)), np.float32)
    weights[:, BONE["head"]] = 1
    return weights


# ------------------------------------------------------------------ hats
def _fit(vertices: Float, points: Float) -> Float:
    """Points (n, 3) beside the base head, moved to a morphed one (V, 3): scaled and shifted along each axis as the skull is."""
    skull = scalp()
    near = np.abs(above_hat_line(skull.rest)) < 0.35
    before, after = skull.rest[near], skull.at(vertices[BODY])[near]
    scale = after.std(0) / before.std(0)
    return np.asarray((points - before.mean(0)) * scale + after.mean(0), np.float32)


def hat_meshes(hat: Hat, vertices: Float) -> list[Worn]:
    """The crown, and a brim, on a morphed body (V, 3)."""
    skull = scalp()
    height, rest = above_hat_line(skull.rest), skull.rest
    # where the skin bends inwards, cloth does not: push from the middle of the head, not along the skin
    outwards = body.unit((rest - np.array([0, 7.35, 0.47], np.float32)) * np.array([1.1, 0.75, 0.9], np.float32))
    upper = np.clip(height / 0.9, 0, 1)
    away = {"cap": 0.14, "beanie": 0.14, "brimmed": 0.12}[hat.kind] * (0.75 + 0.55 * np.clip(height / 0.4, 0, 1))
    out = skull.at(vertices[BODY]) + outwards * away[:, None]
    if hat.kind == "beanie":
        out = out + np.array([0, 1, -0.25], np.float32) * (hat.height * upper**2)[:, None]
        fold = np.clip((0.34 - height) / 0.05, 0, 1)
        out = out + outwards * (0.05 * fold)[:, None]
    elif hat.kind == "brimmed":
        side = outwards * (1, 0, 1) * (0.16 * np.clip(height / 0.5, 0, 1))[:, None]
        crease = -0.16 * np.exp(-((rest[:, 0] / 0.22) ** 2)) * upper
        out = out + side + np.array([0, 1, 0], np.float32) * (0.30 * upper + crease)[:, None]
    else:
        front = np.clip((rest[:, 2] - 0.7) / 0.5, 0, 1) * upper
        out = out + np.array([0, 0.12, 0.10], np.float32) * front[:, None]
    parts = [Worn("hat", rest, out.astype(np.float32), skull.triangles, height)]
    if hat.kind != "beanie":
        brim = _brim(hat)
        parts.append(Worn("brim", brim, _fit(vertices, brim), grid(8, 40)))
    return parts


def _brim(hat: Hat) -> Float:
    """A visor in front, or a ring around the head; (8 * 40, 3) on the base head."""
    whole = hat.kind == "brimmed"
    reach = np.pi if whole else 1.15
    angle, t = np.meshgrid(np.linspace(-reach, reach, 40), np.linspace(0, 1, 8))
    x, z = np.sin(angle) * 0.84, 0.50 + np.cos(angle) * 1.04
    if whole:
        x, z = x + t * hat.brim * 0.9 * np.sin(angle), z + t * hat.brim * 0.9 * np.cos(angle)
        sink = 0.10 * t**2 - 0.06 * t**2 * np.cos(2 * angle)
    else:
        length = hat.brim * np.clip(np.cos(angle * np.pi / 2 / reach), 0, 1) ** 0.6
        z = z + t * length
        x = x * (1 - 0.10 * t)
        sink = t * length * 0.30 + 0.22 * (x / 0.8) ** 2 * t
    y = 7.44 + 0.27 * (0.50 + np.cos(angle) * 1.04 - 0.4) + 0.03 - sink
    return np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32)


# ------------------------------------------------------------------ glasses
_EYE_X, _EYE_Y, _FRONT = 0.315, 7.265, 1.60


@cache
def _eye_middles() -> tuple[Int, tuple[Float, Float]]:
    """Vertices of both eyes: their numbers, and the rest-pose middles of the left and the right one."""
    eyes = np.unique(load().quads["eyes"])
    v = load().vertices[eyes]
    return eyes, (v[v[:, 0] > 0].mean(0), v[v[:, 0] < 0].mean(0))


def glasses_meshes(glasses: Glasses, vertices: Float) -> list[Worn]:
    """Rims, bridge and temples, and the lenses of sunglasses, on a morphed body (V, 3)."""
    rims, rim_faces, start = [], [], 0
    lenses, lens_faces, lens_start = [], [], 0
    angle = np.linspace(0, 2 * np.pi, 33)
    round_x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2 / glasses.square)
    round_y = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2 / glasses.square)
    for side in (-1, 1):
        rings = []
        for grow in (glasses.rim, 0.0):
            ring = np.stack(
                [side * _EYE_X + round_x * (glasses.width + grow), _EYE_Y + round_y * (glasses.height + grow)], 1
            )
            rings.append(ring)
        rims.append(np.concatenate(rings))
        rim_faces.append(grid(2, 33) + start)
        start += 66
        if glasses.sun:
            lenses.append(np.concatenate([np.repeat(rings[1].mean(0)[None], 33, 0), rings[1]]))
            lens_faces.append(grid(2, 33) + lens_start)
            lens_start += 66
    edge, top = glasses.width + glasses.rim, _EYE_Y + glasses.height * 0.55
    inner, half = _EYE_X - glasses.width - 0.01, max(glasses.rim * 0.7, 0.028)
    x = np.linspace(-inner, inner, 9)
    bridge = np.concatenate([np.stack([x, top + s * half - 0.02 + 0.03 * (1 - (x / inner) ** 2)], 1) for s in (1, -1)])
    rims.append(bridge)
    rim_faces.append(grid(2, 9) + start)
    start += 18
    flat = np.concatenate(rims)
    points = [np.column_stack([flat, _FRONT - 0.34 * flat[:, 0] ** 2])]
    for side in (-1, 1):
        t = np.linspace(0, 1, 8)
        x = side * (_EYE_X + edge - 0.01 + t * (0.84 - _EYE_X - edge))
        z = _FRONT - 0.34 * (_EYE_X + edge) ** 2 - t * 0.95
        points.append(np.concatenate([np.stack([x, top + s * half + 0 * t, z], 1) for s in (1, -1)]))
        rim_faces.append(grid(2, 8) + start)
        start += 16
    frame = np.concatenate(points).astype(np.float32)
    parts = [Worn("glasses", frame, _onto_face(vertices, frame), _both_sides(rim_faces))]
    if lenses:
        flat = np.concatenate(lenses)
        lens = np.column_stack([flat, _FRONT - 0.01 - 0.34 * flat[:, 0] ** 2]).astype(np.float32)
        parts.append(Worn("lens", lens, _onto_face(vertices, lens), _both_sides(lens_faces)))
    return parts


def _both_sides(sheets: list[Int]) -> Int:
    """The triangles of several sheets: one side of all, then the other side of all."""
    halves = [np.split(faces, 2) for faces in sheets]
    return np.concatenate([half[side] for side in (0, 1) for half in halves])


def _onto_face(vertices: Float, points: Float) -> Float:
    """Points (n, 3) before the base face, moved before the eyes of a morphed one; the temples keep to the skull."""
    eyes, (left, right) = _eye_middles()
    v, side = vertices[eyes], load().vertices[eyes, 0] > 0
    new_left, new_right = v[side].mean(0), v[~side].mean(0)
    scale = np.array([(new_left[0] - new_right[0]) / (left[0] - right[0]), 1, 1], np.float32)
    front = (points - (left + right) / 2) * scale + (new_left + new_right) / 2
    share = np.clip((points[:, 2:] - 0.75) / 0.6, 0, 1)
    return np.asarray(front * share + _fit(vertices, points) * (1 - share), np.float32)
