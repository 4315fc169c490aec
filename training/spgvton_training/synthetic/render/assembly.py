"""A dressed, posed person as a list of meshes. Skin that cloth covers is dropped, so that it cannot poke through."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from spgvton_training.synthetic.clothes import cloth
from spgvton_training.synthetic.clothes.dress import WAIST, skirt_mesh
from spgvton_training.synthetic.clothes.garment import Garment
from spgvton_training.synthetic.clothes.hood import normals_of, wear_hood
from spgvton_training.synthetic.drawing.arrays import Float, Int, triangles
from spgvton_training.synthetic.people import body
from spgvton_training.synthetic.people.accessories import head_weights
from spgvton_training.synthetic.people.assets import BODY, SKIRT, load
from spgvton_training.synthetic.people.carried import bag_mesh, bag_weights, phone_mesh
from spgvton_training.synthetic.people.hair import scalp
from spgvton_training.synthetic.people.pose import Skeleton
from spgvton_training.synthetic.render.person import Person, bottom_cut

_SHOE_TOP = -7.25


@dataclass(frozen=True)
class Part:
    """One mesh. n vertices, m triangles."""

    name: str  # body, eye, lash, top, inner, hood, dress, pants, skirt, under, shoe, bag, phone, hair, curtain, hat, brim, glasses, lens
    world: Float  # (n, 3) posed
    rest: Float  # (n, 3) on the base mesh in the rest pose: where paint goes
    normals: Float  # (n, 3) posed
    triangles: Int  # (m, 3)
    cut: Float  # (n,) > 0 is drawn
    front: NDArray[np.bool_] | None = None  # (m,) triangle is on the front panel (garment only)
    uv_start: int = 0  # the garment's layout vertex of the first vertex (garment only)
    bias: float = 0.0  # added to the depth: keeps layers apart


@dataclass(frozen=True)
class BodyMesh:
    """Constant pieces of the body mesh."""

    triangles: Int
    always: NDArray[np.bool_]  # (m,) not the inside of the mouth
    eye_range: slice
    eye_triangles: Int
    lash_range: slice
    lash_triangles: Int


@cache
def body_mesh() -> BodyMesh:
    """Build the constant pieces once."""
    assets = load()
    faces = triangles(assets.quads["body"])
    middle, deepest = assets.vertices[faces].mean(1), assets.vertices[faces][:, :, 2].max(1)
    mouth = (deepest < 1.2) & (np.hypot(middle[:, 0] / 0.5, (middle[:, 2] - 0.6) / 0.7) < 0.6)
    mouth &= (middle[:, 1] > 6.3) & (middle[:, 1] < 7.7)
    eyes, lashes = assets.quads["eyes"], assets.quads["lash"]
    lash = triangles(lashes) - lashes.min()
    return BodyMesh(
        triangles=faces,
        always=~mouth,
        eye_range=slice(int(eyes.min()), int(eyes.max()) + 1),
        eye_triangles=triangles(eyes) - eyes.min(),
        lash_range=slice(int(lashes.min()), int(lashes.max()) + 1),
        lash_triangles=np.concatenate([lash, lash[:, ::-1]]),
    )


@cache
def _shoe_triangles() -> NDArray[np.bool_]:
    """Cloth triangles (m,) of the shoes."""
    low = cloth.fine().rest[:, 1] < _SHOE_TOP
    return np.asarray(low[cloth.topology().fine_triangles].all(1))


def _uncovered(person: Person, garment: Garment, top_cut: Float) -> NDArray[np.bool_]:
    """Body triangles (m,) that no cloth hides."""
    identity, topo, mesh = person.identity, cloth.topology(), body_mesh()
    rest, arm = topo.rest, topo.arm
    cover = top_cut[: len(rest)]
    skirt_end = _skirt_end(person, garment)
    if skirt_end is not None:
        inside = np.minimum(2.05 - rest[:, 1], rest[:, 1] - skirt_end - 0.3)
        cover = np.maximum(cover, np.where(arm > 0.3, -9, inside))
    if skirt_end is None or _keeps_trousers(person, garment):
        cover = np.maximum(cover, np.where(arm > 0.3, -9, bottom_cut(identity, rest, arm)))
    cover = np.where(rest[:, 1] < -7.45, 0.5, cover)  # shoes
    # keep some skin under the edge of the cloth; more on arms, where a sleeve end is open
    margin = np.where(np.abs(topo.along_arm) > 1.2, 0.45, 0.14)
    hidden = (cover > margin)[topo.nearest]
    a, b, c = mesh.triangles.T
    return mesh.always & ~(hidden[a] & hidden[b] & hidden[c])


def _skirt_end(person: Person, garment: Garment) -> float | None:
    """Rest-pose height where the skirt or the dress ends."""
    if garment.spec.dress is not None:
        waist = garment.canvas.layout.outline.waist
        assert waist is not None
        return garment.spec.hem - waist + WAIST
    return person.identity.bottom_hem if person.identity.bottom == "skirt" else None


def _keeps_trousers(person: Person, garment: Garment) -> bool:
    """A dress is worn over trousers."""
    return garment.spec.dress is not None and person.identity.layered and person.identity.bottom == "pants"


def assemble(person: Person, garment: Garment, skeleton: Skeleton) -> list[Part]:
    """All meshes of PERSON wearing GARMENT in the pose of SKELETON."""
    made = _Assembly(person, garment, skeleton)
    made.add_body()
    made.add_top()
    made.add_bottom()
    made.add_carried()
    made.add_head()
    return made.parts


class _Assembly:
    """The parts of one dressed person so far, and what several of them go by."""

    def __init__(self, person: Person, garment: Garment, skeleton: Skeleton) -> None:
        self.person, self.garment, self.skeleton = person, garment, skeleton
        self.bones = skeleton.bones
        self.parts: list[Part] = []
        fine, spec = cloth.fine(), garment.spec
        count = len(fine.rest)
        over = spec.opening is not None or spec.hood is not None  # nobody tucks these in
        self.tucked = (person.identity.tucked and not over) or spec.dress is not None
        self.top_cut = garment.cut[:count]
        if self.tucked and spec.dress is None:
            self.top_cut = np.minimum(self.top_cut, fine.rest[:, 1] - 2.12)
        # what the top covers, with what is worn below it
        self.cover = self.top_cut if garment.inner is None else np.maximum(self.top_cut, garment.inner.cut[:count])

    def add(
        self, name: str, world: Float, rest: Float, faces: Int, *, keep: NDArray[np.bool_] | None = None,
        cut: Float | None = None, normals: Float | None = None, front: NDArray[np.bool_] | None = None,
        bias: float = 0.0, uv_start: int = 0,
    ) -> Part:  # fmt: skip
        """A part of the triangles FACES, or of those that KEEP (m,) or CUT (n,) leaves."""
        # normals come from the whole mesh, not from what is kept of it: no seams at the edges
        normals = body.normals(world, faces) if normals is None else normals
        if cut is None:
            cut = np.ones(len(world), np.float32)
        elif keep is None:
            drawn = cut > 0
            keep = drawn[faces[:, 0]] | drawn[faces[:, 1]] | drawn[faces[:, 2]]
        if keep is not None:
            faces, front = faces[keep], None if front is None else front[keep]
        self.parts.append(Part(name, world, rest, normals, faces, cut, front, uv_start, bias))
        return self.parts[-1]

    def add_body(self) -> None:
        """Skin, eyes and lashes."""
        assets, mesh = load(), body_mesh()
        kept = _uncovered(self.person, self.garment, self.cover)
        for name, rows, faces, keep in (
            ("body", BODY, mesh.triangles, kept),
            ("eye", mesh.eye_range, mesh.eye_triangles, None),
            ("lash", mesh.lash_range, mesh.lash_triangles, None),
        ):
            world = body.skin(self.person.vertices[rows], self.bones, assets.weights[rows])
            self.add(name, world, assets.vertices[rows], faces, keep=keep)

    def add_top(self) -> None:
        """The top or the bodice, what shows below an open one, and a hood."""
        garment, spec, fine, faces = self.garment, self.garment.spec, cloth.fine(), cloth.topology().fine_triangles
        count, front = len(fine.rest), garment.canvas.layout.front[: len(faces)]
        draped = self.person.top(spec)
        bias = -0.06 if self.tucked else 0.06
        top = body.skin(draped, self.bones, fine.weights)
        self.add("top", top, fine.rest, faces, cut=self.top_cut, front=front, bias=bias)
        if garment.inner is not None and spec.inner is not None:
            below = body.skin(self.person.top(spec.inner), self.bones, fine.weights)
            self.add("inner", below, fine.rest, faces, cut=garment.inner.cut[:count], front=front)
        if spec.hood is not None:
            gap = 0.0 if spec.opening is None else spec.opening.half(5.9)
            hood = wear_hood(spec.hood, draped, garment.hole[:count], gap, spec.design.seed)
            lying = body.skin(hood.vertices, self.bones, hood.weights)
            self.add("hood", lying, hood.where, hood.triangles, normals=normals_of(lying, hood.triangles))

    def add_bottom(self) -> None:
        """Trousers, a skirt or the skirt of a dress over what is below it, and shoes."""
        fine, faces, dress = cloth.fine(), cloth.topology().fine_triangles, self.garment.spec.dress
        skirt_end, layered = _skirt_end(self.person, self.garment), _keeps_trousers(self.person, self.garment)
        skirted = skirt_end is not None
        cut = bottom_cut(self.person.identity, fine.rest, fine.arm, skirt=skirted and not layered)
        if not self.tucked:
            cut = np.minimum(cut, 0.35 - self.cover)  # no trousers deep inside the shirt
        if dress is not None:  # the bodice covers the waist
            cut = np.minimum(cut, 0.9 - fine.rest[:, 1])
        if skirt_end is not None:
            self._add_skirt(skirt_end)
            name, bias = "pants" if layered else "under", -0.04 if dress is None else -0.3
        else:  # trousers over a tucked-in top: one clean waist line
            name, bias = "pants", 0.12 if self.tucked else 0.0
        bottom = body.skin(self.person.bottom, self.bones, fine.weights)
        under = self.add(name, bottom, fine.rest, faces, cut=cut, bias=bias)
        swollen = bottom + under.normals * np.float32(0.10)
        self.add("shoe", swollen, fine.rest, faces, keep=_shoe_triangles(), normals=under.normals)

    def _add_skirt(self, end: float) -> None:
        """That of a dress, or one that ends at rest-pose height END."""
        garment, dress, base = self.garment, self.garment.spec.dress, load().vertices
        if dress is not None:
            net, count = skirt_mesh(), len(cloth.fine().rest)
            front = garment.canvas.layout.front[len(cloth.topology().fine_triangles) :]
            skirt = body.skin(self.person.dress(dress), self.bones, net.at(cloth.skirt_weights()))
            self.add("dress", skirt, net.rest, net.triangles, cut=garment.cut[count:], front=front, uv_start=count)
            return
        skirt = body.skin(self.person.skirt, self.bones, cloth.skirt_weights())
        cut = base[SKIRT, 1] - np.float32(end)
        if not self.tucked:
            cut = np.minimum(cut, 0.35 - self.cover[cloth.topology().nearest_to_skirt])
        self.add("skirt", skirt, base[SKIRT], triangles(load().quads["skirt"]) - SKIRT.start, cut=cut)

    def add_carried(self) -> None:
        """A bag, a phone."""
        bag = self.person.identity.bag
        if bag is not None:
            hanging, faces = bag_mesh(bag)
            self.add("bag", body.skin(hanging, self.bones, bag_weights(len(hanging))), hanging, faces)
        if self.skeleton.phone:
            held, flat, faces = phone_mesh(self.skeleton)
            facing = np.tile(np.array([0, 0, 1], np.float32), (len(held), 1))
            self.add("phone", held, flat, faces, normals=facing)

    def add_head(self) -> None:
        """Hair, hat and glasses."""
        skull, cap, bones = scalp(), self.person.hair_cap, self.bones
        self.add("hair", body.skin(cap.vertices, bones, skull.weights), skull.rest, skull.triangles, cut=cap.cut)
        for shape in self.person.hair_shapes:
            world = body.skin(shape.vertices, bones, shape.weights)
            outwards = body.unit(body.skin(shape.vertices + shape.outwards, bones, shape.weights) - world)
            self.add("curtain", world, shape.rest, shape.triangles, cut=shape.cut, normals=outwards)
        for worn in self.person.accessories:
            world = body.skin(worn.vertices, bones, head_weights(len(worn.vertices)))
            sheet_normals: Float | None = None
            if worn.name != "hat":
                sheet_normals = body.normals(world, worn.triangles[: len(worn.triangles) // 2])
                up = np.array([0, 1, 0], np.float32) if worn.name == "brim" else world - self.skeleton.head("head")
                sheet_normals = sheet_normals * np.sign((sheet_normals * up).sum(1, keepdims=True))
            edge = worn.cut if len(worn.cut) else None
            self.add(worn.name, world, worn.rest, worn.triangles, cut=edge, normals=sheet_normals)
