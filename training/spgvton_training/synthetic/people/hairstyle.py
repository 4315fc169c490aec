"""Hair styles: what is sampled for a person, and where the hair line runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from spgvton_training.synthetic.drawing.arrays import Float
from spgvton_training.synthetic.drawing.texture import colour_array

_COLOURS: Final = colour_array(
    (26, 21, 19), (50, 35, 27), (88, 58, 38), (134, 94, 58), (196, 160, 104), (122, 56, 32), (128, 124, 120),
    (226, 200, 150), (158, 64, 48), (208, 206, 202),
)  # fmt: skip
_COLOUR_CHANCES: Final = (0.24, 0.22, 0.17, 0.11, 0.08, 0.06, 0.04, 0.04, 0.02, 0.02)
_FEMALE: Final = {
    "long": 0.24, "shoulder": 0.20, "bob": 0.16, "ponytail": 0.12, "bun": 0.10, "crop": 0.09, "afro": 0.07, "buzz": 0.02,
}  # fmt: skip
_MALE: Final = {
    "crop": 0.30, "side": 0.22, "buzz": 0.14, "quiff": 0.12, "bald": 0.07, "afro": 0.07, "shoulder": 0.05, "bun": 0.03,
}  # fmt: skip
# thickness of the hair on top and at the sides
_THICK: Final = {
    "bald": (0.0, 0.0), "buzz": (0.05, 0.03), "crop": (0.20, 0.07), "side": (0.22, 0.08), "quiff": (0.26, 0.05),
    "afro": (0.46, 0.34), "bob": (0.17, 0.14), "shoulder": (0.15, 0.12), "long": (0.14, 0.11), "ponytail": (0.10, 0.06),
    "bun": (0.11, 0.06),
}  # fmt: skip
_LENGTH: Final = {"bob": (1.35, 1.9), "shoulder": (2.0, 2.9), "long": (3.3, 4.8)}

# the natural hair line in profile: height over depth, from the nape over the ear to the forehead
_LINE_Z: Final = (-0.6, -0.3, 0.0, 0.22, 0.34, 0.50, 0.66, 0.78, 0.90, 1.0, 1.12, 1.3, 1.7)
_LINE_Y: Final = (6.35, 6.45, 6.62, 6.95, 7.32, 7.44, 7.40, 7.24, 7.46, 7.74, 7.88, 7.95, 7.97)


@dataclass(frozen=True, eq=False)
class Hairstyle:
    """How somebody wears their hair; lengths in decimetres of the base head."""

    kind: str
    colour: Float  # (3,) RGB in [0, 255]
    top: float  # thickness on top
    sides: float
    length: float  # of a curtain behind the head; 0: none
    fringe: float  # how far a fringe comes down over the hair line
    forehead: float  # how much higher than usual the hair line is
    recede: float  # how much higher it is at the temples
    parting: float  # x of the parting
    wave: float  # 0 straight .. 1 curly
    opening: float  # angle from the front, in radians, where a curtain begins
    strands: str  # how they run: parted, back, crown
    seed: int

    @property
    def curly(self) -> bool:
        """Curls instead of strands."""
        return self.kind == "afro"


def sample_hairstyle(rng: np.random.Generator, *, female: bool, grey: bool, tone: float = 0.3) -> Hairstyle:
    """A random style; GREY for a person who is old enough. Light hair is rarer the darker the skin: TONE 0 .. 1."""
    chances = _FEMALE if female else _MALE
    weights = np.array(list(chances.values()))
    kind = str(rng.choice(list(chances), p=weights / weights.sum()))
    first, second = rng.choice(len(_COLOURS), 2, p=_COLOUR_CHANCES)
    if rng.random() < (tone - 0.35) * 2:
        first, second = first % 3, second % 3
    colour = _COLOURS[first] + (_COLOURS[second] - _COLOURS[first]) * rng.uniform(0, 0.35)
    if grey:
        light = rng.uniform(105, 205)
        colour = colour + (light - colour) * rng.uniform(0.55, 1)
    top, sides = (thickness * rng.uniform(0.8, 1.3) for thickness in _THICK[kind])
    fringed = kind in ("bob", "shoulder", "long", "ponytail") and rng.random() < 0.28
    strands = "parted" if kind in ("bob", "shoulder", "long", "side") else "back"
    if fringed or kind in ("crop", "buzz", "afro", "bald"):
        strands = "crown"
    low, high = _LENGTH.get(kind, (0.0, 0.0))
    return Hairstyle(
        kind=kind,
        colour=colour.astype(np.float32),
        top=top,
        sides=sides,
        length=rng.uniform(low, high),
        fringe=rng.uniform(0.26, 0.40) if fringed else (rng.uniform(0, 0.2) if kind == "crop" else 0.0),
        forehead=rng.uniform(-0.10, 0.08),
        recede=0.0 if female else rng.uniform(0, 0.28),
        parting=rng.choice([-1, 1]) * rng.uniform(0.18, 0.38) if kind == "side" else rng.uniform(-0.3, 0.3),
        wave=rng.uniform(0.5, 1.0) if rng.random() < 0.35 else rng.uniform(0, 0.25),
        opening=np.radians(rng.uniform(58, 92)),
        strands=strands,
        seed=int(rng.integers(1 << 30)),
    )


def above_hairline(style: Hairstyle | None, points: Float) -> Float:
    """Height (n,) of rest-pose points (n, 3) above the hair line of STYLE, or of nobody in particular."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    line = np.interp(z, _LINE_Z, _LINE_Y)
    if style is not None:
        front = np.clip((z - 0.85) / 0.25, 0, 1)
        line = line + front * (style.forehead - style.fringe)
        line = line + front * style.recede * np.exp(-(((x - 0.45) / 0.18) ** 2))
    return (y - line).astype(np.float32)


def above_hat_line(points: Float) -> Float:
    """Height (n,) of rest-pose points (n, 3) above the rim of a hat: higher over the forehead than behind."""
    return np.asarray(points[:, 1] - (7.44 + 0.27 * (points[:, 2] - 0.4)), np.float32)
