"""Live mode: the source person is the camera frame itself, P_s = P_t. The same networks, without source alignment.

What `spgvton.person` makes of a picture and its labels on the CPU is made here from the same two, inside the graph. In one
pose alignment has nothing to move; what it also does, cutting the clothes (and, with `background_margin`, the person's edge)
out of the body, and telling G2 where it is empty, stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from spgvton import labels as lb
from spgvton_training.networks.background import away_from_person, estimate_background
from spgvton_training.networks.joint import JointModel


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
    residual: Tensor | None = None  # `residual_flow`: (N, 2, H/4, W/4)


class LivePerson(NamedTuple):
    """The person of the frame as JointModel.logits_of() and fill() take it."""

    maps: Tensor
    body: Tensor
    hidden: Tensor | None


def is_one_of(labels: Tensor, ids: tuple[int, ...]) -> Tensor:
    """LABELS (N, 1, H, W), whole numbers as float32 -> 1.0 where they are one of IDS, else 0.0."""
    wanted = torch.tensor(ids, device=labels.device, dtype=labels.dtype)[None, :, None, None]
    return (labels == wanted).to(labels.dtype).sum(1, keepdim=True)


def label_maps(labels: Tensor, ids: Sequence[int], mean: int, pack: int) -> Tensor:
    """LABELS (N, H, W), whole numbers as float32 -> where each of IDS is, (N, len(IDS) * pack^2, H / mean / pack, ...).

    As one-hot maps, averaged over MEAN x MEAN pixels, whose PACK x PACK neighbours become channels (pixel_unshuffle); the
    labels are moved, which are one channel, and compared last. An id that is none, such as -1, gives zeros.
    """
    n, h, w = labels.shape
    rows, columns = h // (mean * pack), w // (mean * pack)
    split = labels.reshape(n, rows, pack, mean, columns, pack, mean).permute(0, 3, 6, 2, 5, 1, 4)
    split = split.reshape(n, 1, mean * mean, pack * pack * rows * columns)
    wanted = torch.tensor(ids, device=labels.device, dtype=labels.dtype)[None, :, None, None]
    return (split == wanted).to(labels.dtype).mean(2).reshape(n, len(ids) * pack * pack, rows, columns)


def live_person(model: JointModel, picture: Tensor, labels: Tensor) -> LivePerson:
    """The person of PICTURE uint8 (N, H, W, 3) and LABELS uint8 (N, H, W)."""
    c = model.config
    n, h, w, _ = picture.shape
    # Bytes are made float32 at once: TensorRT has uint8 at inputs and outputs only. Between reshapes, ONNX Runtime leaves the
    # transposition where it is; otherwise it masks three interleaved channels, which is slow.
    pixels = picture.float().reshape(n, h * w, 3).transpose(1, 2).reshape(n, 3, h, w) * (1 / 127.5) - 1
    ids = labels.float()
    emptied = (*lb.HEAD, *lb.clothes(c.label_set))
    channels = [-1 if label in emptied else label for label in range(lb.NUM_LABELS)]
    maps = label_maps(ids, [*channels, *lb.HEAD], model.semantic_stride, 2 if c.space_to_depth_g1 else 1)
    ids = ids[:, None]
    shown = 1 - is_one_of(ids, lb.clothes(c.label_set))
    background = is_one_of(ids, (lb.BACKGROUND,))
    visible = away_from_person(background) if c.background_margin else background
    shown = shown - (background - visible)
    body = pixels * shown
    return LivePerson(maps, body, estimate_background(pixels, visible) * (1 - shown) if c.fill_background else None)


def live_stages(model: JointModel, inputs: LiveInputs) -> LiveStages:
    """G1 -> G2 -> GMM1 -> warp -> G3, with the live person. No composition by Eq. 10: the compositor has the full-size frame."""
    person = live_person(model, inputs.picture, inputs.labels)
    semantic = model.logits_of(person.maps, inputs.cloth_mask, inputs.keypoints).softmax(1)
    body = model.fill(person.body, person.hidden, semantic)
    coarse = model.coarse(semantic, body, inputs.cloth, inputs.keypoints)
    theta = model.match(inputs.cloth_mask, coarse.mask, inputs.keypoints)
    worn = model.wear(inputs.cloth, inputs.cloth_mask, theta, coarse.mask, semantic, inputs.keypoints)
    final = model.synthesise(coarse.image, coarse.mask, worn.cloth, inputs.keypoints)
    return LiveStages(final.rendered, final.composition, coarse.mask, semantic, theta, worn.residual)


def to_bytes(model: JointModel, stages: LiveStages) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(rendered (N, H, W, 3), composition (N, H, W), clothes mask (N, H, W), semantic (N, H, W)), all uint8.

    Masks are 255 where they are 1. semantic: the likeliest label of every pixel of G1, at half resolution four times: a
    twentieth of the network's time less than to interpolate 20 probabilities first.
    """
    rendered = ((stages.rendered + 1) * 127.5).round().clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8)
    # The cast comes last: TensorRT has no uint8 in between.
    composition, clothes = ((m[:, 0] * 255).round().to(torch.uint8) for m in (stages.composition, stages.clothes_mask))
    semantic = stages.semantic.argmax(1).float()
    if model.semantic_stride == 2:
        semantic = F.interpolate(semantic[:, None], scale_factor=2.0, mode="nearest")[:, 0]
    return rendered, composition, clothes, semantic.to(torch.uint8)
