"""A method of the comparison with its losses: what the trainer trains in place of `spgvton_training.objective.Objective`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spgvton_training import losses
from spgvton_training.comparison.method import Method, Terms
from spgvton_training.config import RunConfig
from spgvton_training.data.batch import Batch
from spgvton_training.objective import Critics, Pair, fool
from spgvton_training.pretrained.perceptual import Perceptual


class ComparisonObjective(nn.Module):
    """Its forward pass is one training step's. critics and perceptual are used, but no part of this module's parameters."""

    distillation = None  # no method but SPG-VTON has a teacher

    def __init__(
        self, model: Method, config: RunConfig, critics: Critics, perceptual: Perceptual | None = None
    ) -> None:
        super().__init__()
        self.model, self.config = model, config
        self._others = (critics, perceptual)  # a tuple hides them from nn.Module

    def forward(
        self, batch: Batch, stage: int, progress: float, generator: torch.Generator
    ) -> tuple[Terms, dict[str, Pair]]:
        """The stage's terms, weighted, whose sum is minimised; and what the discriminators are to compare."""
        c = self.config.losses
        terms, compared = self.model.terms(stage, batch, self._likeness, c)
        pairs = {name: Pair(*pair) for name, pair in compared.items()}
        return terms | fool(self._others[0], pairs, c.adversarial_scale), pairs

    def _likeness(self, name: str, image: Tensor, target: Tensor) -> Terms:
        """L1, as term NAME, and the shared terms that compare two pictures."""
        c, perceptual = self.config.losses, self._others[1]
        terms = {name: F.l1_loss(image, target)}
        if c.perceptual:
            assert perceptual is not None
            terms[f"{name}_perceptual"] = perceptual(image, target)
        if c.structure:
            similarity = losses.box_ssim(image, target)
            terms[f"{name}_structure"] = c.structure * losses.structure(image, target, similarity)
        return terms
