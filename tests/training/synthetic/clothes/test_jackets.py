"""Hoods, open jackets, sleeves that lie over the body and hangers: in the shop, worn, their labels and flow."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from spgvton import labels as lb
from spgvton.video import cv2
from spgvton_training.synthetic import dataset
from spgvton_training.synthetic.clothes.garment import Garment, make_garment
from spgvton_training.synthetic.clothes.garment_spec import GarmentSpec
from spgvton_training.synthetic.clothes.hanger import Hanger
from spgvton_training.synthetic.clothes.hood import Hood
from spgvton_training.synthetic.clothes.jacket import Opening
from spgvton_training.synthetic.clothes.pattern import Print
from spgvton_training.synthetic.clothes.shop import LONG_SPREADS, Fold, Shop
from spgvton_training.synthetic.clothes.wardrobe import sample_garment
from spgvton_training.synthetic.contact_sheet import warp_garment
from spgvton_training.synthetic.drawing.texture import colour_array
from spgvton_training.synthetic.people.identity import Identity, sample_identity
from spgvton_training.synthetic.people.pose import Pose, arm
from spgvton_training.synthetic.render.person import Person
from spgvton_training.synthetic.render.scene import Framing, Photo, aim, pose_person, render
from spgvton_training.synthetic.render.shading import sample_studio

SIZE = (256, 192)
CHECK = Print("check", colour_array((220, 60, 40), (40, 80, 190), (240, 220, 80)), 0.6, 3.0, "none", "RUN", 0, 5)
GREEN = replace(CHECK, pattern="plain", colours=colour_array((30, 190, 60), (30, 190, 60), (30, 190, 60)))
TOP = GarmentSpec("crew", 2.0, 0.1, 0.4, 0.95, 0.8, CHECK, spread=LONG_SPREADS[0])
HOODIE = replace(TOP, kind="hoodie", hood=Hood(), band=0.5, cuff=0.5, pocket=True)
OPENING = Opening(top=0.45, low=0.9, hem=0.1, zip=True)
INNER = replace(TOP, sleeve=0.8, fit=0.1, neck_width=0.9, design=GREEN)
SPECS = {
    "hoodie": HOODIE,
    "open hoodie": replace(HOODIE, opening=OPENING, inner=INNER),
    "jacket": replace(TOP, kind="bomber", opening=OPENING, inner=INNER),
    "blazer": replace(TOP, kind="blazer", opening=replace(OPENING, zip=False, lapel=2.8), inner=INNER),
    "along": replace(TOP, shop=Shop(fold=Fold((24.0, 22.0), (4.0, 6.0), True))),
    "across": replace(TOP, shop=Shop(fold=Fold((18.0, 20.0), (70.0, 64.0), False))),
    "hanging": replace(TOP, shop=Shop(hanger=Hanger((30.0, 30.0, 30.0), 0.2, 1.2, 0.1))),
    "plain": TOP,
}


@cache
def garment_of(name: str) -> Garment:
    return make_garment(SPECS[name], SIZE)


@cache
def somebody() -> Identity:
    people = (sample_identity(np.random.default_rng([3, i])) for i in range(400))
    found = next(p for p in people if p.hair.kind == "crop" and p.bag is None and p.accessories.hat is None)
    return replace(found, tucked=False, bottom="pants")


@cache
def photo_of(name: str) -> Photo:
    person, garment = Person(somebody()), garment_of(name)
    skeleton = pose_person(person, Pose(arm("down"), arm("down")))
    camera = aim(person, skeleton, Framing(0.62, 0.08, 0.0), SIZE)
    return render(person, garment, skeleton, camera, sample_studio(np.random.default_rng(1)), 4)


@pytest.mark.parametrize("name", SPECS)
def test_the_flow_fetches_the_worn_colours(name: str) -> None:
    garment, shown = garment_of(name), photo_of(name)
    valid = np.isfinite(shown.flow).all(-1)
    assert not (valid & ~np.isin(shown.labels, lb.clothes())).any()
    x, y = np.rint(shown.flow[valid]).astype(int).T
    assert (garment.mask[np.clip(y, 0, SIZE[0] - 1), np.clip(x, 0, SIZE[1] - 1)] > 0).mean() > 0.97
    assert garment.lining[y, x].mean() < 0.01
    inside = cv2.erode(valid.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    worn = shown.image[inside].astype(float)
    fetched = warp_garment(garment.picture, shown.flow)[inside].astype(float)
    hue, fetched_hue = (a[:, 0] - a[:, 2] for a in (worn, fetched))
    assert np.corrcoef(hue, fetched_hue)[0, 1] > 0.96
    shifted = warp_garment(garment.picture, shown.flow + np.float32(6))[inside].astype(float)
    assert np.corrcoef(hue, shifted[:, 0] - shifted[:, 2])[0, 1] < 0.7


@pytest.mark.parametrize("name", SPECS)
def test_the_mask_is_one_piece_before_white(name: str) -> None:
    garment = garment_of(name)
    count, _, stats, _ = cv2.connectedComponentsWithStats((garment.mask > 0).astype(np.uint8))
    assert stats[1:, cv2.CC_STAT_AREA].max() > 0.995 * (garment.mask > 0).sum()
    assert count <= 4
    assert (garment.picture[garment.mask == 0] > 200).mean() > (0.9 if name != "hanging" else 0.85)


@pytest.mark.parametrize("name", ["jacket", "blazer", "open hoodie"])
def test_an_open_jacket_shows_what_is_worn_below_it(name: str) -> None:
    garment, shown = garment_of(name), photo_of(name)
    coat, inner = (shown.labels == i for i in (lb.COAT, lb.UPPER_CLOTHES))
    assert inner.sum() > 0.12 * coat.sum() > 100
    green = shown.image[inner].astype(float).mean(0)
    assert green[1] > 1.5 * green[0]
    rows, columns = np.nonzero(coat)
    assert (columns < np.nonzero(inner)[1].mean()).mean() == pytest.approx(0.5, abs=0.1)  # one front on each side
    assert np.isfinite(shown.flow[inner]).all(-1).mean() > 0.6
    wider = np.diff([inner[row].sum() for row in np.quantile(rows, [0.35, 0.9]).astype(int)])
    assert wider > 0  # as the gap is
    middle = (
        garment.picture[SIZE[0] // 2 : SIZE[0] * 3 // 4, SIZE[1] // 2 - 4 : SIZE[1] // 2 + 4].reshape(-1, 3).mean(0)
    )
    assert middle[1] > 1.5 * middle[0]


def test_a_hood_stands_above_the_neckline_and_is_worn_around_the_neck() -> None:
    hooded, plain = garment_of("hoodie"), make_garment(replace(HOODIE, hood=None), SIZE)
    assert hooded.lining.sum() > 2 * plain.lining.sum()
    rows = np.nonzero(hooded.lining)[0]
    assert rows.mean() < np.nonzero(hooded.mask)[0].min() + 0.3 * np.ptp(np.nonzero(hooded.mask)[0])
    worn, bare = photo_of("hoodie"), photo_of("plain")
    grown = (worn.labels == lb.UPPER_CLOTHES) & (bare.labels != lb.UPPER_CLOTHES)
    neck, chin = worn.keypoints[1], worn.keypoints[0]
    beside = np.nonzero(grown & (np.arange(SIZE[0]) < neck[1])[:, None])
    assert len(beside[0]) > 60
    assert beside[0].min() > chin[1] - 10  # not over the face
    assert (beside[1] < neck[0]).mean() == pytest.approx(0.5, abs=0.25)
    assert (worn.labels == lb.FACE).sum() > 0.93 * (bare.labels == lb.FACE).sum()


@pytest.mark.parametrize("name", ["along", "across"])
def test_folded_sleeves_lie_over_the_body(name: str) -> None:
    folded, spread = garment_of(name), garment_of("plain")
    across = [np.ptp(np.nonzero(g.mask)[1]) / np.ptp(np.nonzero(g.mask)[0]) for g in (folded, spread)]
    assert across[0] < 0.9 * across[1]
    shown, usual = photo_of(name), photo_of("plain")
    np.testing.assert_array_equal(shown.labels, usual.labels)  # it is worn as any other
    known, without = (np.isfinite(p.flow).all(-1) for p in (usual, shown))
    hidden = known & ~without
    assert 0.02 < hidden.sum() / known.sum() < 0.45  # what a sleeve covers is seen nowhere
    assert (without & ~known).sum() == 0
    assert without.sum() > 0.5 * known.sum()


def test_a_hanger_is_in_the_picture_and_not_in_the_mask() -> None:
    hung, plain = garment_of("hanging"), garment_of("plain")
    dark = (hung.picture.mean(2) < 200) & (hung.mask == 0)
    top = np.nonzero(plain.mask)[0].min()
    hook = dark[: top + 8]
    assert hook.sum() > 10
    assert abs(np.nonzero(hook)[1].mean() - SIZE[1] / 2) < 6
    assert (plain.mask > 0).sum() > (hung.mask > 0).sum() > 0.97 * (plain.mask > 0).sum()


def test_shares() -> None:
    tops = [sample_garment(np.random.default_rng([8, i])) for i in range(1500)]
    long = [t for t in tops if t.long]
    assert 0.05 < np.mean([t.hood is not None for t in tops]) < 0.15
    assert 0.07 < np.mean([t.opening is not None for t in tops]) < 0.18
    assert 0.1 < np.mean([t.shop.fold is not None for t in long]) < 0.25
    assert not any(t.shop.fold is not None for t in tops if not t.long)
    assert 0.05 < np.mean([t.shop.hanger is not None for t in tops]) < 0.13
    assert all((t.inner is None) == (t.opening is None) for t in tops)


def test_most_garments_change_the_sleeves(monkeypatch: pytest.MonkeyPatch) -> None:
    specs: list[GarmentSpec] = []
    monkeypatch.setattr(dataset, "make_garment", lambda spec, _: specs.append(spec))
    for name in ("Person", "pose_person", "aim", "render"):
        monkeypatch.setattr(dataset, name, lambda *_, **__: None)
    for i in range(500):
        dataset.make_item(0, "train", i, unpaired=True)
    long = np.array([s.long for s in specs]).reshape(-1, 2)
    assert 0.7 < (long[:, 0] != long[:, 1]).mean() < 0.87
    assert 0.35 < long.mean() < 0.6
