"""Fixtures of the training tests."""

from __future__ import annotations

import pytest
import torch

from spgvton_training.pretrained import face, perceptual


@pytest.fixture(scope="session")
def pretrained() -> tuple[perceptual.Perceptual, face.FaceEncoder]:
    """The perceptual and the face network with random weights: SqueezeNet's and dlib's architecture, frozen."""
    (squeezenet,) = (kind for kind in perceptual.KINDS if kind.name == "squeezenet1_1")
    (dlib,) = (kind for kind in face.KINDS if kind.name == "dlib-resnet")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        networks = (
            perceptual.Perceptual(squeezenet.build(), squeezenet, "p"), face.FaceEncoder(dlib.build(), dlib, "f")
        )  # fmt: skip
    for network in networks:
        network.eval().requires_grad_(False)
    return networks
