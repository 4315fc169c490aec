"""CP-VTON [6: Wang et al., ECCV 2018]: a learnt thin-plate spline (GMM), then one try-on module with a composition mask.

Simplified: the try-on module is the project's generator with skips (the paper's U-Net has twelve layers); VGG-19's terms are
the shared perceptual or structure term. Adapted to another pose, as section IV-D: the target pose joins the person
representation. The body's parts that the representation leaves out (trousers, arms) are guessed, as in the paper.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spgvton_training.comparison.method import PERSON_CHANNELS, Likeness, Made, Method, Pairs, Terms
from spgvton_training.config import LossConfig
from spgvton_training.data.batch import Batch
from spgvton_training.losses import composition_l1
from spgvton_training.networks.config import NetworkConfig
from spgvton_training.networks.generator import Generator
from spgvton_training.networks.gmm import GeometricMatching
from spgvton_training.networks.joint import Coarse, Final, Inputs


class CpVton(Method):
    """Geometric Matching Module (GMM) and Try-On Module (TOM)."""

    phases: ClassVar[dict[int, str]] = {1: "Geometric Matching Module", 2: "Try-On Module"}

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.gmm = GeometricMatching(
            config.size, config.gmm_ngf, config.grid_size, source_channels=3, target_channels=PERSON_CHANNELS,
            bounded=config.bounded_theta, regress_features=config.features_in_gmm,
        )  # fmt: skip
        self.tom = Generator(PERSON_CHANNELS + 3, 4, replace(config, skips=True), space_to_depth=False)

    def synthesise(self, person: Tensor, warped: Tensor) -> Final:
        """TOM: rendered person I_r and composition mask M; M c^ + (1 - M) I_r."""
        out = self.tom(torch.cat([person, warped], 1)).float()
        rendered, composition = out[:, :3].tanh(), out[:, 3:].sigmoid()
        return Final(composition * warped + (1 - composition) * rendered, rendered, composition)

    def stages(self, inputs: Inputs) -> Made:
        """It predicts no clothes mask; in its place stands where the picture shows the warped garment."""
        person = self.person(inputs)
        theta = self.gmm(inputs.cloth, person)
        warped, warped_mask = self.warp(torch.cat([inputs.cloth, inputs.cloth_mask], 1), theta).split([3, 1], 1)
        final = self.synthesise(person, warped)
        return Made(None, Coarse(final.rendered, final.composition * warped_mask), theta, warped, final)

    def trained_in(self, stage: int) -> list[nn.Module]:
        parts: dict[int, list[nn.Module]] = {1: [self.gmm], 2: [self.tom]}
        return parts[stage]

    def terms(self, stage: int, batch: Batch, likeness: Likeness, losses: LossConfig) -> tuple[Terms, Pairs]:
        mask, clothes = self.worn(batch)
        if stage == 1:
            theta = self.gmm(batch.inputs.cloth, self.person(batch.inputs))
            return {"gmm": F.l1_loss(self.warp(batch.inputs.cloth, theta), clothes)}, {}
        final = self.stages(batch.inputs).final
        terms = likeness("final", final.image, batch.target)
        wanted = mask if losses.clothes_regulariser else None
        terms["final"] = composition_l1(final.image, batch.target, final.composition, wanted, (1.0, 1.0))
        return terms, {}
