"""Pictures of people for what the network must tell from a garment by itself: worn clothes, trousers and shoes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from spgvton import image
from spgvton.errors import SpgvtonError
from spgvton.perception.cutout import KINDS
from spgvton.perception.multiclass import MulticlassParser
from spgvton.perception.pose import PoseEstimator
from spgvton.video import cv2
from spgvton_training.cutout.photographs import SIDE, UNKNOWN, Piece, shrink

UInt8 = NDArray[np.uint8]
WANTED: Final = {"trousers": (9,), "shoes": (18, 19)}  # CIHP labels
LEAST: Final = 0.004  # of the picture


def load(files: list[Path]) -> list[Piece]:
    """The pictures FILES as worn clothes, and the trousers and shoes that the shipped parser finds in them. Raises SpgvtonError."""
    parser, pose, pieces = MulticlassParser(), PoseEstimator(smooth=False), []
    for file in tqdm(files, desc="people", unit="picture", disable=None, leave=False):
        picture = image.read_colour(file, keep_alpha=False)
        pieces.append(Piece(shrink(picture), None, KINDS.index("worn"), UNKNOWN, file.name))
        picture = shrink(picture, 2 * SIDE)
        pose.reset()
        try:
            labels = parser(picture, pose(picture))
        except SpgvtonError:
            continue  # nobody to be parsed: worn all the same
        for kind, ids in WANTED.items():
            mask = np.isin(labels, ids).astype(np.uint8)
            if mask.mean() > LEAST:
                left, top, w, h = cv2.boundingRect(mask)
                box = np.s_[top : top + h, left : left + w]
                soft = cv2.GaussianBlur(cv2.erode(mask[box], np.ones((3, 3), np.uint8)) * np.uint8(255), (0, 0), 0.7)
                pieces.append(
                    Piece(shrink(picture[box]), shrink(np.asarray(soft)), KINDS.index(kind), UNKNOWN, file.name)
                )
    return pieces
