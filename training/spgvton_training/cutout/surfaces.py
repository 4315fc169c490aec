"""What garments lie on or hang before: drawn wood, tiles, sheets, rugs and walls, and strips of real photographs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spgvton.video import cv2
from spgvton_training.synthetic.drawing.arrays import Float
from spgvton_training.synthetic.drawing.texture import blotches, noise

UInt8 = NDArray[np.uint8]


def draw(rng: np.random.Generator, side: int) -> UInt8:
    """A drawn surface (side, side, 3) uint8 of a random sort."""
    sort = rng.choice(["wood", "tiles", "sheet", "rug", "wall", "stripes"], p=[0.24, 0.16, 0.24, 0.14, 0.12, 0.1])
    drawn = {"wood": _wood, "tiles": _tiles, "sheet": _sheet, "rug": _rug, "wall": _wall, "stripes": _stripes}
    picture = drawn[str(sort)](rng, side)
    picture *= 1 + rng.uniform(0, 0.14) * noise(rng, side, side, side / rng.uniform(1.5, 4), 2)[..., None]
    return _turned(rng, np.clip(picture, 0, 255).astype(np.uint8))


def strip(rng: np.random.Generator, picture: UInt8, side: int) -> UInt8:
    """A real surface (side, side, 3): a piece of PICTURE, mirrored until it fills the square."""
    scale = rng.uniform(0.7, 1.6) * side / 256
    h, w = (max(16, round(n * scale)) for n in picture.shape[:2])
    piece = np.asarray(cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA))
    top, left = (int(rng.integers(0, n)) for n in (h, w))
    rows, columns = (_mirrored(start, n, side) for start, n in ((top, h), (left, w)))
    return _turned(rng, piece[rows][:, columns])


def edge(rng: np.random.Generator, first: UInt8, second: UInt8) -> UInt8:
    """FIRST (side, side, 3) over SECOND along a line: the edge of a bed, a rug or a table, with its shadow and perhaps a border."""
    side = len(first)
    turn = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-0.5 : 0.5 : side * 1j, -0.5 : 0.5 : side * 1j].astype(np.float32)
    wave = rng.uniform(0, 0.02) * noise(rng, side, side, side / 3, 2)
    depth = x * np.cos(turn) + y * np.sin(turn) + wave + rng.uniform(0.05, 0.45)  # > 0: on FIRST
    shadow = 1 - rng.uniform(0, 0.6) * np.exp(np.minimum(depth, 0) / rng.uniform(0.01, 0.1))
    out = np.where(depth[..., None] > 0, first, second * shadow[..., None])
    if rng.random() < 0.4:
        out = np.where((np.abs(depth) < rng.uniform(0.003, 0.03))[..., None], _colour(rng), out)
    return np.clip(out, 0, 255).astype(np.uint8)


def free_strip(picture: UInt8, mask: UInt8, least: int = 36) -> UInt8 | None:
    """The largest band beside, above or below what MASK (h, w) covers in PICTURE; None where all are thinner than LEAST."""
    left, top, w, h = cv2.boundingRect(cv2.dilate((mask > 8).astype(np.uint8), np.ones((9, 9), np.uint8)))
    bands = (picture[:top], picture[top + h :], picture[:, :left], picture[:, left + w :])
    usable = [band for band in bands if min(band.shape[:2]) >= least]
    return np.ascontiguousarray(max(usable, key=lambda band: band.size)) if usable else None


def _mirrored(start: int, length: int, count: int) -> NDArray[np.intp]:
    """COUNT indices from START on that run to and fro over LENGTH."""
    index = (start + np.arange(count)) % (2 * length)
    return np.where(index < length, index, 2 * length - 1 - index)


def _turned(rng: np.random.Generator, picture: UInt8) -> UInt8:
    return np.ascontiguousarray(np.rot90(picture, int(rng.integers(4))))


def _colour(rng: np.random.Generator, low: float = 30, high: float = 245, tint: float = 60) -> Float:
    grey = rng.uniform(low, high)
    return np.clip(grey + rng.uniform(-tint, tint, 3), 5, 252).astype(np.float32)


def _wood(rng: np.random.Generator, side: int) -> Float:
    """Planks along x, each of its own brightness and grain."""
    base = np.array([1.0, rng.uniform(0.62, 0.95), rng.uniform(0.35, 0.9)], np.float32) * rng.uniform(60, 240)
    if rng.random() < 0.3:
        base[:] = rng.uniform(60, 220)  # grey laminate
    stretch = int(rng.integers(6, 20))
    grain = cv2.resize(noise(rng, side, max(8, side // stretch), 6, 3), (side, side), interpolation=cv2.INTER_CUBIC)
    out = base * (1 + rng.uniform(0.04, 0.16) * grain[..., None])
    y, step = 0.0, side / rng.uniform(2.5, 9)
    while y < side:
        rows = slice(int(y), int(y + step))
        x, contrast = 0.0, rng.uniform(0, 0.14)
        while x < side:
            length = side * rng.uniform(0.5, 1.5)
            out[rows, int(x) : int(x + length)] *= 1 + contrast * rng.standard_normal()
            x += length
            out[rows, min(side - 1, int(x)) - 1 : int(x)] *= 0.7
        out[int(y) : int(y) + 1] *= rng.uniform(0.5, 0.9)
        y += step
    return out


def _tiles(rng: np.random.Generator, side: int) -> Float:
    out = np.broadcast_to(_colour(rng, 90, 245, 22), (side, side, 3)).copy()
    out *= 1 + rng.uniform(0.01, 0.08) * noise(rng, side, side, side / 5, 4)[..., None]
    step, wide, dark = side / rng.uniform(1.6, 7), int(rng.integers(1, 4)), rng.uniform(0.45, 0.95)
    for at in np.arange(rng.uniform(0, step), side, step):
        out[int(at) : int(at) + wide] *= dark
    for at in np.arange(rng.uniform(0, step), side, step):
        out[:, int(at) : int(at) + wide] *= dark
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(0, 90), 1.5)
    return np.asarray(cv2.warpAffine(out, matrix, (side, side), borderMode=cv2.BORDER_REFLECT), np.float32)


def _sheet(rng: np.random.Generator, side: int) -> Float:
    """Cloth of one colour with folds: the ridges of smooth noise."""
    folds = noise(rng, side, side, side / rng.uniform(1.5, 6), 3)
    ridge = 1 - np.abs(folds) * rng.uniform(0.5, 2)
    gy, gx = np.gradient(folds * side / 12)
    light = 1 + rng.uniform(0.02, 0.3) * np.tanh(gx * rng.uniform(-1, 1) + gy) + rng.uniform(0, 0.08) * ridge
    weave = 1 + rng.uniform(0, 0.03) * rng.standard_normal((side, side), dtype=np.float32)
    return _colour(rng) * (light * weave)[..., None].astype(np.float32)


def _rug(rng: np.random.Generator, side: int) -> Float:
    """A print that repeats, or a deep pile."""
    if rng.random() < 0.4:
        pile = noise(rng, side, side, rng.uniform(3, 9), 2)
        return _colour(rng, 60, 220, 30) * (1 + rng.uniform(0.06, 0.2) * pile)[..., None]
    size = int(side / rng.uniform(1.0, 4.0))
    tile = np.asarray(cv2.resize(blotches(rng), (size, size), interpolation=cv2.INTER_AREA), np.float32)
    rows, columns = (_mirrored(int(rng.integers(size)), size, side) for _ in range(2))
    return tile[rows][:, columns].copy()


def _wall(rng: np.random.Generator, side: int) -> Float:
    """A wall, sometimes with a door frame or furniture beside it: some bands of other colours."""
    out = np.broadcast_to(_colour(rng, 80, 250, 25), (side, side, 3)).copy()
    for _ in range(int(rng.integers(0, 4))):
        a, b = sorted(rng.integers(0, side, 2))
        if rng.random() < 0.5:
            a, b = (0, int(0.3 * b)) if rng.random() < 0.5 else (side - int(0.3 * b), side)
        out[:, a:b] = _colour(rng, 20, 250, 50)
    fade = np.linspace(rng.uniform(0.7, 1.1), rng.uniform(0.7, 1.1), side, dtype=np.float32)
    return out * fade[:, None, None]


def _stripes(rng: np.random.Generator, side: int) -> Float:
    """Stripes, or checks where they cross."""
    a, b = _colour(rng), _colour(rng)
    line = np.sin(np.arange(side, dtype=np.float32) * 2 * np.pi / rng.uniform(8, 60)) > rng.uniform(-0.7, 0.7)
    share = np.broadcast_to(line[:, None].astype(np.float32), (side, side))
    if rng.random() < 0.5:
        share = (share + line[None].astype(np.float32)) / 2
    soft = cv2.GaussianBlur(np.ascontiguousarray(share), (0, 0), 0.8)[..., None]
    return a * (1 - soft) + b * soft
