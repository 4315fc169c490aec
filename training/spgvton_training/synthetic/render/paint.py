"""The colour, semantic label and gloss of every visible point, painted in rest-pose coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import labels
from spgvton_training.synthetic.clothes.garment import Garment
from spgvton_training.synthetic.clothes.hood import worn_colours
from spgvton_training.synthetic.clothes.jacket import shadow_of_fronts
from spgvton_training.synthetic.drawing.arrays import Float, Int
from spgvton_training.synthetic.drawing.raster import interpolate
from spgvton_training.synthetic.drawing.texture import lookup
from spgvton_training.synthetic.people.assets import BODY, BONES, bone_weight, load
from spgvton_training.synthetic.people.carried import under_strap
from spgvton_training.synthetic.people.face import paint_eyes, paint_face
from spgvton_training.synthetic.people.hairstyle import above_hairline, above_hat_line
from spgvton_training.synthetic.people.identity import Identity
from spgvton_training.synthetic.render.assembly import Part
from spgvton_training.synthetic.render.hair_paint import paint_hair


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
    seed: int  # of the photo: film-like variation of denim

    def rng(self, part: str) -> np.random.Generator:
        """A generator of its own for each part: what one part shows cannot change another."""
        return np.random.default_rng([self.seed, len(part), ord(part[0])])


_UNDER_STRAPS: Final = ("body", "top", "inner", "dress", "pants", "under", "skirt")
Paint = tuple[Float, NDArray[np.uint8], float]  # colours (n, 3) in [0, 255], labels (n,), gloss


def paint(painter: Painter, surface: Surface) -> Paint:
    """Colours, labels and gloss of SURFACE."""
    colours, ids, gloss = _PAINTS[surface.part.name](painter, surface)
    bag = painter.identity.bag
    if bag is not None and surface.part.name in _UNDER_STRAPS:
        covered, level = under_strap(bag, surface.rest)
        colours[covered] = bag.colour * level[covered, None]
        ids[covered] = labels.BACKGROUND
    return colours, ids, gloss


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
    """Skin and face, and the scalp under the hair."""
    identity, q, masks = painter.identity, surface.rest, load().masks
    nearest = surface.corners[np.arange(len(q)), surface.bary.argmax(1)]
    colours = _fill(surface, identity.face.skin)
    on_head = np.flatnonzero(q[:, 1] > 5.9)
    q, corners, bary = q[on_head], surface.corners[on_head], surface.bary[on_head]
    face = paint_face(identity.face, identity.hair.colour, q, corners, bary)
    line = above_hairline(identity.hair, q)
    scalp = (q[:, 1] > 6.3) & (np.abs(q[:, 0]) < 1) & (masks["ears"][nearest[on_head]] < 0.4)
    share = np.clip((line + 0.06) / 0.12, 0, 1) * scalp * (0.0 if identity.hair.kind == "bald" else 0.55)
    colours[on_head] = _blend(face, identity.hair.colour, share)
    return colours, body_labels()[nearest], 0.10


@cache
def _eye_centres() -> Float:
    """Middles (2, 3) of the left and the right eye on the base mesh."""
    v = load().vertices[np.unique(load().quads["eyes"])]
    eyes = (v[v[:, 0] > 0], v[v[:, 0] < 0])
    return np.stack([(e.min(0) + e.max(0)) / 2 for e in eyes])


def _paint_eye(painter: Painter, surface: Surface) -> Paint:
    return paint_eyes(painter.identity.face, surface.rest, _eye_centres()), _label(surface, labels.FACE), 0.3


def _paint_lash(painter: Painter, surface: Surface) -> Paint:
    return _fill(surface, painter.identity.hair.colour * 0.30 + 12), _label(surface, labels.FACE), 0.0


def _paint_garment(painter: Painter, surface: Surface) -> Paint:
    assert surface.front is not None
    garment = painter.garment
    uv = interpolate(garment.canvas.uv, surface.corners + surface.part.uv_start, surface.bary) - np.float32(0.5)
    colours = lookup(garment.front, uv[:, 0], uv[:, 1])
    behind = np.flatnonzero(~surface.front)
    colours[behind] = lookup(garment.back, uv[behind, 0], uv[behind, 1])
    return colours.astype(np.float32), _label(surface, _garment_label(garment)), 0.0


def _garment_label(garment: Garment) -> int:
    if garment.spec.dress is not None:
        return labels.DRESS
    return labels.UPPER_CLOTHES if garment.spec.opening is None else labels.COAT


def _paint_inner(painter: Painter, surface: Surface) -> Paint:
    """What an open jacket leaves free, shaded by its fronts."""
    garment = painter.garment
    assert garment.inner is not None
    assert garment.spec.opening is not None
    uv = interpolate(garment.canvas.uv, surface.corners, surface.bary) - np.float32(0.5)
    x, y = interpolate(garment.canvas.layout.xy, surface.corners, surface.bary).T
    shadow = shadow_of_fronts(garment.spec.opening.beside(x, y))
    colours = lookup(garment.inner.print, uv[:, 0], uv[:, 1]) * shadow[:, None]
    return colours.astype(np.float32), _label(surface, labels.UPPER_CLOTHES), 0.0


def _paint_hood(painter: Painter, surface: Surface) -> Paint:
    """The cloth of the back, around the roll."""
    garment, where = painter.garment, surface.rest
    hood, field = garment.spec.hood, garment.canvas
    assert hood is not None
    x, y = np.sin(where[:, 0] / 2 - np.pi / 2) * 1.5, 4.2 + 0.5 * np.sin(where[:, 1])
    column, row = field.size[1] / 2 + x * field.scale, field.size[0] / 2 - (y - field.layout.centre) * field.scale
    cloth = lookup(garment.back, column, row).astype(np.float32)
    return worn_colours(hood, cloth, where), _label(surface, _garment_label(garment)), 0.0


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
    return (
        *paint_hair(painter.identity.hair, painter.identity.face.skin, surface.rest, cap=surface.part.name == "hair"),
        0.06,
    )


def _paint_hat(painter: Painter, surface: Surface) -> Paint:
    """Panels and button of a cap, knit and fold of a beanie, ribbon of a brimmed hat."""
    hat = painter.identity.accessories.hat
    assert hat is not None
    q, height = surface.rest, above_hat_line(surface.rest)
    angle = np.arctan2(q[:, 0], q[:, 2] - 0.45)
    colours = _fill(surface, hat.colour)
    if hat.kind == "beanie":
        fold = (height < 0.34).astype(np.float32)
        colours = _blend(colours, hat.second, fold)
        colours *= (1 + 0.10 * np.sin(angle * 60) - 0.25 * (np.abs(height - 0.34) < 0.025))[:, None]
    elif hat.kind == "cap":
        colours *= (1 - 0.25 * (np.abs(np.sin(angle * 3)) < 0.035) * (height > 0.1))[:, None]
        badge = np.hypot(q[:, 0], (height - 0.42) * 1.2) < 0.20
        colours[badge & (q[:, 2] > 0.6)] = hat.second
    else:
        colours[height < 0.26] = hat.second * 0.9
    return colours, _label(surface, labels.HAT), 0.02


def _paint_brim(painter: Painter, surface: Surface) -> Paint:
    hat = painter.identity.accessories.hat
    assert hat is not None
    return _fill(surface, hat.second if hat.kind == "cap" else hat.colour), _label(surface, labels.HAT), 0.02


def _paint_glasses(painter: Painter, surface: Surface) -> Paint:
    glasses = painter.identity.accessories.glasses
    assert glasses is not None
    return _fill(surface, glasses.frame), _label(surface, labels.SUNGLASSES), 0.4


def _paint_lens(painter: Painter, surface: Surface) -> Paint:
    """Tinted glass, lighter at the bottom, with a reflected window."""
    glasses = painter.identity.accessories.glasses
    assert glasses is not None
    x, y, _ = surface.rest.T
    lower = np.clip((7.40 - y) / 0.35, 0, 1)
    colours = _fill(surface, glasses.lens * 0.75) * (1 + 0.7 * lower)[:, None]
    glint = np.clip(1 - np.abs((np.abs(x) - 0.36) + 0.6 * (y - 7.30)) / 0.045, 0, 1) * (y > 7.24)
    return _blend(colours, np.full(3, 190, np.float32), 0.45 * glint), _label(surface, labels.SUNGLASSES), 0.2


def _paint_bag(painter: Painter, surface: Surface) -> Paint:
    """A flap that ends halfway down, with a clasp."""
    bag = painter.identity.bag
    assert bag is not None
    x, y, z = surface.rest.T
    middle = -0.35 - 0.6 * bag.size
    edge = np.abs(y - middle + 0.1) < 0.03
    colours = _fill(surface, bag.colour * 0.95) * (1 - 0.45 * edge)[:, None]
    clasp = (np.hypot(x - bag.side * 2.0, y - middle + 0.1) < 0.10) & (z > 0.55)
    colours[clasp] = (190, 176, 130)
    return colours, _label(surface, labels.BACKGROUND), 0.15


def _paint_phone(painter: Painter, surface: Surface) -> Paint:
    """Its back: one colour and the cameras."""
    x, y, _ = surface.rest.T
    tone = (28, 44, 200, 225)[painter.identity.seed % 4]
    colours = _fill(surface, np.full(3, tone, np.float32))
    lens = np.minimum(np.hypot(x + 0.20, y - 0.58), np.hypot(x + 0.20, y - 0.40))
    colours[lens < 0.08] = 12
    return colours, _label(surface, labels.BACKGROUND), 0.3


_PAINTS: Final[dict[str, Callable[[Painter, Surface], Paint]]] = {
    "body": _paint_body,
    "eye": _paint_eye,
    "lash": _paint_lash,
    "top": _paint_garment,
    "inner": _paint_inner,
    "hood": _paint_hood,
    "dress": _paint_garment,
    "pants": _paint_trousers,
    "under": _paint_trousers,
    "skirt": _paint_skirt,
    "shoe": _paint_shoe,
    "bag": _paint_bag,
    "phone": _paint_phone,
    "hair": _paint_hair,
    "curtain": _paint_hair,
    "hat": _paint_hat,
    "brim": _paint_brim,
    "glasses": _paint_glasses,
    "lens": _paint_lens,
}
