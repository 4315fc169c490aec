"""Light: cloth folds as bumps, ambient occlusion, cast shadows, diffuse and glossy reflection, and the background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import labels
from spgvton.video import cv2
from spgvton_training.synthetic.drawing.arrays import Float
from spgvton_training.synthetic.drawing.texture import lookup, noise
from spgvton_training.synthetic.render.backdrop import paint_outdoors, paint_room

_SKIN: Final = (
    labels.FACE, labels.TORSO_SKIN, labels.LEFT_ARM, labels.RIGHT_ARM, labels.LEFT_LEG, labels.RIGHT_LEG,
)  # fmt: skip
_FILL: Final = np.array([0.6, 0.1, 0.8], np.float32)
_SKIN_TINT: Final = np.log(np.array([1.03, 0.985, 0.97], np.float32))  # light seeps red through skin, most in shade
_BACKGROUNDS: Final = {"white": 0.20, "grey": 0.16, "gradient": 0.10, "wall": 0.08, "room": 0.34, "outdoors": 0.12}
_FAR: Final = np.float32(-99)


@dataclass(frozen=True)
class Studio:
    """Light and background of one session; all photos of an item share it."""

    light: Float  # (3,) unit vector towards the key light
    seed: int
    wall: Float | None = None  # (H, W, 3) in [0, 255]: the background; None = one drawn from the seed


def sample_studio(rng: np.random.Generator) -> Studio:
    """A key light from above and the left or the middle."""
    light = np.array([rng.uniform(-0.45, 0.05), 0.55, 0.75], np.float32)
    return Studio(light / np.linalg.norm(light), int(rng.integers(1 << 30)))


def background(studio: Studio, size: tuple[int, int]) -> Float:
    """The studio's own wall (H, W, 3) in [0, 255], or else a studio's (white, grey, a soft gradient, textured), a room, a park."""
    if studio.wall is not None:
        return studio.wall.copy()
    height, width = size
    rng = np.random.default_rng([studio.seed, 0])
    kind = rng.choice(list(_BACKGROUNDS), p=list(_BACKGROUNDS.values()))
    if kind in ("room", "outdoors"):
        return paint_room(rng, size) if kind == "room" else paint_outdoors(rng, size)
    y, x = np.linspace(0, 1, height)[:, None, None], np.linspace(-1, 1, width)[None, :, None]
    if kind == "white":
        wall = np.full((1, 1, 3), rng.uniform(240, 250))
    elif kind == "grey":
        wall = rng.uniform(195, 235) + rng.uniform(-3, 3, 3)[None, None]
    elif kind == "gradient":
        level, tint = rng.uniform(185, 240, (2, 1)), rng.uniform(-14, 14, (2, 3))
        top, bottom = level + tint
        wall = top * (1 - y) + bottom * y
    else:
        wall = rng.uniform(160, 225, 3) * (1 + 0.03 * noise(rng, height, width, height / 21, 3))[..., None]
    vignette = 1 - 0.06 * (x**2 + (2 * y - 1) ** 2) / 2
    return (wall * vignette).astype(np.float32)


def add_folds(
    normals: Float, rows: NDArray[np.intp], u: Float, v: Float, amount: Float, seed: int, *, cell: float
) -> None:
    """Tilt NORMALS[ROWS] by the slope of folds at surface coordinates u, v (n,), in place: soft hollows and sharp crests."""
    rng = np.random.default_rng(seed)
    height = 0.45 * noise(rng, 256, 256, cell, 3) - 1.25 * np.abs(noise(rng, 256, 256, cell * 1.3, 2))
    reach = 1.5
    grid = np.mgrid[0:256, 0:256].astype(np.float32)
    slope = np.dstack(
        [
            cv2.remap(height, grid[1] + dx, grid[0] + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
            - cv2.remap(height, grid[1] - dx, grid[0] - dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
            for dx, dy in ((reach, 0), (0, reach))
        ]
    )
    # the noise continues by reflection, where its slope changes sign
    (u, su), (v, sv) = _reflect(u), _reflect(v)
    found = lookup(slope, u, v)
    normals[rows, 0] += found[:, 0] * su * amount
    normals[rows, 1] -= found[:, 1] * sv * amount


def _reflect(t: Float) -> tuple[Float, Float]:
    t = np.mod(t, 510)
    back = t > 255
    return np.where(back, 510 - t, t), np.where(back, np.float32(-1), np.float32(1))


@dataclass(frozen=True)
class GBuffer:
    """What the camera sees, one entry per covered pixel of a frame of SIZE; pixel lengths are super-sampled ones."""

    size: tuple[int, int]
    pixel: NDArray[np.intp]  # (n,)
    depth: Float  # (n,) decimetres
    normals: Float  # (n, 3)
    colours: Float  # (n, 3)
    gloss: Float  # (n,)
    labels: NDArray[np.uint8]  # (n,)


def shade(buffer: GBuffer, studio: Studio, *, supersampling: int, unit: float, scale: float) -> Float:
    """Lit colours (n, 3). UNIT is the blur length in pixels of the final picture, SCALE its pixels per decimetre."""
    occlusion, shadow = _occlusion_and_shadow(buffer, studio, supersampling, unit, scale)
    n, light = buffer.normals, studio.light
    cosine = n @ light
    lit = np.clip(cosine, 0, 1) * (1 - shadow)
    wrapped = np.clip((cosine + 0.35) / 1.35, 0, 1) * (1 - shadow * 0.8)
    is_skin = np.isin(buffer.labels, _SKIN)
    diffuse = np.where(is_skin, 0.25 * lit + 0.75 * wrapped, lit)
    ambient = 0.30 + 0.14 * (0.5 + 0.5 * n[:, 1]) + 0.16 * np.clip(n @ _FILL, 0, 1)
    level = ambient * occlusion + 0.50 * diffuse * (0.6 + 0.4 * occlusion)
    half = light + np.array([0, 0, 1], np.float32)
    shine = np.clip(n @ (half / np.linalg.norm(half)), 0, 1) ** 24 * buffer.gloss * (1 - shadow)
    out = buffer.colours * (level * 1.06)[:, None]
    out[is_skin] *= np.exp(_SKIN_TINT * (1.4 - 1.2 * level[is_skin])[:, None])
    return out + (255 * 0.6 * shine)[:, None]


def _occlusion_and_shadow(
    buffer: GBuffer, studio: Studio, supersampling: int, unit: float, scale: float
) -> tuple[Float, Float]:
    """Ambient occlusion (an unsharp mask of the depth) and cast shadows (depth shifted along the light), each (n,).

    Both are soft, so they are computed at the resolution of the final picture.
    """
    height, width = buffer.size
    coarse = (width // supersampling, height // supersampling)
    depth, covered = np.zeros(height * width, np.float32), np.zeros(height * width, np.float32)
    depth[buffer.pixel], covered[buffer.pixel] = buffer.depth, 1
    depth, covered = depth.reshape(buffer.size), covered.reshape(buffer.size)

    def blurred(a: Float) -> Float:
        return cv2.GaussianBlur(cv2.resize(a, coarse, interpolation=cv2.INTER_AREA), (0, 0), 5 * unit)

    around = blurred(depth) / np.maximum(blurred(covered), 0.05)

    z = np.where(covered > 0, depth, _FAR)[supersampling // 2 :: supersampling, supersampling // 2 :: supersampling]
    shadow = np.zeros_like(z)
    slope = studio.light[:2] / studio.light[2]
    for k in (0.25, 0.5, 0.8, 1.2):  # distances along the light, decimetres
        dx, dy = round(float(slope[0]) * k * scale), round(float(-slope[1]) * k * scale)
        towards = np.array([[1, 0, -dx], [0, 1, -dy]], np.float64)
        blocker = cv2.warpAffine(z, towards, coarse, flags=cv2.INTER_NEAREST, borderValue=float(_FAR))
        shadow = np.maximum(shadow, (blocker > z + k * 0.75 + 0.10) & (blocker < z + k * 1.6 + 0.5))
    shadow = cv2.GaussianBlur(shadow.astype(np.float32), (0, 0), 1.1 * unit) * 0.55

    def fine(a: Float) -> Float:
        return cv2.resize(a, (width, height), interpolation=cv2.INTER_LINEAR).ravel()[buffer.pixel]

    return 1 - np.clip((fine(around) - buffer.depth) * 0.42, 0, 0.5), fine(shadow)
