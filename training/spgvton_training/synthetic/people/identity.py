"""Who is sampled: a body, a face, hair, what is worn below and on the head, what is carried."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from spgvton_training.synthetic.drawing.arrays import Float
from spgvton_training.synthetic.drawing.texture import colour_array
from spgvton_training.synthetic.people import body
from spgvton_training.synthetic.people.accessories import Accessories, sample_accessories
from spgvton_training.synthetic.people.assets import load
from spgvton_training.synthetic.people.carried import Bag, sample_bag
from spgvton_training.synthetic.people.face import Face, sample_face, sample_face_shape
from spgvton_training.synthetic.people.hairstyle import Hairstyle, sample_hairstyle

_BOTTOM_COLOURS: Final = colour_array(
    (42, 46, 62), (30, 30, 32), (72, 96, 138), (128, 116, 100), (205, 200, 190), (98, 42, 50), (58, 74, 60)
)
_SHOE_COLOURS: Final = colour_array((30, 28, 28), (232, 230, 226), (122, 74, 48), (165, 38, 46))


@dataclass(frozen=True, eq=False)
class Identity:
    """Who a person is and what they wear below; colours are RGB in [0, 255]. Always an adult, always dressed."""

    female: bool
    shape: dict[str, float]  # weights of the shape targets
    face: Face
    hair: Hairstyle
    accessories: Accessories
    bottom: str  # pants, shorts, skirt
    bottom_colour: Float
    bottom_hem: float  # rest-pose height where a skirt ends; shorts end a little lower
    bottom_width: float
    denim: bool
    tucked: bool  # the top is tucked in
    shoes: Float
    seed: int
    layered: bool = False  # trousers stay on below a dress
    bag: Bag | None = None


@cache
def _detail_targets() -> tuple[str, ...]:
    return tuple(name for name in load().targets if name.startswith("l:"))


def sample_identity(rng: np.random.Generator) -> Identity:
    """A random adult."""
    female = bool(rng.random() < 0.6)
    ancestry = rng.dirichlet([0.6, 0.6, 0.6])
    tone = rng.normal(ancestry @ (0.22, 0.80, 0.34), 0.13)
    shape = body.macro_weights(
        female=female,
        ancestry=ancestry.tolist(),
        muscle=rng.uniform(-0.8, 0.6),
        weight=rng.uniform(-0.95, 1.0),
        height=rng.uniform(-0.4, 0.4),
        proportions=rng.uniform(0, 0.8),
        cup=rng.uniform(-0.7, 0.5),
        local=sample_face_shape(rng, _detail_targets()),
    )
    face = sample_face(rng, female=female, tone=float(tone))
    return Identity(
        female=female,
        shape=shape,
        face=face,
        hair=sample_hairstyle(rng, female=female, grey=face.age > 0.5 and bool(rng.random() < 0.6), tone=float(tone)),
        bottom=str(rng.choice(["pants", "pants", "skirt", "shorts"] if female else ["pants", "pants", "shorts"])),
        bottom_colour=_BOTTOM_COLOURS[rng.integers(7)],
        denim=bool(rng.random() < 0.5),
        bottom_hem=rng.uniform(-3.6, -1.2),
        shoes=_SHOE_COLOURS[rng.integers(4)],
        bottom_width=rng.uniform(0.03, 0.16),
        tucked=bool(rng.random() < 0.15),
        seed=int(rng.integers(1 << 30)),
        accessories=sample_accessories(rng),
        bag=sample_bag(rng),
    )
