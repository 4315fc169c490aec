"""People: who is sampled, and the rest-pose geometry of one body with its bottoms, shoes and hair."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Final

import numpy as np

from spgvton_training.synthetic import body, cloth
from spgvton_training.synthetic.accessories import (
    Accessories,
    Worn,
    glasses_meshes,
    hat_meshes,
    sample_accessories,
)
from spgvton_training.synthetic.assets import BODY, SKIRT, TIGHTS, Float, load
from spgvton_training.synthetic.carried import Bag, sample_bag
from spgvton_training.synthetic.dress import Dress, shape_skirt
from spgvton_training.synthetic.face import Face, sample_face, sample_face_shape
from spgvton_training.synthetic.garment_spec import GarmentSpec
from spgvton_training.synthetic.hair import Cap, grow_cap, scalp
from spgvton_training.synthetic.hair_shapes import Shape, hair_shapes
from spgvton_training.synthetic.hairstyle import Hairstyle, above_hat_line, sample_hairstyle
from spgvton_training.synthetic.texture import colour_array

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


@dataclass(eq=False)
class Person:
    """An identity with its rest-pose geometry, computed once and shared by all photos of the person."""

    identity: Identity
    _tops: dict[tuple[bool, float, float, bool], Float] = field(default_factory=dict, repr=False)

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
        """The skirt (n, 3) of a dress on this body; vertices of skirt_mesh()."""
        return shape_skirt(self.vertices, dress)

    @cached_property
    def hair_cap(self) -> Cap:
        """The hair that lies on this head; a hat presses it down."""
        flat = None
        if self.identity.accessories.hat is not None:
            flat = np.clip(above_hat_line(scalp().rest) / 0.25 + 1, 0, 1)
        return grow_cap(self.vertices, self.identity.hair, flat=flat)

    @cached_property
    def hair_shapes(self) -> list[Shape]:
        """The hair that hangs from this head or is tied; a hat hides what is above its rim."""
        shapes = hair_shapes(self.vertices, self.joints[0], self.identity.hair)
        if self.identity.accessories.hat is None:
            return shapes
        return [replace(s, cut=np.minimum(s.cut, 0.04 - above_hat_line(s.rest))) for s in shapes]

    @cached_property
    def accessories(self) -> list[Worn]:
        """Hat and glasses."""
        worn = self.identity.accessories
        hat = [] if worn.hat is None else hat_meshes(worn.hat, self.vertices)
        return hat + ([] if worn.glasses is None else glasses_meshes(worn.glasses, self.vertices))

    def top(self, spec: GarmentSpec) -> Float:
        """The top (S, 3) draped over this body."""
        key = (spec.long, spec.fit, spec.over, spec.opening is not None)
        if key not in self._tops:
            thick = spec.opening is not None or spec.hood is not None
            sleeve = 0.05 + 0.10 * spec.fit + (0 if spec.long else 0.12) + 0.05 * thick
            draped = cloth.drape(self.vertices[TIGHTS], spec.fit, push=0.14 if thick else 0.07, sleeve=sleeve)
            if spec.over:
                draped = cloth.lengthen(draped, self.joints[0], spec.over)
            self._tops[key] = cloth.subdivide(draped)
        return self._tops[key]


def bottom_cut(identity: Identity, rest: Float, arm: Float, *, skirt: bool = False, waist: float = 2.25) -> Float:
    """Signed distance to the trousers, > 0 inside, from rest-pose positions (n, 3) and arm shares (n,).

    Under a SKIRT, which a dress may bring, only the hips are covered.
    """
    end = -0.6 if skirt else {"pants": -7.3, "shorts": identity.bottom_hem - 0.6}[identity.bottom]
    inside = np.minimum(waist - rest[:, 1], rest[:, 1] - end)
    return np.where(arm > 0.3, -1, inside).astype(np.float32)
