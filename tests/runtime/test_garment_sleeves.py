"""The shipped sleeve network on the shipped garments, and what is refused of its answers."""

from __future__ import annotations

import numpy as np
import pytest

from spgvton.demo_assets import DemoAssets
from spgvton.errors import SpgvtonError
from spgvton.live.garment import LiveGarment
from spgvton.perception import garment_sleeves as gs


@pytest.fixture(scope="module")
def network():
    return gs.SleeveNetwork()


@pytest.fixture(scope="module", params=[1, 2, 3])
def shop(request):
    return DemoAssets.open().garment(request.param)


def test_both_sleeves_of_a_shop_picture_are_found(network, shop):
    left, right = network(shop.picture, shop.mask)
    assert left.left and not right.left
    h, w = shop.mask.shape
    for sleeve, sign in ((left, -1), (right, 1)):
        assert set(np.unique(sleeve.cloth)) == {0, 255}
        assert (shop.mask[sleeve.cloth > 0] >= 128).all()
        assert np.sign(np.nonzero(sleeve.cloth)[1].mean() - w / 2) == sign
        assert sleeve.shoulder[1] < sleeve.armpit[1] < 0.6 * h
        assert 0.08 * h < sleeve.armhole < 0.4 * h
    assert abs(left.armpit[1] - right.armpit[1]) < 0.06 * h
    assert not (left.cloth & right.cloth).any()


def test_a_mirrored_picture_has_mirrored_sleeves(network, shop):
    w = shop.mask.shape[1]
    left, right = network(shop.picture, shop.mask)
    other = network(np.ascontiguousarray(shop.picture[:, ::-1]), np.ascontiguousarray(shop.mask[:, ::-1]))
    for here, there in ((left, other[1]), (right, other[0])):
        assert (here.cloth != there.cloth[:, ::-1]).mean() < 0.002
        assert np.abs(here.armpit - (w - 1 - there.armpit[0], there.armpit[1])).max() < 0.02 * w


def test_shop_pictures_that_lie_well_are_worn_as_they_are():
    shop = DemoAssets.open().garment(2)
    made = LiveGarment.of(shop.picture, shop.mask)
    assert made.texture.shape == shop.picture.shape


def test_the_square_is_grey_around_the_garment():
    picture, mask = np.full((300, 200, 3), (10, 200, 30), np.uint8), np.zeros((300, 200), np.uint8)
    mask[100:200, 50:100] = 255
    matrix = gs.frame_of(mask)
    corners = matrix[:, :2] @ np.array([[50, 100], [100, 200]]).T + matrix[:, 2:]
    side = 128 / 1.12
    np.testing.assert_allclose(corners.T, [[64 - side / 4, 64 - side / 2], [64 + side / 4, 64 + side / 2]], atol=1e-3)
    seen = gs.look(picture, mask, matrix)
    assert (seen[64, 64] == (10, 200, 30)).all() and (seen[3, 64] == 127).all() and (seen[64, 10] == 127).all()


def test_an_empty_mask_has_no_sleeves(network):
    assert network(np.zeros((40, 30, 3), np.uint8), np.zeros((40, 30), np.uint8)) == []


def maps(*, peak=0.9, armpit=(40, 30), shoulder=(20, 32), rows=(22, 60)):
    out = np.zeros((3, 64, 64), np.float32)
    out[0, rows[0] : rows[1], 20:30] = 0.9
    out[1][armpit], out[2][shoulder] = peak, peak
    return out


WHOLE = np.full((128, 128), 255, np.uint8)


def test_what_the_maps_say_comes_back_in_the_pictures_pixels():
    sleeve = gs._sleeve(
        maps(), np.array([[0.5, 0, 0], [0, 0.5, 0]], np.float32), np.full((256, 256), 255, np.uint8), True
    )
    assert sleeve is not None
    np.testing.assert_allclose(sleeve.armpit, (121.5, 161.5))  # the middle of place (30, 40), four pixels a place
    rows, columns = np.nonzero(sleeve.cloth)
    assert abs(columns.min() - 80) <= 2 and abs(columns.max() - 119) <= 2 and abs(rows.min() - 88) <= 2


@pytest.mark.parametrize(
    "doubt", [{"peak": 0.2}, {"armpit": (21, 32)}, {"shoulder": (0, 60), "armpit": (63, 0)}, {"rows": (22, 23)}]
)
def test_doubtful_sleeves_are_none(doubt):
    matrix = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    assert gs._sleeve(maps(), matrix, WHOLE, True) is not None
    assert gs._sleeve(maps(**doubt), matrix, WHOLE, True) is None


def test_a_missing_model_is_one_line(tmp_path):
    with pytest.raises(SpgvtonError, match="missing"):
        gs.SleeveNetwork(tmp_path / "none.onnx")
