"""What a top or dress is: its parameters, which everything that cuts, trims, prints or wears it reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from spgvton_training.synthetic.clothes.dress import Dress
from spgvton_training.synthetic.clothes.hood import Hood
from spgvton_training.synthetic.clothes.jacket import Opening
from spgvton_training.synthetic.clothes.pattern import Print
from spgvton_training.synthetic.clothes.shop import Shop, Sleeves

LONG_FROM: Final = 1.2  # `sleeve` from which a sleeve is laid out as a long one


@dataclass(frozen=True)
class GarmentSpec:
    """The parameters of one top or dress; lengths in decimetres of the flat plane."""

    kind: str  # crew, vneck, scoop, square, tank, strap, polo, shirt, hoodie, bomber, overshirt, blazer
    sleeve: float  # where the sleeve ends: 0 shoulder, 1 elbow, 2 wrist
    hem: float  # flat y of the hem
    fit: float  # 0 tight .. 1 boxy
    neck_width: float
    neck_depth: float
    design: Print
    hem_curve: float = 0.0  # how much higher the hem is in the middle than at the sides
    rib: float = 0.14  # width of the neck's rib
    cuff: float = 0.0  # width of the cuffs; 0: none
    collar: float = 0.30  # how far the tips of a collar reach below its opening
    plain_collar: bool = True  # a collar without the print
    contrast: bool = False  # trims in the second colour
    pocket: bool = False
    belt: bool = False
    dress: Dress | None = None  # the skirt below the waist
    over: float = 0.0  # how far long sleeves reach over the hands
    spread: float | None = (
        None  # degrees between sleeve and side in the in-shop picture; None: 24 for long ones, else 46
    )
    shop: Shop = field(default_factory=Shop)
    band: float = 0.0  # height of a ribbed band at the hem; 0: none
    hood: Hood | None = None
    opening: Opening | None = None  # its fronts do not meet: between them is the inner garment
    inner: GarmentSpec | None = None  # worn and shown below an open one

    @property
    def long(self) -> bool:
        """The sleeves reach beyond the elbow."""
        return self.sleeve > LONG_FROM

    @property
    def sleeves(self) -> Sleeves:
        """How they lie in the in-shop picture."""
        return Sleeves(self.long, (24.0 if self.long else 46.0) if self.spread is None else self.spread)
