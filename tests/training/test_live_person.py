"""Live mode's person, made of bytes inside the network, is the one that `spgvton.person` makes on the CPU."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from spgvton import person as ps
from spgvton_training.networks.config import preset
from spgvton_training.networks.joint import Inputs, JointModel, halve
from spgvton_training.networks.live import label_maps, live_person


def scene(n: int, h: int, w: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture of noise and labels of blocks that do not lie on the grid of the maps."""
    rng = np.random.default_rng(seed)
    labels = (
        rng.integers(0, 20, (n, h // 8 + 1, w // 8 + 1), dtype=np.uint8)
        .repeat(8, 1)
        .repeat(8, 2)[:, 3 : h + 3, 5 : w + 5]
    )
    picture = rng.integers(0, 256, (n, h, w, 3), dtype=np.uint8)
    return torch.from_numpy(picture), torch.from_numpy(np.ascontiguousarray(labels))


@pytest.mark.parametrize("options", [{}, {"label_set": "lip"}, {"background_margin": False}, {"fill_background": False,
                                     "background_margin": False}], ids=["live", "lip", "no margin", "no filling"])  # fmt: skip
@pytest.mark.parametrize("name", ["live", "mini", "edge"])
def test_it_is_the_person_of_the_contract(name: str, options: dict) -> None:
    """`live`: half size and packed; `mini`: half size; `edge`: full size. Without alignment all of them see the same."""
    config = preset(name, ngf=4, gmm_ngf=4, height=128, width=96, align_source=False, align_once=False, **options)
    model = JointModel(config)
    picture, labels = scene(2, 128, 96)
    made = [
        (ps.reference_map(y, config.label_set), ps.head_masks(y), ps.without_clothes(x, y, config.label_set))
        for x, y in zip(picture.numpy(), labels.numpy())
    ]
    reference, head, body = (torch.from_numpy(np.stack(parts)) for parts in zip(*made))
    keypoints, mask = torch.zeros(2, 18, 3), torch.zeros(2, 1, 128, 96)
    expected = model.person(Inputs(reference, head, body, keypoints, body, mask, keypoints))
    found = live_person(model, picture, labels)
    maps = torch.cat([expected.reference_map, expected.head], 1)
    torch.testing.assert_close(found.maps, F.pixel_unshuffle(maps, 2) if config.space_to_depth_g1 else maps)
    torch.testing.assert_close(found.body, expected.body, atol=1e-6, rtol=0)
    assert (found.hidden is None) == (expected.hidden is None)
    if found.hidden is not None and expected.hidden is not None:
        torch.testing.assert_close(found.hidden, expected.hidden, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("mean", "pack"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_label_maps_are_averaged_and_packed_one_hot_maps(mean: int, pack: int) -> None:
    _, labels = scene(2, 32, 24, seed=1)
    ids = [3, -1, 0, 19]
    maps = torch.stack([(labels == i).float() for i in ids], 1)
    expected = F.pixel_unshuffle(halve(maps) if mean == 2 else maps, pack)
    torch.testing.assert_close(label_maps(labels.float(), ids, mean, pack), expected)
