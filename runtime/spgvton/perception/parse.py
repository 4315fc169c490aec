"""What a parser says about the framed picture: labels for the networks, and where the room is free for the clean plate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spgvton import labels as lb
from spgvton.image import Letterbox
from spgvton.perception.parsing import Parser

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]


@dataclass(frozen=True)
class Parse:
    """The customer in the network's frame; bystanders are background.

    labels: uint8 (H, W), CIHP ids. free: uint8 (H, W), 255 where surely nobody is, neither the customer nor a bystander: what may
    be learnt of the room. crowded: somebody else is in touch with the customer, and parts of them may be among the labels.
    """

    labels: UInt8
    free: UInt8
    crowded: bool = False

    @staticmethod
    def of(labels: UInt8) -> Parse:
        """From labels (H, W) alone: what is background is free. Raises SpgvtonError for no such map."""
        labels = lb.check_semantic_map(labels)
        return Parse(labels, np.where(labels == lb.BACKGROUND, 255, 0).astype(np.uint8))


def most_likely(scores: NDArray[Any]) -> UInt8:
    """The channel (H, W) of the highest of SCORES (C, H, W), the lowest one of equals; NumPy's argmax takes five times as long."""
    best, classes = scores[0].copy(), np.zeros(scores.shape[1:], np.uint8)
    for i, channel in enumerate(scores[1:], start=1):
        classes[channel > best] = i
        np.maximum(best, channel, out=best)
    return classes


def framed(parser: Parser, picture: UInt8, keypoints: Float, box: Letterbox) -> Parse:
    """What PARSER says about PICTURE, RGB uint8 (h, w, 3) with KEYPOINTS (18, 3) in its pixels, in BOX's frame.

    Uses the parser's own framed() where it has one, which never works at the picture's size. Raises SpgvtonError.
    """
    own = getattr(parser, "framed", None)
    if own is not None:
        parse: Parse = own(picture, keypoints, box)
        return parse
    labels = parser(picture, keypoints)
    return Parse.of(np.asarray(box.apply(labels, border=lb.BACKGROUND, nearest=True), np.uint8))
