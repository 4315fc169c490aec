"""Tops and dresses: the in-shop picture and mask of one, and the coordinates that tie it to the worn mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.video import cv2
from spgvton_training.synthetic import cloth
from spgvton_training.synthetic.assets import Float
from spgvton_training.synthetic.cuts import COLLARED, distances
from spgvton_training.synthetic.dress import FLARES, WAIST, Dress
from spgvton_training.synthetic.flat import Canvas, Panel, canvas
from spgvton_training.synthetic.garment_spec import GarmentSpec
from spgvton_training.synthetic.pattern import draw_print, fold_shading, sample_print
from spgvton_training.synthetic.trim import Plane, UInt8, finish

SUPERSAMPLING: Final = 2
_LIGHT: Final = np.array([-0.25, 0.5, 0.83], np.float32)
# kind -> chance, share of long sleeves
_KINDS: Final = {
    "crew": (0.34, 0.45), "vneck": (0.16, 0.40), "scoop": (0.08, 0.35), "polo": (0.12, 0.25), "shirt": (0.20, 0.75),
    "tank": (0.10, 0.0),
}  # fmt: skip
_DRESS_KINDS: Final = {
    "crew": (0.24, 0.4), "vneck": (0.24, 0.35), "scoop": (0.18, 0.25), "square": (0.12, 0.2), "tank": (0.22, 0.0),
}  # fmt: skip
# kind -> limits of the neck's width and depth
_NECKS: Final = {
    "crew": ((0.84, 1.05), (0.68, 0.95)), "vneck": ((0.84, 1.02), (1.15, 1.9)), "scoop": ((0.98, 1.25), (1.1, 1.7)),
    "square": ((1.0, 1.3), (1.0, 1.5)), "tank": ((0.98, 1.12), (1.1, 1.7)), "polo": ((0.76, 0.84), (0.75, 1.15)),
    "shirt": ((0.74, 0.84), (0.75, 1.3)),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Garment:
    """A top that is ready to be worn."""

    spec: GarmentSpec
    canvas: Canvas
    front: NDArray[np.uint8]  # (h, w, 3) print on the canvas
    back: NDArray[np.uint8]
    cut: Float  # (N,) signed distance of the vertices of the layout, > 0 is cloth
    zoom: float  # canvas pixel -> in-shop picture at canvas resolution: zoom * uv + shift, edges at integers
    shift: Float  # (2,)
    picture: NDArray[np.uint8]  # (H, W, 3) in-shop picture, white background
    mask: NDArray[np.uint8]  # (H, W), 0 or 255

    def picture_coordinates(self, uv: Float) -> Float:
        """Canvas coordinates (n, 2) -> pixel coordinates of `picture`, centres at integers."""
        return (self.zoom * uv + self.shift) / SUPERSAMPLING - np.float32(0.5)


def sample_garment(rng: np.random.Generator) -> GarmentSpec:
    """A random top."""
    kind, sleeve = _sample_kind(rng, _KINDS)
    width, depth = (rng.uniform(*limits) for limits in _NECKS[kind])
    hem = rng.uniform(-0.25, 0.4)
    design = sample_print(rng, logos=kind not in COLLARED)
    cuff = 0.0
    if sleeve > 1.9:
        cuff = rng.choice([0.0, 0.45, 0.55]) if kind != "shirt" else rng.uniform(0.42, 0.6)
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
        hem_curve=rng.uniform(-0.45, -0.1) if kind == "shirt" and rng.random() < 0.6 else rng.uniform(-0.12, 0.06),
        cuff=cuff,
        contrast=bool(rng.random() < (0.2 if kind in COLLARED else 0.25)),
        pocket=bool(rng.random() < (0.5 if kind == "shirt" else 0.06)) and design.logo == "none",
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
        dress=Dress(float(rng.choice(FLARES))),
    )


def _sample_kind(rng: np.random.Generator, kinds: dict[str, tuple[float, float]]) -> tuple[str, float]:
    """A kind and the end of its sleeves: of the long ones a few end below the elbow, most at the wrist."""
    kind = str(rng.choice(list(kinds), p=[chance for chance, _ in kinds.values()]))
    if rng.random() < kinds[kind][1]:
        return kind, rng.uniform(1.35, 1.7) if rng.random() < 0.12 and kind != "shirt" else rng.uniform(1.95, 2.02)
    return kind, -0.1 if kind == "tank" else rng.uniform(0.62, 1.0)


def make_garment(spec: GarmentSpec, size: tuple[int, int]) -> Garment:
    """Cut and print SPEC, and lay it out as an in-shop picture of SIZE (height, width)."""
    height, width = size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING
    field = canvas(spec.long, (height, width), spec.dress)
    lay, plane = field.layout, Plane(field.x, field.y, field.scale)
    prints = draw_print(spec.design, field.x, field.y, field.scale)
    rows = np.broadcast_to(field.y, (height, width))

    def make_side(panel: Panel, print_: Float, *, is_front: bool) -> tuple[UInt8, Float, Float]:
        """The finished print, the share of each pixel that is cloth, and the distance to the neck hole."""
        edges = distances(spec, lay.outline, field.x, rows, front=is_front)
        covered = np.zeros((height, width), np.float32)
        covered.ravel()[panel.pixel] = 1
        # the cuts are known exactly, the sides from the mesh
        share = cv2.GaussianBlur(covered, (0, 0), 0.7) * np.clip(edges.cut() * field.scale + 0.5, 0, 1)
        plain = np.clip(print_, 0, 255).astype(np.uint8)
        return finish(spec, plain, plane, lay.outline, edges, front=is_front), share, edges.hole

    front, front_share, front_hole = make_side(field.front, prints[0], is_front=True)
    back, back_share, _ = make_side(field.back, prints[1], is_front=False)
    # of the back only what the neck hole shows
    seen = (front_hole < 0.05) & (field.y > lay.outline.armpit[1]) & (np.abs(field.x) < spec.neck_width + 0.1)
    back_share = back_share * seen

    picture = np.full((height, width, 3), 255, np.float32)
    for shown, share, light in (
        (back, back_share, np.full((height, width), 0.62, np.float32)),
        (front, front_share, _shade(field, spec.design.seed, front_share > 0)),
    ):
        picture += (shown * light[..., None] - picture) * share[..., None]
    mask = np.rint(np.maximum(front_share, back_share) * 255).astype(np.uint8)

    left, top, w, h = cv2.boundingRect((mask > 127).astype(np.uint8))
    zoom = min(0.90 * width / w, 0.86 * height / h)
    shift = np.array([width / 2 - zoom * (left + w / 2), height / 2 - zoom * (top + h / 2)], np.float32)
    # warpAffine counts from pixel centres
    matrix = np.array([[zoom, 0, shift[0] + (zoom - 1) / 2], [0, zoom, shift[1] + (zoom - 1) / 2]])

    def lay_out(canvas_picture: NDArray[np.uint8], border: int) -> NDArray[np.uint8]:
        moved = cv2.warpAffine(
            canvas_picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=(border,) * 3
        )
        return cv2.resize(moved, size[::-1], interpolation=cv2.INTER_AREA)

    return Garment(
        spec=spec,
        canvas=field,
        front=front,
        back=back,
        cut=_vertex_cut(spec, field),
        zoom=zoom,
        shift=shift,
        picture=lay_out(np.clip(picture, 0, 255).astype(np.uint8), 255),
        mask=np.where(lay_out(mask, 0) >= 128, 255, 0).astype(np.uint8),
    )


def _vertex_cut(spec: GarmentSpec, field: Canvas) -> Float:
    """Signed distance (N,) of the layout's vertices; where front and back meet, the larger one."""
    lay = field.layout
    x, y = lay.xy.T
    front, back = (distances(spec, lay.outline, x, y, front=side).cut() for side in (True, False))
    cut = np.where(lay.on_front & lay.on_back, np.maximum(front, back), np.where(lay.on_front, front, back))
    count = len(cloth.fine().rest)
    low = cloth.fine().rest[:, 1]
    cut[:count][low < -1.0] = -1
    if spec.dress is not None:
        cut[:count] = np.minimum(cut[:count], low - (WAIST - 0.25))
    return cut.astype(np.float32)


def _shade(field: Canvas, seed: int, mask: NDArray[np.bool_]) -> Float:
    """Brightness (H, W) of the laid-out front: light, soft folds, a darker rim; 1 outside of MASK."""
    normal = np.zeros((*field.size, 3), np.float32)
    normal[..., 2] = 0.4  # what blurring adds beside the panel looks to the front
    normal.reshape(-1, 3)[field.front.pixel] = field.front.at(field.layout.normals)
    gx, gy = fold_shading(seed, field.size)
    n = normal[mask] * np.array([0.7, 0.7, 1], np.float32)
    n[:, 0] += gx[mask] * 0.35
    n[:, 1] -= gy[mask] * 0.35
    n /= np.sqrt(np.einsum("ni,ni->n", n, n))[:, None] + 1e-6
    rim = cv2.distanceTransform(mask.astype(np.uint8) * 255, cv2.DIST_L2, 3)[mask] * (768 / field.size[0])
    out = np.ones(field.size, np.float32)
    out[mask] = (0.62 + 0.42 * np.clip(n @ _LIGHT, 0, 1)) * (0.88 + 0.12 * np.clip(rim / 14, 0, 1))
    return out
