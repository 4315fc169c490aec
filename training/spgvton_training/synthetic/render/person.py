"""People as meshes in the rest pose: one body with its bottoms, shoes, hair, and each top it puts on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from spgvton_training.synthetic.clothes import cloth
from spgvton_training.synthetic.clothes.dress import Dress, shape_skirt
from spgvton_training.synthetic.clothes.garment_spec import GarmentSpec
from spgvton_training.synthetic.drawing.arrays import Float
from spgvton_training.synthetic.people import body
from spgvton_training.synthetic.people.accessories import (
    Worn,
    glasses_meshes,
    hat_meshes,
)
from spgvton_training.synthetic.people.assets import BODY, SKIRT, TIGHTS
from spgvton_training.synthetic.people.hair import Cap, grow_cap, scalp
from spgvton_training.synthetic.people.hair_shapes import Shape, hair_shapes
from spgvton_training.synthetic.people.hairstyle import above_hat_line
from spgvton_training.synthetic.people.identity import Identity


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
