"""A training sample: a photograph as it is, a garment pasted on another surface, a rendered one, or something to refuse."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from spgvton.perception.cutout import KINDS, PADDING, SIDE, SLEEVES
from spgvton.video import cv2
from spgvton_training.cutout import augment, hangers, objects, surfaces
from spgvton_training.cutout.photographs import UNKNOWN, Piece
from spgvton_training.synthetic.drawing.arrays import Float

UInt8 = NDArray[np.uint8]
T = TypeVar("T")

# sort of sample: its share. photo: in place; moved: a photograph's garment on another surface; shop: rendered, on
# white; drawn: of a few lines.
SHARES: Final = {
    "photo": 0.42, "moved": 0.18, "rendered": 0.12, "shop": 0.07, "drawn": 0.04, "worn": 0.03, "trousers": 0.05, "shoes": 0.04,
    "nothing": 0.05,
}  # fmt: skip
WORN, TROUSERS, SHOES, NOTHING = (KINDS.index(kind) for kind in ("worn", "trousers", "shoes", "nothing"))


class Sample(NamedTuple):
    """picture: RGB uint8 (SIDE, SIDE, 3). mask: float32 (SIDE, SIDE), 0...1. weight: of the mask's loss, 0 or 1.
    kind, sleeve: indices, or UNKNOWN."""

    picture: UInt8
    mask: Float
    weight: float
    kind: int
    sleeve: int


@dataclass
class Library:
    """Everything that samples are made of."""

    photographs: list[Piece]
    rendered: list[Piece]
    people: list[Piece]  # worn, trousers, shoes: photographs of people, and what was cut from them
    cut: list[Piece] = field(init=False)  # photographs with a mask
    strips: list[UInt8] = field(init=False)

    def __post_init__(self) -> None:
        self.cut = [p for p in self.photographs if p.mask is not None and p.kind < WORN]
        found = (surfaces.free_strip(p.picture, p.mask) for p in self.cut if p.mask is not None)
        self.strips = [strip for strip in found if strip is not None]

    def of(self, kind: int) -> list[Piece]:
        """The pieces of KIND among those of people."""
        return [p for p in self.people if p.kind == kind]

    def surface(self, rng: np.random.Generator) -> UInt8:
        """A surface (SIDE, SIDE, 3), or where two meet: a bed and the floor, a rug and boards."""
        first = self._plain_surface(rng)
        return surfaces.edge(rng, first, self._plain_surface(rng)) if rng.random() < 0.3 else first

    def _plain_surface(self, rng: np.random.Generator) -> UInt8:
        """Real or drawn."""
        if self.strips and rng.random() < 0.6:
            return augment.recolour(
                rng, surfaces.strip(rng, _pick(rng, self.strips), SIDE), hue=rng.choice([0.03, 0.5])
            )
        return surfaces.draw(rng, SIDE)


def _pick(rng: np.random.Generator, items: list[T]) -> T:
    return items[int(rng.integers(len(items)))]


def sample(library: Library, seed: int, index: int) -> Sample:
    """Sample INDEX of the endless sequence of SEED."""
    rng = np.random.default_rng([seed, index])
    sorts = dict(SHARES)
    for name, there in (
        ("moved", library.cut),
        ("rendered", library.rendered),
        ("shop", library.rendered),
        ("worn", library.of(WORN)),
    ):
        if not there:
            sorts.pop(name)
    total = sum(sorts.values())
    sort = str(rng.choice(list(sorts), p=[share / total for share in sorts.values()]))
    made = {
        "photo": _photo, "moved": _moved, "rendered": _rendered, "shop": _shop, "drawn": _drawn, "worn": _worn,
        "trousers": _trousers, "shoes": _shoes, "nothing": _nothing,
    }[sort](library, rng)  # fmt: skip
    return made._replace(picture=augment.camera(rng, augment.light(rng, made.picture)))


def _photo(library: Library, rng: np.random.Generator) -> Sample:
    """A photograph in place; of two in three, one that has a mask."""
    piece = _pick(rng, library.cut if library.cut and rng.random() < 0.75 else library.photographs)
    matrix = augment.placement(rng, piece.picture.shape[:2], SIDE, free=False)
    picture = augment.warp(piece.picture, matrix, SIDE, PADDING)
    if piece.mask is None:
        return Sample(
            augment.recolour(rng, picture, hue=0.1), np.zeros((SIDE, SIDE), np.float32), 0, piece.kind, piece.sleeve
        )
    mask = augment.warp(piece.mask, matrix, SIDE, 0).astype(np.float32) / np.float32(255)
    if rng.random() < 0.5:  # garment and surface in other colours, each
        soft = cv2.GaussianBlur(mask, (0, 0), 1.0)
        other = augment.recolour(rng, picture, hue=0.5)
        picture = objects.blend(other, picture, np.asarray(soft if rng.random() < 0.6 else 1 - soft, np.float32))
    else:
        picture = augment.recolour(rng, picture, hue=0.05)
    picture = _patched(library, rng, picture, mask)
    if rng.random() < 0.15:
        picture = hangers.behind(rng, picture, mask)
    return Sample(picture, mask, 1, piece.kind, piece.sleeve)


def _patched(library: Library, rng: np.random.Generator, picture: UInt8, mask: Float) -> UInt8:
    """The garment of MASK on PICTURE with sleeves, a yoke, a hem or a print of another colour or cloth: garment all the same."""
    if rng.random() > 0.2:
        return picture
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j].astype(np.float32)
    rows, columns = np.nonzero(mask > 0.5)
    if not len(rows):
        return picture
    at, turn = rng.integers(len(rows)), rng.uniform(0, 2 * np.pi)
    x, y = x - 2 * columns[at] / SIDE + 1, y - 2 * rows[at] / SIDE + 1
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    inside = along > 0 if rng.random() < 0.6 else np.hypot(along, across * rng.uniform(1, 3)) < rng.uniform(0.05, 0.4)
    share = cv2.GaussianBlur(inside.astype(np.float32) * mask, (0, 0), rng.uniform(0.5, 1.5)) * mask
    if rng.random() < 0.5:
        other = augment.recolour(rng, picture, hue=0.5)
    else:  # the light of the picture on another cloth
        grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 2)
        shade = np.clip(grey / max(1.0, float(grey[mask > 0.5].mean())), 0.4, 1.6)[..., None]
        other = np.clip(_real_cloth(library, rng, SIDE) * shade, 0, 255).astype(np.uint8)
    return objects.blend(picture, other, np.asarray(share, np.float32))


def _alike(rng: np.random.Generator, surface: UInt8, picture: UInt8, mask: Float) -> UInt8:
    """SURFACE in nearly the mean colour of what MASK takes of PICTURE: white on white, black on black."""
    inside = mask > 0.5
    if not inside.any():
        return surface
    gain = (picture[inside].mean(0) * np.exp(rng.normal(0, 0.12, 3)) + 2) / (surface.reshape(-1, 3).mean(0) + 2)
    return np.clip(surface * gain.astype(np.float32), 0, 255).astype(np.uint8)


def _lay(rng: np.random.Generator, surface: UInt8, picture: UInt8, mask: Float) -> UInt8:
    """PICTURE on SURFACE by MASK, with its shadow."""
    matrix = np.array([[1, 0, rng.normal(0, 0.02) * SIDE], [0, 1, rng.uniform(-0.01, 0.03) * SIDE]], np.float32)
    moved = cv2.warpAffine(cv2.GaussianBlur(mask, (0, 0), rng.uniform(1, 6)), matrix, (SIDE, SIDE))
    shaded = objects.blend(
        surface, np.zeros(3, np.float32), np.asarray(moved * np.float32(rng.uniform(0, 0.55)), np.float32)
    )
    return objects.blend(shaded, picture, mask)


def _clutter(library: Library, rng: np.random.Generator, surface: UInt8) -> UInt8:
    """Things on SURFACE that are no garment: a shoe's sole, a bag's strap, a piece of another surface."""
    if rng.random() < 0.15:
        shape = np.roll(objects.shoes(rng, SIDE), rng.integers(0, SIDE, 2), (0, 1))
        surface = _lay(rng, surface, objects.cloth(rng, shape, None), shape)
    if rng.random() < 0.15:
        points = rng.uniform(-0.1, 1.1, 2) + rng.normal(0, 0.35, (4, 2))
        shape = objects.fill(SIDE, points[cv2.convexHull(points.astype(np.float32), returnPoints=False).ravel()] * SIDE)
        surface = _lay(rng, surface, library.surface(rng), shape)
    return surface


def _on_surface(library: Library, rng: np.random.Generator, piece: Piece, picture: UInt8, alpha: UInt8) -> Sample:
    """PICTURE by ALPHA on a surface, perhaps on a hanger, with a tag or held by fingers."""
    matrix = augment.placement(rng, picture.shape[:2], SIDE, free=True)
    placed = augment.recolour(rng, augment.warp(picture, matrix, SIDE, 255), hue=rng.choice([0.04, 0.5]))
    mask = augment.warp(alpha, matrix, SIDE, 0).astype(np.float32) / np.float32(255)
    placed = _patched(library, rng, placed, mask)
    surface = library.surface(rng)
    if rng.random() < 0.25:
        surface = _alike(rng, surface, placed, mask)
    picture = _lay(rng, _clutter(library, rng, surface), placed, mask)
    if rng.random() < 0.4:
        picture, mask = hangers.in_neck(rng, picture, mask)
    if rng.random() < 0.08:
        picture, mask = objects.tag(rng, picture, mask)
    if rng.random() < 0.07:
        picture, mask = objects.fingers(rng, picture, mask)
    return Sample(picture, mask, 1, piece.kind, piece.sleeve)


def _moved(library: Library, rng: np.random.Generator) -> Sample:
    piece = _pick(rng, library.cut)
    return _on_surface(library, rng, piece, piece.picture, _tight(piece.drawn()))


def _tight(mask: UInt8) -> UInt8:
    """MASK without the rim that holds some of the old surface."""
    return np.asarray(cv2.GaussianBlur(cv2.erode(mask, np.ones((3, 3), np.uint8)), (0, 0), 0.7), np.uint8)


def _rendered(library: Library, rng: np.random.Generator) -> Sample:
    """A rendered garment, in half of the samples of a real cloth."""
    piece = _pick(rng, library.rendered)
    picture, mask = piece.picture, piece.drawn()
    if library.cut and rng.random() < 0.5:
        inside = (mask > 200).astype(np.float32)
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) * inside
        flat = cv2.GaussianBlur(grey, (0, 0), 2.5) / (cv2.GaussianBlur(inside, (0, 0), 2.5) + 1e-3)
        shade = np.clip(flat / max(1.0, float(np.median(flat[mask > 127]))), 0.4, 1.4)
        cloth = _real_cloth(library, rng, max(picture.shape[:2]))[: picture.shape[0], : picture.shape[1]]
        picture = np.clip(cloth * shade[..., None], 0, 255).astype(np.uint8)
    return _on_surface(library, rng, piece, picture, _tight(mask))


def _shop(library: Library, rng: np.random.Generator) -> Sample:
    """A rendered garment as shops show it: on plain paper, white garments on white above all."""
    piece = _pick(rng, library.rendered)
    paper = np.full(
        (SIDE, SIDE, 3), rng.integers(225, 256) if rng.random() < 0.7 else rng.integers(0, 256, 3), np.uint8
    )
    matrix = augment.placement(rng, piece.picture.shape[:2], SIDE, free=False)
    picture = augment.warp(piece.picture, matrix, SIDE, 255)
    mask = augment.warp(piece.drawn(), matrix, SIDE, 0).astype(np.float32) / np.float32(255)
    if rng.random() < 0.35:  # bleached: only seams and shading are left
        picture = np.rint(
            255 - (255 - cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None]) * rng.uniform(0.15, 0.4, 3)
        )
    return Sample(objects.blend(paper, picture, mask), mask, 1, piece.kind, piece.sleeve)


def _drawn(library: Library, rng: np.random.Generator) -> Sample:
    shape, kind, sleeve = objects.top(rng, SIDE)
    matrix = augment.placement(rng, shape.shape, SIDE, free=False)
    mask = augment.warp((shape * 255).astype(np.uint8), matrix, SIDE, 0).astype(np.float32) / np.float32(255)
    picture = objects.cloth(rng, mask, None)
    if rng.random() < 0.4:
        picture[:] = rng.integers(0, 256, 3, dtype=np.uint8)
    paper = np.full((SIDE, SIDE, 3), rng.integers(200, 256), np.uint8) if rng.random() < 0.7 else library.surface(rng)
    return Sample(objects.blend(paper, picture, mask), mask, 1, KINDS.index(kind), SLEEVES.index(sleeve))


def _real_cloth(library: Library, rng: np.random.Generator, side: int) -> UInt8:
    """Cloth (side, side, 3) from inside a photographed garment."""
    piece = _pick(rng, library.cut)
    depth = cv2.distanceTransform((piece.drawn() > 127).astype(np.uint8), cv2.DIST_L2, 3)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    reach = max(8, int(depth.max() * 0.7))
    return surfaces.strip(rng, piece.picture[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach], side)


def _worn(library: Library, rng: np.random.Generator) -> Sample:
    """A picture of a person, whole or in part; its mask is the parser's business."""
    piece = _pick(rng, library.of(WORN))
    h = piece.picture.shape[0]
    top, high = rng.uniform(0, 0.3) * h, rng.uniform(0.4, 1.0) * h
    picture = np.ascontiguousarray(piece.picture[int(top) : int(top + high)])
    matrix = augment.placement(rng, picture.shape[:2], SIDE, free=False)
    seen = augment.recolour(rng, augment.warp(picture, matrix, SIDE, PADDING), hue=0.05)
    return Sample(seen, np.zeros((SIDE, SIDE), np.float32), 0, WORN, UNKNOWN)


def _refused(library: Library, rng: np.random.Generator, kind: int) -> tuple[UInt8, Float]:
    """Trousers or shoes on a surface, drawn or cut from a photograph; and their mask."""
    surface, real = _clutter(library, rng, library.surface(rng)), library.of(kind)
    if real and rng.random() < 0.5:
        piece = _pick(rng, real)
        matrix = augment.placement(rng, piece.picture.shape[:2], SIDE, free=True)
        picture = augment.recolour(rng, augment.warp(piece.picture, matrix, SIDE, 0), hue=rng.choice([0.04, 0.5]))
        mask = augment.warp(piece.drawn(), matrix, SIDE, 0).astype(np.float32) / np.float32(255)
    else:
        mask = (objects.trousers if kind == TROUSERS else objects.shoes)(rng, SIDE)
        texture = _real_cloth(library, rng, SIDE) if library.cut and rng.random() < 0.4 else None
        picture = objects.cloth(rng, mask, texture)
        matrix = augment.placement(rng, mask.shape, SIDE, free=False)
        picture = augment.warp(picture, matrix, SIDE, 0)
        mask = augment.warp((mask * 255).astype(np.uint8), matrix, SIDE, 0).astype(np.float32) / np.float32(255)
    return _lay(rng, surface, picture, mask), mask


def _trousers(library: Library, rng: np.random.Generator) -> Sample:
    picture, mask = _refused(library, rng, TROUSERS)
    return Sample(picture, np.zeros_like(mask), 0, TROUSERS, UNKNOWN)  # cloth all the same: the kind refuses it


def _shoes(library: Library, rng: np.random.Generator) -> Sample:
    picture, mask = _refused(library, rng, SHOES)
    return Sample(picture, np.zeros_like(mask), 1, SHOES, UNKNOWN)


def _nothing(library: Library, rng: np.random.Generator) -> Sample:
    surface = _clutter(library, rng, library.surface(rng))
    if rng.random() < 0.25:  # no picture at all: one colour, or coloured squares
        cells = int(rng.choice([1, 1, 8, 16, SIDE]))
        squares = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8) // (1 if rng.random() < 0.8 else 32)
        surface = np.asarray(cv2.resize(squares, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST))
    if rng.random() < 0.4:
        surface = _clutter(library, rng, surface)
    return Sample(surface, np.zeros((SIDE, SIDE), np.float32), 1, NOTHING, UNKNOWN)
