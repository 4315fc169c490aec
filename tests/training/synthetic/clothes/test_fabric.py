"""Garments made of photographed cloth."""

from pathlib import Path

import numpy as np
import pytest

from spgvton import image
from spgvton.errors import UsageError
from spgvton.video import cv2
from spgvton_training.cli.synth import parse_shard
from spgvton_training.synthetic.clothes.fabric import Fabrics, draw_fabric, patch
from spgvton_training.synthetic.clothes.pattern import FABRIC
from spgvton_training.synthetic.dataset import check_settings, make_item

SIZE = (96, 72)
RED, GREEN = (200, 30, 40), (20, 180, 60)


def photograph(path: Path, cloth: tuple[int, int, int], rest: tuple[int, int, int]) -> Path:
    """CLOTH in the middle of REST, 80 x 60."""
    picture = np.full((80, 60, 3), rest, np.uint8)
    picture[20:60, 15:45] = cloth
    image.write(path, picture)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(24):
        photograph(tmp_path / f"{i}.png", RED, GREEN)
    return tmp_path


def test_no_fabric_is_in_both_splits(folder: Path) -> None:
    train, test = (Fabrics.of(folder, split) for split in ("train", "test"))
    assert train.paths and test.paths and not set(train.paths) & set(test.paths)
    assert len(train.paths) + len(test.paths) == 24
    assert train.digest() != test.digest()


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no pictures for the train split"):
        Fabrics.of(tmp_path, "train")


def test_the_middle_of_a_photograph_is_cloth(tmp_path: Path) -> None:
    cloth = patch(photograph(tmp_path / "shirt.png", RED, GREEN))
    assert cloth.shape == (34, 26, 3) and (cloth == RED).all()


def test_what_a_cut_out_leaves_transparent_is_no_cloth(tmp_path: Path) -> None:
    picture = np.zeros((80, 60, 4), np.uint8)
    picture[10:40, 10:50] = (*RED, 255)
    assert cv2.imwrite(str(tmp_path / "cut.png"), cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA))
    assert patch(tmp_path / "cut.png").shape == (18, 24, 3) and (patch(tmp_path / "cut.png") == RED).all()
    ring = picture.copy()
    ring[15:35, 15:45] = 0
    assert cv2.imwrite(str(tmp_path / "ring.png"), cv2.cvtColor(ring, cv2.COLOR_RGBA2BGRA))
    with pytest.raises(UsageError, match="transparent"):
        patch(tmp_path / "ring.png")


def test_a_fabric_is_as_wide_as_it_is_told_to_be(tmp_path: Path) -> None:
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[:, ::2] = 255
    stripes = np.repeat(np.repeat(stripes, 5, 0), 5, 1)  # 20 pairs of stripes; the middle has 8.4
    image.write(tmp_path / "stripes.png", stripes)
    x = np.linspace(0, 2, 400, dtype=np.float32)[None]
    drawn = draw_fabric(tmp_path / "stripes.png", x, x.T, 2.0, np.random.default_rng(0))
    edges = (np.diff((drawn[200, :, 0] > 127).astype(int)) != 0).sum()
    assert edges == pytest.approx(2 * 8.4, abs=2)
    assert np.ptp(drawn, axis=0).max() == 0, "the stripes stand upright"


def test_items_with_fabrics_wear_them_and_all_else_stays(folder: Path) -> None:
    fabrics = Fabrics.of(folder, "train")
    plain = [make_item(5, "train", i, size=SIZE) for i in range(3)]
    clothed = [make_item(5, "train", i, size=SIZE, fabrics=fabrics) for i in range(3)]
    made_of = [item.garments["a"].spec.design.pattern == FABRIC for item in clothed]
    assert any(made_of), "three in five"
    for a, b, fabric in zip(plain, clothed, made_of):
        assert (a.photos["A"].labels == b.photos["A"].labels).all() and (
            a.garments["a"].mask == b.garments["a"].mask
        ).all()
        if fabric:
            inside = b.garments["a"].mask > 0
            hue = b.garments["a"].picture[inside].astype(int)
            assert np.median(hue[:, 0] - hue[:, 1]) > 80, "the cloth is red"
        else:
            assert (a.garments["a"].picture == b.garments["a"].picture).all()


def test_a_set_is_not_continued_with_other_fabrics(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    check_settings(root, SIZE, Fabrics.of(folder, "train"))
    check_settings(root, SIZE, Fabrics.of(folder, "train"))
    with pytest.raises(UsageError, match="holds another data set"):
        check_settings(root, SIZE)


def test_shards_make_every_item_once() -> None:
    items = range(10, 47)
    parts = [items[first - 1 :: step] for first, step in (parse_shard(f"{i}/5") for i in range(1, 6))]
    assert sorted(i for part in parts for i in part) == list(items)
    assert parse_shard(None) == (1, 1)
    for wrong in ("0/4", "5/4", "1", "a/b", "1/2/3", "-1/3"):
        with pytest.raises(UsageError, match="I/N"):
            parse_shard(wrong)
