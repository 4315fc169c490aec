"""Distillation: a small network (the student) also learns to answer as a trained one (the teacher) does.

Beside the ordinary objective, in the stages that train the networks concerned: the teacher's coarse and final image and
clothes mask (L1), its semantic map (Kullback-Leibler divergence [Hinton et al., Distilling the knowledge in a neural
network, 2015]), its sampling grid for the student's mask (L1), and the output of its trunks, Res5 (L1 [Romero et al.,
FitNets, 2015]), through a 1x1 convolution where the widths differ. The teacher is frozen and computes without gradients,
once per batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spgvton.bundle import WEIGHTS, Bundle, locate, sha256
from spgvton.errors import UsageError
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.config import LossConfig, RunConfig
from spgvton_training.networks.config import NetworkConfig
from spgvton_training.networks.joint import Inputs, JointModel, Stages
from spgvton_training.networks.tps import tps_grid

GENERATORS: Final = {1: ("g1",), 2: ("g2", "g3"), 3: ("g1", "g2", "g3")}  # whose trunks are compared, by stage
# What --distill-from sets where the run names no weight of its own.
DEFAULTS: Final = {"distill_image": 10.0, "distill_semantic": 10.0, "distill_grid": 50.0, "distill_features": 2.0}


@dataclass(frozen=True)
class Teacher:
    """A trained network to learn from, in evaluation mode, and the SHA-256 of its weights file."""

    model: JointModel
    sha256: str

    @staticmethod
    def load(path: str | Path) -> Teacher:
        """From a checkpoint, a bundle's folder, or the name of a shipped bundle.

        Raises SpgvtonError for a missing, damaged or foreign one.
        """
        file = locate(path)
        if file.is_dir():
            file = Bundle.open(file).folder / WEIGHTS
        model = Checkpoint.load(file).model()
        return Teacher(model.requires_grad_(False), sha256(file))

    def describe(self) -> dict[str, Any]:
        """For the record in a checkpoint."""
        return {"sha256": self.sha256, "preset": self.model.config.preset}

    def check(self, student: NetworkConfig) -> None:
        """Raise UsageError when STUDENT makes other pictures, or knows other labels."""
        own = self.model.config
        for name, theirs, wanted in (
            ("size", own.size, student.size),
            ("label set", own.label_set, student.label_set),
        ):
            if theirs != wanted:
                raise UsageError(
                    f"the teacher's {name} is {_plain(theirs)}, the student's is {_plain(wanted)}: give --distill-from a "
                    f"teacher of the same {name}"
                )


def _plain(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def weights(config: LossConfig) -> dict[str, float]:
    """The distillation terms' weights by name."""
    return {f.name: getattr(config, f.name) for f in fields(config) if f.name.startswith("distill_")}


def with_teacher(config: RunConfig) -> RunConfig:
    """CONFIG with the weights DEFAULTS if it names none."""
    if any(weights(config.losses).values()):
        return config
    return config.with_values({"losses": DEFAULTS})


def check_teacher(config: RunConfig, teacher: Teacher | None) -> None:
    """Raise UsageError for a distillation term without a teacher, or a teacher that does not fit."""
    on = [name for name, weight in weights(config.losses).items() if weight]
    if on and teacher is None:
        raise UsageError(
            f"losses.{on[0]} needs a teacher: give --distill-from CHECKPOINT_OR_BUNDLE, or --set losses.{on[0]}=0"
        )
    if teacher is not None:
        teacher.check(config.network)


def inherit(student: JointModel, teacher: JointModel) -> dict[str, int]:
    """Copy, in place, every tensor of TEACHER that STUDENT has under the same name and with the same shape.

    Returns how many `parameters` STUDENT has, and how many of them are `inherited`.
    """
    own, theirs = student.state_dict(), teacher.state_dict()
    same = {name: theirs[name] for name, value in own.items() if name in theirs and theirs[name].shape == value.shape}
    student.load_state_dict({**own, **same})
    sizes = {name: p.numel() for name, p in student.named_parameters()}
    return {
        "inherited": sum(size for name, size in sizes.items() if name in same),
        "parameters": sum(sizes.values()),
    }


class Made(NamedTuple):
    """What the student made in a step of training: None where the stage does not make it, or does not train it."""

    logits: Tensor | None = None  # of the semantic map (N, 20, h, w)
    mask: Tensor | None = None  # the clothes mask (N, 1, H, W) that GMM1 was given
    theta: Tensor | None = None  # (N, 2, G*G)
    stages: Stages | None = None


@contextmanager
def trunks(model: JointModel) -> Iterator[dict[str, Tensor]]:
    """Inside, what Res5 of MODEL's generators gives is put into the dict, by the generator's name."""
    seen: dict[str, Tensor] = {}

    def note(name: str) -> Any:
        return lambda _module, _inputs, output: seen.__setitem__(name, output)

    hooks = [getattr(model, name).res5.register_forward_hook(note(name)) for name in GENERATORS[3]]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _resized(x: Tensor, like: Tensor) -> Tensor:
    """X at the height and width of LIKE, averaged: a teacher may compute a map at another resolution."""
    return x if x.shape[2:] == like.shape[2:] else F.interpolate(x, size=like.shape[2:], mode="area")


class Distillation(nn.Module):
    """The distillation terms of one run. Its parameters are the 1x1 convolutions between trunks of different width."""

    def __init__(self, teacher: Teacher, student: JointModel, config: LossConfig) -> None:
        super().__init__()
        self._teacher = (teacher.model,)  # a tuple hides it from nn.Module: never trained, never in training mode
        self.config = config
        widths = (8 * student.config.ngf, 8 * teacher.model.config.ngf)
        names = GENERATORS[3] if config.distill_features and widths[0] != widths[1] else ()
        self.adapters = nn.ModuleDict({name: nn.Conv2d(*widths, 1) for name in names})

    def modules_of(self, stage: int) -> list[nn.Module]:
        """The adapters that STAGE trains."""
        return [self.adapters[name] for name in GENERATORS.get(stage, ()) if name in self.adapters]

    def forward(self, x: Inputs, stage: int, made: Made, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weighted terms of STAGE. features: trunks() of the student in this step."""
        c, (teacher,) = self.config, self._teacher
        terms: dict[str, Tensor] = {}
        with torch.no_grad(), trunks(teacher) as theirs:
            stages = teacher.stages(x) if stage > 1 else None
            if stages is not None:
                semantic = stages.semantic
            elif stage == 1:
                semantic = teacher.semantic_logits(teacher.person(x), x.cloth_mask, x.keypoints).softmax(1)
            theta = None if made.mask is None else teacher.match(x.cloth_mask, made.mask.detach(), x.keypoints)
        if c.distill_semantic and made.logits is not None:
            log_p = F.log_softmax(made.logits, 1)
            wanted = _resized(semantic, log_p)
            divergence = F.kl_div(log_p, wanted, reduction="none").sum(1).mean()
            terms["distill_semantic"] = c.distill_semantic * divergence
        if c.distill_image and made.stages is not None and stages is not None:
            coarse, wanted_coarse = made.stages.coarse, stages.coarse
            terms["distill_image"] = c.distill_image * (
                F.l1_loss(coarse.image, wanted_coarse.image)
                + F.l1_loss(coarse.mask, wanted_coarse.mask)
                + F.l1_loss(made.stages.final.image, stages.final.image)
            )
        if c.distill_grid and made.theta is not None and theta is not None:
            grid, wanted_grid = (tps_grid(t, teacher.config.size) for t in (made.theta, theta))
            terms["distill_grid"] = c.distill_grid * F.l1_loss(grid, wanted_grid)
        if c.distill_features and stage in GENERATORS:
            terms["distill_features"] = c.distill_features * self._features(stage, features, theirs)
        return terms

    def _features(self, stage: int, own: dict[str, Tensor], theirs: dict[str, Tensor]) -> Tensor:
        """L1 between the trunks, relative to the mean absolute value of the teacher's, mean over the generators."""
        losses = []
        for name in GENERATORS[stage]:
            mine = self.adapters[name](own[name]) if name in self.adapters else own[name]
            mine, wanted = mine.float(), _resized(theirs[name].float(), mine)
            losses.append(F.l1_loss(mine, wanted) / wanted.abs().mean().clamp_min(1e-6))
        return torch.stack(losses).mean()
