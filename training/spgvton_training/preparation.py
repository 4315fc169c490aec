"""What a run needs before its first update: class weights of its data set, and the pretrained networks of its losses."""

from __future__ import annotations

import torch
from torch import Tensor

from spgvton.errors import UsageError
from spgvton.labels import NUM_LABELS
from spgvton_training.config import RunConfig
from spgvton_training.data.mpv import MPV
from spgvton_training.pretrained.face import FaceEncoder
from spgvton_training.pretrained.perceptual import Perceptual


def label_weights(data: MPV, samples: int = 128) -> Tensor:
    """Class weights (20,) for the focal loss: frequency ** -0.35 over some triples of DATA, mean weight of a pixel 1.

    A label that none of them holds is rare, not unwanted: it gets the largest weight.
    """
    count = torch.zeros(NUM_LABELS, dtype=torch.float64)
    for triple in data.triples[:: max(1, len(data.triples) // samples)]:
        labels = torch.from_numpy(data.photo(triple.target).labels.astype("int64"))
        count += torch.bincount(labels.ravel(), minlength=NUM_LABELS)
    frequency = count / count.sum()
    weight = (frequency + 1e-3) ** -0.35
    return (weight / (weight * frequency).sum()).float()


def check_pretrained(config: RunConfig, perceptual: Perceptual | None, face: FaceEncoder | None) -> None:
    """Raise UsageError when a loss is on and its network is not given."""
    wanted = (
        (config.losses.perceptual, perceptual, "perceptual", "Eqs. 4 and 12", "VGG-19, VGG-16 or SqueezeNet 1.1"),
        (config.losses.identity, face, "identity", "Eq. 15", "SphereFace-20 or dlib's face encoder"),
    )
    for on, network, name, equations, accepted in wanted:
        if on and network is None:
            option = "--perceptual-weights" if name == "perceptual" else "--face-weights"
            raise UsageError(
                f"the {name} loss ({equations}) needs a pretrained network: give {option} FILE ({accepted}), or switch "
                f"the loss off with --set losses.{name}=false"
            )
