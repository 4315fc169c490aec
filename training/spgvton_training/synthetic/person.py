"""People: who is sampled, and the rest-pose geometry of one body with its bottoms, shoes and hair."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton_training.synthetic import body, cloth, hair
from spgvton_training.synthetic.assets import BODY, SKIRT, TIGHTS, Float, load
from spgvton_training.synthetic.dress import Dress, shape_skirt
from spgvton_training.synthetic.garment import GarmentSpec
from spgvton_training.synthetic.texture import colour_array

SKIN_TONES: Final = colour_array(
    (246, 212, 190), (238, 196, 168), (224, 174, 140), (202, 146, 110), (168, 114, 80), (128, 84, 60), (96, 62, 46)
)
_HAIR_COLOURS: Final = colour_array(
    (26, 21, 19), (50, 35, 27), (88, 58, 38), (134, 94, 58), (196, 160, 104), (122, 56, 32), (120, 116, 112)
)
_HAIR_CHANCES: Final = (0.26, 0.22, 0.18, 0.12, 0.10, 0.07, 0.05)
_BOTTOM_COLOURS: Final = colour_array(
    (42, 46, 62), (30, 30, 32), (72, 96, 138), (128, 116, 100), (205, 200, 190), (98, 42, 50), (58, 74, 60)
)
_SHOE_COLOURS: Final = colour_array((30, 28, 28), (232, 230, 226), (122, 74, 48), (165, 38, 46))
_LIP_COLOURS: Final = colour_array((178, 92, 88), (186, 84, 88), (160, 88, 78))
_IRIS_COLOURS: Final = colour_array((72, 48, 32), (62, 96, 126), (74, 104, 74), (50, 34, 26))


@dataclass(frozen=True, eq=False)
class Identity:
    """Who a person is and what they wear below; colours are RGB in [0, 255]. Always an adult, always dressed."""

    female: bool
    shape: dict[str, float]  # weights of the shape targets
    skin: Float
    lips: Float
    iris: Float
    hair_colour: Float
    hair: int  # 0 shaved, 1 short, 2 shoulder-long, 3 long
    parting: float
    beard: bool
    bottom: str  # pants, shorts, skirt
    bottom_colour: Float
    bottom_hem: float  # rest-pose height where a skirt ends; shorts end a little lower
    bottom_width: float
    denim: bool
    tucked: bool  # the top is tucked in
    shoes: Float
    seed: int


@cache
def _detail_targets() -> tuple[str, ...]:
    return tuple(name for name in load().targets if name.startswith("l:"))


def sample_identity(rng: np.random.Generator) -> Identity:
    """A random adult."""
    female = bool(rng.random() < 0.6)
    ancestry = rng.dirichlet([0.6, 0.6, 0.6])
    tone = int(np.clip(np.rint(rng.normal(ancestry @ (0.25, 0.85, 0.35) * 6, 1)), 0, 6))
    local = {}
    for name in rng.choice(_detail_targets(), 14, replace=False):
        strong = not any(part in name for part in ("head-", "torso", "hip", "neck"))
        local[str(name)] = rng.uniform(0, 0.5 if strong else 0.22)
    shape = body.macro_weights(
        female=female,
        ancestry=ancestry.tolist(),
        muscle=rng.uniform(-0.6, 0.5),
        weight=rng.uniform(-0.7, 0.45),
        height=rng.uniform(-0.4, 0.4),
        proportions=rng.uniform(0, 0.8),
        cup=rng.uniform(-0.7, 0.5),
        local=local,
    )
    return Identity(
        female=female,
        shape=shape,
        skin=(SKIN_TONES[tone] * rng.uniform(0.96, 1.03)).astype(np.float32),
        hair_colour=_HAIR_COLOURS[rng.choice(7, p=_HAIR_CHANCES)],
        hair=int(rng.choice([1, 2, 3, 3] if female else [0, 0, 1])),
        parting=rng.uniform(-0.4, 0.4),
        bottom=str(rng.choice(["pants", "pants", "skirt", "shorts"] if female else ["pants", "pants", "shorts"])),
        bottom_colour=_BOTTOM_COLOURS[rng.integers(7)],
        denim=bool(rng.random() < 0.5),
        bottom_hem=rng.uniform(-3.6, -1.2),
        shoes=_SHOE_COLOURS[rng.integers(4)],
        lips=_LIP_COLOURS[rng.integers(3)],
        iris=_IRIS_COLOURS[rng.integers(4)],
        beard=bool(rng.random() < 0.4) and not female,
        bottom_width=rng.uniform(0.03, 0.16),
        tucked=bool(rng.random() < 0.15),
        seed=int(rng.integers(1 << 30)),
    )


@dataclass(eq=False)
class Person:
    """An identity with its rest-pose geometry, computed once and shared by all photos of the person."""

    identity: Identity
    _tops: dict[tuple[bool, float], Float] = field(default_factory=dict, repr=False)

    @cached_property
    def vertices(self) -> Float:
        """The morphed base mesh (V, 3)."""
        return body.morph(self.identity.shape)

    @cached_property
    def joints(self) -> tuple[Float, Float]:
        """Heads and tails (B, 3) of the bones."""
        return body.joints(self.vertices)

    @cached_property
    def height(self) -> float:
        """Crown to sole in decimetres."""
        y = self.vertices[BODY, 1]
        return float(y.max() - y.min())

    @cached_property
    def girth(self) -> tuple[float, float]:
        """Width and depth of the torso relative to the base mesh."""
        topo = cloth.topology()
        torso = (topo.arm < 0.25) & (topo.rest[:, 1] > 0.3) & (topo.rest[:, 1] < 4.0)
        own, base = (np.ptp(v[torso], axis=0) for v in (self.vertices[TIGHTS], topo.rest))
        return float(own[0] / base[0]), float(own[2] / base[2])

    @cached_property
    def bottom(self) -> Float:
        """Trousers (S, 3) on the cloth vertices; shoes and what is under a skirt come from them too."""
        tights = cloth.smooth(self.vertices[TIGHTS], 2)
        topo = cloth.topology()
        width = self.identity.bottom_width * np.clip((2.2 - topo.rest[:, 1]) / 2, 0.25, 1)
        return cloth.subdivide(tights + body.normals(tights, topo.triangles) * width[:, None].astype(np.float32))

    @cached_property
    def skirt(self) -> Float:
        """The skirt (720, 3), a little wider than the helper mesh."""
        v = self.vertices[SKIRT].copy()
        v[:, 0] *= 1.03
        v[:, 2] = (v[:, 2] - 0.2) * 1.06 + 0.2
        return v

    def dress(self, dress: Dress) -> Float:
        """The skirt (720, 3) of a dress on this body."""
        return shape_skirt(self.vertices, dress)

    @cached_property
    def hair(self) -> hair.Hair:
        """The hair of this head."""
        return hair.grow(self.vertices, self.joints[0], self.identity.hair, self.identity.seed)

    def top(self, spec: GarmentSpec) -> Float:
        """The top (S, 3) draped over this body."""
        key = (spec.long, spec.fit)
        if key not in self._tops:
            sleeve = 0.05 + 0.10 * spec.fit + (0 if spec.long else 0.12)
            draped = cloth.drape(self.vertices[TIGHTS], spec.fit, push=0.07, sleeve=sleeve)
            self._tops[key] = cloth.subdivide(draped)
        return self._tops[key]


def bottom_cut(identity: Identity, rest: Float, arm: Float, *, skirt: bool = False, waist: float = 2.25) -> Float:
    """Signed distance to the trousers, > 0 inside, from rest-pose positions (n, 3) and arm shares (n,).

    Under a SKIRT, which a dress may bring, only the hips are covered.
    """
    end = -0.6 if skirt else {"pants": -7.3, "shorts": identity.bottom_hem - 0.6}[identity.bottom]
    inside = np.minimum(waist - rest[:, 1], rest[:, 1] - end)
    return np.where(arm > 0.3, -1, inside).astype(np.float32)
