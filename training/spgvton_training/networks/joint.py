"""The joint model: G1 -> G2 -> GMM1 -> warp -> G3 -> composition (sections III-B to III-D, Fig. 2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spgvton import labels as lb
from spgvton.errors import SpgvtonError
from spgvton.keypoints import HEAT_MAP_RADIUS, NUM_KEYPOINTS
from spgvton_training.networks.alignment import align
from spgvton_training.networks.background import away_from_person, estimate_background
from spgvton_training.networks.config import METHODS, NetworkConfig
from spgvton_training.networks.generator import Generator
from spgvton_training.networks.gmm import GeometricMatching
from spgvton_training.networks.residual_flow import RESIDUAL_STRIDE, ResidualFlow, bend
from spgvton_training.networks.tps import tps_grid_sample


class Inputs(NamedTuple):
    """One batch of `spgvton.person` arrays. Images in [-1, 1], masks in [0, 1], keypoints (x, y, score) in pixels."""

    reference_map: Tensor  # S'_s (N, 20, H, W)
    head: Tensor  # A_s (N, 2, H, W)
    body: Tensor  # I_s without clothes (N, 3, H, W)
    source_keypoints: Tensor  # (N, 18, 3)
    cloth: Tensor  # C (N, 3, H, W)
    cloth_mask: Tensor  # M^C (N, 1, H, W)
    keypoints: Tensor  # target pose (N, 18, 3)


class Person(NamedTuple):
    """The source person as G1 and G2 see it: Inputs' tensors, moved onto the target pose where `align_source` is on."""

    reference_map: Tensor  # at G1's resolution
    head: Tensor  # at G1's resolution
    body: Tensor  # at full resolution
    hidden: Tensor | None = None  # `fill_background`: estimated background where the body is empty (N, 3, H, W), else 0


class Coarse(NamedTuple):
    """What G2 gives: coarse image I_p (N, 3, H, W) in [-1, 1] and clothes mask M_p^C (N, 1, H, W) in [0, 1]."""

    image: Tensor
    mask: Tensor


class Worn(NamedTuple):
    """The garment as it is worn: C_w (N, 3, H, W), its mask (N, 1, H, W), and with `residual_flow` R (N, 2, H/4, W/4)."""

    cloth: Tensor
    mask: Tensor
    residual: Tensor | None


class Final(NamedTuple):
    """What G3 gives: try-on image (N, 3, H, W) by Eq. 10, rendered image I_r, composition mask M (N, 1, H, W)."""

    image: Tensor
    rendered: Tensor
    composition: Tensor


class Stages(NamedTuple):
    """Everything on the way to the try-on image."""

    semantic: Tensor  # probabilities S^_t at G1's resolution (N, 20, h, w)
    body: Tensor  # I_s without clothes as G2 takes it (N, 3, H, W)
    coarse: Coarse
    theta: Tensor  # (N, 2, G*G)
    residual: Tensor | None  # `residual_flow`: R (N, 2, H/4, W/4)
    warped: Tensor  # C_w (N, 3, H, W)
    final: Final


def heat_maps(keypoints: Tensor, size: tuple[int, int], stride: int = 1) -> Tensor:
    """Pose heat maps (N, 18, H / stride, W / stride) as spgvton.keypoints.heat_maps, of keypoints in pixels of SIZE.

    With STRIDE 2 the discs are drawn at half resolution: keypoints (k - 0.5) / 2, radius / 2.
    """
    h, w = size[0] // stride, size[1] // stride
    y = torch.arange(h, device=keypoints.device, dtype=torch.float32)[:, None]
    x = torch.arange(w, device=keypoints.device, dtype=torch.float32)[None]
    k = keypoints[..., None, None]
    centre_x, centre_y = ((k[:, :, i] + 0.5) / stride - 0.5 for i in (0, 1))
    radius = HEAT_MAP_RADIUS * size[0] / 256 / stride
    inside = (x - centre_x).square() + (y - centre_y).square() <= radius**2
    return (inside & (k[:, :, 2] > 0)).to(keypoints.dtype)


def halve(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2)


class JointModel(nn.Module):
    """G1, G2, GMM1, GMM2 and G3 of one NetworkConfig.

    What the networks give is made float32 at once: under autocast they alone compute in bfloat16. Its 8 bits are too few
    for a picture's losses (a variance as E[x^2] - E[x]^2 made the structure term twice as large).
    """

    not_clothes: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = c = config
        self.semantic_stride = 2 if c.half_semantics else 1
        self.packed = c.space_to_depth
        images = 4 if self.packed else 1  # 2x2 pixels of an image channel become four channels
        gate = 1 if c.copy_mask else 0
        maps = 4 if c.space_to_depth_g1 else 1
        self.g1 = Generator(
            maps * (20 + 2 + 1) + NUM_KEYPOINTS, maps * lb.NUM_LABELS, c, space_to_depth=c.space_to_depth_g1
        )
        self.g2 = Generator(20 + NUM_KEYPOINTS + images * 6, images * (4 + gate), c, space_to_depth=self.packed)
        self.g3 = Generator(
            NUM_KEYPOINTS + images * (6 + int(c.mask_in_g3)), images * (4 + gate), c, space_to_depth=self.packed
        )
        h, w = c.height // self.semantic_stride, c.width // self.semantic_stride
        self.gmm1 = GeometricMatching(
            (h, w), c.gmm_ngf, c.grid_size, target_channels=1 + (NUM_KEYPOINTS if c.pose_in_gmm else 0),
            bounded=c.bounded_theta, moment_alignment=c.moment_alignment, regress_features=c.features_in_gmm,
        )  # fmt: skip
        self.gmm2 = GeometricMatching(
            (h, w), c.gmm_ngf, c.grid_size, bounded=c.bounded_theta, moment_alignment=c.moment_alignment
        )
        self.residual = ResidualFlow(c.ngf) if c.residual_flow else None
        keep = torch.ones(1, lb.NUM_LABELS, 1, 1)
        keep[:, list(lb.clothes(c.label_set))] = 0
        self.register_buffer("not_clothes", keep, persistent=False)

    # --- helpers between full, half and packed resolution ------------------------------------------------------------
    def pose(self, keypoints: Tensor, stride: int | None = None) -> Tensor:
        """P_t (N, 18, H / stride, W / stride); by default at G1's resolution."""
        return heat_maps(keypoints, self.config.size, stride or self.semantic_stride)

    def at_semantic_size(self, mask: Tensor) -> Tensor:
        """A full-resolution mask at the resolution of G1 and the GMMs."""
        return halve(mask) if self.semantic_stride == 2 else mask

    def _pack(self, full: list[Tensor]) -> list[Tensor]:
        """Full-resolution images at the resolution at which G2 and G3 take them."""
        return [F.pixel_unshuffle(x, 2) for x in full] if self.packed else full

    def _unpack(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(x, 2) if self.packed else x

    def at_full_size(self, semantic: Tensor) -> Tensor:
        """A semantic map (N, 20, h, w) of G1 at the resolution of the pictures."""
        return F.interpolate(semantic, size=self.config.size, mode="bilinear", align_corners=False)

    # --- the modules -------------------------------------------------------------------------------------------------
    def person(self, inputs: Inputs) -> Person:
        """The source person, moved to the target pose if `align_source` is on; the maps at G1's resolution."""
        c, stride = self.config, self.semantic_stride
        background = inputs.reference_map[:, lb.BACKGROUND : lb.BACKGROUND + 1]
        visible = away_from_person(background) if c.background_margin else background
        if c.align_source:
            reference_map, head, body, empty = align(
                *inputs[:4], inputs.keypoints, stride, c.align_once, visible if c.background_margin else None
            )
        else:
            reference_map, head = (halve(maps) if stride == 2 else maps for maps in inputs[:2])
            hers = torch.cat([inputs.reference_map, inputs.head], 1).sum(1, keepdim=True) - background
            known = hers + visible
            body, empty = inputs.body * known if c.background_margin else inputs.body, 1 - known
        if not c.fill_background:
            return Person(reference_map, head, body)
        return Person(reference_map, head, body, estimate_background(inputs.body, visible) * empty)

    def semantic_logits(self, person: Person, cloth_mask: Tensor, keypoints: Tensor) -> Tensor:
        """G1: logits (N, 20, H, W) of the target semantic map, at half resolution with `half_semantics`."""
        maps = torch.cat([person.reference_map, person.head], 1)
        return self.logits_of(
            F.pixel_unshuffle(maps, 2) if self.config.space_to_depth_g1 else maps, cloth_mask, keypoints
        )

    def logits_of(self, maps: Tensor, cloth_mask: Tensor, keypoints: Tensor) -> Tensor:
        """semantic_logits() of MAPS: S'_s and A_s (N, 22, h, w), with `space_to_depth_g1` already packed (N, 88, h/2, w/2)."""
        cloth_mask = self.at_semantic_size(cloth_mask)
        if not self.config.space_to_depth_g1:
            return self.g1(torch.cat([maps, cloth_mask, self.pose(keypoints)], 1)).float()
        pose = self.pose(keypoints, 2 * self.semantic_stride)
        return F.pixel_shuffle(self.g1(torch.cat([maps, F.pixel_unshuffle(cloth_mask, 2), pose], 1)).float(), 2)

    def fill(self, body: Tensor, hidden: Tensor | None, semantic: Tensor) -> Tensor:
        """The body (N, 3, H, W) as G2 takes it: with `fill_background`, no longer empty where SEMANTIC says background.

        body, hidden: Person's. semantic: G1's probabilities (N, 20, h, w).
        """
        if hidden is None:
            return body
        background = semantic[:, lb.BACKGROUND : lb.BACKGROUND + 1]
        if self.semantic_stride == 2:
            background = F.interpolate(background, scale_factor=2.0, mode="bilinear", align_corners=False)
        return body + hidden * background

    def coarse(self, semantic: Tensor, body: Tensor, cloth: Tensor, keypoints: Tensor) -> Coarse:
        """G2: from the semantic map's probabilities (N, 20, h, w), clothes removed inside (S^'_t), and fill()'s body."""
        semantic = semantic * self.not_clothes
        stride = 2 if self.packed else 1
        if self.packed and self.semantic_stride == 1:
            semantic = halve(semantic)
        elif not self.packed and self.semantic_stride == 2:
            semantic = F.interpolate(semantic, scale_factor=2.0, mode="bilinear", align_corners=False)
        pose = self.pose(keypoints, stride)
        out = self._unpack(self.g2(torch.cat([semantic, pose, *self._pack([cloth, body])], 1)).float())
        image = out[:, :3].tanh()
        if self.config.copy_mask:
            gate = out[:, 4:5].sigmoid()
            image = gate * body + (1 - gate) * image
        return Coarse(image, out[:, 3:4].sigmoid())

    def match(self, cloth_mask: Tensor, clothes_mask: Tensor, keypoints: Tensor) -> Tensor:
        """GMM1: theta_1 (N, 2, G*G) between the garment's mask M^C and the target clothes mask M_p^C."""
        a, b = self.at_semantic_size(cloth_mask), self.at_semantic_size(clothes_mask)
        if self.config.pose_in_gmm:
            b = torch.cat([b, self.pose(keypoints)], 1)
        return self.gmm1(a, b)

    def match_back(self, warped_mask: Tensor, cloth_mask: Tensor) -> Tensor:
        """GMM2: theta_2 (N, 2, G*G) between the warped mask M_w^C and the garment's mask M^C (training: Eq. 8)."""
        return self.gmm2(self.at_semantic_size(warped_mask), self.at_semantic_size(cloth_mask))

    def warp(self, image: Tensor, theta: Tensor, padding: str = "border") -> Tensor:
        """T_theta: thin-plate spline warp at full resolution."""
        return tps_grid_sample(image, theta, self.config.grid_size, padding=padding)

    def wear(
        self, cloth: Tensor, cloth_mask: Tensor, theta: Tensor, mask: Tensor, semantic: Tensor, keypoints: Tensor
    ) -> Worn:
        """C and M^C moved by the spline THETA and then by the residual flow, if there is one. mask: M_p^C. semantic: G1's."""
        return self.bend(self.warp(torch.cat([cloth, cloth_mask], 1), theta), theta, mask, semantic, keypoints)

    def bend(self, splined: Tensor, theta: Tensor, mask: Tensor, semantic: Tensor, keypoints: Tensor) -> Worn:
        """wear() of SPLINED (N, 4, H, W): C and M^C warped by THETA.

        The residual flow learns from its own losses: nothing flows back into what it is made of.
        """
        residual = None
        if self.residual is not None:
            given = (t.detach() for t in (splined, mask, semantic, theta))
            residual = self.residual(*given, self.pose(keypoints, RESIDUAL_STRIDE))
            splined = bend(splined, residual)
        cloth, cloth_mask = splined.split([3, 1], 1)
        return Worn(cloth, cloth_mask, residual)

    def synthesise(self, coarse_image: Tensor, mask: Tensor, warped: Tensor, keypoints: Tensor) -> Final:
        """G3 and the composition of Eq. 10: C_w * M + I_r * (1 - M)."""
        images = [coarse_image, warped] + ([mask] if self.config.mask_in_g3 else [])
        pose = self.pose(keypoints, 2 if self.packed else 1)
        out = self._unpack(self.g3(torch.cat([pose, *self._pack(images)], 1)).float())
        rendered, composition = out[:, :3].tanh(), out[:, 3:4].sigmoid()
        if self.config.copy_mask:
            gate = out[:, 4:5].sigmoid()
            rendered = gate * coarse_image + (1 - gate) * rendered
        return Final(warped * composition + rendered * (1 - composition), rendered, composition)

    def stages(self, inputs: Inputs) -> Stages:
        """The inference path, with what each module gave."""
        person = self.person(inputs)
        semantic = self.semantic_logits(person, inputs.cloth_mask, inputs.keypoints).softmax(1)
        body = self.fill(person.body, person.hidden, semantic)
        coarse = self.coarse(semantic, body, inputs.cloth, inputs.keypoints)
        theta = self.match(inputs.cloth_mask, coarse.mask, inputs.keypoints)
        worn = self.wear(inputs.cloth, inputs.cloth_mask, theta, coarse.mask, semantic, inputs.keypoints)
        warped = worn.cloth
        final = self.synthesise(coarse.image, coarse.mask, warped, inputs.keypoints)
        return Stages(semantic, body, coarse, theta, worn.residual, warped, final)

    def forward(self, inputs: Inputs) -> Tensor:
        """The try-on image (N, 3, H, W) in [-1, 1]."""
        return self.stages(inputs).final.image


def build_model(config: NetworkConfig) -> JointModel:
    """The one factory. Weights are PyTorch's default initialisation; seed torch first for reproducible ones.

    Of the methods of the comparison it is comparison.registry.build_network(). Raises SpgvtonError for one of them.
    """
    if config.method != METHODS[0]:
        raise SpgvtonError(f"{config.method} is not the joint model: build it with comparison.registry.build_network()")
    return JointModel(config)
