"""Tops and dresses: the in-shop picture and mask of one, and the coordinates that tie it to the worn mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.video import cv2
from spgvton_training.synthetic.clothes import cloth
from spgvton_training.synthetic.clothes.cuts import Distances, distances
from spgvton_training.synthetic.clothes.dress import WAIST
from spgvton_training.synthetic.clothes.flat import Canvas, Panel, canvas
from spgvton_training.synthetic.clothes.folding import Laid, fold_over, hidden, lay_sleeves
from spgvton_training.synthetic.clothes.garment_spec import GarmentSpec
from spgvton_training.synthetic.clothes.hanger import draw_hanger
from spgvton_training.synthetic.clothes.hood import lay_hood, paint_hood
from spgvton_training.synthetic.clothes.inshop import inside_of_back, lay_out, place, shade
from spgvton_training.synthetic.clothes.jacket import BELOW, shadow_of_fronts
from spgvton_training.synthetic.clothes.pattern import draw_print
from spgvton_training.synthetic.clothes.trim import finish
from spgvton_training.synthetic.drawing.arrays import Float, Int
from spgvton_training.synthetic.drawing.plane import Plane, UInt8
from spgvton_training.synthetic.drawing.raster import interpolate

SUPERSAMPLING: Final = 2


@dataclass(frozen=True, eq=False)
class Inner:
    """What is seen between the fronts of an open jacket."""

    print: UInt8  # (h, w, 3) on the canvas
    cut: Float  # (N,) as that of a garment; it ends a little below the fronts


@dataclass(frozen=True, eq=False)
class Garment:
    """A top that is ready to be worn."""

    spec: GarmentSpec
    canvas: Canvas
    front: UInt8  # (h, w, 3) print on the canvas
    back: UInt8
    inner: Inner | None
    cut: Float  # (N,) signed distance of the vertices of the layout, > 0 is cloth
    hole: Float  # (N,) distance to the neck hole alone
    place: Float  # (2, 3) canvas pixel -> in-shop picture at canvas resolution, edges at integers
    laid: Laid | None  # where the cloth lies if its sleeves are folded over
    picture: UInt8  # (H, W, 3) in-shop picture, white background
    mask: UInt8  # (H, W), 0 or 255
    lining: NDArray[np.bool_]  # (H, W) of the mask: the inside of back or hood, which nobody shows when it is worn

    def picture_coordinates(self, uv: Float) -> Float:
        """Canvas coordinates (n, 2) -> pixel coordinates of `picture`, centres at integers, had no sleeve been folded."""
        return (uv @ self.place[:, :2].T + self.place[:, 2]) / SUPERSAMPLING - np.float32(0.5)

    def seen_at(self, corners: Int, bary: Float, *, inner: bool = False) -> Float:
        """Where points of the front, in triangles of the layout's vertices CORNERS (n, 3), are in `picture` (n, 2).

        NaN where a sleeve lies on them, or, of the INNER garment, a front.
        """
        uv = interpolate(self.canvas.uv, corners, bary)
        where = uv
        covered = np.zeros(len(uv), bool)
        if self.laid is not None:
            where = interpolate(self.laid.uv, corners, bary)
            covered |= hidden(self.laid, where, uv, self.canvas.scale)
        if inner and self.spec.opening is not None:
            covered |= self.spec.opening.beside(*interpolate(self.canvas.layout.xy, corners, bary).T) > 0
        out = self.picture_coordinates(where)
        out[covered] = np.nan
        return out


@dataclass(frozen=True, eq=False)
class _Side:
    """The front or the back on the canvas (h, w)."""

    print: UInt8
    share: Float  # of each pixel that is cloth
    hole: Float  # distance to the neck hole


def make_garment(spec: GarmentSpec, size: tuple[int, int]) -> Garment:
    """Cut and print SPEC, and lay it out as an in-shop picture of SIZE (height, width)."""
    size_ = size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING
    field = canvas(spec.sleeves, size_, spec.dress, hooded=spec.hood is not None)
    plane = Plane(field.x, field.y, field.scale)
    prints = draw_print(spec.design, field.x, field.y, field.scale)
    front = _make_side(spec, field, plane, field.front, prints[0], is_front=True)
    back = _make_side(spec, field, plane, field.back, prints[1], is_front=False)
    inner = None if spec.inner is None else _make_inner(spec.inner, field, plane)
    laid = None if spec.shop.fold is None or not spec.long else lay_sleeves(field, spec.shop.fold)
    picture, mask, lining = _photograph(spec, field, plane, front, back, inner, prints[1], laid)
    at = place(spec.shop, mask)
    shown = lay_out(mask, at, size, 0) >= 128
    vertex_inner = None
    if inner is not None and spec.inner is not None and spec.opening is not None:
        below = BELOW - spec.opening.beside(*field.layout.xy.T)
        cut = np.where(field.layout.on_front, np.minimum(_vertex_cut(spec.inner, field), below), -1)
        vertex_inner = Inner(inner.print, cut.astype(np.float32))
    return Garment(
        spec=spec,
        canvas=field,
        front=front.print,
        back=back.print,
        inner=vertex_inner,
        cut=_vertex_cut(spec, field),
        hole=_vertex_cut(spec, field, hole_only=True),
        place=at,
        laid=laid,
        picture=lay_out(picture, at, size, 255),
        mask=np.where(shown, 255, 0).astype(np.uint8),
        lining=shown & (lay_out(lining, at, size, 0) >= 128),
    )


def _make_side(
    spec: GarmentSpec, field: Canvas, plane: Plane, panel: Panel, print_: Float, *, is_front: bool
) -> _Side:  # fmt: skip
    edges = distances(spec, field.layout.outline, field.x, np.broadcast_to(field.y, field.size), front=is_front)
    plain = np.clip(print_, 0, 255).astype(np.uint8)
    finished = finish(spec, plain, plane, field.layout.outline, edges, front=is_front)
    return _Side(finished, _share(edges, field, panel), np.minimum(edges.hole, edges.beside))


def _share(edges: Distances, field: Canvas, panel: Panel) -> Float:
    """Of each pixel the share that is cloth (h, w): the cuts are known exactly, the sides from the mesh."""
    covered = np.zeros(field.size, np.float32)
    covered.ravel()[panel.pixel] = 1
    return np.asarray(cv2.GaussianBlur(covered, (0, 0), 0.7) * np.clip(edges.cut() * field.scale + 0.5, 0, 1))


def _make_inner(spec: GarmentSpec, field: Canvas, plane: Plane) -> _Side:
    """The front of what is worn below an open jacket."""
    print_ = draw_print(spec.design, field.x, field.y, field.scale)[0]
    return _make_side(spec, field, plane, field.front, print_, is_front=True)


def _photograph(
    spec: GarmentSpec, field: Canvas, plane: Plane, front: _Side, back: _Side, inner: _Side | None, cloth_: Float,
    laid: Laid | None,
) -> tuple[UInt8, UInt8, UInt8]:  # fmt: skip
    """Picture (h, w, 3), mask and lining (h, w) on the canvas: back, hanger, hood, inner garment, front, from below."""
    outline, shop = field.layout.outline, spec.shop
    colours: Float = front.print.astype(np.float32)
    share, hole = front.share, front.hole
    if inner is not None and spec.opening is not None:
        beside = spec.opening.beside(field.x, field.y)
        shadow = shadow_of_fronts(beside)
        below = inner.print * shadow[..., None]
        colours = np.asarray(below + (colours - below) * share[..., None], np.float32)
        between = inner.share * np.clip(0.5 - beside * field.scale, 0, 1)
        share = np.asarray(np.maximum(share, between), np.float32)
        hole = np.maximum(hole, inner.hole)
    # of the back only what the neck hole shows
    seen = (hole < 0.05) & (field.y > outline.armpit[1]) & (np.abs(field.x) < spec.neck_width + 0.1)
    back_share: Float = np.asarray(back.share * (seen & shop.inside), np.float32)
    picture = np.full((*field.size, 3), 255, np.float32)
    inside = inside_of_back(shop, back.print, back.hole, plane, np.asarray(seen.any(1)))
    picture += (inside - picture) * back_share[..., None]
    hood_share: Float = np.zeros(field.size, np.float32)
    lining: Float = back_share
    if spec.hood is not None:
        laid_hood = lay_hood(spec.hood, outline, (spec.neck_width, spec.neck_depth), field.x, field.y)
        hooded, hood_share, hollow = paint_hood(spec.hood, laid_hood, cloth_, field.scale)
        picture += (hooded - picture) * hood_share[..., None]
        lining = np.asarray(np.where(hood_share > 0.5, hollow, lining), np.float32)
    if shop.hanger is not None:
        metal, hanger_share = draw_hanger(shop.hanger, plane, outline.neck_at(spec.neck_width))
        picture += (metal - picture) * hanger_share[..., None]
        back_share, hood_share, lining = (
            np.asarray(s * (1 - hanger_share), np.float32) for s in (back_share, hood_share, lining)
        )
    light = shade(field, shop, spec.design.seed, (share > 0) | (hood_share > 0))[..., None]
    picture += (picture * light - picture) * hood_share[..., None]
    lit: Float = np.asarray(colours * light, np.float32)
    if laid is not None:
        lit, share = fold_over(laid, lit, share, field.scale)
    picture += (lit - picture) * share[..., None]
    whole = np.maximum.reduce([share, back_share, hood_share])
    mask, hollow8 = (np.rint(s * 255).astype(np.uint8) for s in (whole, np.where(share > 0.5, 0, lining)))
    return np.clip(picture, 0, 255).astype(np.uint8), mask, hollow8


def _vertex_cut(spec: GarmentSpec, field: Canvas, *, hole_only: bool = False) -> Float:
    """Signed distance (N,) of the layout's vertices; where front and back meet, the larger one."""
    lay = field.layout
    x, y = lay.xy.T
    front, back = (distances(spec, lay.outline, x, y, front=side) for side in (True, False))
    at_front, at_back = (side.hole if hole_only else side.cut() for side in (front, back))
    cut = np.where(lay.on_front & lay.on_back, np.maximum(at_front, at_back), np.where(lay.on_front, at_front, at_back))
    if hole_only:
        return np.asarray(cut, np.float32)
    count = len(cloth.fine().rest)
    low = cloth.fine().rest[:, 1]
    cut[:count][low < -1.0] = -1
    if spec.dress is not None:
        cut[:count] = np.minimum(cut[:count], low - (WAIST - 0.25))
    return cut.astype(np.float32)
