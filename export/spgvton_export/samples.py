"""Real inputs of the joint graph, to measure graphs on: the shipped demo, or the test split of a data set."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spgvton import image as im
from spgvton.demo_assets import DemoAssets
from spgvton.errors import SpgvtonError
from spgvton.person import Garment, PersonRepresentation

Sample = dict[str, NDArray[np.float32]]  # the joint graph's inputs by name, each (1, ...)


def demo_samples(size: tuple[int, int], label_set: str) -> list[Sample]:
    """The shipped person at SIZE (height, width), in three garments and three poses of the clip: nine samples."""
    assets = DemoAssets.open()
    picture, labels = assets.person()
    keypoints = assets.keypoints()
    person = PersonRepresentation.of(picture, labels, keypoints[0], label_set=label_set, size=size)
    box = im.Letterbox.fit((picture.shape[0], picture.shape[1]), size)
    samples = []
    for number in (1, 2, 3):
        garment = Garment.of(*assets.garment(number), size=size)
        for quarter in (1, 2, 3):
            samples.append(
                {
                    "reference_map": person.reference_map[None], "head": person.head[None], "body": person.body[None],
                    "source_keypoints": person.keypoints[None], "cloth": garment.image[None],
                    "cloth_mask": garment.mask[None], "keypoints": box.points(keypoints[len(keypoints) * quarter // 4])[None],
                }
            )  # fmt: skip
    return samples


def data_samples(folder: Path, count: int, size: tuple[int, int], label_set: str) -> list[Sample]:
    """The first COUNT test triples (pose changes, same garment) of a data set in MPV layout. Needs torch.

    Raises SpgvtonError when FOLDER is no such data set or holds fewer.
    """
    from spgvton_training.data.mpv import MPV

    data = MPV(folder, "test", size=size, label_set=label_set)
    if len(data) < count:
        raise SpgvtonError(f"{folder} has {len(data)} test triples, {count} were asked for: lower --samples")
    return [
        {name: np.asarray(t.numpy(), np.float32)[None] for name, t in data[i].inputs._asdict().items()}
        for i in islice(range(len(data)), count)
    ]
