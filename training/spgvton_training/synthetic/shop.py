"""How a garment lies before the camera: where its sleeves are, turned, creased, with or without the inside of its back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

# degrees between a sleeve and the side: long ones mostly lie along the body
LONG_SPREADS: Final = (16.0, 20.0, 27.0, 38.0)
SHORT_SPREADS: Final = (30.0, 46.0, 60.0)
_UNSEEN: Final = 0.12  # of the pictures show no inside: the neck holes of front and back lie on each other


@dataclass(frozen=True)
class Sleeves:
    """How the sleeves of a garment lie. Few values, so that its layout can be cached."""

    long: bool
    spread: float  # degrees from the side

    @property
    def direction(self) -> tuple[float, float]:
        """Unit vector along the sleeve, x > 0."""
        angle = math.radians(self.spread)
        return math.sin(angle), -math.cos(angle)


def sample_spread(rng: np.random.Generator, *, long: bool) -> float:
    """A random angle of sleeves, in degrees."""
    spreads, chances = (LONG_SPREADS, (0.40, 0.25, 0.23, 0.12)) if long else (SHORT_SPREADS, (0.35, 0.45, 0.20))
    return float(rng.choice(spreads, p=chances))


@dataclass(frozen=True)
class Tag:
    """The label that is sewn into the neck; decimetres."""

    width: float
    height: float
    tone: float  # 0 black .. 255 white
    drop: float  # below the edge of the back


@dataclass(frozen=True)
class Shop:
    """How a garment lies before the camera."""

    turn: float = 0.0  # degrees
    fill: float = 1.0  # of the largest size that the picture holds
    aside: tuple[float, float] = (0.0, 0.0)  # how much of the room that is left lies on one side: -1 .. 1
    inside: bool = True  # the inside of the back is seen
    shadow: float = 0.62  # brightness of that inside
    faded: float = 0.0  # how plain it is: 0 the print, 1 one colour
    tape: float = 0.0  # how much darker (< 0: lighter) a tape along the back's edge is
    tag: Tag | None = None
    creases: float = 0.0  # 0 ironed .. 1 from the bottom of the drawer


def sample_shop(rng: np.random.Generator) -> Shop:
    """A random way to lie: mostly upright, mostly with a tag."""
    tone = float(rng.choice([18, 60, 225, 248]))
    tag = Tag(rng.uniform(0.28, 0.62), rng.uniform(0.18, 0.5), tone, rng.uniform(0.02, 0.22))
    return Shop(
        turn=float(np.clip(rng.normal(0, 3.0), -9, 9)),
        fill=rng.uniform(0.82, 1.0),
        aside=(rng.uniform(-1, 1), rng.uniform(-1, 1)),
        inside=bool(rng.random() >= _UNSEEN),
        shadow=rng.uniform(0.38, 0.82),
        faded=float(rng.choice([0.0, 0.5, 0.9], p=[0.4, 0.3, 0.3])),
        tape=float(rng.choice([0.0, 0.35, -0.35], p=[0.5, 0.3, 0.2])),
        tag=tag if rng.random() < 0.7 else None,
        creases=rng.uniform(0, 1) ** 1.5,
    )  # fmt: skip
