"""Samples as bytes: what a loader's worker sends is a seventh of what a training step takes.

A Batch is 7 MB per triple at 256x192, most of it zeros and ones in float32, and moving that from process to process costs
several times more than making it. A Packed holds the pictures and maps it is made of; `to(device)` makes the Batch there.
The definition of a Batch stays that of MPV.__getitem__ (spgvton.person); a test holds the two together bit for bit.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from spgvton import labels as lb
from spgvton_training.data.batch import Batch
from spgvton_training.networks.joint import Inputs


class Packed(NamedTuple):
    """One sample, or a batch of them (N, ...). Pictures and maps are uint8, at network size."""

    picture: Tensor  # I_s (N, H, W, 3)
    labels: Tensor  # S_s (N, H, W)
    source_keypoints: Tensor  # (N, 18, 3) float32
    cloth: Tensor  # (N, H, W, 3), not yet blended with white
    cloth_mask: Tensor  # (N, H, W), 255 = garment
    keypoints: Tensor  # (N, 18, 3) float32
    target: Tensor  # I_t (N, H, W, 3)
    target_labels: Tensor  # (N, H, W)
    flow: Tensor  # (N, H, W, 2) float32 as in Batch; (N, 0, 0, 2) where the data set has none
    is_clothes: Tensor  # (N, 20) bool: the labels that a try-on replaces, in this label set

    def to(self, device: torch.device) -> Batch:
        """The Batch of these samples, made on DEVICE."""
        p = Packed(*(t.to(device, non_blocking=True) for t in self))
        # By a tensor, for CUDA multiplies by the reciprocal of a Python number, which rounds differently.
        half, full = (torch.tensor(v, dtype=torch.float32, device=device) for v in (127.5, 255.0))

        def normalise(picture: Tensor) -> Tensor:
            return picture.permute(0, 3, 1, 2).contiguous().float() / half - 1

        ids = torch.arange(lb.NUM_LABELS, device=device, dtype=torch.uint8)[None, :, None, None]
        one_hot = p.labels[:, None] == ids
        kept = ~p.is_clothes
        kept[:, list(lb.HEAD)] = False
        worn = (one_hot & p.is_clothes[..., None, None]).any(1, keepdim=True)
        alpha = p.cloth_mask[:, None].float() / full
        inputs = Inputs(
            reference_map=(one_hot & kept[..., None, None]).float(),
            head=one_hot[:, list(lb.HEAD)].float(),
            body=normalise(p.picture) * (1 - worn.float()),
            source_keypoints=p.source_keypoints,
            cloth=normalise(p.cloth) * alpha + (1 - alpha),
            cloth_mask=alpha,
            keypoints=p.keypoints,
        )
        n, h, w = p.target_labels.shape
        flow = p.flow if p.flow.numel() else torch.full((n, h, w, 2), torch.nan, device=device)
        return Batch(inputs, normalise(p.target), p.target_labels.long(), flow)
