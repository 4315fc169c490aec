"""Samples of the cut-out network's training: what is drawn, what is pasted, and what the labels say of it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from spgvton.errors import SpgvtonError
from spgvton.perception.cutout import KINDS, SIDE, SLEEVES
from spgvton_training.cutout import hangers, objects, photographs, scenes, surfaces
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


def shirt_mask():
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[70:220, 60:200] = 1
    mask[70:90, 115:145] = 0  # the neck
    return mask


@pytest.mark.parametrize("seed", range(6))
def test_a_hanger_behind_leaves_the_garment_alone(seed):
    mask, before = shirt_mask(), np.full((SIDE, SIDE, 3), 90, np.uint8)
    after = hangers.behind(np.random.default_rng(seed), before, mask)
    np.testing.assert_array_equal(after[mask > 0], before[mask > 0])
    changed = np.abs(after.astype(int) - 90).sum(axis=2) > 3
    assert changed[:90].sum() > 30  # a hook above, and what the neck shows


@pytest.mark.parametrize("seed", range(6))
def test_a_hanger_in_the_neck_is_no_garment(seed):
    mask = shirt_mask()
    picture, left = hangers.in_neck(np.random.default_rng(seed), np.full((SIDE, SIDE, 3), 90, np.uint8), mask)
    assert (left <= mask).all() and mask.sum() * 0.85 < left.sum() < mask.sum()
    assert (left[170:] == mask[170:]).all()  # a neck is at the top
    assert (picture[left == 1] == 90).all()


def test_a_neck_is_found_in_the_middle_of_the_shoulders():
    neck = hangers.neck_of(shirt_mask())
    assert neck is not None and neck.x == pytest.approx(129.5) and neck.y == 90 and neck.half == pytest.approx(69.5)
    assert hangers.neck_of(np.zeros((SIDE, SIDE), np.float32)) is None


def test_the_edge_of_a_bed_shows_both_surfaces():
    first, second = (np.full((SIDE, SIDE, 3), level, np.uint8) for level in (250, 100))
    for seed in range(8):
        out = surfaces.edge(np.random.default_rng(seed), first, second)
        assert (out == 250).all(axis=2).mean() > 0.3 and (out <= 100).all(axis=2).any()


def test_patches_stay_inside_the_garment(library, piece):
    one = piece()
    picture, mask = np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE), np.float32)
    picture[:, :192], mask[:, :192] = one.picture[:SIDE, :192], one.mask[:SIDE, :192] / np.float32(255)
    changed = 0
    for seed in range(40):
        out = scenes._patched(library, np.random.default_rng(seed), picture, mask)
        np.testing.assert_array_equal(out[mask == 0], picture[mask == 0])
        changed += (out != picture).any()
    assert 2 <= changed <= 20


def test_a_surface_like_the_garment_has_its_colour(piece):
    rng, picture = np.random.default_rng(1), np.full((SIDE, SIDE, 3), (30, 60, 160), np.uint8)
    out = scenes._alike(rng, np.full((SIDE, SIDE, 3), 120, np.uint8), picture, shirt_mask())
    assert np.abs(np.log((out[0, 0] + 2.0) / np.array([32, 62, 162]))).max() < 0.6


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
