"""The sleeve network's samples say where the sleeve is; it learns them; and its file answers as PyTorch does."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from spgvton.live.spread import angle
from spgvton.perception.garment_sleeves import SIDE, STRIDE, SleeveNetwork
from spgvton_training.sleeves.__main__ import main
from spgvton_training.sleeves.network import SleeveCheckpoint
from spgvton_training.sleeves.rendered import make_flat
from spgvton_training.sleeves.samples import sample
from spgvton_training.sleeves.train import Recipe, train


@pytest.fixture(scope="module")
def flats():
    return [make_flat(np.random.default_rng([4, i])) for i in range(8)]


def test_rendered_sleeves_lie_where_the_garment_was_told(flats):
    worn = [flat for flat in flats if flat.sleeves]
    assert worn
    for flat in worn:
        left, right = flat.sleeves
        assert (flat.mask[(left.cloth | right.cloth) > 0] >= 128).all()
        assert not (left.cloth & right.cloth).any()
        assert np.nonzero(left.cloth)[1].mean() < np.nonzero(right.cloth)[1].mean()
        for sleeve in flat.sleeves:
            assert sleeve.shoulder[1] < sleeve.armpit[1]
            assert 5 < angle(sleeve) < 80


def test_samples_mark_the_sleeve_and_the_ends_of_its_armhole(flats):
    marked = 0
    for i in range(40):
        shown = sample(flats[i % len(flats)], np.random.default_rng(i))
        assert shown.picture.shape == (SIDE, SIDE, 3) and shown.maps.shape == (3, SIDE // STRIDE, SIDE // STRIDE)
        assert shown.maps.min() >= 0 and shown.maps.max() <= 1
        if not shown.maps.any():
            continue
        marked += 1
        cloth = shown.maps[0] > 0.5
        ys, xs = np.nonzero(cloth)
        armpit, shoulder = (np.unravel_index(bell.argmax(), bell.shape) for bell in shown.maps[1:])
        assert np.hypot(ys - armpit[0], xs - armpit[1]).min() < 6
        assert 3 < armpit[0] - shoulder[0] < 30
        grey = (shown.picture == 127).all(2)[::STRIDE, ::STRIDE]
        assert (grey & cloth).sum() < 0.25 * cloth.sum()  # its edge
    assert marked > 15


def test_the_same_draw_gives_the_same_sample(flats):
    one, two = (sample(flats[0], np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one.picture, two.picture)
    np.testing.assert_array_equal(one.maps, two.maps)


def test_it_learns(flats):
    early, late = (
        train(flats[:2], Recipe(iterations=n, batch=4, average=0.5), {}).provenance["losses"] for n in (4, 40)
    )
    assert late["cloth"] < 0.85 * early["cloth"]
    assert late["points"] < 0.8 * early["points"]


def test_the_file_answers_as_pytorch_does(tmp_path, flats):
    pytest.importorskip("onnxruntime")
    from spgvton_export import sleeves

    checkpoint, out = tmp_path / "model.safetensors", tmp_path / "sleeves.onnx"
    assert main(["--out", str(checkpoint), "--garments", "2", "--iterations", "2"]) == 0
    assert sleeves.main([str(checkpoint), str(out)]) == 0
    assert isinstance(SleeveNetwork(out)(flats[0].picture, flats[0].mask), list)
    assert SleeveCheckpoint.load(checkpoint).provenance["garments"] == 2


def test_a_foreign_checkpoint_is_one_line(tmp_path, capsys):
    from spgvton_export import sleeves

    (tmp_path / "a.safetensors").write_bytes(b"no")
    assert sleeves.main([str(tmp_path / "a.safetensors"), str(tmp_path / "b.onnx")]) == 1
    assert "cannot load checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "b.onnx").exists()
