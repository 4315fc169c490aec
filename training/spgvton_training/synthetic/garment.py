"""Tops: how one is cut, its print, its in-shop picture and mask, and the coordinates that tie it to the worn mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.video import cv2
from spgvton_training.synthetic import cloth
from spgvton_training.synthetic.assets import Float
from spgvton_training.synthetic.flat import Canvas, Panel, canvas
from spgvton_training.synthetic.pattern import Print, draw_print, fold_shading, sample_print

KINDS: Final = ("tee", "tee", "vneck", "long", "long", "tank")
SUPERSAMPLING: Final = 2
_LIGHT: Final = np.array([-0.25, 0.5, 0.83], np.float32)


@dataclass(frozen=True)
class GarmentSpec:
    """The parameters of one top; lengths in decimetres of the flat plane."""

    kind: str  # tee, vneck, long, tank
    sleeve: float  # where the sleeve ends: 0 shoulder, 1 elbow, 2 wrist
    hem: float  # flat y of the hem
    fit: float  # 0 tight .. 1 boxy
    neck_width: float
    neck_depth: float
    design: Print


@dataclass(frozen=True, eq=False)
class Garment:
    """A top that is ready to be worn."""

    spec: GarmentSpec
    canvas: Canvas
    front: NDArray[np.uint8]  # (h, w, 3) print on the canvas
    back: NDArray[np.uint8]
    cut: Float  # (S,) signed distance of the cloth vertices, > 0 is cloth
    zoom: float  # canvas pixel -> in-shop picture at canvas resolution: zoom * uv + shift, edges at integers
    shift: Float  # (2,)
    picture: NDArray[np.uint8]  # (H, W, 3) in-shop picture, white background
    mask: NDArray[np.uint8]  # (H, W), 0 or 255

    def picture_coordinates(self, uv: Float) -> Float:
        """Canvas coordinates (n, 2) -> pixel coordinates of `picture`, centres at integers."""
        return (self.zoom * uv + self.shift) / SUPERSAMPLING - np.float32(0.5)


def sample_garment(rng: np.random.Generator) -> GarmentSpec:
    """A random top."""
    kind = str(rng.choice(KINDS))
    sleeve = {"tee": rng.uniform(0.40, 0.80), "vneck": rng.uniform(0.35, 0.70), "long": rng.uniform(1.85, 1.97)}
    deep = kind in ("vneck", "tank")
    return GarmentSpec(
        kind=kind,
        sleeve=sleeve.get(kind, -0.1),
        hem=rng.uniform(-0.3, 0.5),
        fit=rng.uniform(0.15, 1.0),
        neck_width=rng.uniform(0.98, 1.12) if kind == "tank" else rng.uniform(0.86, 1.05),
        neck_depth=rng.uniform(1.1, 1.7) if deep else rng.uniform(0.45, 0.85),
        design=sample_print(rng),
    )


def _distances(spec: GarmentSpec, neck: float, xy: Float, *, front: bool) -> tuple[Float, Float, Float]:
    """Signed distances (S,) to the neck hole, the hem and the sleeve end (armhole of a tank); > 0 is cloth."""
    fine = cloth.fine()
    x, y = np.abs(xy[:, 0]), xy[:, 1]
    below = neck - y
    width, depth = spec.neck_width, spec.neck_depth
    if not front:
        hole = (np.hypot(x / width, np.maximum(below, 0) / 0.22) - 1) * 0.22
    elif spec.kind == "vneck":
        hole = (x / width + below / depth - 1) * min(width, depth) * 0.8
    else:
        hole = (np.hypot(x / width, np.maximum(below, 0) / depth) - 1) * min(width, depth)
    hole = np.minimum(hole, (x - width) * 0.5 + np.maximum(0, below) * 9)  # nothing above the neck point
    hole = np.where(fine.rest[:, 1] > 5.95, -0.3, hole)
    sleeve = (spec.sleeve - fine.along_arm) * 1.8
    if spec.kind == "tank":
        armhole = 1.46 + 0.40 * np.clip(4.6 - y, 0, 2) ** 1.5 + 0.10 * np.clip(y - 5, 0, 1) - x
        sleeve = np.minimum(armhole, (0.10 - fine.along_arm) * 1.8)
    elif spec.kind == "long":
        sleeve = np.where(fine.along_arm < 0, 9, sleeve)
    return hole.astype(np.float32), (y - spec.hem).astype(np.float32), sleeve.astype(np.float32)


def _finish(spec: GarmentSpec, print_: Float, panel: Panel, field: Canvas, distances: tuple[Float, ...]) -> None:
    """Paint collar rib, hem and cuff seams and the weave into PRINT_ (H, W, 3), in place: they are worn too."""
    hole, hem, sleeve = (panel.at(np.clip(d, -3, 9)) for d in distances)
    flat = print_.reshape(-1, 3)
    colours = flat[panel.pixel]
    x = np.abs(field.x[0, panel.pixel % field.size[1]])
    rib = (hole < 0.14) & (x < spec.neck_width + 0.35)
    base, other, _ = spec.design.colours
    if spec.design.pattern == "photo":
        colours[rib] *= 0.8
    else:
        colours[rib] = other if spec.design.pattern == "block" else base * 0.82
    for distance in (hem, sleeve):
        seam = np.clip(1 - np.abs(distance - 0.16) / 0.03, 0, 1)
        colours *= (1 - 0.22 * seam)[:, None]
    weave = np.random.default_rng([spec.design.seed, 3]).standard_normal(len(colours), dtype=np.float32)
    flat[panel.pixel] = colours * (1 + 0.03 * weave)[:, None]


def make_garment(spec: GarmentSpec, size: tuple[int, int]) -> Garment:
    """Cut and print SPEC, and lay it out as an in-shop picture of SIZE (height, width)."""
    height, width = size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING
    field = canvas(spec.kind == "long", (height, width))
    lay = field.layout
    front_distances, back_distances = (_distances(spec, lay.neck, lay.xy, front=f) for f in (True, False))
    front_cut, back_cut = np.minimum.reduce(front_distances), np.minimum.reduce(back_distances)
    one_side: Float = np.asarray(np.where(lay.on_front, front_cut, back_cut), np.float32)
    cut: Float = np.where(lay.on_front & lay.on_back, np.maximum(front_cut, back_cut), one_side)
    cut[cloth.fine().rest[:, 1] < -1.0] = -1

    front, back = draw_print(spec.design, field.x, field.y, field.scale)
    _finish(spec, front, field.front, field, front_distances)
    _finish(spec, back, field.back, field, back_distances)
    np.clip(front, 0, 255, out=front)
    np.clip(back, 0, 255, out=back)

    front_mask, back_mask = np.zeros((2, height, width), bool)
    for drawn, panel in ((front_mask, field.front), (back_mask, field.back)):
        drawn.ravel()[panel.pixel] = panel.at(cut) > 0
    # of the back only what the neck hole shows
    back_mask &= ~front_mask & (field.y > 4.0) & (np.abs(field.x) < spec.neck_width + 0.2)

    picture = np.full((height, width, 3), 255, np.float32)
    picture[back_mask] = back[back_mask] * 0.62
    picture[front_mask] = front[front_mask] * _shade(field, spec.design.seed, front_mask)[:, None]
    mask = (front_mask | back_mask).astype(np.uint8) * 255

    left, top, w, h = cv2.boundingRect(mask)
    zoom = min(0.90 * width / w, 0.80 * height / h)
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
        front=front.astype(np.uint8),
        back=back.astype(np.uint8),
        cut=cut.astype(np.float32),
        zoom=zoom,
        shift=shift,
        picture=lay_out(np.clip(picture, 0, 255).astype(np.uint8), 255),
        mask=np.where(lay_out(mask, 0) >= 128, 255, 0).astype(np.uint8),
    )


def _shade(field: Canvas, seed: int, mask: NDArray[np.bool_]) -> Float:
    """Brightness (n,) of the laid-out front at the pixels of MASK: light, soft folds, a darker rim."""
    normal = np.zeros((*field.size, 3), np.float32)
    normal.reshape(-1, 3)[field.front.pixel] = field.front.at(field.layout.normals)
    gx, gy = fold_shading(seed, field.size)
    n = normal[mask] * np.array([0.8, 0.8, 1], np.float32)
    n[:, 0] += gx[mask] * 0.5
    n[:, 1] -= gy[mask] * 0.5
    n /= np.sqrt(np.einsum("ni,ni->n", n, n))[:, None] + 1e-6
    rim = cv2.distanceTransform(mask.astype(np.uint8) * 255, cv2.DIST_L2, 3)[mask] * (768 / field.size[0])
    return (0.60 + 0.44 * np.clip(n @ _LIGHT, 0, 1)) * (0.86 + 0.14 * np.clip(rim / 14, 0, 1))
