"""Samples of the cut-out network's training: what is drawn, what is pasted, and what the labels say of it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from spgvton.errors import SpgvtonError
from spgvton.perception.cutout import KINDS, SIDE, SLEEVES
from spgvton_training.cutout import objects, photographs, scenes, surfaces
from spgvton_training.cutout.photographs import UNKNOWN


def test_samples_depend_on_seed_and_index_alone(library):
    first, again = scenes.sample(library, 1, 7), scenes.sample(library, 1, 7)
    np.testing.assert_array_equal(first.picture, again.picture)
    np.testing.assert_array_equal(first.mask, again.mask)
    assert not np.array_equal(first.picture, scenes.sample(library, 2, 7).picture)


def test_samples_are_what_the_network_takes(library):
    kinds = set()
    for i in range(60):
        s = scenes.sample(library, 5, i)
        assert s.picture.shape == (SIDE, SIDE, 3) and s.picture.dtype == np.uint8
        assert s.mask.shape == (SIDE, SIDE) and s.mask.dtype == np.float32 and 0 <= s.mask.min() <= s.mask.max() <= 1
        assert s.weight in (0, 1) and -1 <= s.kind < len(KINDS) and -1 <= s.sleeve < len(SLEEVES)
        if s.kind >= 0 and KINDS[s.kind] in ("shoes", "nothing"):
            assert s.mask.max() == 0 and s.weight == 1 and s.sleeve == UNKNOWN
        kinds.add(s.kind)
    assert {KINDS.index(k) for k in ("t-shirt", "dress", "shirt", "trousers", "shoes", "nothing")} <= kinds
    assert KINDS.index("worn") not in kinds  # no pictures of people are there


def test_a_photograph_without_a_mask_teaches_its_kind_alone(piece):
    only = scenes.Library([piece(masked=False)], [], [])
    for i in range(40):
        s = scenes.sample(only, 1, i)
        if s.kind == KINDS.index("t-shirt") and s.weight == 0:
            return
    raise AssertionError("never seen")


def test_the_free_strip_holds_no_garment(piece):
    one = piece()
    strip = surfaces.free_strip(one.picture, one.mask)
    assert strip is not None and min(strip.shape[:2]) >= 36
    assert np.abs(strip.astype(int) - np.array([30, 60, 160])).sum(axis=2).min() > 10
    assert surfaces.free_strip(one.picture, np.full_like(one.mask, 255)) is None


def test_tags_and_fingers_are_not_garment():
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[60:200, 60:200] = 1
    for draw in (objects.tag, objects.fingers):
        picture, left = draw(np.random.default_rng(4), np.full((SIDE, SIDE, 3), 90, np.uint8), mask)
        covered = (mask > 0.5) & (left < 0.1)
        assert covered.any() and left.sum() < mask.sum()
        assert np.abs(picture[covered].astype(int) - 90).mean() > 5


@pytest.mark.parametrize("seed", range(4))
def test_drawn_tops_are_symmetric_and_of_a_kind(seed):
    mask, kind, sleeve = objects.top(np.random.default_rng(seed), SIDE)
    assert kind in KINDS[:4] and sleeve in SLEEVES and 0.05 < mask.mean() < 0.7
    assert np.abs(mask - mask[:, ::-1]).mean() < 0.02


def test_lists_and_folders(tmp_path):
    (tmp_path / "dress").mkdir()
    for name in ("a.jpg", "b.jpg", "note.txt"):
        (tmp_path / "dress" / name).write_bytes(b"x")
    assert photographs.names(tmp_path, ["dress/b.jpg"]) == ["dress/a.jpg"]
    with pytest.raises(SpgvtonError, match="holds no photographs in folders named t-shirt"):
        photographs.names(tmp_path / "dress", [])
    (tmp_path / "list.txt").write_text("# heading\ndress/a.jpg long\n\ndress/b.jpg\ndress/c.jpg,clean,\n")
    assert photographs.read_list(tmp_path / "list.txt") == {
        "dress/a.jpg": "long",
        "dress/b.jpg": "",
        "dress/c.jpg": "clean",
    }
    with pytest.raises(SpgvtonError, match="cannot read"):
        photographs.read_list(tmp_path / "missing.txt")
