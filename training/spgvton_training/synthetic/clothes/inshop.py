"""The in-shop picture: the garment lies turned a little, creased, and shows the inside of its back through the neckline.

That inside is part of the garment's mask, as it is of every cut-out, but no photo of a person ever shows it: networks learn
to leave it out. `Garment.lining` says where it is.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.perception.garment_sleeves import between_centres
from spgvton.video import cv2
from spgvton_training.synthetic.clothes.flat import Canvas
from spgvton_training.synthetic.clothes.pattern import fold_shading
from spgvton_training.synthetic.clothes.shop import Shop, Tag
from spgvton_training.synthetic.drawing.arrays import Float
from spgvton_training.synthetic.drawing.plane import Plane
from spgvton_training.synthetic.drawing.texture import noise

UInt8 = NDArray[np.uint8]

_LIGHT: Final = np.array([-0.25, 0.5, 0.83], np.float32)
_WIDTH, _HEIGHT = 0.90, 0.86  # largest share of the picture that a garment takes
_TAPE: Final = 0.13  # width of a tape along the back's edge


# ------------------------------------------------------------------ where it lies
def place(shop: Shop, mask: UInt8) -> Float:
    """The map (2, 3) of canvas pixels, edges at integers, to a picture of the same size that MASK (h, w) is laid into."""
    height, width = mask.shape
    contours, _ = cv2.findContours((mask > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    points = np.concatenate(contours)[:, 0].astype(np.float64) + 0.5
    angle = np.radians(shop.turn)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned = points @ rotation.T
    low, high = turned.min(0) - 0.5, turned.max(0) + 0.5
    extent, frame = high - low, np.array([width, height])
    zoom = shop.fill * float(np.min(np.array([_WIDTH, _HEIGHT]) * frame / extent))
    room = (frame * np.array([0.95, 0.93]) - zoom * extent) / 2
    shift = frame / 2 + np.clip(room, 0, None) * shop.aside - zoom * (low + high) / 2
    return np.concatenate([zoom * rotation, shift[:, None]], 1).astype(np.float32)


def lay_out(picture: UInt8, matrix: Float, size: tuple[int, int], border: int) -> UInt8:
    """PICTURE (h, w) or (h, w, 3) on the canvas, moved by MATRIX and reduced to SIZE (height, width); BORDER beside it."""
    height, width = picture.shape[:2]
    centres = between_centres(matrix)
    moved = cv2.warpAffine(picture, centres, (width, height), flags=cv2.INTER_LINEAR, borderValue=(border,) * 3)
    return cv2.resize(moved, size[::-1], interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


# ------------------------------------------------------------------ what is seen
def inside_of_back(shop: Shop, back: UInt8, hole: Float, plane: Plane, rows: NDArray[np.bool_]) -> Float:
    """The inside (h, w, 3) of the BACK, in [0, 255], in the ROWS (h,) that the neck hole shows; HOLE is its distance to the back's edge."""
    out = back.astype(np.float32)
    seen, below = out[rows], hole[rows]
    if shop.faded:
        seen += (seen.mean((0, 1)) - seen) * np.float32(shop.faded)
    if shop.tape:
        seam = np.clip(1 - np.abs(below - _TAPE) * plane.scale / 2, 0, 1)
        tape = np.clip((_TAPE - below) * plane.scale, 0, 1) + 0.8 * seam
        seen *= (1 - shop.tape * tape)[..., None]
    # the deeper, the darker: the front shades it
    seen *= (shop.shadow * (1.12 - 0.22 * np.clip(below / 0.8, 0, 1)))[..., None]
    out[rows] = seen
    if shop.tag is not None:
        _sew_tag(out, shop.tag, hole, plane)
    return out


def _sew_tag(out: Float, tag: Tag, hole: Float, plane: Plane) -> None:
    """TAG with two lines of writing, hanging from the middle of the back's edge."""
    middle = hole.shape[1] // 2
    rows = np.flatnonzero(hole[:, middle] > tag.drop)
    if not len(rows):
        return
    top, half, depth = rows[0], round(tag.width * plane.scale / 2), round(tag.height * plane.scale)
    cloth = out[top : top + depth, middle - half : middle + half]
    cloth[:] = tag.tone * 0.86 + 8
    ink, stroke = (200.0, 60.0)[tag.tone > 127], max(1, round(0.05 * plane.scale))
    for share, width in ((0.30, 0.7), (0.62, 0.45)):
        y, x = round(share * len(cloth)), round((1 - width) * half)
        cloth[y : y + stroke, x : 2 * half - x] += (ink - cloth[y : y + stroke, x : 2 * half - x]) * 0.7


def shade(field: Canvas, shop: Shop, seed: int, mask: NDArray[np.bool_]) -> Float:
    """Brightness (H, W) of the laid-out front: light, soft folds, creases, a darker rim; 1 outside of MASK."""
    normal = np.zeros((*field.size, 3), np.float32)
    normal[..., 2] = 0.4  # what blurring adds beside the panel looks to the front
    normal.reshape(-1, 3)[field.front.pixel] = field.front.at(field.layout.normals)
    gx, gy = fold_shading(seed, field.size)
    n = normal[mask] * np.array([0.7, 0.7, 1], np.float32)
    n[:, 0] += gx[mask] * 0.35
    n[:, 1] -= gy[mask] * 0.35
    if shop.creases:
        gx, gy = _creases(seed, field.size)
        n[:, 0] += gx[mask] * shop.creases
        n[:, 1] -= gy[mask] * shop.creases
    n /= np.sqrt(np.einsum("ni,ni->n", n, n))[:, None] + 1e-6
    rim = cv2.distanceTransform(mask.astype(np.uint8) * 255, cv2.DIST_L2, 3)[mask] * (768 / field.size[0])
    out = np.ones(field.size, np.float32)
    out[mask] = (0.62 + 0.42 * np.clip(n @ _LIGHT, 0, 1)) * (0.88 + 0.12 * np.clip(rim / 14, 0, 1))
    return out


def _creases(seed: int, size: tuple[int, int]) -> tuple[Float, Float]:
    """Slopes (H, W) of creases: the kinks of a random surface where it changes its sign, running mostly across or down."""
    rng = np.random.default_rng([seed, 4])
    height, width = size
    unit = height / 768
    out = np.zeros((2, height, width), np.float32)
    for stretch in ((2, 1), (1, 2)):
        small = noise(rng, height // stretch[0], width // stretch[1], 60 * unit, 3)
        ridge = np.abs(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))
        soft = cv2.GaussianBlur(ridge, (0, 0), 2.0 * unit) * (26 * unit)
        out[1] += cv2.Sobel(soft, cv2.CV_32F, 0, 1, scale=0.125)
        out[0] += cv2.Sobel(soft, cv2.CV_32F, 1, 0, scale=0.125)
    return out[0], out[1]
