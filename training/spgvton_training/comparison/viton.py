"""VITON [5: Han et al., CVPR 2018]: a coarse picture and a clothes mask, a garment warped by its outline, a refinement.

Simplified: the encoder-decoder is the project's generator with skips (the paper's U-Net has six levels); losses in the paper
are sums over VGG-19's layers, here L1 and the shared perceptual or structure term; the refinement is compared by the same
terms (the paper: VGG's deep layers alone). Adapted to another pose, as section IV-D: the target pose joins the person
representation. The body's parts that the representation leaves out (trousers, arms) are guessed, as in the paper.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from spgvton_training.comparison import shape_context
from spgvton_training.comparison.method import PERSON_CHANNELS, Likeness, Made, Method, Pairs, Terms
from spgvton_training.config import LossConfig
from spgvton_training.data.batch import Batch
from spgvton_training.losses import coarse_l1
from spgvton_training.networks.config import NetworkConfig
from spgvton_training.networks.generator import ConvNorm, Generator
from spgvton_training.networks.joint import Coarse, Final, Inputs

LAMBDA_WARP, LAMBDA_TV = 0.1, 5e-6  # section 3.2 of [5]


class Viton(Method):
    """Multi-task encoder-decoder G_C, shape context TPS, refinement network G_R."""

    phases: ClassVar[dict[int, str]] = {1: "encoder-decoder G_C", 2: "refinement network G_R"}

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        n, norm = config.ngf, config.norm
        self.g_c = Generator(PERSON_CHANNELS + 3, 4, replace(config, skips=True), space_to_depth=False)
        self.g_r = nn.Sequential(
            ConvNorm(6, n, norm), ConvNorm(n, n, norm), ConvNorm(n, n, norm), nn.Conv2d(n, 1, 3, 1, 1)
        )

    def coarse(self, inputs: Inputs) -> Coarse:
        """G_C: coarse image I' and clothing mask M from the person representation and the garment."""
        out = self.g_c(torch.cat([self.person(inputs), inputs.cloth], 1)).float()
        return Coarse(out[:, :3].tanh(), out[:, 3:].sigmoid())

    def refine(self, coarse: Tensor, warped: Tensor) -> Final:
        """G_R: composition mask alpha; alpha c' + (1 - alpha) I'."""
        alpha = self.g_r(torch.cat([warped, coarse], 1)).float().sigmoid()
        return Final(alpha * warped + (1 - alpha) * coarse, coarse, alpha)

    def stages(self, inputs: Inputs) -> Made:
        coarse = self.coarse(inputs)
        theta = shape_context.match(inputs.cloth_mask, coarse.mask, self.config.grid_size)
        warped = self.warp(inputs.cloth, theta)
        return Made(None, coarse, theta, warped, self.refine(coarse.image, warped))

    def trained_in(self, stage: int) -> list[nn.Module]:
        parts: dict[int, list[nn.Module]] = {1: [self.g_c], 2: [self.g_r]}
        return parts[stage]

    def terms(self, stage: int, batch: Batch, likeness: Likeness, losses: LossConfig) -> tuple[Terms, Pairs]:
        if stage == 1:
            made = self.coarse(batch.inputs)
            mask, _ = self.worn(batch)
            image = likeness("coarse", made.image, batch.target)
            image["coarse"] = coarse_l1(made.image, batch.target, made.mask, mask)
            return image, {}
        final = self.stages(batch.inputs).final
        alpha = final.composition
        tv = alpha.diff(dim=2).abs().sum((1, 2, 3)) + alpha.diff(dim=3).abs().sum((1, 2, 3))
        return {
            **likeness("final", final.image, batch.target),
            "warp": -LAMBDA_WARP * alpha.mean(),  # the garment's own pixels wherever they are as good
            "tv": LAMBDA_TV * tv.mean(),
        }, {}
