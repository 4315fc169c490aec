"""Between a sleeve and the body it is dark; nowhere else."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from spgvton.live.cloth import DARK, creases
from spgvton.live.garment import LiveGarment

H, W = 256, 192
BODY, SLEEVE = slice(60, 130), slice(40, 50)  # columns; rows are 50 to 200
TORSO = np.zeros((H, W), bool)
TORSO[60:200, 58:132] = True
IDENTITY = np.moveaxis(np.mgrid[:H, :W][::-1], 0, -1).astype(np.float32)


def garment(*columns: slice) -> LiveGarment:
    mask = np.zeros((1, H, W), np.float32)
    for part in columns:
        mask[0, 50:200, part] = 1
    return cast(LiveGarment, SimpleNamespace(network=SimpleNamespace(mask=mask)))


def worn(columns: slice) -> NDArray[Any]:
    mask = np.zeros((H, W), bool)
    mask[50:200, columns] = True
    return mask


def test_it_is_dark_between_sleeve_and_body() -> None:
    factor = creases(IDENTITY, garment(SLEEVE, BODY), worn(slice(40, 130)), TORSO)
    assert factor.shape == (H, W) and factor.dtype == np.float32
    assert factor[60:190, 54:56].max() < 1 - 0.7 * DARK, "in the middle of the gap"
    assert factor[:, 66:].min() > 0.999 and factor[:, :44].min() > 0.99
    assert factor.min() >= 1 - DARK


def test_a_garment_that_reaches_nowhere_is_not_darkened() -> None:
    """What the spline misses at the outline is no crease, nor is a gap as wide as a body."""
    beyond = creases(IDENTITY, garment(BODY), worn(slice(50, 140)), TORSO)
    wide = creases(IDENTITY, garment(slice(20, 40), slice(100, 130)), worn(slice(20, 130)), TORSO)
    assert beyond.min() == 1 and wide.min() == 1


def test_where_skin_is_seen_nothing_is_worn_and_nothing_dark() -> None:
    """Bare arms: the gap is not worn."""
    seen = worn(slice(40, 130))
    seen[:, 50:60] = False
    assert creases(IDENTITY, garment(SLEEVE, BODY), seen, TORSO).min() == 1


def test_a_hole_in_the_garments_picture_is_not_dark() -> None:
    """Hair hid a part of it."""
    assert creases(IDENTITY, garment(slice(60, 90), slice(98, 130)), worn(slice(60, 130)), TORSO).min() == 1
