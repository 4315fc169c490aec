"""The colour, semantic label and gloss of every visible point, painted in rest-pose coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import labels
from spgvton_training.synthetic.assembly import Part
from spgvton_training.synthetic.assets import BODY, BONES, Float, Int, bone_weight, load
from spgvton_training.synthetic.garment import Garment
from spgvton_training.synthetic.hair import above_hairline
from spgvton_training.synthetic.person import Identity
from spgvton_training.synthetic.raster import interpolate
from spgvton_training.synthetic.texture import lookup


@dataclass(frozen=True)
class Surface:
    """The visible points of one part."""

    part: Part
    rest: Float  # (n, 3)
    corners: Int  # (n, 3) vertices of the part
    bary: Float  # (n, 3)
    front: NDArray[np.bool_] | None = None  # (n,) on the front panel (garment only)


@dataclass(frozen=True)
class Painter:
    """What the paint functions need to know."""

    identity: Identity
    garment: Garment
    seed: int  # of the photo: film-like variation of denim and shaved hair

    def rng(self, part: str) -> np.random.Generator:
        """A generator of its own for each part: what one part shows cannot change another."""
        return np.random.default_rng([self.seed, len(part), ord(part[0])])


Paint = tuple[Float, NDArray[np.uint8], float]  # colours (n, 3) in [0, 255], labels (n,), gloss


def paint(painter: Painter, surface: Surface) -> Paint:
    """Colours, labels and gloss of SURFACE."""
    return _PAINTS[surface.part.name](painter, surface)


def _fill(surface: Surface, colour: Float) -> Float:
    return np.tile(np.asarray(colour, np.float32), (len(surface.rest), 1))


def _label(surface: Surface, label: int) -> NDArray[np.uint8]:
    return np.full(len(surface.rest), label, np.uint8)


def _blend(colours: Float, other: Float, share: Float) -> Float:
    return colours + (other - colours) * share[:, None]


@cache
def body_labels() -> NDArray[np.uint8]:
    """Semantic label of each body vertex (13380,). Neck and chest are torso skin."""
    weights, rest = load().weights[BODY], load().vertices[BODY]
    out = np.full(len(rest), labels.TORSO_SKIN, np.uint8)
    head = bone_weight(weights, "head", "neck03")
    jaw = rest[:, 1] - (6.05 + 0.35 * (rest[:, 2] < 0.9))
    out[(head > 0.5) | ((head > 0.3) & (jaw > 0))] = labels.FACE
    for side, arm, leg in (("L", labels.LEFT_ARM, labels.LEFT_LEG), ("R", labels.RIGHT_ARM, labels.RIGHT_LEG)):
        for label, names in (
            (arm, ("upperarm", "lowerarm", "wrist", "finger")),
            (leg, ("upperleg", "lowerleg", "foot")),
        ):
            bones = [b for b in BONES if b.endswith(side) and b.startswith(names)]
            out[bone_weight(weights, *bones) > 0.5] = label
    return out


def _paint_body(painter: Painter, surface: Surface) -> Paint:
    """Skin, lips, cheeks, eye lids, brows, beard, and the shadow of the hair line."""
    identity, q, masks = painter.identity, surface.rest, load().masks
    nearest = surface.corners[np.arange(len(q)), surface.bary.argmax(1)]
    colours = _fill(surface, identity.skin)
    on_head = np.flatnonzero(q[:, 1] > 5.9)
    q, corners, bary = q[on_head], surface.corners[on_head], surface.bary[on_head]
    x, y, z = np.abs(q[:, 0]), q[:, 1], q[:, 2]
    face = colours[on_head]
    lips = interpolate(masks["lips"], corners, bary) * (0.85 if identity.female else 0.5)
    face = _blend(face, identity.lips * (float(identity.skin.mean()) / 215) ** 0.5, lips)
    cheeks = np.exp(-(((x - 0.42) / 0.22) ** 2 + ((y - 6.95) / 0.22) ** 2)) * (z > 0.9)
    face *= 1 - 0.10 * cheeks[:, None] * np.array([-0.1, 1, 0.9], np.float32)
    lids = interpolate(masks["eyelids"], corners, bary)
    face *= (1 - lids * (0.35 if identity.female else 0.18))[:, None]
    arch = 7.50 + 0.055 * np.clip(1 - ((x - 0.36) / 0.22) ** 2, -1, 1) - 0.05 * np.clip(x - 0.4, 0, 1)
    brows = np.exp(-(((y - arch) / (0.030 if identity.female else 0.042)) ** 2)) * ((x > 0.13) & (x < 0.56) & (z > 1.0))
    face = _blend(face, identity.hair_colour * 0.7, 0.75 * brows)
    if identity.beard:
        beard = np.clip((6.75 - y) / 0.2, 0, 1) * np.clip((y - 6.0) / 0.15, 0, 1) * (z > 0.75) * (1 - lips)
        moustache = np.exp(-(((y - 6.77) / 0.05) ** 2)) * (x < 0.28) * (z > 1.2)
        face = _blend(face, identity.hair_colour, 0.5 * np.maximum(beard, moustache))
    line = above_hairline(q)
    near_line = np.clip(1 - np.abs(line + 0.02) / 0.10, 0, 1) * (y > 6.3) * (x < 1) * 0.5
    under_hair = (line > 0) & (y > 6.4) & (x < 1) & (masks["ears"][nearest[on_head]] < 0.4)
    colours[on_head] = _blend(face, identity.hair_colour, np.maximum(near_line, under_hair * 0.9))
    return colours, body_labels()[nearest], 0.10


@cache
def _eye_centres() -> Float:
    """Middles (2, 3) of the left and the right eye on the base mesh."""
    v = load().vertices[np.unique(load().quads["eyes"])]
    eyes = (v[v[:, 0] > 0], v[v[:, 0] < 0])
    return np.stack([(e.min(0) + e.max(0)) / 2 for e in eyes])


def _paint_eye(painter: Painter, surface: Surface) -> Paint:
    left, right = _eye_centres()
    centre = np.where(surface.rest[:, :1] > 0, left, right)
    radius = np.hypot(surface.rest[:, 0] - centre[:, 0], surface.rest[:, 1] - centre[:, 1])
    colours = _fill(surface, np.array([222, 216, 212]))
    colours[radius < 0.068] = painter.identity.iris * 0.9
    colours[radius < 0.032] = 12
    return colours, _label(surface, labels.FACE), 0.5


def _paint_lash(painter: Painter, surface: Surface) -> Paint:
    return _fill(surface, painter.identity.hair_colour * 0.35 + 12), _label(surface, labels.FACE), 0.0


def _paint_garment(painter: Painter, surface: Surface) -> Paint:
    assert surface.front is not None
    garment = painter.garment
    uv = interpolate(garment.canvas.uv, surface.corners + surface.part.uv_start, surface.bary) - np.float32(0.5)
    colours = lookup(garment.front, uv[:, 0], uv[:, 1])
    behind = np.flatnonzero(~surface.front)
    colours[behind] = lookup(garment.back, uv[behind, 0], uv[behind, 1])
    label = labels.UPPER_CLOTHES if garment.spec.dress is None else labels.DRESS
    return colours.astype(np.float32), _label(surface, label), 0.0


def _paint_trousers(painter: Painter, surface: Surface) -> Paint:
    """Denim wear, belt line, fly, pocket lines."""
    identity, q = painter.identity, surface.rest
    x, y, z = q.T
    colours = _fill(surface, identity.bottom_colour)
    if surface.part.name == "under" and painter.garment.spec.dress is not None:
        colours = _fill(surface, painter.garment.spec.design.colours[0] * 0.5)
    if surface.part.name == "pants" and identity.denim:
        weave = painter.rng("pants").standard_normal(len(q), dtype=np.float32)
        worn = 0.25 * np.exp(-(((y + 1.8) / 1.5) ** 2)) * np.clip(z, 0, 1)
        colours *= ((1 + worn) * (1 + 0.05 * weave))[:, None]
    belt = np.abs(y - 1.72) < 0.03
    fly = (np.abs(x) < 0.03) & (y > 0.2) & (z > 0.5)
    pocket = (np.abs(np.abs(x) - 1.55 + 0.25 * (y - 1)) < 0.03) & (y > 0.4) & (y < 1.5) & (z > 0)
    colours *= ((1 - 0.35 * belt) * (1 - 0.3 * fly) * (1 - 0.3 * pocket)).astype(np.float32)[:, None]
    label = labels.PANTS
    if surface.part.name == "under":
        label = labels.SKIRT if painter.garment.spec.dress is None else labels.DRESS
    return colours, _label(surface, label), 0.0


def _paint_skirt(painter: Painter, surface: Surface) -> Paint:
    x, y, z = surface.rest.T
    pleats = 1 + 0.06 * np.sin(np.arctan2(x, z - 0.2) * 26) * np.clip((1.2 - y) / 2, 0, 1)
    return _fill(surface, painter.identity.bottom_colour) * pleats[:, None], _label(surface, labels.SKIRT), 0.0


def _paint_shoe(painter: Painter, surface: Surface) -> Paint:
    colours = _fill(surface, painter.identity.shoes)
    colours[surface.rest[:, 1] < -8.1] = painter.identity.shoes * 0.6 + 40  # the sole
    shoes = np.where(surface.rest[:, 0] > 0, labels.LEFT_SHOE, labels.RIGHT_SHOE)
    return colours, shoes.astype(np.uint8), 0.2


def _paint_hair(painter: Painter, surface: Surface) -> Paint:
    """Strands around the head and a band of shine."""
    identity, q = painter.identity, surface.rest
    angle = np.arctan2(q[:, 0] - identity.parting * 0.5 * (q[:, 1] > 7.6), q[:, 2] - np.float32(0.45))
    strands = np.random.default_rng([identity.seed, 1]).standard_normal(720)
    strands = np.convolve(strands, np.ones(3) / 3, "same")
    s = np.interp((angle + np.pi) / (2 * np.pi) * 719 + 6 * np.sin(q[:, 1] * 1.3), np.arange(720), strands)
    if identity.hair == 0:
        s = s * 0.5 + painter.rng(surface.part.name).standard_normal(len(q)) * 0.4
    shine = np.exp(-(((q[:, 1] - (7.95 + 0.15 * np.cos(angle))) / 0.16) ** 2)) * 0.35
    level = np.clip(1 + 0.20 * s + shine * (1 + 0.6 * s), 0.4, 2).astype(np.float32)
    return identity.hair_colour * level[:, None], _label(surface, labels.HAIR), 0.1


_PAINTS: Final[dict[str, Callable[[Painter, Surface], Paint]]] = {
    "body": _paint_body,
    "eye": _paint_eye,
    "lash": _paint_lash,
    "top": _paint_garment,
    "dress": _paint_garment,
    "pants": _paint_trousers,
    "under": _paint_trousers,
    "skirt": _paint_skirt,
    "shoe": _paint_shoe,
    "hair": _paint_hair,
    "curtain": _paint_hair,
}
