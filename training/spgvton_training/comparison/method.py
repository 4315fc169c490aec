"""What VITON, CP-VTON and MG-VTON share: what they see of a person, and how trainer, evaluation and export use them."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spgvton import labels as lb
from spgvton.keypoints import NUM_KEYPOINTS
from spgvton_training.config import LossConfig
from spgvton_training.data.batch import Batch
from spgvton_training.networks.config import NetworkConfig
from spgvton_training.networks.joint import Coarse, Final, Inputs, heat_maps
from spgvton_training.networks.tps import tps_grid_sample

Terms = dict[str, Tensor]
Pairs = dict[str, tuple[Tensor, Tensor]]  # of each discriminator: a true and a made picture, with their condition
# (name, made picture, true picture) -> the terms that compare them: L1, and the perceptual or the structure term
Likeness = Callable[[str, Tensor, Tensor], Terms]

BODY_CELLS = 16  # rows of the body shape: 16x12 cells of a picture 256x192, as VITON
PERSON_CHANNELS = NUM_KEYPOINTS + 1 + 3 + NUM_KEYPOINTS  # of Method.person()


class Made(NamedTuple):
    """What a method gives on its way to the try-on image. semantic: probabilities (N, 20, H, W) of one that predicts a map."""

    semantic: Tensor | None
    coarse: Coarse
    theta: Tensor
    warped: Tensor  # C_w (N, 3, H, W)
    final: Final


class Method(nn.Module):
    """A method of the comparison, of one NetworkConfig. Each is trained in parts, by the numbers of the trainer's stages.

    phases: what is trained in which stage. Everything that is not trained in a stage is fixed there. Networks' outputs are
    made float32 at once, as JointModel's.
    """

    phases: ClassVar[dict[int, str]]
    clothes: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        worn = torch.zeros(1, lb.NUM_LABELS, 1, 1)
        worn[:, list(lb.clothes(config.label_set))] = 1
        self.register_buffer("clothes", worn, persistent=False)

    # --- what a method defines ---------------------------------------------------------------------------------------
    def stages(self, inputs: Inputs) -> Made:
        """The inference path, with what each part gave."""
        raise NotImplementedError

    def trained_in(self, stage: int) -> list[nn.Module]:
        """The networks that STAGE trains."""
        raise NotImplementedError

    def terms(self, stage: int, batch: Batch, likeness: Likeness, losses: LossConfig) -> tuple[Terms, Pairs]:
        """What STAGE minimises, weighted, and what its discriminators compare."""
        raise NotImplementedError

    def critics(self, stage: int, losses: LossConfig) -> dict[str, int]:
        """The discriminators at work in STAGE, and the channels that they see."""
        return {}

    def all_critics(self, losses: LossConfig) -> dict[str, int]:
        """critics() of all stages."""
        return {name: count for stage in self.phases for name, count in self.critics(stage, losses).items()}

    @property
    def semantic_network(self) -> nn.Module | None:
        """What gives the semantic map's logits (N, 20, H, W), if anything does."""
        return None

    # --- what they see -----------------------------------------------------------------------------------------------
    def forward(self, inputs: Inputs) -> Tensor:
        """The try-on image (N, 3, H, W) in [-1, 1]."""
        return self.stages(inputs).final.image

    def pose(self, keypoints: Tensor) -> Tensor:
        """Pose heat maps (N, 18, H, W)."""
        return heat_maps(keypoints, self.config.size)

    def body_shape(self, inputs: Inputs) -> Tensor:
        """The source's silhouette (N, 1, H, W), averaged over cells so large that they do not tell the old clothes."""
        silhouette = 1 - inputs.reference_map[:, lb.BACKGROUND : lb.BACKGROUND + 1]
        cell = 2 ** ((self.config.height // BODY_CELLS).bit_length() - 1)  # a power of two divides both sides
        shape = F.avg_pool2d(silhouette, cell)
        return F.interpolate(shape, scale_factor=float(cell), mode="bilinear", align_corners=False)

    def reserved(self, inputs: Inputs) -> Tensor:
        """The source's reserved regions (N, 3, H, W), 0 elsewhere: face and hair, as VITON and CP-VTON have them, and background.

        Their pictures have white backgrounds; a network that is not told another one could only guess it.
        """
        kept = inputs.reference_map[:, lb.BACKGROUND : lb.BACKGROUND + 1] + inputs.head.sum(1, keepdim=True)
        return inputs.body * kept

    def person(self, inputs: Inputs) -> Tensor:
        """Person representation p (N, 40, H, W) of VITON and CP-VTON: pose, body shape and reserved regions of the source, and,
        as section IV-D adds it, the target pose."""
        poses = [self.pose(inputs.source_keypoints), self.pose(inputs.keypoints)]
        return torch.cat([poses[0], self.body_shape(inputs), self.reserved(inputs), poses[1]], 1)

    def warp(self, image: Tensor, theta: Tensor) -> Tensor:
        """T_theta (N, C, H, W): the one node that the export puts the custom operator in place of."""
        return tps_grid_sample(image, theta, self.config.grid_size)

    # --- what they learn ---------------------------------------------------------------------------------------------
    def worn(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """M_t^C (N, 1, H, W), and C_t (N, 3, H, W): the target's clothes on white, like C."""
        mask = self.clothes[0, :, 0, 0][batch.target_labels][:, None]
        return mask, batch.target * mask + (1 - mask)
