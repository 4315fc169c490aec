"""What each stage minimises: the generators' side of Eq. 17, and the discriminators' side of Eqs. 1, 3, 13 and 14."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spgvton import labels as lb
from spgvton.keypoints import NUM_KEYPOINTS
from spgvton_training import crops, losses
from spgvton_training.config import DiscriminatorConfig, LossConfig, RunConfig
from spgvton_training.data.mpv import Batch
from spgvton_training.distill import Distillation, Made, trunks
from spgvton_training.networks.discriminator import MultiScaleDiscriminator
from spgvton_training.networks.joint import Inputs, JointModel, Person, Stages, Worn
from spgvton_training.networks.residual_flow import bend
from spgvton_training.networks.tps import tps_grid
from spgvton_training.pretrained.face import FaceEncoder
from spgvton_training.pretrained.perceptual import Perceptual


class Pair(NamedTuple):
    """What a discriminator compares: the same condition with a true and with a made picture (N, C, H, W)."""

    real: Tensor
    fake: Tensor


def critic_names(stage: int, config: LossConfig) -> tuple[str, ...]:
    """The discriminators at work in STAGE."""
    first = ("d1",) if stage in (1, 3) and config.adversarial else ()
    later = (("d2", "dg") if config.adversarial else ()) + (("dl",) if config.local_adversarial else ())
    return first + (later if stage > 1 else ())


def critic_channels(config: LossConfig) -> dict[str, int]:
    """Channels that D1, D2, Dg and Dl see, of those that the losses ask for."""
    condition = NUM_KEYPOINTS + 3  # P_t, I_s without clothes
    channels = {
        "d1": 20 + 20 + 2 + 1 + NUM_KEYPOINTS,  # Eq. 1
        "d2": 3 + 20 + 3 + condition,  # Eq. 3
        "dg": 3 + 3 + condition,  # Eq. 13
        "dl": 3 + 3 + 3 + condition,  # Eq. 14
    }
    names = {name for stage in (1, 2, 3) for name in critic_names(stage, config)}
    return {name: count for name, count in channels.items() if name in names}


class Critics(nn.ModuleDict):
    """Discriminators by name: D1, D2, Dg and Dl, those that the losses ask for; of another method those of CHANNELS."""

    def __init__(
        self, losses_config: LossConfig, config: DiscriminatorConfig, channels: dict[str, int] | None = None
    ) -> None:
        if channels is None:
            channels = critic_channels(losses_config)
        super().__init__({n: MultiScaleDiscriminator(c, config.ndf, config.scales) for n, c in channels.items()})
        self.config = config

    def forward(self, pairs: dict[str, Pair], penalise: bool) -> dict[str, Tensor]:
        """The discriminators' losses by name; with PENALISE also the gradient penalty at the real pictures."""
        terms = {}
        for name, (real, fake) in pairs.items():
            real = real.detach().requires_grad_(penalise)
            real_scores, fake_scores = self[name](real), self[name](fake.detach())
            terms[name] = losses.lsgan_discriminator(real_scores, fake_scores)
            if penalise and self.config.r1:
                weight = self.config.r1 * self.config.r1_every
                terms[f"{name}_r1"] = weight * losses.r1_penalty(real_scores, real)
        return terms


def fool(critics: Critics, pairs: dict[str, Pair], scale: float) -> dict[str, Tensor]:
    """The generators' side of the adversarial terms."""
    made = {name: losses.lsgan_generator(critics[name](pair.fake)) for name, pair in pairs.items()}
    return {f"adversarial_{name}": scale * term for name, term in made.items()}


def erase(image: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """I'_p: a random rectangle of each image set to 0 with PROBABILITY (section III-D)."""
    out = image.clone()
    h, w = image.shape[-2:]
    for i in range(len(out)):
        chance, a, b, c, d = torch.rand(5, generator=generator).tolist()
        if chance < probability:
            eh, ew = int(h * (0.1 + 0.35 * a)), int(w * (0.1 + 0.35 * b))
            y, x = int(c * (h - eh)), int(d * (w - ew))
            out[i, :, y : y + eh, x : x + ew] = 0
    return out


def _inside(image: Tensor, target: Tensor, similarity: Tensor, region: Tensor) -> Tensor:
    """L1 and structure inside REGION. similarity: losses.box_ssim() of the two images."""
    return losses.region_l1(image, target, region) + 0.25 * losses.region_structure(similarity, region)


class Objective(nn.Module):
    """The joint model with its losses. Its forward pass is one training step's, so it is what Fabric wraps.

    critics, perceptual and face are used but not trained here; they are no part of this module's parameters.
    """

    class_weights: Tensor | None

    def __init__(
        self, model: JointModel, config: RunConfig, critics: Critics, *, class_weights: Tensor | None = None,
        perceptual: Perceptual | None = None, face: FaceEncoder | None = None, distillation: Distillation | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.model = model
        self.config = config
        self.distillation = distillation
        self.register_buffer("class_weights", class_weights, persistent=False)
        self._others = (critics, perceptual, face)  # a tuple hides them from nn.Module

    def forward(
        self, batch: Batch, stage: int, progress: float, generator: torch.Generator
    ) -> tuple[dict[str, Tensor], dict[str, Pair]]:
        """The stage's terms of Eq. 17, weighted, whose sum is minimised; and what the discriminators are to compare.

        With a teacher also the distillation terms. progress: of the stage, from 0 to 1. generator: for the random erasing.
        """
        if self.distillation is None:
            return self._step(batch, stage, progress, generator)[:2]
        with trunks(self.model) as features:
            terms, pairs, made = self._step(batch, stage, progress, generator)
        return terms | self.distillation(batch.inputs, stage, made, features), pairs

    def _step(
        self, batch: Batch, stage: int, progress: float, generator: torch.Generator
    ) -> tuple[dict[str, Tensor], dict[str, Pair], Made]:
        """forward() without a teacher, and what the student made."""
        m, c, x = self.model, self.config.losses, batch.inputs
        target_mask = (1 - m.not_clothes[0, :, 0, 0])[batch.target_labels][:, None]
        if stage == 0:
            mask, seen = self._predicted(x) if c.predicted_matching else (target_mask, None)
            theta, _, terms = self._warp_terms(batch, mask, target_mask, seen)
            return terms, {}, Made(mask=mask, theta=theta)
        person = m.person(x)
        with torch.set_grad_enabled(stage != 2 and torch.is_grad_enabled()):
            logits = m.semantic_logits(person, x.cloth_mask, x.keypoints)
        semantic = logits.softmax(1)
        terms = {}
        pairs: dict[str, Pair] = {}
        if stage != 2:
            terms |= self._semantic_terms(logits, semantic, batch, person, pairs)
        if stage == 1:
            return terms | fool(self._others[0], pairs, c.adversarial_scale), pairs, Made(logits)

        body = m.fill(person.body, person.hidden, semantic)
        coarse = m.coarse(semantic, body, x.cloth, x.keypoints)
        terms["coarse"] = c.lambdas[1] * losses.coarse_l1(coarse.image, batch.target, coarse.mask, target_mask)
        early = stage == 2 and progress < c.true_mask_until
        mask = coarse.mask if c.predicted_mask else target_mask
        matched = target_mask if early else mask
        theta, worn, warp_terms = self._warp_terms(batch, matched, target_mask, semantic)
        erased = erase(coarse.image, c.erase_probability, generator)
        final = m.synthesise(erased, mask, worn.cloth, x.keypoints)
        terms["final"] = c.lambdas[3] * losses.composition_l1(
            final.image, batch.target, final.composition, target_mask if c.clothes_regulariser else None, c.alpha
        )
        terms |= warp_terms
        made = Stages(semantic, body, coarse, theta, worn.residual, worn.cloth, final)
        self._image_terms(terms, made, batch)
        self._image_pairs(pairs, made, batch, target_mask)
        terms |= fool(self._others[0], pairs, c.adversarial_scale)
        return terms, pairs, Made(logits if stage != 2 else None, matched, theta, made)

    @torch.no_grad()
    def _predicted(self, x: Inputs) -> tuple[Tensor, Tensor]:
        """M_p^C (N, 1, H, W) and S^_t (N, 20, h, w) of G1 and G2 as they are."""
        m = self.model
        person = m.person(x)
        semantic = m.semantic_logits(person, x.cloth_mask, x.keypoints).softmax(1)
        coarse = m.coarse(semantic, m.fill(person.body, person.hidden, semantic), x.cloth, x.keypoints)
        return coarse.mask, semantic

    # --- reconstruction ----------------------------------------------------------------------------------------------
    def _semantic_labels(self, batch: Batch) -> Tensor:
        """Labels (N, h, w) that G1 learns, at its resolution; without the predicted map only 1 where the body is."""
        stride = self.model.semantic_stride
        labels = batch.target_labels[:, ::stride, ::stride]
        return labels if self.config.losses.predicted_map else (labels != lb.BACKGROUND).long()

    def _semantic_terms(
        self, logits: Tensor, semantic: Tensor, batch: Batch, person: Person, pairs: dict[str, Pair]
    ) -> dict[str, Tensor]:
        """L_fl and L_recon^s of Eq. 2; D1's pair."""
        c, x, m = self.config.losses, batch.inputs, self.model
        labels = self._semantic_labels(batch)
        truth = F.one_hot(labels, lb.NUM_LABELS).permute(0, 3, 1, 2).to(semantic.dtype)
        if c.adversarial:
            condition = [person.reference_map, person.head, m.at_semantic_size(x.cloth_mask), m.pose(x.keypoints)]
            pairs["d1"] = Pair(*(torch.cat([maps, *condition], 1) for maps in (truth, semantic)))
        weights = self.class_weights if c.predicted_map else None
        return {
            "focal": c.lambdas[0] * losses.focal(logits, labels, weights),
            "semantic_l1": c.semantic_l1_scale * losses.semantic_l1(semantic, truth),
        }

    def _warp_terms(
        self, batch: Batch, mask: Tensor, target_mask: Tensor, semantic: Tensor | None
    ) -> tuple[Tensor, Worn, dict[str, Tensor]]:
        """theta and the worn garment for the clothes mask MASK, and L_cwm (Eqs. 8 and 9) with its extensions.

        semantic: G1's probabilities, which the residual flow sees; None = the spline alone.
        """
        m, c, x, size = self.model, self.config.losses, batch.inputs, self.config.network.size
        theta = m.match(x.cloth_mask, mask, x.keypoints)
        splined = m.warp(torch.cat([x.cloth, x.cloth_mask], 1), theta)
        if semantic is None:
            worn = Worn(splined[:, :3], splined[:, 3:], None)
        else:
            worn = m.bend(splined, theta, mask, semantic, x.keypoints)
        restored = m.warp(worn.cloth, m.match_back(worn.mask, x.cloth_mask)) if c.cycle else None
        target_clothes = batch.target * target_mask + (1 - target_mask)  # C_t on white, like C
        lambda_3 = c.lambdas[2]
        terms = {"cycle": lambda_3 * losses.conductible_cycle(worn.cloth, target_clothes, restored, x.cloth)}
        grid = tps_grid(theta, size) if c.flow else None
        if grid is not None:
            terms["flow"] = lambda_3 * c.flow * losses.warp_flow(grid, batch.flow)
        if c.smoothness:
            smooth = losses.theta_smoothness(theta, self.config.network.grid_size)
            terms["smooth"] = lambda_3 * c.smoothness * smooth
        if grid is not None and worn.residual is not None:
            seen = bend(grid.detach().permute(0, 3, 1, 2), worn.residual).permute(0, 2, 3, 1)
            terms["residual_flow"] = lambda_3 * c.flow * losses.warp_flow(seen, batch.flow)
            terms["residual_smooth"] = lambda_3 * c.residual_smoothness * losses.flow_smoothness(worn.residual)
        return theta, worn, terms

    def _image_terms(self, terms: dict[str, Tensor], made: Stages, batch: Batch) -> None:
        """What compares the coarse and the final image with the target beside L1: Eqs. 4, 12 and 15, extensions."""
        c = self.config.losses
        _, perceptual, face = self._others
        images = {"coarse": (c.lambdas[1], made.coarse.image), "final": (c.lambdas[3], made.final.image)}
        region = self._true_head(batch).sum(1, keepdim=True)
        changed = self._changed(batch) if c.changed else None
        for name, (weight, image) in images.items():
            if c.perceptual:
                assert perceptual is not None
                terms[f"{name}_perceptual"] = weight * perceptual(image, batch.target)
            if name == "final":
                weight *= c.alpha[0]
            if c.structure or changed is not None:
                similarity = losses.box_ssim(image, batch.target)
            if c.structure:
                terms[f"{name}_structure"] = weight * c.structure * losses.structure(image, batch.target, similarity)
            if c.head:
                terms[f"{name}_head"] = weight * c.head * losses.region_l1(image, batch.target, region)
            if changed is not None:
                terms[f"{name}_changed"] = weight * c.changed * _inside(image, batch.target, similarity, changed)
        if changed is not None:
            # Where M is 1 the final image says nothing about I_r, from which the live compositor takes the shading.
            rendered = made.final.rendered
            inside = _inside(rendered, batch.target, losses.box_ssim(rendered, batch.target), changed)
            terms["rendered_changed"] = 0.5 * c.lambdas[3] * c.alpha[0] * c.changed * inside
        if c.identity:
            assert face is not None
            boxes, valid = face.boxes(self._true_head(batch)[:, :1])  # the face alone: HEAD is (face, hair)
            predicted = crops.head_mask(self.model.at_full_size(made.semantic))
            crop = crops.crop(crops.isolate(made.final.image, predicted), boxes, face.size)
            with torch.no_grad():
                true = face(crops.crop(crops.isolate(batch.target, region), boxes, face.size))
            terms["identity"] = c.lambdas[4] * losses.face_identity(face(crop), true, valid)

    def _changed(self, batch: Batch) -> Tensor:
        """losses.changed_region() of the source's clothes, with what else of her was forgotten, and the target's."""
        x = batch.inputs
        old = 1 - x.reference_map.sum(1, keepdim=True) - x.head.sum(1, keepdim=True)
        new = (1 - self.model.not_clothes[0, :, 0, 0])[batch.target_labels][:, None]
        return losses.changed_region(old, new)

    # --- what the discriminators see ---------------------------------------------------------------------------------
    def _true_head(self, batch: Batch) -> Tensor:
        """Face and hair of the target's own map, (N, 2, H, W)."""
        return torch.stack([batch.target_labels == label for label in lb.HEAD], 1).to(batch.target.dtype)

    def _predicted_head(self, made: Stages) -> Tensor:
        """Face and hair by the predicted map, 0 or 1 (N, 2, H, W). It guides only: no gradient goes through it."""
        labels = self.model.at_full_size(made.semantic.detach()).argmax(1)
        return torch.stack([labels == label for label in lb.HEAD], 1).to(made.semantic.dtype)

    def _image_pairs(self, pairs: dict[str, Pair], made: Stages, batch: Batch, target_mask: Tensor) -> None:
        c, x, m = self.config.losses, batch.inputs, self.model
        pose = m.pose(x.keypoints, stride=1)
        if c.adversarial:
            condition = [m.at_full_size(made.semantic), x.cloth, pose, made.body]
            pairs["d2"] = Pair(*(torch.cat([i, *condition], 1) for i in (batch.target, made.coarse.image)))
        clothes = (batch.target * target_mask, made.warped * made.final.composition)  # C_t and C^_t
        images = (batch.target, made.final.image)
        if c.adversarial:
            pairs["dg"] = Pair(*(torch.cat([i, g, pose, made.body], 1) for i, g in zip(images, clothes)))
        if c.local_adversarial:
            heads = (self._true_head(batch), self._predicted_head(made))
            seen = [
                torch.cat([i * h[:, :1], i * h[:, 1:], g, pose, made.body], 1)
                for i, h, g in zip(images, heads, clothes)
            ]
            size = self.config.discriminators.local_crop
            if size is not None:
                boxes, valid = crops.head_boxes(heads[0].sum(1, keepdim=True), aspect=size[1] / size[0])
                if not valid.any():
                    return
                seen = [crops.crop(s[valid], boxes[valid], size) for s in seen]
            pairs["dl"] = Pair(*seen)
