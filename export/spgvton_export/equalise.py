"""Cross-layer equalisation (Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction").

Where one convolution alone reads another's output through a ReLU, each channel between them may be scaled: the first makes
it s times smaller, the second counts it s times as much, and the network computes what it did. With s = sqrt(r1 r2) / r2,
r1 and r2 being the channel's largest weights in either, all channels get an equal share of int8's levels, of which a value
has one scale for all channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from spgvton_training.checkpoint import Checkpoint
from spgvton_training.networks.generator import ConvNorm, Generator, ResidualBlock
from spgvton_training.networks.gmm import GeometricMatching
from spgvton_training.networks.joint import JointModel

_ROUNDS: Final = 10  # chains of several convolutions settle after a few
_LARGEST: Final = 8.0  # of s and 1 / s: channels that are all but dead stay so
_DEAD: Final = 1e-8


class Link(NamedTuple):
    """first (with its batch norm, if it has one), ReLU, second; nothing else reads what is between."""

    first: nn.Conv2d
    norm: nn.BatchNorm2d | None
    second: nn.Conv2d


def links(model: JointModel) -> Iterator[Link]:
    """Every link of MODEL."""
    for module in model.modules():
        if isinstance(module, ResidualBlock):
            if isinstance(module.conv_a, ConvNorm):  # weights of depthwise convolutions have no axis of input channels
                yield from _between([*module.conv_a.children(), *module.conv_b.children()])
        elif isinstance(module, GeometricMatching):
            yield from _between([*module.regression])
        elif isinstance(module, Generator):
            if isinstance(module.conv10, nn.Conv2d):
                yield Link(module.conv9, None, module.conv10)
            if not module.space_to_depth:
                yield from _between([*module.conv2, *module.conv3])


def _between(layers: list[nn.Module]) -> Iterator[Link]:
    """The links of a chain; a norm that is no batch norm forgets its input's scale, and is none."""
    for conv, norm, relu, after in zip(layers, layers[1:], layers[2:], layers[3:]):
        chained = isinstance(norm, nn.BatchNorm2d) and isinstance(relu, nn.ReLU)
        if chained and isinstance(conv, nn.Conv2d) and isinstance(after, nn.Conv2d) and after.groups == 1:
            assert isinstance(norm, nn.BatchNorm2d)
            yield Link(conv, norm, after)


@torch.no_grad()
def equalise(checkpoint: Checkpoint) -> Checkpoint:
    """CHECKPOINT with equalised weights; the same function but for rounding. Provenance says so."""
    model = checkpoint.model()
    found = list(links(model))
    for _ in range(_ROUNDS):
        for link in found:
            _balance(link)
    provenance = {**checkpoint.provenance, "equalised": len(found)}
    return Checkpoint(checkpoint.config, dict(model.state_dict()), provenance)


def _balance(link: Link) -> None:
    first, second = largest(link)
    alive = (first > _DEAD) & (second > _DEAD)
    scale = torch.where(alive, (first * second).sqrt() / second.clamp_min(_DEAD), torch.ones_like(first))
    scale = scale.clamp(1 / _LARGEST, _LARGEST)
    made: list[Tensor | None] = [*link.norm.parameters()] if link.norm else [link.first.weight, link.first.bias]
    for tensor in made:
        if tensor is not None:
            tensor.div_(scale.reshape(-1, *[1] * (tensor.dim() - 1)))
    link.second.weight.mul_(scale[None, :, None, None])


def largest(link: Link) -> tuple[Tensor, Tensor]:
    """By channel between the two: the largest |weight| that makes it, batch norm folded in, and that reads it."""
    first = link.first.weight.abs().amax((1, 2, 3))
    if link.norm is not None:
        variance = link.norm.running_var
        assert variance is not None
        first = first * (link.norm.weight / (variance + link.norm.eps).sqrt()).abs()
    return first, link.second.weight.abs().amax((0, 2, 3))
