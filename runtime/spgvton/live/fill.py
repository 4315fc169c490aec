"""What stands where old clothes were and no new ones come: background, skin, or the clothes below."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import labels as lb
from spgvton.live.plate import View
from spgvton.live.regions import ARMS, LOWER, SKIN, Mask, Regions, grow, shrink
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

ROUND, STEEP = 2.0, 2.0  # pixels over which a limb's outline is smoothed, and how much steeper its edge is made again
MIN_SAMPLE: Final = 40  # pixels
TINT: Final = 0.3  # of the network's differences in colour, as opposed to light, within skin
GUESSED: Final = 0.6  # of the network's guess in a background that was never seen; the rest is what lies beside it
FAR: Final = 5.0  # pixels from what is seen of the background, from which on the network's guess counts


def spread(picture: Float, known: Mask) -> Float:
    """PICTURE (H, W, 3) with its unKNOWN pixels filled from the nearest known ones, ever more smoothly with distance."""
    colour = np.where(known[..., None], picture, 0).astype(np.float32)
    weight = known.astype(np.float32)
    levels = []
    while min(weight.shape) > 2:
        levels.append((colour, weight))
        colour, weight = cv2.pyrDown(colour), cv2.pyrDown(weight)
    total = max(float(weight.sum()), 1e-6)
    out = np.broadcast_to(colour.sum((0, 1)) / total, colour.shape).astype(np.float32)
    for colour, weight in reversed(levels):
        h, w = weight.shape
        out = cv2.resize(out, (w, h), interpolation=cv2.INTER_LINEAR)
        share = np.minimum(weight, 1.0)[..., None]
        out = out * (1 - share) + colour
    return out


def match_skin(rendered: Float, picture: Float, sample: Mask, where: Mask) -> Float:
    """RENDERED (H, W, 3) with the mean colour and contrast that PICTURE has in SAMPLE; measured on RENDERED in WHERE.

    Both RGB, 0 to 255. The network's skin tells light from shadow; beside a garment it takes on the garment's colour, so
    the colour is the customer's own, and what is lighter or darker than any of their skin is neither.
    """
    if sample.sum() < MIN_SAMPLE or where.sum() < MIN_SAMPLE:
        return rendered
    made, seen = (np.asarray(cv2.cvtColor(x / np.float32(255), cv2.COLOR_RGB2LAB)) for x in (rendered, picture))
    a, b = made[where], seen[sample]
    gain = np.clip(b.std(0) / np.maximum(a.std(0), 1e-2), 0.5, 1.5) * (1, TINT, TINT)
    low, high = np.percentile(b, (3, 97), axis=0)
    lab = np.clip((made - np.median(a, axis=0)) * gain + np.median(b, axis=0), low, high)
    return np.asarray(255 * cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB), np.float32)


def _rounded(mask: Mask) -> Float:
    """MASK (H, W) with a smooth outline and a soft edge, 0 to 1: the network's map has a pixel for each four."""
    wide = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), ROUND)
    return np.clip(STEEP * (wide - 0.5) + 0.5, 0, 1).astype(np.float32)


def fill_uncovered(
    picture: UInt8, rendered: UInt8, labels: UInt8, semantic: UInt8, regions: Regions, plate: View | None
) -> Float:
    """Colours (H, W, 3), float32 in [0, 255], for what regions.uncovered shows from now on; meaningful there and near it.

    picture, rendered: the framed camera picture and the network's, uint8 (H, W, 3). plate: the clean plate in the same frame.
    """
    seen, made = picture.astype(np.float32), rendered.astype(np.float32)
    away = ~grow(labels != lb.BACKGROUND, 2)
    far = cv2.distanceTransform((~away).astype(np.uint8), cv2.DIST_L2, 3)[..., None]
    guess = GUESSED * np.clip(far / FAR - 1, 0, 1)
    background = spread(seen, away) * (1 - guess) + made * guess
    if plate is not None:
        known = plate.known.astype(np.float32)[..., None] / 255
        background = (plate.picture * known + background * (1 - known)).astype(np.float32)
    below = np.isin(labels, LOWER)
    lower = spread(seen, shrink(below, 1)) if below.any() else made
    bare = np.isin(labels, (*ARMS, lb.TORSO_SKIN)) & ~regions.old
    sample = shrink(bare, 1)
    if sample.sum() < MIN_SAMPLE:
        sample = labels == lb.FACE
    to_skin, to_lower = np.isin(semantic, SKIN) & ~regions.neck, np.isin(semantic, LOWER) & ~regions.neck
    guessed = to_skin & regions.uncovered
    skin = spread(match_skin(made, seen, sample, guessed), shrink(guessed, 1)) if guessed.any() else made
    skin = cv2.GaussianBlur(skin, (0, 0), 1.2)
    if regions.neck.any():
        near = shrink(np.isin(labels, (lb.TORSO_SKIN, lb.FACE)), 2)
        neck = grow(regions.neck, 3) & (labels != lb.BACKGROUND)  # also beside it, where its edge is soft
        skin = np.where(neck[..., None], spread(seen, near), skin)
        to_skin, to_lower = to_skin | neck, to_lower & ~neck
    soft = [_rounded(m)[..., None] for m in (to_skin, to_lower)]
    rest = np.clip(1 - soft[0] - soft[1], 0, 1)
    return skin * soft[0] + lower * soft[1] + background * rest
