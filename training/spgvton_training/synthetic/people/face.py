"""Faces: what differs between people, and how it is painted on the head in rest-pose coordinates.

At 256x192 a head is some 35 pixels high, so features are painted a little stronger than life: brows, the crease over the
eyes, the sides and wings of the nose, the line between the lips.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from spgvton_training.synthetic.drawing.arrays import Float, Int
from spgvton_training.synthetic.drawing.raster import interpolate
from spgvton_training.synthetic.drawing.texture import colour_array
from spgvton_training.synthetic.people.assets import load

_TONES: Final = colour_array(
    (244, 208, 184), (238, 196, 168), (226, 178, 146), (206, 152, 116), (174, 120, 86), (134, 88, 62), (96, 62, 46),
    (70, 46, 36),
)  # fmt: skip
_LIPS: Final = colour_array((186, 104, 98), (186, 92, 92), (168, 96, 86), (176, 108, 104))
_LIPSTICKS: Final = colour_array(
    (186, 28, 44), (150, 24, 52), (206, 74, 96), (188, 70, 60), (120, 34, 56), (214, 104, 116)
)
_SHADOWS: Final = colour_array((92, 62, 58), (70, 66, 92), (120, 74, 84), (60, 52, 50), (96, 84, 60))
_IRIS: Final = colour_array((72, 48, 32), (62, 100, 136), (74, 110, 78), (46, 31, 24), (112, 84, 48), (112, 126, 134))
_BEARDS: Final = {"none": 0.44, "stubble": 0.24, "full": 0.14, "goatee": 0.10, "moustache": 0.08}


@dataclass(frozen=True, eq=False)
class Face:
    """The looks of one face; colours are RGB in [0, 255], strengths in [0, 1], lengths in decimetres of the base head."""

    skin: Float
    lips: Float
    lip_share: float  # how much of the lips' colour shows
    iris: Float
    brow_width: float
    brow_height: float
    brow_arch: float
    brow_share: float
    crooked: float  # how much higher the left brow is
    shadow: Float  # eye shadow
    shadow_share: float
    liner: float
    blush: float
    beard: str  # none, stubble, full, goatee, moustache
    freckles: float
    mole: tuple[float, float] | None  # x, y
    age: float  # 0 young adult .. 1 old
    seed: int


def sample_face(rng: np.random.Generator, *, female: bool, tone: float) -> Face:
    """The looks of an adult; TONE runs from 0 (light) to 1 (dark)."""
    at = np.clip(tone, 0, 1) * (len(_TONES) - 1)
    skin = np.array([np.interp(at, np.arange(len(_TONES)), channel) for channel in _TONES.T])
    skin = skin * rng.uniform(0.95, 1.03) * (1 + rng.uniform(-0.025, 0.025) * np.array([1, 0, -1]))
    made_up = female and rng.random() < 0.55
    lipstick = made_up and rng.random() < 0.55
    lips = (_LIPSTICKS if lipstick else _LIPS)[rng.integers(len(_LIPSTICKS if lipstick else _LIPS))]
    if not lipstick:
        lips = lips * (float(skin.mean()) / 205) ** 0.6
    mole = (rng.uniform(-0.55, 0.55), rng.uniform(6.3, 7.1)) if rng.random() < 0.12 else None
    return Face(
        skin=skin.astype(np.float32),
        lips=lips.astype(np.float32),
        lip_share=0.9 if lipstick else rng.uniform(0.45, 0.75),
        iris=_IRIS[
            rng.choice(6, p=(0.3, 0.13, 0.09, 0.3, 0.1, 0.08) if tone < 0.55 else (0.4, 0.01, 0.02, 0.5, 0.06, 0.01))
        ],
        brow_width=rng.uniform(0.020, 0.034) if female else rng.uniform(0.028, 0.048),
        brow_height=rng.uniform(-0.02, 0.04),
        brow_arch=rng.uniform(0.01, 0.06) if female else rng.uniform(0.0, 0.04),
        brow_share=rng.uniform(0.6, 0.95),
        crooked=rng.normal(0, 0.008),
        shadow=_SHADOWS[rng.integers(len(_SHADOWS))],
        shadow_share=rng.uniform(0.25, 0.6) if made_up else 0.0,
        liner=rng.uniform(0.4, 0.9) if made_up else rng.uniform(0.0, 0.25),
        blush=rng.uniform(0.2, 0.6) if made_up else rng.uniform(0.0, 0.3),
        beard="none" if female else str(rng.choice(list(_BEARDS), p=list(_BEARDS.values()))),
        freckles=rng.uniform(0.3, 1) if tone < 0.45 and rng.random() < 0.15 else 0.0,
        mole=mole,
        age=rng.beta(1.1, 2.2),
        seed=int(rng.integers(1 << 30)),
    )


def _spot(x: Float, y: Float, cx: float, cy: float, rx: float, ry: float) -> Float:
    return np.asarray(np.exp(-(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2)))


def _blend(colours: Float, other: Float, share: Float) -> Float:
    return colours + (other - colours) * share[:, None]


def paint_face(face: Face, hair: Float, q: Float, corners: Int, bary: Float) -> Float:
    """Colours (n, 3) of the skin of the head at rest-pose points Q (n, 3); HAIR is the colour of brows and beard."""
    masks = load().masks
    x, y, z = np.abs(q[:, 0]), q[:, 1], q[:, 2]
    in_front = np.clip((z - 0.8) / 0.2, 0, 1)
    lips = interpolate(masks["lips"], corners, bary)
    lids = interpolate(masks["eyelids"], corners, bary)
    out = np.tile(face.skin, (len(q), 1))
    out *= (1 + _forms(face, x, y) * in_front)[:, None]
    out = _tint_skin(face, out, q, in_front)
    out = _paint_lips(face, out, q, lips)
    out *= (1 - lids * (0.16 + 0.16 * face.liner))[:, None]
    out = _paint_brows(face, hair, out, q, in_front)
    if face.beard != "none":
        out = _paint_beard(face, hair, out, q, lips)
    return out.astype(np.float32)


def _forms(face: Face, x: Float, y: Float) -> Float:
    """How much lighter (> 0) or darker the forms of the face are than its skin; x >= 0."""
    dark = 0.10 * _spot(x, y, 0.16, 7.35, 0.07, 0.10) + 0.14 * _spot(x, y, 0.30, 7.425, 0.16, 0.025)  # sockets, crease
    dark += 0.12 * _spot(x, y, 0.145, 6.98, 0.045, 0.16) + 0.15 * _spot(
        x, y, 0.19, 6.88, 0.035, 0.06
    )  # nose: side, wing
    dark += 0.55 * _spot(x, y, 0.085, 6.815, 0.042, 0.022) + 0.12 * _spot(x, y, 0.0, 6.79, 0.13, 0.03)  # nostril, below
    dark += 0.14 * _spot(x, y, 0.0, 6.43, 0.16, 0.045) + 0.10 * _spot(
        x, y, 0.28, 6.60, 0.04, 0.05
    )  # under the lip, corner
    dark += 0.05 * _spot(x, y, 0.30, 7.13, 0.14, 0.05)  # under the eye
    light = 0.09 * _spot(x, y, 0.0, 7.10, 0.05, 0.22) + 0.08 * _spot(x, y, 0.0, 6.93, 0.06, 0.05)  # bridge, tip
    light += 0.05 * _spot(x, y, 0.45, 7.05, 0.14, 0.08) + 0.03 * _spot(
        x, y, 0.0, 7.75, 0.4, 0.15
    )  # cheek bone, forehead
    if face.age > 0.25:
        old = (face.age - 0.25) / 0.75
        fold = np.exp(-(((x - 0.22 - 0.45 * (6.86 - y)) / 0.025) ** 2)) * (y < 6.86) * (y > 6.52)
        lines = np.clip(np.sin((y + 0.02 * np.cos(x * 6)) * 62) - 0.55, 0, 1) * _spot(x, y, 0.0, 7.75, 0.4, 0.14)
        feet = np.clip(np.sin((y - 7.26) * 90 / (0.6 + x)) - 0.3, 0, 1) * _spot(x, y, 0.58, 7.26, 0.07, 0.10)
        bags = np.exp(-(((y - 7.125 - 0.5 * (x - 0.3) ** 2) / 0.02) ** 2)) * (x > 0.17) * (x < 0.45)
        dark += old * (0.34 * fold + 0.20 * lines + 0.18 * feet + 0.22 * bags)
    return np.asarray(light - dark)


def _tint_skin(face: Face, out: Float, q: Float, in_front: Float) -> Float:
    """Blush, freckles and a mole."""
    x, y = np.abs(q[:, 0]), q[:, 1]
    red = np.array([-0.06, 1, 0.85], np.float32)
    cheeks = _spot(x, y, 0.45, 6.97, 0.22, 0.18) * in_front
    out *= 1 - 0.18 * face.blush * cheeks[:, None] * red
    out *= 1 - 0.03 * (_spot(x, y, 0.0, 6.92, 0.10, 0.08) * in_front)[:, None] * red  # the nose is redder than the rest
    if face.freckles > 0:
        out *= (
            1
            - 0.22
            * face.freckles
            * (_speckle(face.seed, q, 26) * np.clip(_spot(x, y, 0.25, 7.0, 0.32, 0.2), 0, 1))[:, None]
        )
    if face.mole is not None:
        mole = _spot(q[:, 0], y, *face.mole, 0.022, 0.022) * in_front
        out = _blend(out, face.skin * 0.4, 0.85 * mole)
    return out


def _paint_lips(face: Face, out: Float, q: Float, lips: Float) -> Float:
    x, y, z = np.abs(q[:, 0]), q[:, 1], q[:, 2]
    line = np.exp(-(((y - 6.598 - 0.10 * (x - 0.1) ** 2) / 0.012) ** 2)) * (x < 0.23) * (z > 1.2)
    out = _blend(out, face.lips, lips * face.lip_share)
    out *= (1 - 0.16 * lips * (y > 6.6) + 0.10 * lips * _spot(x, y, 0.0, 6.54, 0.1, 0.03))[:, None]
    out *= (1 - 0.50 * line)[:, None]
    return out


def _paint_brows(face: Face, hair: Float, out: Float, q: Float, in_front: Float) -> Float:
    """Brows, and the eye shadow below them."""
    x, y = np.abs(q[:, 0]), q[:, 1]
    if face.shadow_share > 0:
        out = _blend(out, face.shadow, face.shadow_share * _spot(x, y, 0.32, 7.40, 0.17, 0.055) * in_front)
    arch = 7.50 + face.brow_height + face.crooked * np.sign(q[:, 0])
    arch = arch + face.brow_arch * np.clip(1 - ((x - 0.38) / 0.20) ** 2, -0.2, 1) - 0.10 * np.clip(x - 0.42, 0, 1)
    taper = np.clip((x - 0.11) / 0.05, 0, 1) * np.clip((0.60 - x) / 0.16, 0, 1)
    brows = np.exp(-(((y - arch) / (face.brow_width * (0.55 + 0.45 * taper))) ** 2)) * taper * in_front
    return _blend(out, hair * 0.65, np.minimum(face.brow_share * brows * 1.15, 0.92))


def _speckle(seed: int, q: Float, cells: float) -> Float:
    """Spots in [0, 1] that stay where they are on the face."""
    rng = np.random.default_rng([seed, 5])
    table = rng.random((64, 64), np.float32)
    u, v = np.floor(q[:, 0] * cells).astype(int) % 64, np.floor(q[:, 1] * cells).astype(int) % 64
    return np.asarray((table[v, u] > 0.75).astype(np.float32))


def _paint_beard(face: Face, hair: Float, out: Float, q: Float, lips: Float) -> Float:
    x, y, z = np.abs(q[:, 0]), q[:, 1], q[:, 2]
    # the cheek's edge of a beard runs from the side whiskers down to the corner of the mouth
    edge = 6.74 + 0.75 * np.clip(x - 0.34, 0, 0.6)
    jaw = np.clip((edge - y) / 0.10, 0, 1) * np.clip((y - 6.10 + 0.15 * (z < 1)) / 0.14, 0, 1) * (z > 0.62)
    moustache = np.clip(1 - np.abs(y - 6.765 + 0.10 * x) / 0.055, 0, 1) * np.clip((0.31 - x) / 0.06, 0, 1) * (z > 1.2)
    chin = jaw * np.clip((0.30 - x) / 0.08, 0, 1) * (z > 1.05)
    below_lip = 1 - 0.6 * _spot(x, y, 0.0, 6.45, 0.12, 0.03)
    area = {
        "stubble": 0.42 * np.maximum(jaw, moustache), "full": 0.88 * np.maximum(jaw, moustache),
        "goatee": 0.85 * np.maximum(chin, moustache * 0.9), "moustache": 0.85 * moustache,
    }[face.beard] * below_lip * np.clip(1 - 1.6 * lips, 0, 1)  # fmt: skip
    grain = 0.82 + 0.36 * np.random.default_rng([face.seed, 6]).random((64, 64), np.float32)
    u, v = np.floor(q[:, 0] * 55).astype(int) % 64, np.floor(q[:, 1] * 30).astype(int) % 64
    return _blend(out, hair * 0.8, np.clip(area * grain[v, u], 0, 0.95))


def paint_eyes(face: Face, q: Float, centres: Float) -> Float:
    """Colours (n, 3) of the eye balls at rest-pose points Q (n, 3); CENTRES (2, 3) of the left and the right eye."""
    centre = np.where(q[:, :1] > 0, centres[0], centres[1])
    dx, dy = q[:, 0] - centre[:, 0], q[:, 1] - centre[:, 1]
    radius = np.hypot(dx, dy)
    out = np.tile(np.array([226, 220, 216], np.float32), (len(q), 1))
    out *= (1 - 0.35 * np.clip((dy + 0.01) / 0.06, 0, 1))[:, None]  # the lid's shadow
    iris = np.clip((0.074 - radius) / 0.008, 0, 1)
    ring = face.iris * (0.62 + 0.5 * np.clip(1 - radius / 0.07, 0, 1))[:, None]
    out = _blend(out, ring, iris)
    out = _blend(out, np.full(3, 10, np.float32), np.clip((0.034 - radius) / 0.008, 0, 1))
    glint = np.exp(-(((dx + 0.022) / 0.014) ** 2 + ((dy - 0.026) / 0.014) ** 2))
    return _blend(out, np.full(3, 250, np.float32), 0.9 * glint).astype(np.float32)


def sample_face_shape(rng: np.random.Generator, names: tuple[str, ...]) -> dict[str, float]:
    """Weights of the detail targets NAMES ("l:nose-hump-incr", ...): a sign for each pair, nearly the same left and right."""
    stems: dict[str, dict[str, list[str]]] = {}
    out: dict[str, float] = {}
    for name in names:
        stem, _, way = name.rpartition("-")
        if way not in ("incr", "decr", "up", "down"):
            continue  # the whole-head shapes, chosen below
        twin = stem.replace("l:r-", "l:l-")
        stems.setdefault(twin, {}).setdefault("+" if way in ("incr", "up") else "-", []).append(name)
    for stem, ways in sorted(stems.items()):
        limit = 0.25 if any(part in stem for part in ("torso", "hip", "neck", "head-")) else 0.55
        if "mouth" in stem:
            limit = 0.35  # more of it would open the lips
        value = rng.normal(0, 0.7) * limit
        for name in ways["+" if value > 0 else "-"]:
            out[name] = float(np.clip(abs(value) * rng.uniform(0.85, 1.15), 0, limit))
    heads = sorted(name for name in names if name.startswith("l:head-") and not name.endswith(("incr", "decr")))
    for name in rng.choice(heads, 2, replace=False):
        out[str(name)] = rng.uniform(0, 0.42)
    return out
