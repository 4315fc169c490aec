"""What the parser learns from: where it is read, how it is framed, and what is changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_people import draw, write_folder, write_mpv

from spgvton import image as im
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.errors import SpgvtonError
from spgvton_training.parsing import appearance, scene
from spgvton_training.parsing.data import PHOTOS, ParserData, Photographs, pack
from spgvton_training.parsing.framing import draw_matrix, flipped, warp
from spgvton_training.parsing.network import SOMEBODY_ELSE
from spgvton_training.parsing.sources import UNKNOWN, find, read_labels

SIZE = (64, 48)


def test_both_layouts_are_read(tmp_path: Path) -> None:
    (first, *_), person = find(write_folder(tmp_path / "folder")), draw(0)
    read = first.read()
    assert np.array_equal(read.labels, person.labels) and np.allclose(read.keypoints, person.keypoints)
    items = find(write_mpv(tmp_path / "mpv"))
    assert len(items) == 3 and len(items[0].keypoints) == 2
    estimated, exact = items[0].read(0), items[0].read(1)
    assert exact.keypoints[kp.NECK, 0] == person.keypoints[kp.NECK, 0] == estimated.keypoints[kp.NECK, 0] - 2


def test_what_parse_writes_is_read(tmp_path: Path) -> None:
    root = write_folder(tmp_path, 1)
    (root / "labels/p0.png").rename(root / "labels/p0_labels.png")
    (root / "keypoints/p0_keypoints.json").rename(root / "labels/p0_keypoints.json")
    assert np.allclose(find(root)[0].read().keypoints, draw(0).keypoints)


def test_missing_keypoints_are_estimated_once_and_kept(tmp_path: Path) -> None:
    root = write_folder(tmp_path, 1)
    file = root / "keypoints/p0_keypoints.json"
    file.unlink()
    find(root)
    written = file.read_bytes()
    assert kp.load_openpose(file).shape == (18, 3)
    find(root)
    assert file.read_bytes() == written


def write_ids(file: Path, *ids: int) -> Path:
    """A map of 16 rows of IDS."""
    assert cv2.imwrite(str(file), np.tile(np.array(ids, np.uint8), (16, 16 // len(ids) + 1)))
    return file


def test_other_label_sets_become_cihp(tmp_path: Path) -> None:
    file = write_ids(tmp_path / "a.png", 0, 4, 5, 6, 7, 14, 16, 17, 255)
    expected = [0, lb.UPPER_CLOTHES, lb.SKIRT, lb.PANTS, lb.DRESS, lb.LEFT_ARM, lb.BACKGROUND, lb.SCARF, UNKNOWN]
    assert read_labels(file, "atr")[0, :9].tolist() == expected
    assert read_labels(write_ids(file, lb.JUMPSUITS, lb.COAT), "lip")[0, :2].tolist() == [lb.DRESS, lb.COAT]
    with pytest.raises(SpgvtonError, match="label id 19; ids of atr run from 0 to 17"):
        read_labels(write_ids(file, 19), "atr")


def test_folders_without_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpgvtonError, match="neither parse_cihp"):
        find(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    with pytest.raises(SpgvtonError, match="no picture"):
        find(tmp_path)
    root = write_folder(tmp_path / "wrong", 1)
    assert cv2.imwrite(str(root / "labels/p0.png"), np.zeros((20, 20), np.uint8))
    with pytest.raises(SpgvtonError, match="same size"):
        find(root)[0].read()


def test_samples_are_the_same_for_the_same_number(tmp_path: Path) -> None:
    roots = [write_folder(tmp_path / "folder"), write_mpv(tmp_path / "mpv")]
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    im.write(photographs / "a.jpg", draw(9).picture)
    first, second, third = (ParserData(roots, SIZE, photographs=[photographs], seed=seed) for seed in (1, 1, 2))
    for i in range(30):
        a, b = first[i], second[i]
        assert all(x.equal(y) for x, y in zip(a, b))
        assert a.picture.shape == (3, *SIZE) and a.labels.shape == (4, SIZE[0] // 2, SIZE[1] // 2)
        assert set(a.labels.unique().tolist()) <= {*range(SOMEBODY_ELSE + 1), UNKNOWN}
    assert not first[0].picture.equal(third[0].picture) and not first[0].picture.equal(first[1].picture)


def test_picture_labels_and_keypoints_move_together() -> None:
    person = draw()
    person.labels[:] = lb.BACKGROUND
    cv2.circle(person.labels, (63, 41), 6, (lb.FACE,), -1)
    picture = np.repeat(np.where(person.labels == lb.FACE, 255, 0)[..., None], 3, 2).astype(np.uint8)
    for seed in range(12):
        matrix = draw_matrix(np.random.default_rng(seed), person.keypoints, person.labels.shape, (256, 192))
        moved, _ = warp(person._replace(picture=picture), matrix, (256, 192))
        spot = np.argwhere(moved.labels == lb.FACE)
        if len(spot) < 50 or spot.min() == 0 or (spot.max(axis=0) == (255, 191)).any():
            continue
        assert np.allclose(spot.mean(0)[::-1], moved.keypoints[kp.L_SHOULDER, :2], atol=0.7)
        assert ((moved.picture[..., 0] > 127) ^ (moved.labels == lb.FACE)).mean() < 0.01


def test_unknown_labels_and_the_outside_survive_a_warp() -> None:
    person = draw()
    person.labels[:20] = UNKNOWN
    matrix = np.array([[0.5, 0, 12], [0, 0.5, 0]], np.float32)
    moved, outside = warp(person, matrix, (64, 72))
    assert (moved.labels[:9, 14:58] == UNKNOWN).all() and not (moved.labels[:, :11] == UNKNOWN).any()
    assert outside[:, :11].all() and not outside[:, 13:59].any()


def test_a_flip_exchanges_left_and_right() -> None:
    person = draw()
    turned = flipped(person)
    left = np.argwhere(turned.labels == lb.LEFT_ARM)[:, 1].mean()
    assert left == pytest.approx(95 - np.argwhere(person.labels == lb.RIGHT_ARM)[:, 1].mean())
    assert turned.keypoints[kp.L_WRIST, 0] == 95 - person.keypoints[kp.R_WRIST, 0]
    assert np.array_equal(flipped(turned).labels, person.labels)


def test_nobody_counts_without_keypoints() -> None:
    alone = scene.nobody(draw())
    assert set(np.unique(alone.labels)) == {lb.BACKGROUND, SOMEBODY_ELSE} and not alone.keypoints.any()


def test_bystanders_are_somebody_else_and_cover_little() -> None:
    person, hers = draw(), draw().labels > 0
    for seed in range(20):
        crowd = scene.add_bystander(person, draw(seed), np.random.default_rng(seed))
        theirs = crowd.labels == SOMEBODY_ELSE
        assert (theirs & hers).sum() <= scene.HIDDEN * hers.sum() and np.array_equal(crowd.keypoints, person.keypoints)
        assert np.array_equal(crowd.labels[~theirs], person.labels[~theirs])


def test_bags_and_phones_are_background() -> None:
    person, seen = draw(), set()
    for seed in range(40):
        with_thing = scene.add_thing(person, np.random.default_rng(seed), None)
        changed = with_thing.labels != person.labels
        seen |= set(np.unique(with_thing.labels[changed]).tolist())
    assert seen == {lb.BACKGROUND, UNKNOWN}


def test_recolouring_leaves_the_room_and_the_labels_alone() -> None:
    person = draw()
    out = appearance.recolour(person.picture, person.labels, np.random.default_rng(0), 1.0)
    room = cv2.dilate((person.labels > 0).astype(np.uint8), np.ones((5, 5))) == 0
    assert np.array_equal(out[room], person.picture[room])
    shirt = person.labels == lb.UPPER_CLOTHES
    assert np.abs(out[shirt].astype(int) - person.picture[shirt]).mean() > 10


def test_an_open_coat_has_two_labels() -> None:
    person = draw()
    cloth = appearance.pattern(np.random.default_rng(1))
    _, labels = appearance.open_coat(person.picture, person.labels, person.keypoints, cloth, np.random.default_rng(2))
    worn = person.labels == lb.UPPER_CLOTHES
    assert np.isin(labels[worn], (lb.UPPER_CLOTHES, lb.COAT)).all() and 0.1 < (labels[worn] == lb.COAT).mean() < 0.95
    assert np.array_equal(labels[~worn], person.labels[~worn])


def test_a_tucked_top_ends_at_the_waist() -> None:
    person, moved, tones = draw(), 0, []
    person.keypoints[kp.R_HIP, 0] = 44  # well inside the trousers, whose cloth is looked at below it
    for seed in range(12):
        picture, labels = appearance.tucked(
            person.picture, person.labels, person.keypoints, np.random.default_rng(seed)
        )
        changed = labels != person.labels
        assert (person.labels[changed] == lb.UPPER_CLOTHES).all() and (labels[changed] == lb.PANTS).all()
        rows = np.nonzero(changed)[0]
        moved += len(rows)
        # neck at row 40, hips at 84: the waistband lies at 0.62 to 0.95 of that, a little tilted
        assert rows.min(initial=84) > 40 + 0.55 * 44 and changed[83, 44:52].all()
        far = cv2.dilate((np.isin(person.labels, (lb.UPPER_CLOTHES, lb.PANTS))).astype(np.uint8), np.ones((3, 3))) == 0
        assert np.array_equal(picture[far], person.picture[far])
        blue = picture[83, 40:56].astype(int).mean(0)
        tones += [blue[2] > blue[0]]  # the cloth of the trousers, where the shirt was red
    assert moved > 12 * 50 and sum(tones) > 8  # some belts are of another colour


def test_a_top_with_long_sleeves_is_not_tucked() -> None:
    person = draw()
    person.labels[np.isin(person.labels, (lb.LEFT_ARM, lb.RIGHT_ARM))] = lb.UPPER_CLOTHES
    picture, labels = appearance.tucked(person.picture, person.labels, person.keypoints, np.random.default_rng(0))
    assert np.array_equal(picture, person.picture) and np.array_equal(labels, person.labels)


def test_dark_hair_is_dark_and_nothing_else() -> None:
    person = draw()
    light = person.picture.copy()
    hair = person.labels == lb.HAIR
    light[hair] = (200, 170, 90)
    out = appearance.dark_hair(light, person.labels, np.random.default_rng(0))
    inside = cv2.erode(hair.astype(np.uint8), np.ones((3, 3))) > 0
    far = cv2.dilate(hair.astype(np.uint8), np.ones((3, 3))) == 0
    assert out[inside].mean() <= 55 and np.array_equal(out[far], light[far])


def test_long_hair_hangs_from_the_head_and_leaves_the_face_free() -> None:
    person, below = draw(), 0
    colour = person.picture[person.labels == lb.HAIR].mean()
    for seed in range(8):
        longer = scene.add_hair(person, np.random.default_rng(seed))
        gained = longer.labels != person.labels
        assert (longer.labels[gained] == lb.HAIR).all() and not (person.labels[gained] == lb.FACE).any()
        count, _ = cv2.connectedComponents((longer.labels == lb.HAIR).astype(np.uint8), connectivity=8)
        assert count == 2  # in one piece with the rest
        assert not gained.any() or abs(longer.picture[gained].mean() - colour) < 40
        below += int(gained[33:].sum())  # the head ends at row 32
    assert below > 200
    bald = person._replace(labels=np.where(person.labels == lb.HAIR, lb.FACE, person.labels).astype(np.uint8))
    assert np.array_equal(scene.add_hair(bald, np.random.default_rng(0)).labels, bald.labels)


@pytest.mark.parametrize("seed", range(4))
def test_a_room_takes_the_colour_of_the_hair(seed: int) -> None:
    person = draw()
    room = np.full((*person.labels.shape, 3), (90, 200, 160), np.uint8)
    out = scene.like_hair(room, person, np.random.default_rng(seed))
    hair = person.labels == lb.HAIR
    beside = (cv2.dilate(hair.astype(np.uint8), np.ones((3, 3))) > 0) & ~hair
    off = [abs(np.log(p[beside].mean() / person.picture[hair].mean())) for p in (out, room)]
    assert off[0] < 1.0 < off[1]


def test_folders_of_photographs_are_drawn_alike(tmp_path: Path) -> None:
    for folder, count, level in (("many", 9, 250), ("few", 1, 5)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            im.write(tmp_path / folder / f"{i}.png", np.full((16, 16, 3), level, np.uint8))
    photographs, rng = Photographs([tmp_path / "many", tmp_path / "few"]), np.random.default_rng(0)
    assert len(photographs.files) == 10
    assert 20 < sum(photographs.draw(rng).mean() < 9 for _ in range(60)) < 40
    (tmp_path / "none").mkdir()
    with pytest.raises(SpgvtonError, match="none holds no photograph"):
        Photographs([tmp_path / "many", tmp_path / "none"])


def test_cells_hold_the_four_pixels_under_a_logit() -> None:
    person = draw()
    cells = pack(person).labels.numpy()
    assert np.array_equal(cells[1], person.labels[::2, 1::2]) and np.array_equal(cells[2], person.labels[1::2, ::2])


def test_plain_photographs_stay_recognisable(tmp_path: Path) -> None:
    """With every change off, only framing, light and camera are left: labels keep their shares."""
    off = replace(PHOTOS, **dict.fromkeys(PHOTOS.__dataclass_fields__, 0.0))
    data = ParserData([write_folder(tmp_path)], (128, 96), photos=off)
    for i in range(8):
        labels = data.sample(i).labels
        assert (
            not np.isin(labels, (SOMEBODY_ELSE, lb.COAT, lb.SCARF, UNKNOWN)).any()
            and (labels == lb.UPPER_CLOTHES).any()
        )


def test_pictures_with_rare_labels_come_more_often(tmp_path: Path) -> None:
    root = write_folder(tmp_path, 8)
    labels = draw().labels
    labels[labels == lb.HAIR] = lb.HAT
    assert cv2.imwrite(str(root / "labels/p5.png"), labels)
    hats = [
        (ParserData([root], SIZE, rare=rare).sample(i).labels == lb.HAT).any() for rare in (0.0, 1.0) for i in range(20)
    ]
    assert sum(hats[:20]) < 10 < sum(hats[20:])
