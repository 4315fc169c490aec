"""The shipped person and garments, and one answer of the real parser and network about them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spgvton.demo_assets import DemoAssets
from spgvton.live.framing import LiveFraming
from spgvton.live.garment import LiveGarment
from spgvton.live.layers import Answer
from spgvton.live.network import LiveNetwork
from spgvton.live.tryon import LiveTryOn
from spgvton.perception.parse import Parse
from spgvton.perception.pose import PoseEstimator
from spgvton.person import place

UInt8 = NDArray[np.uint8]


@pytest.fixture(scope="session")
def person() -> UInt8:
    """RGB (720, 540, 3)."""
    return DemoAssets.open().person()[0]


@pytest.fixture(scope="session")
def keypoints(person: UInt8) -> NDArray[np.float32]:
    return PoseEstimator(smooth=False)(person, 0.0)


@pytest.fixture(scope="session")
def garment() -> LiveGarment:
    return LiveGarment.of(*DemoAssets.open().garment(2))


@pytest.fixture(scope="session")
def answer(person: UInt8, keypoints: NDArray[np.float32], garment: LiveGarment) -> Answer:
    """With the person's true map."""
    network = LiveNetwork(threads=2)
    network.set_garment(garment.network)
    box = LiveFraming()(keypoints, (person.shape[0], person.shape[1]), network.size, long=False)
    labels = np.asarray(box.apply(DemoAssets.open().person()[1], border=0, nearest=True), np.uint8)
    picture = np.asarray(box.apply(person), np.uint8)
    output = network(picture, labels, place(keypoints, box))
    return Answer(garment, picture, keypoints, box, Parse.of(labels), output)


@pytest.fixture(scope="session")
def _live() -> LiveTryOn:
    return LiveTryOn(threads=2)


@pytest.fixture
def live(_live: LiveTryOn) -> LiveTryOn:
    """The real thing, with nothing remembered; garment 2 is set."""
    _live.forget()
    shop = DemoAssets.open().garment(2)
    _live.set_garment(shop.picture, mask=shop.mask)
    return _live
