"""Fixtures of the training tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from spgvton.cli import main
from spgvton_training.pretrained import face, perceptual


@pytest.fixture(scope="session")
def data(shared_folder: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """Two rendered people at 128x96, both splits: what the tests of training read and nobody writes to."""

    def make(folder: Path) -> None:
        arguments = ["synth", "--out", str(folder), "--count", "2", "--seed", "5", "--size", "128x96", "--unpaired"]
        assert main(arguments) == 0 and main([*arguments, "--split", "test"]) == 0

    return shared_folder("rendered", make)


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
