"""What the sleeve network is shown: flat garments, their sleeves folded over the body or spread, photographed badly."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton.live.spread import turned_map
from spgvton.perception.garment_sleeves import SIDE, STRIDE, Sleeve, between_centres, frame_of, look
from spgvton.video import cv2
from spgvton_training.sleeves.rendered import Flat

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

ROOM: Final = 0.3  # of the longer side, beside the garment
LONG_TURN, SHORT_TURN = (-34.0, 45.0), (-22.0, 25.0)  # degrees outwards
PEAK: Final = 4.5  # pixels of the network's square: the spread of an armpit's and a shoulder's bell


class Lying(NamedTuple):
    """A garment as it lies, its left sleeve marked: picture (h, w, 3), mask and cloth (h, w), uint8; points (x, y)."""

    picture: UInt8
    mask: UInt8
    cloth: UInt8
    shoulder: Float
    armpit: Float


class Sample(NamedTuple):
    """picture uint8 (SIDE, SIDE, 3); maps float32 (3, SIDE / STRIDE, SIDE / STRIDE): cloth, armpit, shoulder of the left sleeve."""

    picture: UInt8
    maps: Float


def sample(flat: Flat, rng: np.random.Generator) -> Sample:
    """FLAT once, as it may lie in a photograph."""
    lying = _lay(flat, rng)
    if lying is None:
        blank = np.zeros((3, SIDE // STRIDE, SIDE // STRIDE), np.float32)
        picture, mask = _photograph(*_turn(flat.picture, flat.mask, rng)[:2], rng)
        return Sample(look(picture, mask, frame_of(mask)), blank)
    picture, mask, cloth, matrix = _turn(lying.picture, lying.mask, rng, lying.cloth)
    points = [matrix[:, :2] @ p + matrix[:, 2] for p in (lying.armpit, lying.shoulder)]
    picture, mask = _photograph(picture, mask, rng)
    into = frame_of(mask)
    return Sample(look(picture, mask, into), _maps(cloth, points, into))


def _lay(flat: Flat, rng: np.random.Generator) -> Lying | None:
    """FLAT with both sleeves turned by chance, or by nearly the same; None without sleeves."""
    if not flat.sleeves:
        return None
    room = round(ROOM * max(flat.mask.shape))
    picture = cv2.copyMakeBorder(flat.picture, 0, 0, room, room, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    mask = cv2.copyMakeBorder(flat.mask, 0, 0, room, room, cv2.BORDER_CONSTANT, value=0)
    left, right = (_shifted(s, room) for s in sorted(flat.sleeves, key=lambda s: not s.left))
    low, high = LONG_TURN if flat.long else SHORT_TURN
    degrees = rng.uniform(low, 6) if rng.random() < 0.8 else rng.uniform(6, high)
    picture, mask, cloth = _folded(picture, mask, left, degrees, rng)
    if rng.random() < 0.9:  # else the other sleeve stays
        other = degrees + rng.normal(0, 8) if rng.random() < 0.7 else rng.uniform(low, 6)
        picture, mask, over = _folded(picture, mask, right, other, rng)
        cloth = np.where(over > 127, 0, cloth).astype(np.uint8)
    return Lying(picture, mask, cloth, left.shoulder, left.armpit)


def _shifted(sleeve: Sleeve, room: int) -> Sleeve:
    cloth = cv2.copyMakeBorder(sleeve.cloth, 0, 0, room, room, cv2.BORDER_CONSTANT, value=0)
    shift = np.array([room, 0], np.float32)
    return sleeve._replace(cloth=cloth, shoulder=sleeve.shoulder + shift, armpit=sleeve.armpit + shift)


def _folded(
    picture: UInt8, mask: UInt8, sleeve: Sleeve, degrees: float, rng: np.random.Generator
) -> tuple[UInt8, UInt8, UInt8]:
    """PICTURE, MASK and where its cloth is, with SLEEVE turned outwards by DEGREES and laid on top, where it casts a shadow."""
    turn = degrees if sleeve.left else -degrees
    x, y = turned_map(mask.shape, sleeve.shoulder, sleeve.armpit, turn)
    cloth = cv2.remap(sleeve.cloth, x, y, cv2.INTER_LINEAR, borderValue=0)
    share = cloth.astype(np.float32) / 255
    top = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    base = picture.astype(np.float32)
    if rng.random() < 0.8:
        shadow = cv2.GaussianBlur(share, (0, 0), rng.uniform(0.8, 3.0)) * (1 - share)
        base *= 1 - rng.uniform(0, 0.6) * shadow[..., None]
    if rng.random() < 0.5:
        top *= rng.uniform(0.8, 1.15)
    out = base + (top - base) * share[..., None]
    body = np.where(sleeve.cloth > 0, 0, mask)
    return np.clip(out, 0, 255).astype(np.uint8), np.maximum(body, cloth), cloth


def _turn(
    picture: UInt8, mask: UInt8, rng: np.random.Generator, cloth: UInt8 | None = None
) -> tuple[UInt8, UInt8, UInt8, Float]:
    """All of them turned, stretched and sheared a little, and the map (2, 3) that did it."""
    h, w = mask.shape
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), rng.normal(0, 5), 1.0)
    stretch = float(np.exp(rng.normal(0, 0.1)))
    matrix[0] *= stretch
    matrix[0, 2] += w / 2 * (1 - stretch)
    matrix[0, 1] += rng.normal(0, 0.05)
    moved = cv2.warpAffine(picture, matrix, (w, h), borderValue=(255, 255, 255))
    masks = [cv2.warpAffine(m, matrix, (w, h)) for m in (mask, mask if cloth is None else cloth)]
    return moved, masks[0], masks[1], matrix.astype(np.float32)  # type: ignore[return-value]


def _photograph(picture: UInt8, mask: UInt8, rng: np.random.Generator) -> tuple[UInt8, UInt8]:
    """PICTURE in another light, with noise and blur; MASK sometimes a pixel too large or too small."""
    h, w = mask.shape
    if rng.random() < 0.3:
        mask = (cv2.dilate if rng.random() < 0.5 else cv2.erode)(mask, np.ones((3, 3), np.uint8))  # type: ignore[assignment]
    seen = 255 * (picture.astype(np.float32) / 255) ** float(np.exp(rng.normal(0, 0.35)))
    seen *= np.exp(rng.normal(0, 0.12, 3)).astype(np.float32)
    if rng.random() < 0.3:
        seen = seen[..., rng.permutation(3)]
    slope_x, slope_y = rng.normal(0, 0.15, 2)
    light = 1 + slope_x * (np.arange(w) / w - 0.5) + slope_y * (np.arange(h) / h - 0.5)[:, None]
    seen = seen * light[..., None] + rng.normal(0, rng.uniform(0, 8), seen.shape)
    seen = np.clip(seen, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        seen = cv2.GaussianBlur(seen, (0, 0), rng.uniform(0.5, 1.5))
    return seen, mask


def _maps(cloth: UInt8, points: list[Float], matrix: Float) -> Float:
    """The answer: CLOTH's share of each place, and a bell at each of POINTS (armpit, shoulder), mapped by MATRIX."""
    side = SIDE // STRIDE
    square = cv2.warpAffine(cloth, between_centres(matrix), (SIDE, SIDE), flags=cv2.INTER_LINEAR)
    share = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    at = (np.arange(side, dtype=np.float32) + 0.5) * STRIDE
    bells = []
    for point in points:
        x, y = matrix[:, :2] @ (point + 0.5) + matrix[:, 2]
        bells.append(np.exp(-((at - x) ** 2 + (at[:, None] - y) ** 2) / (2 * PEAK**2)))
    if not (share > 0.5).any():  # the other sleeve hides it
        return np.zeros((3, side, side), np.float32)
    return np.stack([share, *bells]).astype(np.float32)
