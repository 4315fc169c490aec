"""TryOn.live: both modes of one session, each opened when it is used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spgvton import image
from spgvton.demo_assets import DemoAssets
from spgvton.errors import SpgvtonError
from spgvton.person import Garment
from spgvton.session import TryOn

PHOTO = Path(__file__).parents[1] / "data" / "person_front.jpg"


def test_live_dresses_the_frame_itself_and_opens_nothing_else() -> None:
    session, photo = TryOn(threads=2), image.read(PHOTO)
    with pytest.raises(SpgvtonError, match="no garment"):
        session.live(photo)
    shop = DemoAssets.open().garment(2)
    session.set_garment(shop.picture, mask=shop.mask)
    result = session.live(photo)
    changed = (result != photo).any(axis=2)
    assert result.shape == photo.shape and 0.03 < changed.mean() < 0.4
    assert session._opened is None, "pose mode was not used"
    assert session.describe()["graphs"].startswith("live")
    with pytest.raises(SpgvtonError, match="no person"):
        session.live(np.full((300, 200, 3), 90, np.uint8))
    session.set_person(photo)
    posed = session(photo)
    assert posed.shape == (256, 192, 3) and np.median(posed[100:150, 70:120, 0]) > np.median(posed[100:150, 70:120, 2])
    session.use_garment(Garment.of(shop.picture, shop.mask))
    with pytest.raises(SpgvtonError, match="needs its picture"):
        session.live(photo)
    session.close()
    session.close()
