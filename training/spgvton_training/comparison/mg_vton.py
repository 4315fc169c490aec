"""MG-VTON [7: Dong et al., ICCV 2019]: conditional parsing, a warping GAN, a refinement render. Made for another pose.

Simplified: the features of Warp-GAN are moved by an affine map alone, in closed form from centre and spread of the two body
masks (the paper: by a geometric matcher's affine and spline); parsing and refinement are the project's generator; the feature
matching loss is left out, and VGG-19's terms are the shared perceptual or structure term. The parts are trained one after
the other on what the earlier ones predict.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spgvton import labels as lb
from spgvton.keypoints import NUM_KEYPOINTS
from spgvton_training.comparison.method import Likeness, Made, Method, Pairs, Terms
from spgvton_training.config import LossConfig
from spgvton_training.data.batch import Batch
from spgvton_training.losses import composition_l1, semantic_l1
from spgvton_training.networks.config import NetworkConfig
from spgvton_training.networks.generator import ConvNorm, Generator, ResidualBlock
from spgvton_training.networks.gmm import GeometricMatching, moment_grid, moment_map
from spgvton_training.networks.joint import Coarse, Final, Inputs
from spgvton_training.networks.ushape import upsample

PARSING_CHANNELS = 2 + 1 + 1 + NUM_KEYPOINTS  # face and hair, body shape, garment's mask, target pose
CONDITION_CHANNELS = lb.NUM_LABELS + 3 + NUM_KEYPOINTS  # of Warp-GAN: synthesised parsing, garment, target pose


class Encoder(nn.ModuleList):
    """Features (N, n, H, W), (N, 2n, H / 2, W / 2) and (N, 4n, H / 4, W / 4)."""

    def __init__(self, in_channels: int, n: int, norm: str) -> None:
        super().__init__(
            [ConvNorm(in_channels, n, norm), ConvNorm(n, 2 * n, norm, stride=2), ConvNorm(2 * n, 4 * n, norm, stride=2)]
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for layer in self:
            x = layer(x)
            features.append(x)
        return features


class WarpGenerator(nn.Module):
    """Generator of Warp-GAN: the person's features, moved to the target, and those of the condition -> image (N, 3, H, W)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        n, norm = config.ngf, config.norm
        self.person = Encoder(3, n, norm)
        self.condition = Encoder(CONDITION_CHANNELS, n, norm)
        self.fuse = ConvNorm(8 * n, 4 * n, norm)
        self.trunk = nn.Sequential(*(ResidualBlock(4 * n, norm) for _ in range(config.trunk_blocks)))
        self.up2 = ConvNorm(4 * n, 2 * n, norm)
        self.up1 = ConvNorm(2 * n + 4 * n, n, norm)
        self.last = nn.Conv2d(n + 2 * n, 3, 3, 1, 1)

    def forward(self, body: Tensor, condition: Tensor, source_shape: Tensor, target_shape: Tensor) -> Tensor:
        """body: I_s without clothes. source_shape, target_shape: masks (N, 1, H, W) of the body there and in the target."""
        affine = moment_map(source_shape, target_shape)
        moved = []
        for features in self.person(body):
            grid = moment_grid(*affine, (features.shape[2], features.shape[3]))
            moved.append(F.grid_sample(features, grid.to(features.dtype), "bilinear", "zeros", align_corners=True))
        full, half, quarter = (torch.cat(pair, 1) for pair in zip(moved, self.condition(condition)))
        y = self.up2(upsample(self.trunk(self.fuse(quarter))))
        y = self.up1(upsample(torch.cat([y, half], 1)))
        return self.last(torch.cat([y, full], 1)).float().tanh()


class MgVton(Method):
    """Conditional parsing network, Warp-GAN with the garment's geometric matcher, refinement render."""

    phases: ClassVar[dict[int, str]] = {
        1: "conditional parsing network", 2: "Warp-GAN and geometric matcher", 3: "refinement render",
    }  # fmt: skip

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.parsing = Generator(PARSING_CHANNELS, lb.NUM_LABELS, config, space_to_depth=False)
        self.warping = WarpGenerator(config)
        self.matcher = GeometricMatching(
            config.size, config.gmm_ngf, config.grid_size, bounded=config.bounded_theta,
            moment_alignment=config.moment_alignment, regress_features=config.features_in_gmm,
        )  # fmt: skip
        self.render = Generator(3 + 3 + NUM_KEYPOINTS, 1, replace(config, skips=True), space_to_depth=False)

    @property
    def semantic_network(self) -> nn.Module:
        return self.parsing

    def parsing_condition(self, inputs: Inputs) -> Tensor:
        """(N, 22, H, W): face and hair masks, approximate body shape, garment's mask, target pose."""
        return torch.cat([inputs.head, self.body_shape(inputs), inputs.cloth_mask, self.pose(inputs.keypoints)], 1)

    def warping_condition(self, semantic: Tensor, inputs: Inputs) -> Tensor:
        return torch.cat([semantic, inputs.cloth, self.pose(inputs.keypoints)], 1)

    def coarse(self, semantic: Tensor, condition: Tensor, inputs: Inputs) -> Coarse:
        """Warp-GAN's image; the clothes of the synthesised parsing as mask."""
        shapes = (1 - maps[:, lb.BACKGROUND : lb.BACKGROUND + 1] for maps in (inputs.reference_map, semantic))
        return Coarse(self.warping(inputs.body, condition, *shapes), (semantic * self.clothes).sum(1, keepdim=True))

    def refine(self, coarse: Tensor, warped: Tensor, keypoints: Tensor) -> Final:
        """Refinement render: composition mask M; M C_w + (1 - M) I'."""
        composition = self.render(torch.cat([warped, coarse, self.pose(keypoints)], 1)).float().sigmoid()
        return Final(composition * warped + (1 - composition) * coarse, coarse, composition)

    def stages(self, inputs: Inputs) -> Made:
        semantic = self.parsing(self.parsing_condition(inputs)).float().softmax(1)
        coarse = self.coarse(semantic, self.warping_condition(semantic, inputs), inputs)
        theta = self.matcher(inputs.cloth_mask, coarse.mask)
        warped = self.warp(inputs.cloth, theta)
        return Made(semantic, coarse, theta, warped, self.refine(coarse.image, warped, inputs.keypoints))

    def trained_in(self, stage: int) -> list[nn.Module]:
        parts: dict[int, list[nn.Module]] = {1: [self.parsing], 2: [self.warping, self.matcher], 3: [self.render]}
        return parts[stage]

    def critics(self, stage: int, losses: LossConfig) -> dict[str, int]:
        if not losses.adversarial:
            return {}
        channels = {1: lb.NUM_LABELS + PARSING_CHANNELS, 2: 3 + CONDITION_CHANNELS, 3: 3 + 3 + NUM_KEYPOINTS}
        return {{1: "parsing", 2: "warping", 3: "render"}[stage]: channels[stage]}

    def terms(self, stage: int, batch: Batch, likeness: Likeness, losses: LossConfig) -> tuple[Terms, Pairs]:
        x, adversarial = batch.inputs, losses.adversarial
        if stage == 1:
            condition = self.parsing_condition(x)
            logits = self.parsing(condition).float()
            semantic = logits.softmax(1)
            truth = F.one_hot(batch.target_labels, lb.NUM_LABELS).permute(0, 3, 1, 2).to(semantic.dtype)
            terms = {
                "cross_entropy": F.cross_entropy(logits, batch.target_labels),
                "semantic_l1": losses.semantic_l1_scale * semantic_l1(semantic, truth),
            }
            return terms, _pair("parsing", truth, semantic, condition) if adversarial else {}
        mask, clothes = self.worn(batch)
        if stage == 2:
            with torch.no_grad():
                semantic = self.parsing(self.parsing_condition(x)).float().softmax(1)
            condition = self.warping_condition(semantic, x)
            coarse = self.coarse(semantic, condition, x)
            theta = self.matcher(x.cloth_mask, coarse.mask)
            terms = likeness("coarse", coarse.image, batch.target)
            terms["gmm"] = F.l1_loss(self.warp(x.cloth, theta), clothes)
            return terms, _pair("warping", batch.target, coarse.image, condition) if adversarial else {}
        made = self.stages(x)
        final = made.final
        terms = likeness("final", final.image, batch.target)
        wanted = mask if losses.clothes_regulariser else None
        terms["final"] = composition_l1(final.image, batch.target, final.composition, wanted, losses.alpha)
        shown = torch.cat([made.warped, self.pose(x.keypoints)], 1)
        return terms, _pair("render", batch.target, final.image, shown) if adversarial else {}


def _pair(name: str, real: Tensor, fake: Tensor, condition: Tensor) -> Pairs:
    return {name: (torch.cat([real, condition], 1), torch.cat([fake, condition], 1))}
