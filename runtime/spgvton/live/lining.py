"""The inside of a garment's back, which its picture shows through the neckline: nobody wears it in front of their neck.

It ends below in the front's neckline, a V or a U between the collar's two corners. Of all such curves that one is taken
across which the cloth changes most in the same way all along: the inside lies in shadow, or is of another colour.
Stripes and prints change, too, but not in the same way all along.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton.live.regions import Mask, grow
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

HEIGHT: Final = 256  # pixels of the garment when it is looked at
MIDDLE: Final = np.linspace(-0.04, 0.04, 5)  # of its width: how far the neckline's middle is from its own
HALF: Final = np.linspace(0.05, 0.26, 16)  # of its width: half of the neckline's
DEPTH: Final = np.geomspace(0.025, 0.34, 16)  # of its height
ALONG: Final = np.sin(
    np.linspace(-1.2, 1.2, 29)
)  # from one corner (-1) to the other (1): where both sides are compared; more on the flanks
ACROSS: Final = 3.0  # pixels from the curve
POWERS: Final = (1.0, 2.0, 4.0)  # of the curve: a V, a parabola, a wide U
FAINT, STRONG = 1.5, 9.0  # Lab units of a change that counts little, and of one that counts in full
ALIKE: Final = 0.72  # share of the curve along which the cloth must change in the same way
LENGTH: Final = 0.5  # a longer edge is a better one: power of a neckline's width in its score
RUNS_ON: Final = 0.5  # of the change across a curve, from which on it goes on beside it: a stripe
LEAST, TRIED = 0.43, 300  # score, and number of curves, beyond which nothing is looked for
DARKER, OTHER = 3.0, 10.0  # Lab units by which the inside is darker than the shoulders, or just another colour
SLOPE: Final = 0.06  # of the height: how much lower than the collar the shoulders are
BINS: Final = 10  # of L, a and b each
RARE: Final = 0.04  # share of pixels
MOSTLY: Final = 0.4  # by what share more of the inside differs so from the shoulders than they do themselves
INSIDE: Final = 0.9  # share of the neckline that the garment's mask must hold
# Beyond these it is a yoke, a bodice, a hood, or the arch of a print, and a bare chest would take its place.
WIDEST: Final = 0.63  # of the body's width: a neckline's
LARGEST: Final = 0.11  # of that width squared: the area of the inside


class _Curves(NamedTuple):
    """N necklines at M places: x, y (N, M); the normal into the front (N, M, 2); each one's middle, half width, top, depth
    and power (N,).
    """

    x: Float
    y: Float
    normal: Float
    middle: Float
    half: Float
    top: Float
    depth: Float
    power: Float

    def above(self, i: int, size: tuple[int, int]) -> Mask:
        """What lies above curve I in a picture of SIZE (height, width), between its corners."""
        rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
        t = (columns - self.middle[i]) / self.half[i]
        drop = _drop(np.clip(np.abs(t), 0, 1), self.power[i])
        return (np.abs(t) < 1) & (rows < self.top[i] + self.depth[i] * drop)


def _drop(t: Float, power: Float) -> Float:
    """How far, of its depth, a neckline hangs at T, 0 in the middle and 1 at the corners."""
    return np.asarray(1 - t**power, np.float32)


def find_lining(picture: UInt8, mask: UInt8) -> UInt8:
    """255 where PICTURE, RGB (h, w, 3), shows the inside of its back above the front's neckline; MASK (h, w), 255 = garment.

    All zeros where there is none, or where that cannot be told.
    """
    out = np.zeros_like(mask)
    x, y, w, h = cv2.boundingRect((mask >= 128).astype(np.uint8))
    if min(w, h) < 32:
        return out
    size = (max(16, round(w * HEIGHT / h)), HEIGHT)
    small = cv2.resize(picture[y : y + h, x : x + w], size, interpolation=cv2.INTER_AREA)
    inside = np.asarray(cv2.resize(mask[y : y + h, x : x + w], size, interpolation=cv2.INTER_AREA)) >= 200
    if not inside.any():
        return out
    small = np.where(inside[..., None], small, np.median(small[inside], axis=0)).astype(
        np.uint8
    )  # whatever lies beside it
    soft = cv2.GaussianBlur(cv2.bilateralFilter(small, 5, 20, 3), (0, 0), 1.0).astype(np.float32) / 255
    lab = np.asarray(cv2.cvtColor(soft, cv2.COLOR_RGB2LAB), np.float32)
    found = _neckline(lab, inside, _body(inside))
    if found is not None:
        shown = grow(found & inside, 1) & inside
        out[y : y + h, x : x + w] = cv2.resize(shown.astype(np.uint8) * 255, (w, h), interpolation=cv2.INTER_LINEAR)
        out[mask < 128] = 0
    return out


def _body(inside: Mask) -> float:
    """Width of a garment's body without sleeves that are spread: what holds its middle, below the arms."""
    h, w = inside.shape
    rows = inside[round(0.35 * h) : round(0.75 * h)]
    rows = rows[rows[:, w // 2]]
    if not len(rows):
        return float(w)
    left, right = rows[:, w // 2 :: -1], rows[:, w // 2 :]
    ends = [np.where(side.all(1), side.shape[1], side.argmin(1)) for side in (left, right)]
    return float(np.median(ends[0] + ends[1] - 1))


def _neckline(lab: Float, inside: Mask, body: float) -> Mask | None:
    """What lies above the best curve; None where none is good enough. body: see _body()."""
    curves = _curves(inside, body)
    if curves is None:
        return None
    back, before = (_beside(lab, curves, side * ACROSS) for side in (-1, 1))
    change = before - back
    size = np.linalg.norm(change, axis=2, keepdims=True)
    weight = np.clip((size - FAINT) / (STRONG - FAINT), 0, 1)
    way = change / np.maximum(size, 1e-3)
    mean = (weight * way).mean(1)
    common = mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-3)
    same = ((way * common[:, None]).sum(2) > 0.6) & (size[..., 0] > FAINT)
    score = np.where(same.mean(1) >= ALIKE, (weight[..., 0] * (way * common[:, None]).sum(2)).mean(1), 0)
    score *= (curves.half / curves.half.max()) ** LENGTH
    stripe = (_beyond(lab, curves) * common).sum(1) > RUNS_ON * (change * common[:, None]).sum(2).mean(1)
    score[stripe] = 0
    for i in np.argsort(-score)[:TRIED]:
        if score[i] < LEAST:
            break
        above = curves.above(i, inside.shape)  # type: ignore[arg-type]
        if (above & inside).sum() <= LARGEST * body**2 and _is_inside(above, lab, inside, curves, i):
            return above
    return None


def _beside(lab: Float, curves: _Curves, far: float) -> Float:
    """LAB (H, W, 3) at FAR pixels from all CURVES: (N, M, 3)."""
    x, y = curves.x + far * curves.normal[..., 0], curves.y + far * curves.normal[..., 1]
    return cv2.remap(lab, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def _beyond(lab: Float, curves: _Curves) -> Float:
    """How LAB (H, W, 3) changes downwards at each curve's lowest point, but left and right of its corners: (N, 3)."""
    x = curves.middle[:, None] + curves.half[:, None] * np.array([-1.5, -1.3, 1.3, 1.5], np.float32)
    y = np.repeat((curves.top + curves.depth)[:, None], x.shape[1], 1)
    above, below = (
        cv2.remap(lab, x, y + far, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for far in (-ACROSS, ACROSS)
    )
    return np.asarray((below - above).mean(1), np.float32)


def _is_inside(above: Mask, lab: Float, inside: Mask, curves: _Curves, i: int) -> bool:
    """Whether the cloth ABOVE curve I is darker than the shoulders on both sides, or of another colour."""
    if (above & inside).sum() < max(30, INSIDE * above[round(float(curves.top[i])) :].sum()):
        return False
    columns = np.arange(inside.shape[1])[None]
    away = np.abs(columns - curves.middle[i])
    rows = np.arange(inside.shape[0])[:, None] < curves.top[i] + curves.depth[i] + SLOPE * HEIGHT
    shoulders = inside & rows & (away > 1.2 * curves.half[i]) & (away < 2.5 * curves.half[i])
    if shoulders.sum() < 30:
        return False
    front = np.median(lab[shoulders], axis=0)
    differs = (front[0] - lab[..., 0] > DARKER) | (np.linalg.norm(lab - front, axis=2) > OTHER)
    if differs[above & inside].mean() - differs[shoulders].mean() > MOSTLY:
        return True
    return bool(
        _rare(lab[above & inside], lab[shoulders]).mean() > MOSTLY + _rare(lab[shoulders], lab[shoulders]).mean()
    )


def _rare(colours: Float, among: Float) -> Mask:
    """Which COLOURS (N, 3) hardly occur AMONG others (M, 3): of stripes, for instance, each is common."""
    bins = (np.array([0, -60, -60], np.float32), np.array([100, 60, 60], np.float32))
    count = np.zeros((BINS, BINS, BINS), np.float32)

    def cell(x: Float) -> tuple[NDArray[np.intp], ...]:
        return tuple(np.clip((x - bins[0]) / (bins[1] - bins[0]) * BINS, 0, BINS - 1).astype(int).T)

    np.add.at(count, cell(among), 1 / len(among))
    return np.asarray(count[cell(colours)] < RARE)


def _curves(inside: Mask, body: float) -> _Curves | None:
    """All necklines that are tried on a garment (H, W) whose body is BODY pixels wide."""
    h, w = inside.shape
    top = np.where(inside.any(0), inside.argmax(0), h).astype(np.float32)
    grid = np.meshgrid(w / 2 + MIDDLE * w, HALF * w, DEPTH * h, POWERS, indexing="ij")
    middle, half, depth, power = (np.asarray(g.ravel(), np.float32) for g in grid)
    corners = [top[np.clip(np.rint(middle + s * half), 0, w - 1).astype(int)] for s in (-1, 1)]
    start = (corners[0] + corners[1]) / 2
    fits = (np.abs(corners[0] - corners[1]) < 0.05 * h) & (start + depth < 0.45 * h) & (2 * half <= WIDEST * body)
    if not fits.any():
        return None
    middle, half, depth, start, power = (a[fits] for a in (middle, half, depth, start, power))
    t = ALONG[None].astype(np.float32)
    x = middle[:, None] + half[:, None] * t
    y = start[:, None] + depth[:, None] * _drop(np.abs(t), power[:, None])
    slope = np.gradient(y, axis=1) / np.maximum(np.gradient(x, axis=1), 1e-3)
    normal = np.stack([-slope, np.ones_like(slope)], 2)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    return _Curves(*(np.asarray(a, np.float32) for a in (x, y, normal, middle, half, start, depth, power)))
