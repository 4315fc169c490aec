"""What is sold: random tops, jackets and dresses."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from spgvton_training.synthetic.clothes.cuts import COLLARED, SLEEVELESS
from spgvton_training.synthetic.clothes.dress import FLARES, Dress
from spgvton_training.synthetic.clothes.garment_spec import LONG_FROM, GarmentSpec
from spgvton_training.synthetic.clothes.hood import sample_hood
from spgvton_training.synthetic.clothes.jacket import JACKETS, sample_opening
from spgvton_training.synthetic.clothes.pattern import sample_print
from spgvton_training.synthetic.clothes.shop import LONG_SPREADS, SHORT_SPREADS, Shop, sample_shop, sample_spread

# kind -> chance, share of long sleeves
_KINDS: Final = {
    "crew": (0.26, 0.45), "vneck": (0.13, 0.40), "scoop": (0.07, 0.35), "polo": (0.11, 0.25), "shirt": (0.14, 0.75),
    "tank": (0.07, 0.0), "strap": (0.03, 0.0), "hoodie": (0.10, 0.93), "bomber": (0.03, 1.0), "overshirt": (0.03, 1.0),
    "blazer": (0.03, 1.0),
}  # fmt: skip
_DRESS_KINDS: Final = {
    "crew": (0.24, 0.4), "vneck": (0.24, 0.35), "scoop": (0.18, 0.25), "square": (0.12, 0.2), "tank": (0.14, 0.0), "strap": (0.08, 0.0),
}  # fmt: skip
# kind -> limits of the neck's width and depth
_NECKS: Final = {
    "crew": ((0.84, 1.05), (0.68, 0.95)), "vneck": ((0.84, 1.02), (1.15, 1.9)), "scoop": ((0.98, 1.25), (1.1, 1.7)),
    "square": ((1.0, 1.3), (1.0, 1.5)), "tank": ((0.98, 1.12), (1.1, 1.7)), "polo": ((0.76, 0.84), (0.75, 1.15)),
    "shirt": ((0.74, 0.84), (0.75, 1.3)), "strap": ((1.10, 1.24), (1.5, 1.9)),
    "hoodie": ((0.88, 1.04), (0.70, 0.95)), "bomber": ((0.88, 1.0), (0.70, 0.9)), "overshirt": ((0.82, 0.92), (0.8, 1.0)),
    "blazer": ((0.84, 0.94), (0.8, 1.0)),
}  # fmt: skip


_OPEN_HOODIES: Final = 0.35
_OVER_PRINTS: Final = (
    "plain",
    "plain",
    "plain",
    "plain",
    "heather",
    "heather",
    "block",
    "check",
)  # of hoodies and jackets


def sample_garment(rng: np.random.Generator) -> GarmentSpec:
    """A random top, hoodie or jacket."""
    kind, sleeve = _sample_kind(rng, _KINDS)
    if kind in ("hoodie", *JACKETS):
        return _sample_jacket(rng, kind, sleeve)
    return _sample_top(rng, kind, sleeve)


def _sample_jacket(rng: np.random.Generator, kind: str, sleeve: float) -> GarmentSpec:
    """A hoodie, closed or open, or an open jacket, with what is worn below it."""
    is_open = kind != "hoodie" or bool(rng.random() < _OPEN_HOODIES)
    width, depth = (rng.uniform(*limits) for limits in _NECKS[kind])
    hem, ribbed = rng.uniform(-0.55, 0.30), kind in ("hoodie", "bomber")
    shop = sample_shop(rng, long=sleeve > LONG_FROM)
    made = GarmentSpec(
        kind=kind,
        sleeve=sleeve,
        hem=hem,
        fit=rng.uniform(0.45, 1.0),
        neck_width=width,
        neck_depth=depth,
        rib=rng.uniform(0.18, 0.30) if kind == "bomber" else 0.06,
        design=sample_print(rng, logos=not is_open, patterns=_OVER_PRINTS),
        cuff=rng.uniform(0.45, 0.65) if ribbed or kind == "overshirt" else 0.0,
        over=_sample_over(rng, sleeve),
        contrast=bool(rng.random() < 0.2),
        plain_collar=kind != "overshirt",
        pocket=kind == "hoodie" and bool(rng.random() < 0.85),
        spread=_sample_spread(rng, shop, long=sleeve > LONG_FROM),
        shop=shop,
        band=rng.uniform(0.4, 0.6) if ribbed else 0.0,
        hood=sample_hood(rng) if kind == "hoodie" else None,
    )
    if not is_open:
        return made
    opening = sample_opening(rng, kind, hem)
    return replace(made, opening=opening, inner=_sample_inner(rng, made))


def _sample_inner(rng: np.random.Generator, outer: GarmentSpec) -> GarmentSpec:
    """The top below an open OUTER: laid out as that is, a little longer or shorter."""
    kind = str(rng.choice(["crew", "crew", "vneck"]))
    width, depth = (rng.uniform(*limits) for limits in _NECKS[kind])
    inner = _sample_top(rng, kind, 0.8)
    return replace(
        inner,
        hem=max(outer.hem + rng.uniform(-0.35, 0.35), -0.7),
        hem_curve=0.0,
        fit=0.3 * outer.fit,
        neck_width=min(width, outer.neck_width),
        neck_depth=depth,
        spread=outer.spread,
        shop=outer.shop,
        pocket=False,
    )


def _sample_spread(rng: np.random.Generator, shop: Shop, *, long: bool) -> float:
    """Degrees between sleeves and sides; what hangs, or is folded over, begins with the least."""
    spread = sample_spread(rng, long=long)
    return (LONG_SPREADS if long else SHORT_SPREADS)[0] if shop.hanger is not None or shop.fold is not None else spread


def _sample_top(rng: np.random.Generator, kind: str, sleeve: float) -> GarmentSpec:
    """A random top of KIND with this SLEEVE."""
    shop = sample_shop(rng, long=sleeve > LONG_FROM)
    width, depth = (rng.uniform(*limits) for limits in _NECKS[kind])
    design = sample_print(rng, logos=kind not in COLLARED)
    curve = rng.uniform(-0.45, -0.1) if kind == "shirt" and rng.random() < 0.6 else rng.uniform(-0.12, 0.06)
    hem = max(rng.uniform(-0.45, 0.35), -0.7 - curve)
    cuff = 0.0
    if sleeve > 1.9:
        cuff = rng.choice([0.0, 0.45, 0.55]) if kind != "shirt" else rng.uniform(0.42, 0.6)
    elif sleeve > LONG_FROM and (kind == "shirt" or rng.random() < 0.5):
        cuff = rng.uniform(0.45, 0.8)  # rolled up
    return GarmentSpec(
        kind=kind,
        sleeve=sleeve,
        hem=hem,
        fit=rng.uniform(0.15, 1.0),
        neck_width=width,
        neck_depth=depth,
        rib=rng.uniform(0.08, 0.20),
        collar=rng.uniform(0.15, 0.45),
        design=design,
        hem_curve=curve,
        cuff=cuff,
        over=_sample_over(rng, sleeve),
        contrast=bool(rng.random() < (0.2 if kind in COLLARED else 0.25)),
        pocket=bool(rng.random() < (0.5 if kind == "shirt" else 0.06)) and design.logo == "none",
        spread=None if kind in SLEEVELESS else _sample_spread(rng, shop, long=sleeve > LONG_FROM),
        shop=shop,
    )


def sample_dress(rng: np.random.Generator) -> GarmentSpec:
    """A random dress, from above the knee to the calf."""
    kind, sleeve = _sample_kind(rng, _DRESS_KINDS)
    shop = sample_shop(rng, long=sleeve > LONG_FROM)
    width, depth = (rng.uniform(*limits) for limits in _NECKS[kind])
    return GarmentSpec(
        kind=kind,
        sleeve=sleeve,
        hem=rng.uniform(-4.6, -1.9),
        fit=rng.uniform(0.0, 0.25),
        neck_width=width,
        neck_depth=depth,
        rib=rng.uniform(0.08, 0.20),
        collar=rng.uniform(0.15, 0.45),
        design=sample_print(rng),
        hem_curve=0.0,
        contrast=bool(rng.random() < 0.2),
        belt=bool(rng.random() < 0.3),
        over=_sample_over(rng, sleeve),
        dress=Dress(float(rng.choice(FLARES))),
        spread=None if kind in SLEEVELESS else _sample_spread(rng, shop, long=sleeve > LONG_FROM),
        shop=shop,
    )


def _sample_kind(rng: np.random.Generator, kinds: dict[str, tuple[float, float]]) -> tuple[str, float]:
    """A kind and the end of its sleeves: of the long ones a few end below the elbow, most at the wrist."""
    kind = str(rng.choice(list(kinds), p=[chance for chance, _ in kinds.values()]))
    if rng.random() < kinds[kind][1]:
        return kind, rng.uniform(1.25, 1.7) if rng.random() < 0.15 else rng.uniform(1.95, 2.02)
    return kind, -0.1 if kind in SLEEVELESS else rng.uniform(0.62, 1.0)


def _sample_over(rng: np.random.Generator, sleeve: float) -> float:
    """How far a sleeve reaches over the hand: most of those to the wrist a little, some to the fingers."""
    return rng.uniform(0.0, 0.75) ** 1.3 if sleeve > 1.9 and rng.random() < 0.6 else 0.0
