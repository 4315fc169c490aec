"""Quantisation-aware training: the joint model computes as its INT8 graph will, so that training adapts it to that.

The places and the form are those of `spgvton calibrate` (spgvton_calibration.qdq), which are given as rows of its table
of ranges: symmetric int8; the input of a convolution and what its output is added to per tensor; weights per output
channel, batch norm folded in; biases float. Convolutions that no row names stay float.

Gradients go straight through the rounding (Bengio et al. 2013); ranges are trained too, as step sizes (Esser et al. 2020,
"Learned step size quantization", Eqs. 3 and 5). The statistics of all batch norms stay those of the start, as the graph
folds them; their gains and shifts are trained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spgvton.errors import SpgvtonError
from spgvton_training.networks.generator import ResidualBlock
from spgvton_training.networks.joint import JointModel

LEVELS: Final = 127  # of |x|; -128 is what int8 clips an activation to, weights do not use it
_LOG_AMAX: Final = "log_amax"  # name of a range among the parameters
# Adam moves each parameter by about the learning rate: a range by so many times that, of itself. Those of a bad table have
# to move by factors, weights by little.
_RATE: Final = 100.0
_LEAST_AMAX: Final = 1e-6  # of a value that was 0 in every sample


class Row(TypedDict):
    """One quantised value: the convolutions that read it, those whose output is added to it, its largest |x| in int8."""

    layers: list[str]
    sums: list[str]
    amax: float


class _RoundToStep(torch.autograd.Function):
    """x (any shape), step (a scalar) -> the nearest multiple of step from -128 to 127 times it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor) -> Tensor:
        ctx.save_for_backward(x, step)
        return (x / step).round_().clamp_(-LEVELS - 1, LEVELS).mul_(step)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (g,) = gradients
        x, step = ctx.saved_tensors
        v = x / step
        q = v.round().clamp_(-LEVELS - 1, LEVELS)
        inside = (v >= -LEVELS - 1) & (v <= LEVELS)
        by_step = (g * torch.where(inside, q - v, q)).sum() / math.sqrt(x.numel() * LEVELS)
        return g * inside, by_step


class FakeQuantise(nn.Module):
    """Values as int8 holds them. log_amax: ln(largest |x|) / _RATE, shared by all that read the value."""

    def __init__(self, log_amax: nn.Parameter) -> None:
        super().__init__()
        self.log_amax = log_amax

    @staticmethod
    def parameter(amax: float) -> nn.Parameter:
        return nn.Parameter(torch.tensor(math.log(max(amax, _LEAST_AMAX)) / _RATE))

    @property
    def amax(self) -> Tensor:
        return (self.log_amax * _RATE).exp()

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = _RoundToStep.apply(x, self.amax / LEVELS)  # type: ignore[no-untyped-call]
        return made


class FrozenNorm(nn.BatchNorm2d):
    """Batch norm by its statistics, in training too."""

    def train(self, mode: bool = True) -> FrozenNorm:
        super().train(False)
        return self


class FoldedNorm(FrozenNorm):
    """A batch norm that the convolution before it has computed already."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class QuantisedConv(nn.Conv2d):
    """A convolution of int8 values with int8 weights, and the batch norm after it where there is one."""

    quantise: FakeQuantise
    norm: tuple[FoldedNorm, ...]  # none or one; a tuple hides it from nn.Module, it is a sibling there

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight, self.bias
        for norm in self.norm:
            mean, variance = norm.running_mean, norm.running_var
            assert mean is not None and variance is not None
            factor = norm.weight * (variance + norm.eps).rsqrt()
            weight = weight * factor[:, None, None, None]
            bias = ((0 if bias is None else bias) - mean) * factor + norm.bias
        smallest = 64 * 2.0**-149  # as spgvton_calibration.qdq.usable_scale
        step = (weight.detach().abs().amax((1, 2, 3)) / LEVELS).clamp_min(smallest)
        zero = torch.zeros(len(step), dtype=torch.int32, device=step.device)
        rounded = torch.fake_quantize_per_channel_affine(weight, step, zero, 0, -LEVELS, LEVELS)
        return F.conv2d(self.quantise(x), rounded, bias, self.stride, self.padding)


def fake_quantise(model: JointModel, rows: Sequence[Row]) -> None:
    """Make MODEL, in place, compute as its INT8 graph with the ranges ROWS will. The names of its weights stay.

    Raises SpgvtonError for a layer that MODEL does not have.
    """
    convolutions = {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    norms = {name: _replaced(model, name, FrozenNorm) for name, m in _norms(model)}
    for row in rows:
        log_amax = FakeQuantise.parameter(row["amax"])
        for name in row["layers"]:
            if name not in convolutions:
                raise SpgvtonError(f"the network has no convolution {name}: the ranges are of another one")
            conv = _replaced(model, name, QuantisedConv)
            conv.quantise = FakeQuantise(log_amax)
            after = _sibling_after(name)
            folded = after in norms
            conv.norm = (_replaced(model, after, FoldedNorm),) if folded else ()
        for name in row["sums"]:
            owner, attribute = _residual(model, name)
            setattr(owner, attribute, FakeQuantise(log_amax))


def rows_of(model: nn.Module, rows: Sequence[Row]) -> list[Row]:
    """ROWS with the ranges that MODEL, which fake_quantise(model, rows) changed, has now."""

    def reader(row: Row) -> FakeQuantise:
        if row["layers"]:
            conv = model.get_submodule(row["layers"][0])
            assert isinstance(conv, QuantisedConv)
            return conv.quantise
        owner, attribute = _residual(model, row["sums"][0])
        quantise = getattr(owner, attribute)
        assert isinstance(quantise, FakeQuantise)
        return quantise

    return [Row(layers=r["layers"], sums=r["sums"], amax=float(reader(r).amax.detach())) for r in rows]


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """MODEL's state without the ranges: the network's own weights."""
    return {name: value for name, value in model.state_dict().items() if not name.endswith(_LOG_AMAX)}


def _norms(model: nn.Module) -> list[tuple[str, nn.BatchNorm2d]]:
    return [(name, m) for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]


def _replaced(model: nn.Module, name: str, kind: type[Any]) -> Any:
    """The module NAME as KIND, a subclass of its class that adds no weights: the same object, which optimisers know."""
    module = model.get_submodule(name)
    module.__class__ = kind
    if isinstance(module, FrozenNorm):
        module.train(False)
    return module


def _sibling_after(name: str) -> str:
    """g1.conv4.0 -> g1.conv4.1, in a Sequential; "" for a module that is not in one."""
    parent, _, number = name.rpartition(".")
    return f"{parent}.{int(number) + 1}" if number.isdigit() else ""


def _residual(model: nn.Module, layer: str) -> tuple[nn.Module, str]:
    """Where the model reads what LAYER's output is added to: the module and its attribute."""
    parent, _, leaf = layer.rpartition(".")
    if leaf.startswith("skip"):
        return model.get_submodule(parent), f"residual{leaf.removeprefix('skip')}"
    block = model.get_submodule(parent.rpartition(".")[0]) if parent.endswith(".conv_b") else None
    if not isinstance(block, ResidualBlock):
        raise SpgvtonError(f"the network adds nothing to {layer}: the ranges are of another one")
    return block, "residual"
