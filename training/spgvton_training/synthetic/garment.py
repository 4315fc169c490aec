"""Tops and dresses: the in-shop picture and mask of one, and the coordinates that tie it to the worn mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.video import cv2
from spgvton_training.synthetic import cloth
from spgvton_training.synthetic.assets import Float
from spgvton_training.synthetic.cuts import COLLARED, SLEEVELESS, distances
from spgvton_training.synthetic.dress import FLARES, WAIST, Dress
from spgvton_training.synthetic.flat import Canvas, Panel, canvas
from spgvton_training.synthetic.garment_spec import LONG_FROM, GarmentSpec
from spgvton_training.synthetic.inshop import inside_of_back, lay_out, place, shade
from spgvton_training.synthetic.pattern import draw_print, sample_print
from spgvton_training.synthetic.shop import sample_shop, sample_spread
from spgvton_training.synthetic.trim import Plane, UInt8, finish

SUPERSAMPLING: Final = 2
# kind -> chance, share of long sleeves
_KINDS: Final = {
    "crew": (0.34, 0.45), "vneck": (0.16, 0.40), "scoop": (0.08, 0.35), "polo": (0.12, 0.25), "shirt": (0.20, 0.75),
    "tank": (0.07, 0.0), "strap": (0.03, 0.0),
}  # fmt: skip
_DRESS_KINDS: Final = {
    "crew": (0.24, 0.4), "vneck": (0.24, 0.35), "scoop": (0.18, 0.25), "square": (0.12, 0.2), "tank": (0.14, 0.0), "strap": (0.08, 0.0),
}  # fmt: skip
# kind -> limits of the neck's width and depth
_NECKS: Final = {
    "crew": ((0.84, 1.05), (0.68, 0.95)), "vneck": ((0.84, 1.02), (1.15, 1.9)), "scoop": ((0.98, 1.25), (1.1, 1.7)),
    "square": ((1.0, 1.3), (1.0, 1.5)), "tank": ((0.98, 1.12), (1.1, 1.7)), "polo": ((0.76, 0.84), (0.75, 1.15)),
    "shirt": ((0.74, 0.84), (0.75, 1.3)), "strap": ((1.10, 1.24), (1.5, 1.9)),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Garment:
    """A top that is ready to be worn."""

    spec: GarmentSpec
    canvas: Canvas
    front: NDArray[np.uint8]  # (h, w, 3) print on the canvas
    back: NDArray[np.uint8]
    cut: Float  # (N,) signed distance of the vertices of the layout, > 0 is cloth
    place: Float  # (2, 3) canvas pixel -> in-shop picture at canvas resolution, edges at integers
    picture: NDArray[np.uint8]  # (H, W, 3) in-shop picture, white background
    mask: NDArray[np.uint8]  # (H, W), 0 or 255
    lining: NDArray[np.bool_]  # (H, W) of the mask: the inside of the back, which nobody shows when it is worn

    def picture_coordinates(self, uv: Float) -> Float:
        """Canvas coordinates (n, 2) -> pixel coordinates of `picture`, centres at integers."""
        return (uv @ self.place[:, :2].T + self.place[:, 2]) / SUPERSAMPLING - np.float32(0.5)


def sample_garment(rng: np.random.Generator) -> GarmentSpec:
    """A random top."""
    kind, sleeve = _sample_kind(rng, _KINDS)
    width, depth = (rng.uniform(*limits) for limits in _NECKS[kind])
    design = sample_print(rng, logos=kind not in COLLARED)
    curve = rng.uniform(-0.45, -0.1) if kind == "shirt" and rng.random() < 0.6 else rng.uniform(-0.12, 0.06)
    hem = max(rng.uniform(-0.45, 0.35), -0.7 - curve)
    cuff = 0.0
    if sleeve > 1.9:
        cuff = rng.choice([0.0, 0.45, 0.55]) if kind != "shirt" else rng.uniform(0.42, 0.6)
    elif sleeve > LONG_FROM and (kind == "shirt" or rng.random() < 0.5):
        cuff = rng.uniform(0.45, 0.8)  # rolled up
    return GarmentSpec(
        kind=kind,
        sleeve=sleeve,
        hem=hem,
        fit=rng.uniform(0.15, 1.0),
        neck_width=width,
        neck_depth=depth,
        rib=rng.uniform(0.08, 0.20),
        collar=rng.uniform(0.15, 0.45),
        design=design,
        hem_curve=curve,
        cuff=cuff,
        over=_sample_over(rng, sleeve),
        contrast=bool(rng.random() < (0.2 if kind in COLLARED else 0.25)),
        pocket=bool(rng.random() < (0.5 if kind == "shirt" else 0.06)) and design.logo == "none",
        spread=None if kind in SLEEVELESS else sample_spread(rng, long=sleeve > LONG_FROM),
        shop=sample_shop(rng),
    )


def sample_dress(rng: np.random.Generator) -> GarmentSpec:
    """A random dress, from above the knee to the calf."""
    kind, sleeve = _sample_kind(rng, _DRESS_KINDS)
    width, depth = (rng.uniform(*limits) for limits in _NECKS[kind])
    return GarmentSpec(
        kind=kind,
        sleeve=sleeve,
        hem=rng.uniform(-4.6, -1.9),
        fit=rng.uniform(0.0, 0.25),
        neck_width=width,
        neck_depth=depth,
        rib=rng.uniform(0.08, 0.20),
        collar=rng.uniform(0.15, 0.45),
        design=sample_print(rng),
        hem_curve=0.0,
        contrast=bool(rng.random() < 0.2),
        belt=bool(rng.random() < 0.3),
        over=_sample_over(rng, sleeve),
        dress=Dress(float(rng.choice(FLARES))),
        spread=None if kind in SLEEVELESS else sample_spread(rng, long=sleeve > LONG_FROM),
        shop=sample_shop(rng),
    )


def _sample_kind(rng: np.random.Generator, kinds: dict[str, tuple[float, float]]) -> tuple[str, float]:
    """A kind and the end of its sleeves: of the long ones a few end below the elbow, most at the wrist."""
    kind = str(rng.choice(list(kinds), p=[chance for chance, _ in kinds.values()]))
    if rng.random() < kinds[kind][1]:
        return kind, rng.uniform(1.25, 1.7) if rng.random() < 0.15 else rng.uniform(1.95, 2.02)
    return kind, -0.1 if kind in SLEEVELESS else rng.uniform(0.62, 1.0)


def _sample_over(rng: np.random.Generator, sleeve: float) -> float:
    """How far a sleeve reaches over the hand: most of those to the wrist a little, some to the fingers."""
    return rng.uniform(0.0, 0.75) ** 1.3 if sleeve > 1.9 and rng.random() < 0.6 else 0.0


def make_garment(spec: GarmentSpec, size: tuple[int, int]) -> Garment:
    """Cut and print SPEC, and lay it out as an in-shop picture of SIZE (height, width)."""
    height, width = size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING
    flat = canvas(spec.sleeves, (height, width), spec.dress)
    lay, plane = flat.layout, Plane(flat.x, flat.y, flat.scale)
    prints = draw_print(spec.design, flat.x, flat.y, flat.scale)
    rows = np.broadcast_to(flat.y, (height, width))

    def make_side(panel: Panel, print_: Float, *, is_front: bool) -> tuple[UInt8, Float, Float]:
        """The finished print, the share of each pixel that is cloth, and the distance to the neck hole."""
        edges = distances(spec, lay.outline, flat.x, rows, front=is_front)
        covered = np.zeros((height, width), np.float32)
        covered.ravel()[panel.pixel] = 1
        # the cuts are known exactly, the sides from the mesh
        share = cv2.GaussianBlur(covered, (0, 0), 0.7) * np.clip(edges.cut() * flat.scale + 0.5, 0, 1)
        plain = np.clip(print_, 0, 255).astype(np.uint8)
        return finish(spec, plain, plane, lay.outline, edges, front=is_front), share, edges.hole

    front, front_share, front_hole = make_side(flat.front, prints[0], is_front=True)
    back, back_share, back_hole = make_side(flat.back, prints[1], is_front=False)
    # of the back only what the neck hole shows
    seen = (front_hole < 0.05) & (flat.y > lay.outline.armpit[1]) & (np.abs(flat.x) < spec.neck_width + 0.1)
    back_share = back_share * (seen & spec.shop.inside)
    inside = inside_of_back(spec.shop, back, back_hole, plane, np.asarray(seen.any(1)))

    picture = np.full((height, width, 3), 255, np.float32)
    picture += (inside - picture) * back_share[..., None]
    lit = front * shade(flat, spec.shop, spec.design.seed, front_share > 0)[..., None]
    picture += (lit - picture) * front_share[..., None]
    mask, lining = (np.rint(s * 255).astype(np.uint8) for s in (np.maximum(front_share, back_share), back_share))
    at = place(spec.shop, mask)
    shown = lay_out(mask, at, size, 0) >= 128
    return Garment(
        spec=spec,
        canvas=flat,
        front=front,
        back=back,
        cut=_vertex_cut(spec, flat),
        place=at,
        picture=lay_out(np.clip(picture, 0, 255).astype(np.uint8), at, size, 255),
        mask=np.where(shown, 255, 0).astype(np.uint8),
        lining=shown & (lay_out(np.where(front_share > 0.5, 0, lining).astype(np.uint8), at, size, 0) >= 128),
    )


def _vertex_cut(spec: GarmentSpec, flat: Canvas) -> Float:
    """Signed distance (N,) of the layout's vertices; where front and back meet, the larger one."""
    lay = flat.layout
    x, y = lay.xy.T
    front, back = (distances(spec, lay.outline, x, y, front=side).cut() for side in (True, False))
    cut = np.where(lay.on_front & lay.on_back, np.maximum(front, back), np.where(lay.on_front, front, back))
    count = len(cloth.fine().rest)
    low = cloth.fine().rest[:, 1]
    cut[:count][low < -1.0] = -1
    if spec.dress is not None:
        cut[:count] = np.minimum(cut[:count], low - (WAIST - 0.25))
    return cut.astype(np.float32)
