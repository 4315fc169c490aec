"""LPIPS (Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, 2018), version 0.1.

A pretrained classifier's activations at five depths, each scaled to unit length per position, squared difference,
weighted per channel by the published linear heads, averaged over positions and summed.

The classifier is a file in torchvision's layout: alexnet-owt-7be5be79.pth (the usual choice for scores) or
vgg16-397923af.pth; which one is seen from its tensors. The heads (BSD-2) are those inside torchmetrics. The network is
written out here because torchmetrics and the lpips package build theirs by torchvision, with weights that it downloads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from spgvton.errors import SpgvtonError
from spgvton_training.pretrained.sources import load_into, read_weights
from spgvton_training.pretrained.vgg import vgg


def _alex() -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    layers += [nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    for a, b in ((192, 384), (384, 256), (256, 256)):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.ReLU()]
    return layers


def _vgg() -> list[nn.Module]:
    return vgg(2, 2, 3, 3, 3)[0]


@dataclass(frozen=True)
class Kind:
    """A classifier: its convolutional layers in torchvision's order, and after which of them activations are taken."""

    name: str
    build: Callable[[], list[nn.Module]]
    taps: tuple[int, ...]
    widths: tuple[int, ...]


KINDS: Final = (
    Kind("alex", _alex, (1, 4, 7, 9, 11), (64, 192, 384, 256, 256)),
    Kind("vgg", _vgg, (3, 8, 15, 22, 29), (64, 128, 256, 512, 512)),
)


class LPIPS(nn.Module):
    """Distance (N,), 0 for equal images, of two batches (N, 3, H, W) in [-1, 1], H and W at least 64.

    heads: (1, width, 1, 1) per activation. sha256: of the classifier's file.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, kind: Kind, heads: list[Tensor], sha256: str = "") -> None:
        super().__init__()
        self.kind, self.sha256 = kind, sha256
        self.features = nn.Sequential(*kind.build())
        self.heads = nn.ParameterList(heads)
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))

    def _activations(self, x: Tensor) -> list[Tensor]:
        x = (x.clamp(-1, 1) - self.shift) / self.scale
        found = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.kind.taps:
                found.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        distances = [
            ((a - b).square() * head).sum(1).mean((1, 2))
            for a, b, head in zip(self._activations(image), self._activations(target), self.heads)
        ]
        return torch.stack(distances).sum(0)

    @staticmethod
    def load(path: str | Path, heads: str | Path | None = None) -> LPIPS:
        """The network in evaluation mode. HEADS: another file than torchmetrics' own (lin0.model.1.weight, ...).

        Raises SpgvtonError for a missing, damaged or foreign file.
        """
        file = read_weights(path)
        for kind in KINDS:
            features = nn.Sequential(*kind.build())
            shapes = {f"features.{k}": v.shape for k, v in features.state_dict().items()}
            if file.holds(shapes):
                network = LPIPS(kind, read_heads(kind, heads), file.sha256)
                load_into(network.features, {k.removeprefix("features."): file.tensors[k] for k in shapes}, file.path)
                return network.eval().requires_grad_(False)
        raise SpgvtonError(
            f"{path} holds no network of LPIPS: --lpips-weights takes torchvision's AlexNet or VGG-16 file"
        )


def read_heads(kind: Kind, path: str | Path | None = None) -> list[Tensor]:
    """The linear heads of KIND from PATH, or those inside torchmetrics. Raises SpgvtonError."""
    if path is None:
        with resources.as_file(resources.files("torchmetrics.functional.image")) as folder:
            return read_heads(kind, folder / "lpips_models" / f"{kind.name}.pth")
    file = read_weights(path)
    shapes = {f"lin{i}.model.1.weight": (1, width, 1, 1) for i, width in enumerate(kind.widths)}
    if not file.holds(shapes):
        raise SpgvtonError(f"{path} does not hold the heads of LPIPS-{kind.name}: leave --lpips-heads out")
    return [file.tensors[k].float() for k in shapes]
