"""Hair, hats, glasses and faces, each with its label."""

from dataclasses import replace

import numpy as np
import pytest
from dressed import SIZE, area, garment_of, label_at, photo, somebody

from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton_training.synthetic import dataset
from spgvton_training.synthetic.people.accessories import HATS, Accessories, Glasses, Hat
from spgvton_training.synthetic.people.hairstyle import Hairstyle, sample_hairstyle
from spgvton_training.synthetic.people.identity import sample_identity
from spgvton_training.synthetic.render.scene import Photo


def style_of(kind: str) -> Hairstyle:
    rngs = (np.random.default_rng([8, i]) for i in range(3000))
    styles = (sample_hairstyle(rng, female=i % 2 == 0, grey=False) for i, rng in enumerate(rngs))
    return next(s for s in styles if s.kind == kind and s.fringe < 0.2)


def with_hair(kind: str) -> Photo:
    identity = somebody(False)
    return photo(replace(identity, hair=style_of(kind)), garment_of("crew"), visible=0.5)


def test_hair_styles_differ_in_length_and_volume() -> None:
    kinds = ("bald", "buzz", "crop", "bob", "shoulder", "long", "afro", "quiff", "side", "ponytail", "bun")
    shown = {kind: with_hair(kind) for kind in kinds}
    hair = {kind: area(p, lb.HAIR) for kind, p in shown.items()}
    assert hair["bald"] == 0
    assert min(hair[k] for k in kinds if k != "bald") > 150
    assert hair["buzz"] < hair["afro"]
    lowest = {kind: np.nonzero(p.labels == lb.HAIR)[0].max() for kind, p in shown.items() if hair[kind]}
    assert lowest["crop"] < lowest["bob"] < lowest["shoulder"] < lowest["long"]
    for kind, p in shown.items():  # a forehead and the eyes are free
        for eye in (kp.L_EYE, kp.R_EYE, kp.NOSE):
            assert label_at(p, eye) == lb.FACE, kind


HAT_COLOUR = np.array([30, 160, 60], np.float32)


@pytest.mark.parametrize("kind", HATS)
@pytest.mark.parametrize("female", [True, False])
def test_a_hat_has_its_label_and_sits_on_the_head(kind: str, female: bool) -> None:
    bare = photo(somebody(female), garment_of("crew"), visible=0.5)
    assert area(bare, lb.HAT) == 0
    hat = Hat(kind, HAT_COLOUR, HAT_COLOUR, brim=0.7, height=0.2)
    shown = photo(replace(somebody(female), accessories=Accessories(hat=hat)), garment_of("crew"), visible=0.5)
    found = shown.labels == lb.HAT
    assert found.sum() > 250
    rows, columns = np.nonzero(found)
    assert rows.mean() < shown.keypoints[kp.NOSE, 1] - 10
    assert abs(columns.mean() - shown.keypoints[kp.NOSE, 0]) < 4
    assert label_at(shown, kp.NOSE) == lb.FACE
    assert (shown.labels[: rows.min()] == lb.BACKGROUND).all()  # nothing sticks out above it
    green = shown.image[found].astype(float).mean(0)
    assert green[1] > 1.5 * max(green[0], green[2])


def test_glasses_have_their_label_and_sit_on_the_eyes() -> None:
    dark = np.array([30, 30, 34], np.float32)
    glasses = Glasses(True, dark, dark, width=0.23, height=0.16, square=3.0, rim=0.045)
    areas = {}
    for name, worn in (("none", None), ("sun", glasses), ("clear", replace(glasses, sun=False))):
        identity = replace(somebody(), accessories=Accessories(glasses=worn))
        shown = photo(identity, garment_of("crew"), visible=0.5)
        areas[name] = area(shown, lb.SUNGLASSES)
        for eye in (kp.L_EYE, kp.R_EYE):
            assert shown.keypoints[eye, 2] == 1
            assert label_at(shown, eye) == (lb.SUNGLASSES if name == "sun" else lb.FACE)
    assert areas["none"] == 0
    assert areas["sun"] > areas["clear"] > 10


def test_a_face_is_the_same_in_all_photos_of_an_item() -> None:
    """B and C differ in the garment alone: head and legs are the same to within light that the garment throws."""
    item = dataset.make_item(21, "train", 0, size=SIZE, unpaired=True)
    b, c = item.photos["B"], item.photos["C"]
    head = np.isin(b.labels, (lb.FACE, lb.HAIR)) & (b.labels == c.labels)
    assert head.sum() > 100
    assert np.abs(b.image[head].astype(float) - c.image[head]).mean() < 4
    np.testing.assert_array_equal(b.keypoints, c.keypoints)


def test_faces_differ() -> None:
    """Different people differ far more than the same one in two photos."""
    people = [sample_identity(np.random.default_rng([5, i])) for i in range(60)]
    assert len({p.face.beard for p in people}) >= 4
    assert np.std([p.face.skin.mean() for p in people]) > 25
    assert np.ptp([p.face.age for p in people]) > 0.5
    assert not any(p.female and p.face.beard != "none" for p in people)
    shapes = np.array([[p.shape.get(t, 0) for t in ("l:nose-hump-incr", "l:chin-width-incr")] for p in people])
    assert (shapes.std(0) > 0.03).all()
    for p in people:  # both sides alike, not the same
        pairs = [(v, p.shape.get(n.replace("l:l-", "l:r-"))) for n, v in p.shape.items() if n.startswith("l:l-")]
        assert pairs
        assert all(right is not None and abs(left - right) <= 0.35 * max(left, right) for left, right in pairs)
