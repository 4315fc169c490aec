"""Live mode: the source person is the camera frame itself, P_s = P_t. The same networks, without source alignment.

What `spgvton.person` makes of a picture and its labels on the CPU is made here from the same two, inside the graph. In one
pose alignment has nothing to move; what it also does, cutting the clothes (and, with `background_margin`, the person's edge)
out of the body, and telling G2 where it is empty, stays.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from spgvton import labels as lb
from spgvton_training.networks.background import away_from_person, estimate_background
from spgvton_training.networks.joint import JointModel, Person, halve


class LiveInputs(NamedTuple):
    """One batch of camera frames in the network's frame, and of garments."""

    picture: Tensor  # uint8 (N, H, W, 3), RGB
    labels: Tensor  # uint8 (N, H, W), ids of the network's label set
    keypoints: Tensor  # float32 (N, 18, 3), (x, y, score) in pixels
    cloth: Tensor  # C, float32 (N, 3, H, W) in [-1, 1]
    cloth_mask: Tensor  # M^C, float32 (N, 1, H, W) in [0, 1]


class LiveStages(NamedTuple):
    """What the compositor is given, before it is made bytes."""

    rendered: Tensor  # I_r of G3 (N, 3, H, W) in [-1, 1]
    composition: Tensor  # M (N, 1, H, W) in [0, 1]
    clothes_mask: Tensor  # M_p^C of G2 (N, 1, H, W) in [0, 1]
    semantic: Tensor  # G1's probabilities (N, 20, h, w)
    theta: Tensor  # (N, 2, G*G)


def is_one_of(labels: Tensor, ids: tuple[int, ...]) -> Tensor:
    """LABELS (N, 1, H, W), whole numbers as float32 -> 1.0 where they are one of IDS, else 0.0."""
    wanted = torch.tensor(ids, device=labels.device, dtype=labels.dtype)[None, :, None, None]
    return (labels == wanted).to(labels.dtype).sum(1, keepdim=True)


def live_person(model: JointModel, picture: Tensor, labels: Tensor) -> Person:
    """The person of PICTURE uint8 (N, H, W, 3) and LABELS uint8 (N, H, W) as G1 and G2 take it: maps at G1's resolution."""
    c = model.config
    # Bytes are made float32 at once: TensorRT has uint8 at inputs and outputs only.
    pixels = picture.float().permute(0, 3, 1, 2) * (1 / 127.5) - 1
    ids = labels.float()[:, None]
    all_ids = torch.arange(lb.NUM_LABELS, device=ids.device, dtype=ids.dtype)[None, :, None, None]
    one_hot = (ids == all_ids).to(ids.dtype)
    maps = halve(one_hot) if model.semantic_stride == 2 else one_hot
    head = maps[:, list(lb.HEAD)]
    emptied = torch.ones_like(model.not_clothes)
    emptied[:, list(lb.HEAD)] = 0
    reference_map = maps * (model.not_clothes * emptied)
    shown = 1 - is_one_of(ids, lb.clothes(c.label_set))
    if not c.fill_background:
        return Person(reference_map, head, pixels * shown)
    background = is_one_of(ids, (lb.BACKGROUND,))
    visible = away_from_person(background) if c.background_margin else background
    shown = shown - (background - visible)
    body = pixels * shown
    return Person(reference_map, head, body, estimate_background(pixels, visible) * (1 - shown))


def live_stages(model: JointModel, inputs: LiveInputs) -> LiveStages:
    """G1 -> G2 -> GMM1 -> warp -> G3, with the live person. No composition by Eq. 10: the compositor has the full-size frame."""
    person = live_person(model, inputs.picture, inputs.labels)
    semantic = model.semantic_logits(person, inputs.cloth_mask, inputs.keypoints).softmax(1)
    coarse = model.coarse(semantic, model.fill(person, semantic), inputs.cloth, inputs.keypoints)
    theta = model.match(inputs.cloth_mask, coarse.mask, inputs.keypoints)
    warped = model.warp(inputs.cloth, theta)
    final = model.synthesise(coarse.image, coarse.mask, warped, inputs.keypoints)
    return LiveStages(final.rendered, final.composition, coarse.mask, semantic, theta)


def to_bytes(model: JointModel, stages: LiveStages) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(rendered (N, H, W, 3), composition (N, H, W), clothes mask (N, H, W), semantic (N, H, W)), all uint8.

    Masks are 255 where they are 1; semantic is the likeliest label, of probabilities interpolated to full size.
    """
    rendered = ((stages.rendered + 1) * 127.5).round().clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8)
    composition, clothes = ((m * 255).round().to(torch.uint8)[:, 0] for m in (stages.composition, stages.clothes_mask))
    semantic = stages.semantic
    if model.semantic_stride == 2:
        semantic = model.at_full_size(semantic)
    return rendered, composition, clothes, semantic.argmax(1).float().to(torch.uint8)
