"""People and garments for the renderer's tests: plain cases, found once."""

from dataclasses import replace
from functools import cache

import numpy as np

from spgvton_training.synthetic.clothes.cuts import SLEEVELESS
from spgvton_training.synthetic.clothes.dress import FLARES, Dress
from spgvton_training.synthetic.clothes.garment import Garment, make_garment
from spgvton_training.synthetic.clothes.garment_spec import GarmentSpec
from spgvton_training.synthetic.clothes.pattern import Print
from spgvton_training.synthetic.drawing.texture import colour_array
from spgvton_training.synthetic.people.accessories import Accessories
from spgvton_training.synthetic.people.identity import Identity, sample_identity
from spgvton_training.synthetic.people.pose import Pose, arm
from spgvton_training.synthetic.render.person import Person
from spgvton_training.synthetic.render.scene import Framing, Photo, aim, pose_person, render
from spgvton_training.synthetic.render.shading import sample_studio

SIZE = (256, 192)


CUTS = ("crew", "vneck", "scoop", "square", "tank", "strap", "polo", "shirt")


NECKS = {
    "strap": (1.15, 1.6),
    "crew": (0.95, 0.8),
    "vneck": (0.9, 1.5),
    "scoop": (1.1, 1.4),
    "square": (1.1, 1.2),
    "tank": (1.05, 1.4),
}


CORRELATION = 0.97  # measured: 0.987 and more


def spec_of(kind: str, sleeve: float = 0.8, *, dress: Dress | None = None, pattern: str = "check") -> GarmentSpec:
    design = Print(pattern, colour_array((220, 60, 40), (40, 80, 190), (240, 220, 80)), 0.6, 3.0, "none", "RUN", 0, 5)
    width, depth = NECKS.get(kind, (0.8, 0.9))
    sleeve, hem = -0.1 if kind in SLEEVELESS else sleeve, 0.1 if dress is None else -3.0
    return GarmentSpec(kind, sleeve, hem, 0.4, width, depth, design, dress=dress)


@cache
def garment_of(kind: str, sleeve: float = 0.8, flare: float | None = None) -> Garment:
    return make_garment(spec_of(kind, sleeve, dress=None if flare is None else Dress(flare)), SIZE)


@cache
def somebody(female: bool = True) -> Identity:
    """A bare-headed adult with a crop or a long cut, found by trying seeds: no option is left to chance."""
    kind = "long" if female else "crop"
    people = (sample_identity(np.random.default_rng([3, i])) for i in range(400))
    found = next(p for p in people if p.female == female and p.hair.kind == kind and p.hair.fringe < 0.2)
    return replace(found, accessories=Accessories(), tucked=False, bottom="pants")


def photo(identity: Identity, garment: Garment, visible: float = 0.62) -> Photo:
    person = Person(identity)
    skeleton = pose_person(person, Pose(arm("down"), arm("down")))
    camera = aim(person, skeleton, Framing(visible, 0.08, 0.0), SIZE)
    return render(person, garment, skeleton, camera, sample_studio(np.random.default_rng(1)), 4)


def area(shown: Photo, *ids: int) -> int:
    return int(np.isin(shown.labels, ids).sum())


def label_at(shown: Photo, point: int) -> int:
    x, y = np.rint(shown.keypoints[point, :2]).astype(int)
    return int(shown.labels[y, x])


GARMENTS = [*((k, 0.8, None) for k in CUTS), ("crew", 2.0, None), ("shirt", 2.0, None)]


DRESSES = [*(("vneck", 0.8, f) for f in FLARES), ("tank", 0.8, FLARES[1]), ("square", 2.0, FLARES[1])]
