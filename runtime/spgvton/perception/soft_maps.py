"""Soft maps: how likely each label is at each pixel, and the Parse that follows from them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import labels as lb
from spgvton.errors import SpgvtonError
from spgvton.perception.human_parsing import NOBODY
from spgvton.perception.parse import Parse, most_likely
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]

SOMEBODY_ELSE: Final = lb.NUM_LABELS  # the channel of bystanders: not the customer, and not free room either
NUM_MAPS: Final = lb.NUM_LABELS + 1
SURE: Final = 230  # of 255: the background's share where surely nobody is
IMPOSSIBLE: Final = 26  # of 255: a label that is nowhere likelier than that wins nowhere
ROUNDING: Final = NUM_MAPS  # how far from 255 the sum of a pixel's maps may be
MIN_PIXELS: Final = 12  # less is no person
SPECK: Final = 0.03  # of the customer's largest piece; a forearm with its hand, cut off by a bag, has more


def check_maps(maps: UInt8, what: str) -> UInt8:
    """MAPS (21, h, w) as they are. Raises SpgvtonError where they are no probabilities: what NaN becomes as bytes."""
    total = np.add.reduce(maps, axis=0, dtype=np.int16)
    if np.abs(total - 255).max() > ROUNDING:
        raise SpgvtonError(f"{what} gave NaN or no probabilities: the file is damaged, install or export it again")
    return maps


def parse_of(maps: UInt8, size: tuple[int, int]) -> Parse:
    """The Parse at SIZE (height, width) of MAPS, uint8 (21, h, w) over the same view: shares of 255 that add up to 255.

    Maps are interpolated, then compared: smoother outlines than those of enlarged labels. Raises SpgvtonError where the customer is
    nowhere.
    """
    channels = [i for i in range(NUM_MAPS) if i == lb.BACKGROUND or maps[i].max() > IMPOSSIBLE]
    large = np.empty((len(channels), *size), np.uint8)
    for i, out in zip(channels, large):
        cv2.resize(maps[i], size[::-1], dst=out, interpolation=cv2.INTER_LINEAR)
    ids = np.array(channels, np.uint8)
    ids[ids == SOMEBODY_ELSE] = lb.BACKGROUND
    labels = _without_specks(np.asarray(cv2.LUT(most_likely(large), _table(ids)), np.uint8))
    if np.count_nonzero(labels) < MIN_PIXELS:
        raise SpgvtonError(NOBODY)
    return Parse(labels, np.where(large[0] >= SURE, 255, 0).astype(np.uint8))


def _without_specks(labels: UInt8) -> UInt8:
    """LABELS (H, W) without pieces of the customer that hang together with nothing: a wrist that the pose sees in a tree."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats((labels > 0).astype(np.uint8), connectivity=8)
    area = stats[:, cv2.CC_STAT_AREA].copy()
    area[0] = 0
    keep = area >= SPECK * area.max()
    return labels if keep[1:].all() or count < 3 else np.where(keep[pieces], labels, 0).astype(np.uint8)


def _table(ids: UInt8) -> UInt8:
    table = np.zeros(256, np.uint8)
    table[: len(ids)] = ids
    return table
