"""How a garment lies before the camera: where its sleeves are, turned, creased, with or without the inside of its back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from spgvton_training.synthetic.clothes.hanger import Hanger, sample_hanger

# degrees between a sleeve and the side: long ones mostly lie along the body
LONG_SPREADS: Final = (16.0, 20.0, 27.0, 38.0)
SHORT_SPREADS: Final = (30.0, 46.0, 60.0)
_FOLDED: Final = 0.18  # of the pictures of long sleeves show them over the body
_HUNG: Final = 0.10  # of the garments hang on a hanger
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
class Fold:
    """Sleeves laid over the body: degrees that each is turned in at the shoulder and bent at the elbow, the picture's right one first."""

    shoulder: tuple[float, float]
    elbow: tuple[float, float]
    left_above: bool  # the sleeve on the picture's right, the wearer's left, lies on the other one


def sample_fold(rng: np.random.Generator) -> Fold:
    """Half of them along the body, over its outline, half across the front; both sleeves nearly alike."""
    across = rng.random() < 0.5
    shoulder, elbow = (
        (rng.uniform(12, 26), rng.uniform(35, 85)) if across else (rng.uniform(14, 32), rng.uniform(-4, 14))
    )
    other = rng.normal(0, 3, 2)
    return Fold((shoulder, shoulder + other[0]), (elbow, elbow + other[1]), bool(rng.random() < 0.5))


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
    fold: Fold | None = None  # long sleeves lie over the body
    hanger: Hanger | None = None


def sample_shop(rng: np.random.Generator, *, long: bool) -> Shop:
    """A random way to lie: mostly upright, mostly with a tag; some hang on a hanger, some LONG sleeves are folded over."""
    folded = bool(rng.random() < _FOLDED) and long
    tone = float(rng.choice([18, 60, 225, 248]))
    fold, hanger = sample_fold(rng), sample_hanger(rng)
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
        fold=fold if folded else None,
        hanger=hanger if not folded and rng.random() < _HUNG else None,
    )  # fmt: skip
