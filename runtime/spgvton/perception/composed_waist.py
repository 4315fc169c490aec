"""Clothes of the composed parse: the waist between upper and lower clothes, and a coat over a shirt."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.labels import COAT, PANTS, UPPER_CLOTHES
from spgvton.perception.composed_body import ARM_PARTS, Body, PartMap
from spgvton.perception.composed_head import FaceFrame, SkinModel
from spgvton.perception.composed_limbs import Cloth

LOW, HIGH, BINS = -0.55, 0.65, 40  # heights along the torso (0 hips, 1 shoulders) where the waist may be
USUAL_WAIST, TOLERANCE = 0.08, 0.12
COAT_CONTRAST: Final = 45.0  # sum of Lab differences between sleeves and the middle of the chest
COAT_SLEEVE: Final = 1.2  # a coat's sleeve covers the elbow


def waist_height(body: Body, parts: PartMap, skin: SkinModel, cloth: Cloth) -> float:
    """Height of the waist along the torso: where the clothes' colour changes most, near the usual place."""
    height = body.height
    on = (cloth.upper | cloth.lower) & (skin.likeness < 0.6) & ~parts.of(*ARM_PARTS)
    bins = np.where(on, np.floor((height - LOW) / (HIGH - LOW) * BINS), -1).astype(int)
    count = np.array([(bins == i).sum() for i in range(BINS)])
    enough = max(15.0, 0.35 * float(np.median(count[BINS // 3 :])))
    colour = np.array(
        [np.median(body.lab[bins == i], axis=0) if count[i] > enough else (np.nan,) * 3 for i in range(BINS)]
    )
    seen = ~np.isnan(colour[:, 0])
    best, waist = np.inf, LOW + (HIGH - LOW) / 2
    for k in range(3, BINS - 3):
        below, above = colour[:k][seen[:k]], colour[k:][seen[k:]]
        if len(below) < 3 or len(above) < 3:
            continue
        at = LOW + k / BINS * (HIGH - LOW)
        cost = sum(np.abs(c - np.median(c, axis=0)).sum() for c in (below, above))
        cost += 300 * max(0.0, abs(at - USUAL_WAIST) - TOLERANCE)
        if cost < best:
            best, waist = float(cost), at
    return waist


def label_clothes(
    labels: NDArray[np.uint8], body: Body, parts: PartMap, face: FaceFrame, skin: SkinModel, cloth: Cloth
) -> None:
    """Write upper clothes, coat and trousers into LABELS; what of the trunk is not labelled yet is cloth."""
    free = body.person & (labels == 0)
    cloth.upper |= free & parts.of("torso", "neck")
    cloth.upper |= free & parts.of("head") & (face.above_chin(body) < 0)
    taken = labels > 0
    cloth.upper &= ~taken
    cloth.lower &= ~taken & ~cloth.upper
    waist = waist_height(body, parts, skin, cloth) if body.hips_seen else -np.inf
    below = body.height < waist
    trunk = ~parts.of(*ARM_PARTS)
    both = cloth.upper | cloth.lower
    cloth.lower = (both & below & trunk) | (cloth.lower & below)
    cloth.upper = both & ~cloth.lower
    labels[cloth.upper] = UPPER_CLOTHES
    labels[cloth.lower] = PANTS
    label_coat(labels, body, parts, cloth)


def label_coat(labels: NDArray[np.uint8], body: Body, parts: PartMap, cloth: Cloth) -> None:
    """Long sleeves in another colour than the middle of the chest: an open coat; split the upper clothes by colour."""
    sleeves = cloth.upper & parts.of(*(p for p in ARM_PARTS if p.endswith("arm")))
    level = cloth.upper & (body.height > 0.3) & (body.height < 0.8)
    off_axis = body.segment(body.shoulders, body.hips)[0] / body.torso
    chest = level & (off_axis < 0.09)
    if not body.frontal or sleeves.sum() <= 200 or chest.sum() <= 200 or cloth.sleeve <= COAT_SLEEVE:
        return
    outer, inner = np.median(body.lab[sleeves], axis=0), np.median(body.lab[chest], axis=0)
    # Both must be of one colour: the blotches of a pattern differ as much.
    spread = max(float(np.median(np.abs(body.lab[z] - c).sum(axis=1))) for z, c in ((sleeves, outer), (chest, inner)))
    if np.abs(outer - inner).sum() > max(COAT_CONTRAST, 3 * spread):
        nearer = np.abs(body.lab - outer).sum(axis=2) < np.abs(body.lab - inner).sum(axis=2)
        labels[cloth.upper & nearer] = COAT
