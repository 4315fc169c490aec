"""What the network minimises: cross-entropy and soft Dice, at the resolution of its logits."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from spgvton import labels as lb
from spgvton_training.parsing.network import NUM_CLASSES
from spgvton_training.parsing.sources import UNKNOWN

RARE: Final = (lb.HAT, lb.SUNGLASSES, lb.COAT, lb.DRESS, lb.TORSO_SKIN, lb.SCARF, lb.SKIRT, lb.LEFT_ARM, lb.RIGHT_ARM)
RARE_WEIGHT: Final = 1.6
BACKGROUND_WEIGHT: Final = 0.7


def class_weights() -> Tensor:
    """(21,): small labels count more, the background less."""
    weights = torch.ones(NUM_CLASSES)
    weights[list(RARE)] = RARE_WEIGHT
    weights[lb.BACKGROUND] = BACKGROUND_WEIGHT
    return weights


def terms(logits: Tensor, labels: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """ "entropy" and "dice" of LOGITS (N, 21, h, w) for LABELS int64 (N, 4, h, w), those of the four pixels under each logit.

    255 is not learnt. A logit between two labels thus learns the share of each. Dice is taken over the whole batch, for the
    labels that are in it. weights: of the labels in the cross-entropy (21,).
    """
    logp = logits.log_softmax(1)
    known = labels != UNKNOWN
    index = labels.masked_fill(~known, 0)
    picked = logp.gather(1, index)
    weight = weights[index] * known
    entropy = -(picked * weight).sum() / weight.sum().clamp(min=1)

    flat = index[known]
    pixels = torch.zeros(NUM_CLASSES, device=logits.device).index_add_(
        0, flat, torch.ones_like(flat, dtype=torch.float32)
    )
    hit = torch.zeros(NUM_CLASSES, device=logits.device).index_add(0, flat, picked.exp()[known])
    claimed = (logp.exp() * known.sum(1, keepdim=True)).sum((0, 2, 3))
    dice = 1 - (2 * hit + 1) / (pixels + claimed + 1)
    present = pixels > 0
    return {"entropy": entropy, "dice": 0.5 * dice[present].mean()}
