"""People and garments that live mode must not be upset by: two people, half people, garments that are cut out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spgvton import image
from spgvton.cli import garments
from spgvton.demo_assets import DemoAssets
from spgvton.errors import SpgvtonError
from spgvton.live.compositor import composite
from spgvton.live.garment import LiveGarment
from spgvton.live.layers import Answer
from spgvton.live.tryon import LYING, LiveTryOn, why_not_live
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
PHOTO = Path(__file__).parents[2] / "data" / "person_front.jpg"


def test_of_two_people_one_is_dressed_and_the_other_left_alone(live: LiveTryOn, person: UInt8) -> None:
    both = np.ascontiguousarray(np.hstack([person, person[:, ::-1]]))
    different = (live(both) != both).any(axis=2)
    shares = sorted(float(half.mean()) for half in np.hsplit(different, 2))
    assert shares[0] == 0 and shares[1] > 0.05


CUTS: dict[str, Callable[[UInt8], UInt8]] = {  # by the frame's edge
    "left half": lambda p: p[:, : p.shape[1] // 2],
    "right half": lambda p: p[:, p.shape[1] * 2 // 5 :],
    "head alone": lambda p: p[: p.shape[0] // 4],
    "no head": lambda p: p[p.shape[0] // 3 :],
    "legs alone": lambda p: p[p.shape[0] * 2 // 3 :],
}


@pytest.mark.parametrize("cut", CUTS)
def test_who_is_cut_by_the_edge_gets_a_hint(cut: str, live: LiveTryOn) -> None:
    photo = np.ascontiguousarray(CUTS[cut](image.read(PHOTO)))
    with pytest.raises(SpgvtonError) as e:
        live(photo)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_picture_on_its_side_is_not_half_dressed(turns: int, live: LiveTryOn) -> None:
    with pytest.raises(SpgvtonError, match=r"turn the picture upright|no person|not visible|no usable pose"):
        live(np.ascontiguousarray(np.rot90(image.read(PHOTO), turns)))


def test_who_lies_is_told_and_who_leans_is_dressed(keypoints: NDArray[np.float32]) -> None:
    def leaning(degrees: float) -> NDArray[np.float32]:
        turn = cv2.getRotationMatrix2D((270, 360), degrees, 1.0)
        return np.column_stack([keypoints[:, :2] @ turn[:, :2].T + turn[:, 2], keypoints[:, 2]]).astype(np.float32)

    size = (720, 720)
    assert [why_not_live(leaning(d), size) for d in (-90, -45, 0, 45, 90)] == [LYING, None, None, None, LYING]


def test_a_garment_cut_out_by_alpha_is_worn_like_one_with_a_mask(person: UInt8, answer: Answer, tmp_path: Path) -> None:
    shop = DemoAssets.open().garment(2)
    hidden = np.where(shop.mask[..., None] > 0, shop.picture, np.uint8(0))  # nothing of what lies below alpha 0 is worn
    cv2.imwrite(str(tmp_path / "cut.png"), np.dstack([hidden[..., ::-1], shop.mask]))
    results = []
    for read in (shop, garments.read(str(tmp_path / "cut.png"), None, note=lambda _: None)):
        garment = LiveGarment.of(read.picture, read.mask)
        results.append(composite(person, replace(answer, garment=garment)))
    assert np.abs(results[0].astype(int) - results[1]).mean() < 0.1
    assert (results[0] != person).any()
