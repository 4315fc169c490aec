"""What lies before and behind the clothes, and what the camera makes of it: bags, phones, long hair, rooms, lenses, turns."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from spgvton import labels as lb
from spgvton_training.synthetic import dataset
from spgvton_training.synthetic.clothes.garment import Garment, make_garment
from spgvton_training.synthetic.clothes.wardrobe import sample_garment
from spgvton_training.synthetic.people.carried import Bag, sample_bag
from spgvton_training.synthetic.people.hair_shapes import hair_shapes
from spgvton_training.synthetic.people.identity import Identity, sample_identity
from spgvton_training.synthetic.people.pose import Pose, arm, sample_pose
from spgvton_training.synthetic.render.backdrop import paint_outdoors, paint_room
from spgvton_training.synthetic.render.lens import Lens, expose, sample_lens
from spgvton_training.synthetic.render.person import Person
from spgvton_training.synthetic.render.scene import Framing, Photo, aim, pose_person, render
from spgvton_training.synthetic.render.shading import sample_studio

SIZE = (128, 96)
RED = np.array([220, 20, 30], np.float32)


@pytest.fixture(scope="module")
def somebody() -> Identity:
    return replace(sample_identity(np.random.default_rng(2)), bag=None, bottom="pants", tucked=False)


@pytest.fixture(scope="module")
def tops() -> list[Garment]:
    """Two, neither of them red."""
    specs = (sample_garment(np.random.default_rng([4, i])) for i in range(9))
    blue = np.tile(np.array([40, 60, 150], np.float32), (3, 1))
    designs = [(s, replace(s.design, pattern="plain", logo="none", fabric=None, colours=blue)) for s in specs]
    return [
        make_garment(replace(s, kind="crew", sleeve=sleeve, design=d), SIZE)
        for (s, d), sleeve in zip(designs, (0.8, 2.0))
    ]


def photo(identity: Identity, garment: Garment, pose: Pose | None = None) -> Photo:
    person = Person(identity)
    skeleton = pose_person(person, pose or Pose(arm("hip"), arm("hip")))
    camera = aim(person, skeleton, Framing(0.62, 0.08, 0.0), SIZE)
    return render(person, garment, skeleton, camera, sample_studio(np.random.default_rng(1)), 4)


@pytest.mark.parametrize("side", [-1, 1])
def test_a_strap_lies_before_the_clothes_and_is_no_clothes(somebody: Identity, tops: list[Garment], side: int) -> None:
    bag = Bag(RED, strap=0.4, side=side, size=0.9)
    found = []
    for top in tops:
        bare, carried = photo(somebody, top), photo(replace(somebody, bag=bag), top)
        hidden = (bare.labels == lb.UPPER_CLOTHES) & (carried.labels == lb.BACKGROUND)
        assert hidden.sum() > 0.03 * (bare.labels == lb.UPPER_CLOTHES).sum()
        assert not np.isfinite(carried.flow[hidden]).any()
        colour = carried.image[hidden].astype(float).mean(0)
        assert colour[0] > 2 * colour[2]  # the strap's red, not the top's blue
        same = ~(hidden | (bare.labels != carried.labels))
        np.testing.assert_array_equal(np.isnan(bare.flow[same]), np.isnan(carried.flow[same]))
        rows, columns = np.nonzero(hidden)
        assert np.corrcoef(rows, columns)[0, 1] * side > 0.5  # from one shoulder down to the other side's hip
        found.append(hidden)
    both = found[0] & found[1]
    assert both.sum() > 0.6 * min(f.sum() for f in found)  # the same strap on both garments


def test_bags_are_rare() -> None:
    bags = [sample_bag(np.random.default_rng([1, i])) for i in range(600)]
    assert 0.04 < np.mean([b is not None for b in bags]) < 0.13


def test_a_phone_hides_what_is_behind_it(somebody: Identity, tops: list[Garment]) -> None:
    held = Pose(arm("hanging"), arm("phone"), phone=True)
    without, with_phone = (photo(somebody, tops[0], replace(held, phone=phone)) for phone in (False, True))
    hidden = (without.labels != lb.BACKGROUND) & (with_phone.labels == lb.BACKGROUND)
    assert 25 < hidden.sum() < 400
    assert not np.isfinite(with_phone.flow[hidden]).any()
    np.testing.assert_array_equal(without.keypoints[5:], with_phone.keypoints[5:])
    dark_or_light = with_phone.image[hidden].astype(float)
    assert np.ptp(dark_or_light.mean(0)) < 25  # grey


def test_long_hair_lies_before_the_shoulders() -> None:
    people = [sample_identity(np.random.default_rng([7, i])) for i in range(160)]
    long = [p for p in people if p.hair.length >= 2.6]
    locks = {p.seed: hair_shapes(Person(p).vertices, Person(p).joints[0], p.hair)[1:] for p in long[:12]}
    assert 0.2 < np.mean([bool(found) for found in locks.values()]) < 0.8
    for person in long[:12]:
        for lock in locks[person.seed]:
            low = lock.vertices[:, 1] < 5.0
            assert not low.any() or lock.vertices[low, 2].max() > 0.9  # before the chest, not behind it


def test_rooms_and_parks_are_pictures_that_differ() -> None:
    for paint in (paint_room, paint_outdoors):
        pictures = [paint(np.random.default_rng(i), (96, 72)) for i in range(12)]
        assert all(p.shape == (96, 72, 3) and p.dtype == np.float32 for p in pictures)
        assert all(p.min() >= 0 and p.max() <= 255 and p.std() > 2 for p in pictures)
        assert np.std([p.mean() for p in pictures]) > 10
        np.testing.assert_array_equal(paint(np.random.default_rng(3), (96, 72)), pictures[3])


GREY: NDArray[np.float32] = np.full((96, 72, 3), 120, np.float32)


def test_a_lens_does_what_it_says() -> None:
    assert expose(GREY, Lens(noise=0), 1).tolist() == GREY.tolist()
    assert expose(GREY, Lens(noise=4), 1).std() == pytest.approx(4, rel=0.05)
    warm = expose(GREY, Lens(balance=(1.1, 1.0, 0.9), noise=0), 1)
    assert warm[0, 0].tolist() == [132, 120, 108]
    tilted = expose(GREY, Lens(uneven=(0.1, 0.0), noise=0), 1)
    assert (tilted[0, 0, 0], tilted[0, -1, 0]) == (108, 132)
    dark = expose(GREY, Lens(gamma=2.0, noise=0), 1)
    assert dark[0, 0, 0] == round(255 * (120 / 255) ** 2)
    edge = np.repeat(np.where(np.arange(72) < 36, 0.0, 255.0)[None], 96, 0)[..., None].repeat(3, 2).astype(np.float32)
    assert ((expose(edge, Lens(blur=4.0, noise=0), 1)[0, :, 0] % 255) > 0).sum() >= 4
    assert np.abs(expose(edge, Lens(noise=0, quality=60), 1).astype(float) - edge).max() > 0


def test_b_and_c_are_one_moment() -> None:
    """Far from the clothes not a pixel differs, whatever the camera: the same wall, light and noise."""
    lenses = [sample_lens(np.random.default_rng([3, i])) for i in range(60)]
    assert 0.1 < np.mean([lens == Lens() for lens in lenses]) < 0.45
    item = dataset.make_item(11, "train", 0, size=SIZE, unpaired=True)
    a, b, c = (item.photos[name] for name in "ABC")
    top = min(np.nonzero(np.isin(p.labels, lb.clothes()))[0].min() for p in (b, c)) - 24
    margin = max(top, 1), 6
    same = np.abs(b.image[: margin[0], : margin[1]].astype(int) - c.image[: margin[0], : margin[1]])
    assert same.max() <= 1
    assert np.abs(a.image[:6, :6].astype(int) - b.image[:6, :6]).max() > 0  # another moment, other noise


def test_people_differ_in_girth_and_turn() -> None:
    girths = [Person(sample_identity(np.random.default_rng([9, i]))).girth[0] for i in range(24)]
    assert np.ptp(girths) > 0.18
    yaws = np.degrees([sample_pose(np.random.default_rng([9, i])).yaw for i in range(400)])
    assert 50 < np.abs(yaws).max() <= 60
    assert np.median(np.abs(yaws)) < 22
