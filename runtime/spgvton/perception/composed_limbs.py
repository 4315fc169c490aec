"""Arms and legs of the composed parse: where the sleeve ends and the skin begins, along each limb; then the feet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spgvton.labels import LEFT_ARM, LEFT_LEG, LEFT_SHOE, RIGHT_ARM, RIGHT_LEG, RIGHT_SHOE
from spgvton.perception.composed_body import ARM_PARTS, Body, Float, Mask, PartMap
from spgvton.perception.composed_head import SkinModel

BINS = 24  # along a limb


@dataclass
class Cloth:
    """Pixels that are clothes: upper and lower body. sleeve: the longer sleeve's length, 0 at the shoulder, 3 at the fingertips."""

    upper: Mask
    lower: Mask
    sleeve: float = 0.0


def first_skin_bin(skin: NDArray[np.floating]) -> int:
    """Index of the first bin that is skin, cloth before it and skin after it, with the fewest contradictions.

    skin: share of skin per bin, from the trunk outwards, NaN where nothing is seen. Returns len(skin) for no skin at all.
    """
    v = np.where(np.isnan(skin), 0.5, skin)
    cost = [v[:k].sum() + (1 - v[k:]).sum() for k in range(len(v) + 1)]
    return int(np.argmin(cost))


def bins_along(parts: PartMap, names: list[str], free: Mask) -> NDArray[np.int64]:
    """Bin (H, W) of each FREE pixel along the chain of limb parts NAMES; -1 elsewhere."""
    index = np.full(free.shape, -1)
    for j, name in enumerate(names):
        inside = free & parts.of(name)
        t = (j + np.clip(parts.along[name][inside], 0, 0.999)) / len(names)
        index[inside] = (t * BINS).astype(int)
    return index


def arm_skin(body: Body, parts: PartMap, skin: SkinModel) -> Float:
    """Skin likeness (H, W) for the arms: skin against this very shirt, whose colour is read off the middle of the torso."""
    arms = np.minimum.reduce([parts.distance[p] for p in ARM_PARTS])
    shirt = body.person & parts.of("torso") & (parts.distance["torso"] <= 0) & (skin.likeness < 0.5) & (arms > 1.3)
    if shirt.sum() <= 100:
        return skin.likeness
    m = np.median(body.lab[shirt], axis=0)
    z = ((body.lab - m) ** 2 / np.square([40, 6, 7])).sum(axis=2)
    ratio = np.sqrt(z) / (np.sqrt(z) + np.sqrt(skin.z) + 1e-6)
    out = np.maximum(skin.likeness * 0.9, np.where(skin.z < 16, ratio, 0))
    return np.where(z < 1, np.minimum(out, 0.3), out).astype(np.float32)


def label_arms(labels: NDArray[np.uint8], body: Body, parts: PartMap, skin: SkinModel, cloth: Cloth) -> None:
    """Write bare arms and hands into LABELS and sleeves into CLOTH; the arms' colour extends SKIN."""
    bare = arm_skin(body, parts, skin)
    free = body.person & (labels == 0)
    for side, arm in (("left", LEFT_ARM), ("right", RIGHT_ARM)):
        bins = bins_along(parts, [f"{side}-{p}" for p in ("upper-arm", "forearm", "hand")], free)
        share = np.full(BINS, np.nan)
        for i in range(BINS):
            core = (bins == i) & (parts.closest < 0.75)
            if core.sum() > 8:
                share[i] = (bare[core] > 0.45).mean()
        k = first_skin_bin(share)
        on_arm = bins >= 0
        sample = on_arm & (bins >= k) & (skin.likeness > 0.35)
        if sample.sum() > 200:
            skin.extend(np.median(body.lab[sample], axis=0))
        near = np.abs(bins - k) <= 2  # at the cuff the colour decides, elsewhere the position
        is_skin = on_arm & np.where(near, bare > 0.45, bins >= k)
        labels[is_skin] = arm
        cloth.upper |= on_arm & ~is_skin
        cloth.sleeve = max(cloth.sleeve, 3 * k / BINS)


def leg_break(bins: NDArray[np.int64], skin: SkinModel) -> int:
    """First bin of the leg that is skin."""
    share = np.full(BINS, np.nan)
    for i in range(BINS):
        core = bins == i
        if core.sum() > 8:
            share[i] = (skin.likeness[core] > 0.35).mean()
    return first_skin_bin(share)


def label_legs(labels: NDArray[np.uint8], body: Body, parts: PartMap, skin: SkinModel, cloth: Cloth) -> None:
    """Write bare legs, feet and shoes into LABELS and trouser legs into CLOTH; the legs' colour extends SKIN."""
    free = body.person & (labels == 0)
    chains = {side: bins_along(parts, [f"{side}-thigh", f"{side}-shin"], free) for side in ("left", "right")}
    for _ in range(2):  # knees are darker than shins, thighs lighter: the colour is followed upwards in two steps
        for bins in chains.values():
            sample = (bins >= leg_break(bins, skin)) & (skin.likeness > 0.35)
            if sample.sum() > 200:
                skin.extend(np.median(body.lab[sample], axis=0))
    for (side, bins), leg, shoe in zip(chains.items(), (LEFT_LEG, RIGHT_LEG), (LEFT_SHOE, RIGHT_SHOE)):
        k = leg_break(bins, skin)
        on_leg = bins >= 0
        near = np.abs(bins - k) <= 2
        is_skin = on_leg & np.where(near, skin.likeness > 0.35, bins >= k)
        labels[is_skin] = leg
        cloth.lower |= on_leg & ~is_skin
        foot = free & parts.of(f"{side}-foot")
        bare = foot.sum() <= 20 or np.median(skin.likeness[foot]) > 0.4
        labels[foot] = leg if bare else shoe
