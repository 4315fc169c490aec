"""Labels, keypoints, heat maps, person and garment: the contract that training and runtime share."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.errors import SpgvtonError
from spgvton.person import (
    Garment,
    PersonRepresentation,
    clothes_mask,
    framing,
    head_masks,
    one_hot,
    place,
    reference_map,
)

label_maps = hnp.arrays(np.uint8, (6, 5), elements=st.integers(0, 19))
points = hnp.arrays(np.float32, (18, 3), elements=st.floats(0, 100, width=32))


def test_label_sets_differ_only_in_id_10() -> None:
    cihp, lip = lb.LABEL_SETS["cihp"], lb.LABEL_SETS["lip"]
    assert len(cihp) == len(lip) == lb.NUM_LABELS == len(lb.PALETTE)
    assert [i for i in range(20) if cihp[i] != lip[i]] == [10]
    assert (cihp[5], cihp[13], cihp[19], lip[10]) == ("upper-clothes", "face", "right-shoe", "jumpsuits")
    assert lb.clothes("cihp") == (5, 6, 7)
    assert lb.clothes("lip") == (5, 6, 7, 10)
    with pytest.raises(SpgvtonError, match="atr"):
        lb.clothes("atr")


def test_label_id_37_is_refused_by_name() -> None:
    with pytest.raises(SpgvtonError, match="label id 37"):
        lb.check_semantic_map(np.full((4, 4), 37, np.uint8))


@pytest.mark.parametrize("bad", [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.float32), np.full((2, 2), -1)])
def test_not_a_semantic_map(bad: np.ndarray) -> None:
    with pytest.raises(SpgvtonError):
        lb.check_semantic_map(bad)


@given(label_maps)
def test_flip_twice_is_identity(labels: np.ndarray) -> None:
    assert (lb.FLIP[lb.FLIP[labels]] == labels).all()


def test_skeleton_and_flip_agree() -> None:
    flipped = {tuple(sorted((kp.FLIP[a], kp.FLIP[b]))) for a, b in kp.SKELETON}
    assert flipped == {tuple(sorted(bone)) for bone in kp.SKELETON}
    for i, name in enumerate(kp.NAMES):
        assert kp.NAMES[kp.FLIP[i]].replace("left", "right") == name.replace("left", "right")


@given(points)
def test_flipped_keypoints_twice_are_themselves(k: np.ndarray) -> None:
    again = kp.flip(kp.flip(k, 192), 192)
    assert np.allclose(again, k, atol=1e-4)


def test_heat_map_is_a_disc_of_radius_4() -> None:
    k = np.zeros((18, 3), np.float32)
    k[kp.NOSE] = (96, 100, 0.9)
    maps = kp.heat_maps(k, (256, 192))
    assert maps.shape == (18, 256, 192) and maps.dtype == np.float32
    assert maps[1:].sum() == 0, "missing keypoints give empty channels"
    y, x = np.nonzero(maps[kp.NOSE])
    distance = np.hypot(x - 96, y - 100)
    assert distance.max() == 4 and len(y) == sum(i * i + j * j <= 16 for i in range(-4, 5) for j in range(-4, 5))


@pytest.mark.parametrize("bad", [np.full((18, 3), np.nan), np.zeros((17, 3)), np.full((18, 3), np.inf)])
def test_bad_keypoints(bad: np.ndarray) -> None:
    with pytest.raises(SpgvtonError):
        kp.check_keypoints(bad)


@given(points)
def test_openpose_round_trip(k: np.ndarray) -> None:
    flat = json.loads(kp.to_openpose(k))["people"][0]["pose_keypoints_2d"]
    back = np.asarray(flat, np.float32).reshape(18, 3)
    assert np.allclose(back[k[:, 2] > 0.001], k[k[:, 2] > 0.001], atol=1e-3)


@pytest.mark.parametrize("text", ["", "{}", '{"people": [{}]}', '{"people": [{"pose_keypoints_2d": [1, 2]}]}', "[1"])
def test_damaged_openpose_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "k.json"
    file.write_text(text)
    with pytest.raises(SpgvtonError, match=r"k\.json"):
        kp.load_openpose(file)


@given(label_maps)
def test_person_parts_partition_the_semantic_map(labels: np.ndarray) -> None:
    """S' + head + clothes give back every pixel exactly once."""
    total = reference_map(labels).sum(0) + head_masks(labels).sum(0) + clothes_mask(labels)[0]
    assert (total == 1).all()
    assert (one_hot(labels).argmax(0) == labels).all()


def test_person_representation() -> None:
    labels = np.zeros((256, 192), np.uint8)
    labels[20:60, 80:110] = lb.FACE
    labels[60:200, 60:130] = lb.UPPER_CLOTHES
    picture = np.full((256, 192, 3), 200, np.uint8)
    k = np.full((18, 3), 50, np.float32)
    person = PersonRepresentation.of(picture, labels, k)
    assert person.body[:, 100, 100].tolist() == [0, 0, 0], "clothes are grey"
    assert np.allclose(person.body[:, 30, 90], 200 / 127.5 - 1)
    assert person.head[0, 30, 90] == 1 and person.head[1].sum() == 0
    assert (person.keypoints == k).all()
    with pytest.raises(SpgvtonError, match="differ in size"):
        PersonRepresentation.of(picture, labels[:100], k)
    with pytest.raises(SpgvtonError, match="neither face nor hair"):
        PersonRepresentation.of(picture, np.zeros((256, 192), np.uint8), k)


def test_garment_background_becomes_white() -> None:
    picture = np.full((300, 300, 3), 10, np.uint8)
    mask = np.zeros((300, 300), np.uint8)
    mask[100:200, 100:200] = 255
    garment = Garment.of(picture, mask)
    assert garment.image.shape == (3, 256, 192) and garment.mask.shape == (1, 256, 192)
    assert np.allclose(garment.image[:, 0, 0], 1) and np.allclose(garment.image[:, 128, 96], 10 / 127.5 - 1)
    with pytest.raises(SpgvtonError, match="empty"):
        Garment.of(picture, np.zeros((300, 300), np.uint8))


def standing(centre: float, neck: float, torso: float) -> np.ndarray:
    k = np.zeros((18, 3), np.float32)
    for i, (x, y) in {
        kp.NECK: (0, 0), kp.R_SHOULDER: (-0.3, 0), kp.L_SHOULDER: (0.3, 0), kp.R_HIP: (-0.2, 1), kp.L_HIP: (0.2, 1),
        kp.NOSE: (0, -0.4),
    }.items():  # fmt: skip
        k[i] = (centre + x * torso, neck + y * torso, 1)
    return k


@pytest.mark.parametrize(
    ("size", "centre", "neck", "torso", "scale"),
    [
        ((512, 384), 190, 160, 200, 0.5),  # the network's shape: all of it
        ((720, 1280), 900, 250, 300, 256 / 720),  # landscape: full height around her
        ((1920, 1080), 500, 600, 500, 192 / 1080),  # a phone held upright: full width
        ((994, 1768), 640, 190, 90, 100 / 90),  # far away: enlarged until her torso has 100 pixels
    ],
)
def test_framing(size: tuple[int, int], centre: float, neck: float, torso: float, scale: float) -> None:
    k = standing(centre, neck, torso)
    box = framing(k, size)
    assert abs(box.scale - scale) < 1e-6
    placed = place(k, box)
    assert abs(placed[kp.NECK, 0] - 96) < 8 and 40 < placed[kp.NECK, 1] < 100
    filled = np.asarray(box.apply(np.zeros((*size, 3), np.uint8)))
    assert filled.shape == (256, 192, 3) and filled.max() == 0, "no empty border"
    assert framing(k, size, scale=box.scale * 1.1).scale == box.scale * 1.1


def test_framing_without_a_torso_shows_the_middle() -> None:
    box = framing(np.zeros((18, 3), np.float32), (480, 640))
    assert abs(box.points_back(np.array([[95.5, 128, 1]], np.float32))[0, 0] - 319.5) < 0.01
    assert (place(np.zeros((18, 3), np.float32), box) == 0).all()
