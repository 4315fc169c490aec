"""What a parser says about the framed picture: hard labels for the networks, soft masks for compositing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import labels as lb
from spgvton.image import Letterbox
from spgvton.perception.parsing import Parser
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

SOFT: Final = ("person", "clothes", "skin", "hair")
SKIN: Final = (lb.TORSO_SKIN, lb.FACE, lb.LEFT_ARM, lb.RIGHT_ARM, lb.LEFT_LEG, lb.RIGHT_LEG)
# The labels of each of SOFT; of "person" all but the background.
SOFT_LABELS: Final = (tuple(range(1, lb.NUM_LABELS)), lb.clothes("cihp"), SKIN, (lb.HAIR, lb.HAT))
SMOOTHING: Final = (5, 5)  # pixels of the network's frame


@dataclass(frozen=True)
class Parse:
    """The customer in the network's frame; bystanders are background.

    labels: uint8 (H, W), CIHP ids. soft: uint8 (4, H, W), 0...255: the masks of SOFT, that is the customer, her upper clothes with
    dress and coat, all of her skin (face, neck, arms, legs), and her hair with a hat.
    free: uint8 (H, W), 255 where surely nobody is, neither the customer nor a bystander: what may be learnt of the room.
    """

    labels: UInt8
    soft: UInt8
    free: UInt8

    @staticmethod
    def of(labels: UInt8) -> Parse:
        """From labels (H, W) alone: soft masks are the labels' own, lightly smoothed. Raises SpgvtonError for no such map."""
        labels = lb.check_semantic_map(labels)
        table = np.zeros((len(SOFT), 256), np.uint8)
        for row, ids in zip(table, SOFT_LABELS):
            row[list(ids)] = 255
        soft = np.stack([cv2.GaussianBlur(row[labels], SMOOTHING, 0) for row in table])
        return Parse(labels, soft, np.where(labels == lb.BACKGROUND, 255, 0).astype(np.uint8))


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
