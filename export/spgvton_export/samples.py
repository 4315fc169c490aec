"""Real inputs of the joint graph, to measure graphs on: the shipped demo, or the test split of a data set."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np

from spgvton.backends.samples import Sample, demo_samples
from spgvton.errors import SpgvtonError

__all__ = ["Sample", "data_samples", "demo_samples"]


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
