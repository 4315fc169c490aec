"""A dressed, posed person as a list of meshes. Skin that cloth covers is dropped, so that it cannot poke through."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from spgvton_training.synthetic import body, cloth
from spgvton_training.synthetic.accessories import head_weights
from spgvton_training.synthetic.assets import BODY, SKIRT, Float, Int, load, triangles
from spgvton_training.synthetic.carried import bag_mesh, bag_weights, phone_mesh
from spgvton_training.synthetic.dress import WAIST, skirt_mesh
from spgvton_training.synthetic.garment import Garment
from spgvton_training.synthetic.hair import scalp
from spgvton_training.synthetic.hood import normals_of, wear_hood
from spgvton_training.synthetic.person import Person, bottom_cut
from spgvton_training.synthetic.pose import Skeleton

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
    assets, identity, mesh = load(), person.identity, body_mesh()
    base, weights, vertices, bones = assets.vertices, assets.weights, person.vertices, skeleton.bones
    fine, cloth_triangles = cloth.fine(), cloth.topology().fine_triangles
    parts: list[Part] = []

    def add(
        name: str, world: Float, rest: Float, faces: Int, *, keep: NDArray[np.bool_] | None = None,
        cut: Float | None = None, normals: Float | None = None, front: NDArray[np.bool_] | None = None,
        bias: float = 0.0, uv_start: int = 0,
    ) -> Part:  # fmt: skip
        # normals come from the whole mesh, not from what is kept of it: no seams at the edges
        normals = body.normals(world, faces) if normals is None else normals
        if cut is None:
            cut = np.ones(len(world), np.float32)
        elif keep is None:
            drawn = cut > 0
            keep = drawn[faces[:, 0]] | drawn[faces[:, 1]] | drawn[faces[:, 2]]
        if keep is not None:
            faces, front = faces[keep], None if front is None else front[keep]
        parts.append(Part(name, world, rest, normals, faces, cut, front, uv_start, bias))
        return parts[-1]

    cloth_count, dress = len(fine.rest), garment.spec.dress
    top_cut = garment.cut[:cloth_count]
    over = garment.spec.opening is not None or garment.spec.hood is not None  # nobody tucks these in
    tucked = (identity.tucked and not over) or dress is not None
    if tucked and dress is None:
        top_cut = np.minimum(top_cut, fine.rest[:, 1] - 2.12)
    cover = top_cut if garment.inner is None else np.maximum(top_cut, garment.inner.cut[:cloth_count])
    skirt_end = _skirt_end(person, garment)
    layered = _keeps_trousers(person, garment)
    trousers_cut = bottom_cut(identity, fine.rest, fine.arm, skirt=skirt_end is not None and not layered)
    if not tucked:
        trousers_cut = np.minimum(trousers_cut, 0.35 - cover)  # no trousers deep inside the shirt

    def posed(rest_vertices: Float, part: slice) -> Float:
        return body.skin(rest_vertices, bones, weights[part])

    add("body", posed(vertices[BODY], BODY), base[BODY], mesh.triangles, keep=_uncovered(person, garment, cover))
    add("eye", posed(vertices[mesh.eye_range], mesh.eye_range), base[mesh.eye_range], mesh.eye_triangles)
    add("lash", posed(vertices[mesh.lash_range], mesh.lash_range), base[mesh.lash_range], mesh.lash_triangles)
    top = body.skin(person.top(garment.spec), bones, fine.weights)
    front = garment.canvas.layout.front
    bias = -0.06 if tucked else 0.06
    add("top", top, fine.rest, cloth_triangles, cut=top_cut, front=front[: len(cloth_triangles)], bias=bias)
    if garment.inner is not None and garment.spec.inner is not None:
        below = body.skin(person.top(garment.spec.inner), bones, fine.weights)
        inner_cut = garment.inner.cut[:cloth_count]
        add("inner", below, fine.rest, cloth_triangles, cut=inner_cut, front=front[: len(cloth_triangles)])
    if garment.spec.hood is not None:
        gap = 0.0 if garment.spec.opening is None else garment.spec.opening.half(5.9)
        worn_hood = wear_hood(
            garment.spec.hood, person.top(garment.spec), garment.hole[:cloth_count], gap, garment.spec.design.seed
        )
        lying = body.skin(worn_hood.vertices, bones, worn_hood.weights)
        add("hood", lying, worn_hood.where, worn_hood.triangles, normals=normals_of(lying, worn_hood.triangles))
    bottom = body.skin(person.bottom, bones, fine.weights)
    if skirt_end is not None:
        if dress is not None:
            net = skirt_mesh()
            skirt = body.skin(person.dress(dress), bones, net.at(cloth.skirt_weights()))
            cut = garment.cut[cloth_count:]
            add(
                "dress",
                skirt,
                net.rest,
                net.triangles,
                cut=cut,
                front=front[len(cloth_triangles) :],
                uv_start=cloth_count,
            )
        else:
            skirt = body.skin(person.skirt, bones, cloth.skirt_weights())
            cut = base[SKIRT, 1] - np.float32(skirt_end)
            if not tucked:
                cut = np.minimum(cut, 0.35 - cover[cloth.topology().nearest_to_skirt])
            faces = triangles(assets.quads["skirt"]) - SKIRT.start
            add("skirt", skirt, base[SKIRT], faces, cut=cut)
        if dress is not None:  # the bodice covers the waist
            trousers_cut = np.minimum(trousers_cut, 0.9 - fine.rest[:, 1])
        under = add(
            "pants" if layered else "under", bottom, fine.rest, cloth_triangles, cut=trousers_cut,
            bias=-0.04 if dress is None else -0.3,
        )  # fmt: skip
    else:
        # trousers over a tucked-in top: one clean waist line
        under = add("pants", bottom, fine.rest, cloth_triangles, cut=trousers_cut, bias=0.12 if tucked else 0.0)
    swollen = bottom + under.normals * np.float32(0.10)
    add("shoe", swollen, fine.rest, cloth_triangles, keep=_shoe_triangles(), normals=under.normals)

    if identity.bag is not None:
        hanging, faces = bag_mesh(identity.bag)
        add("bag", body.skin(hanging, bones, bag_weights(len(hanging))), hanging, faces)
    if skeleton.phone:
        held, flat, faces = phone_mesh(skeleton)
        facing = np.tile(np.array([0, 0, 1], np.float32), (len(held), 1))
        add("phone", held, flat, faces, normals=facing)
    skull, cap = scalp(), person.hair_cap
    add("hair", body.skin(cap.vertices, bones, skull.weights), skull.rest, skull.triangles, cut=cap.cut)
    for shape in person.hair_shapes:
        world = body.skin(shape.vertices, bones, shape.weights)
        outwards = body.unit(body.skin(shape.vertices + shape.outwards, bones, shape.weights) - world)
        add("curtain", world, shape.rest, shape.triangles, cut=shape.cut, normals=outwards)
    for worn in person.accessories:
        world = body.skin(worn.vertices, bones, head_weights(len(worn.vertices)))
        sheet_normals: Float | None = None
        if worn.name != "hat":
            sheet_normals = body.normals(world, worn.triangles[: len(worn.triangles) // 2])
            up = np.array([0, 1, 0], np.float32) if worn.name == "brim" else world - skeleton.head("head")
            sheet_normals = sheet_normals * np.sign((sheet_normals * up).sum(1, keepdims=True))
        edge = worn.cut if len(worn.cut) else None
        add(worn.name, world, worn.rest, worn.triangles, cut=edge, normals=sheet_normals)
    return parts
