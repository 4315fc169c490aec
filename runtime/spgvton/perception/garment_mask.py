"""The mask of a garment photographed on a plain background (an in-shop picture).

What can be reached from the picture's border without crossing an edge or a change of colour is background. A white shirt on
white differs from it by its seams and shading only, so edges count as much as colour; where colours do differ, GrabCut then
draws the outline exactly. Nothing enclosed by the garment is cut out: a white print on a white background is garment.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError
from spgvton.image import on_white
from spgvton.mask import is_inverted
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

WORK_SIDE: Final = 384  # pixels on the long side; four times the network's needs, and GrabCut stays at 0.2 s
MIN_AREA, MAX_AREA = 0.02, 0.95  # of the picture
MIN_SOLIDITY: Final = 0.4  # area over that of the convex hull; a shirt with its sleeves spread has 0.5
MAX_CLUTTER: Final = 12.0  # Lab units: spread of the border about a smooth background
NOT_FOUND: Final = "no garment found: photograph it on a plain background, or give --garment-mask"


def garment_mask(image: UInt8) -> UInt8:
    """Mask of the garment in IMAGE, RGB (H, W, 3) or RGBA (H, W, 4) uint8: 255 inside, 0 outside, uint8 (H, W).

    An alpha channel that separates something is taken as it is. Raises SpgvtonError when nothing or nearly everything is
    found, or when the background is not plain.
    """
    if image.ndim != 3 or image.shape[2] not in (3, 4) or image.dtype != np.uint8:
        raise SpgvtonError(f"a garment picture must be RGB or RGBA uint8, got {image.dtype} {image.shape}")
    if image.shape[2] == 4:
        mask = (image[..., 3] >= 128).astype(np.uint8)
        if MIN_AREA < mask.mean() < 0.99:
            if is_inverted(mask > 0):
                raise SpgvtonError("the garment is transparent and its surroundings are not: invert the alpha channel")
            return clean(mask, fill=False) * np.uint8(255)
        image = on_white(image) if mask.any() else np.ascontiguousarray(image[..., :3])  # an alpha that says nothing
    h, w = image.shape[:2]
    scale = min(1.0, WORK_SIDE / max(h, w))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    mask = separate(np.asarray(small))
    if scale < 1:
        soft = cv2.GaussianBlur(
            cv2.resize(mask * np.float32(1), (w, h), interpolation=cv2.INTER_LINEAR), (0, 0), 0.7 / scale
        )
        mask = (soft > 0.5).astype(np.uint8)
    if not MIN_AREA < mask.mean() < MAX_AREA:
        raise SpgvtonError(NOT_FOUND)
    return mask * np.uint8(255)


def separate(rgb: UInt8) -> UInt8:
    """Garment (1) and background (0) of a small picture. Raises SpgvtonError when the background is cluttered."""
    lab = cv2.cvtColor(cv2.GaussianBlur(rgb, (0, 0), 0.8).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    ring = border(lab.shape[:2])
    background, spread = fit_background(lab, ring)
    if spread > MAX_CLUTTER:
        raise SpgvtonError(NOT_FOUND)
    difference = lab - background
    distance = np.linalg.norm(difference, axis=2)
    bold = enclosed((distance > max(6.0, 5 * spread)) | (edges(lab) > max(3.0, 3 * spread)))
    faint = faint_shape(difference, distance, spread, ring)
    # The faint outline takes in shadows on the background; but where it is much larger, the bold one is just the print on a
    # garment as pale as the background.
    candidate = faint if bold.sum() < 0.75 * faint.sum() and faint.mean() < MAX_AREA else bold
    if candidate.mean() < MIN_AREA / 2:
        raise SpgvtonError(NOT_FOUND)
    inside = cv2.erode(candidate, disc(5)) > 0
    distinct = inside.any() and np.percentile(distance[inside], 25) > max(12.0, 6 * spread)
    if distinct:
        return clean(refine_by_colour(rgb, candidate))
    mask = clean(refine_by_edges(difference, candidate))
    if mask.sum() < MIN_SOLIDITY * hull_area(mask):  # scraps of shading, whose outline drowns in the background
        raise SpgvtonError(NOT_FOUND)
    return mask


def border(size: tuple[int, int]) -> NDArray[np.bool_]:
    """The outermost pixels of a picture of SIZE (height, width), 2% of its long side."""
    ring = np.zeros(size, bool)
    band = max(2, round(0.02 * max(size)))
    ring[:band] = ring[-band:] = ring[:, :band] = ring[:, -band:] = True
    return ring


def fit_background(lab: Float, ring: NDArray[np.bool_]) -> tuple[Float, float]:
    """A smooth background (H, W, 3), quadratic in x and y, fitted to the RING; and the ring's spread about it.

    Iteratively reweighted least squares, so that a garment that reaches the border does not pull it.
    """
    h, w = lab.shape[:2]
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1)
    a, b = terms[ring], lab[ring].astype(np.float64)
    middle = np.median(b, axis=0)
    residual = np.linalg.norm(b - middle, axis=1)
    coefficients = np.zeros((terms.shape[-1], 3))
    for _ in range(6):
        sigma = max(1.0, 1.48 * float(np.median(residual)))
        weight = np.exp(-0.5 * (residual / (2 * sigma)) ** 2)[:, None] + 1e-6
        ridge = 1e-3 * weight.sum() * np.diag([0, 1, 1, 1, 1, 1])
        coefficients = np.linalg.solve(a.T @ (weight * a) + ridge, a.T @ (weight * b))
        residual = np.linalg.norm(b - a @ coefficients, axis=1)
    return (terms @ coefficients).astype(np.float32), 1.48 * float(np.median(residual))


def edges(lab: Float) -> Float:
    """Strength of the edges (H, W), Lab units per pixel."""
    gx, gy = cv2.Scharr(lab, cv2.CV_32F, 1, 0), cv2.Scharr(lab, cv2.CV_32F, 0, 1)
    return np.sqrt((gx * gx + gy * gy).sum(axis=2)) / 32


def faint_shape(difference: Float, distance: Float, spread: float, ring: NDArray[np.bool_]) -> UInt8:
    """The garment (1) by the faintest differences that stand out from the background's noise.

    Where folds are as pale as the background, the outline has gaps: they are bridged over growing distances until what is
    enclosed has the shape of one thing.
    """
    edge = edges(cv2.GaussianBlur(difference, (0, 0), 1.5))
    wall = (distance > max(1.6, 4 * spread)) | (edge > max(0.25, 3.5 * float(np.median(edge[ring]))))
    shape = enclosed(wall)
    for bridge in (10, 18):
        if shape.sum() > 0.7 * hull_area(shape):
            break
        shape = enclosed(wall, bridge)
    return shape


def enclosed(wall: NDArray[np.bool_], bridge: int = 4) -> UInt8:
    """What cannot be reached from the border without crossing WALL (1), whose gaps up to twice BRIDGE pixels are closed."""
    margin = 2 * bridge  # so that a garment that touches the border can be walked around
    room = cv2.copyMakeBorder(wall.astype(np.uint8), margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=0)
    room = cv2.morphologyEx(room, cv2.MORPH_CLOSE, disc(bridge))
    frame = cv2.copyMakeBorder(room, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)  # what floodFill asks for
    cv2.floodFill(room, frame, (0, 0), 2)
    out = cv2.morphologyEx((room != 2).astype(np.uint8), cv2.MORPH_OPEN, disc(2))
    return np.ascontiguousarray(out[margin:-margin, margin:-margin])


def surely(candidate: UInt8) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where a refinement may not change CANDIDATE: (garment, background); between them lies a band of some pixels."""
    band = max(3, round(0.015 * max(candidate.shape)))
    return cv2.erode(candidate, disc(band)) > 0, cv2.dilate(candidate, disc(band)) == 0


def refine_by_colour(rgb: UInt8, candidate: UInt8) -> UInt8:
    """The outline by GrabCut, in a band round that of CANDIDATE."""
    garment, background = surely(candidate)
    if not garment.any() or not background.any():
        return candidate
    labels = np.where(candidate > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[garment], labels[background] = cv2.GC_FGD, cv2.GC_BGD
    cv2.setRNGSeed(0)  # GrabCut's k-means starts at random; the same picture must give the same mask
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    cv2.grabCut(bgr, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)


def refine_by_edges(difference: Float, candidate: UInt8) -> UInt8:
    """The outline by watershed, along the strongest edge of the band; for a garment in the background's own colour."""
    garment, background = surely(candidate)
    if not garment.any() or not background.any():
        return candidate
    markers = np.where(garment, 1, np.where(background, 2, 0)).astype(np.int32)
    stretched = np.clip(128 + 6 * difference, 0, 255).astype(np.uint8)  # watershed wants 8 bits; the contrast is faint
    markers = cv2.watershed(stretched, markers)
    return cv2.morphologyEx((markers == 1).astype(np.uint8), cv2.MORPH_OPEN, disc(2))


def clean(mask: UInt8, *, fill: bool = True) -> UInt8:
    """Drop specks (under 2% of the largest piece) and holes (all, or under 0.5% of the garment where FILL is off)."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count < 2:
        return mask
    area = stats[:, cv2.CC_STAT_AREA].copy()
    area[0] = 0
    out = (area > 0.02 * area.max())[pieces].astype(np.uint8)
    padded = cv2.copyMakeBorder(1 - out, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(padded, connectivity=4)
    hole = stats[:, cv2.CC_STAT_AREA] < (np.inf if fill else 0.005 * out.sum())
    hole[pieces[0, 0]] = hole[0] = False  # outside, and the garment itself
    return out | hole[pieces[1:-1, 1:-1]].astype(np.uint8)


def hull_area(mask: UInt8) -> float:
    """Area of the convex hull of MASK's pixels."""
    points = cv2.findNonZero(mask)
    return 0.0 if points is None else float(cv2.contourArea(cv2.convexHull(points)))


def disc(radius: int) -> UInt8:
    """A round structuring element."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))  # type: ignore[return-value]
