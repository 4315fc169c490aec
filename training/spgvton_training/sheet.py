"""Contact sheets: pictures of what each module makes of a few samples, one sample a row."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from spgvton import keypoints as kp
from spgvton.image import denormalise
from spgvton.labels import colourise
from spgvton.video import cv2
from spgvton_training.data.mpv import Batch
from spgvton_training.networks.joint import JointModel

UInt8 = NDArray[np.uint8]
COLUMNS = (
    "source w/o clothes", "garment", "target pose", "predicted map", "true map", "coarse", "mask", "warped",
    "composition", "try-on", "ground truth",
)  # fmt: skip


def skeleton(keypoints: NDArray[np.float32], size: tuple[int, int]) -> UInt8:
    """The pose as a stick figure on dark ground, (H, W, 3)."""
    canvas = np.full((*size, 3), 24, np.uint8)
    for i, (a, b) in enumerate(kp.SKELETON):
        if keypoints[a, 2] > 0 and keypoints[b, 2] > 0:
            hue = np.array([[[i * 10, 200, 255]]], np.uint8)
            colour = tuple(int(v) for v in cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0])
            points = [tuple(int(v) for v in np.rint(keypoints[j, :2])) for j in (a, b)]
            cv2.line(canvas, points[0], points[1], colour, 3, cv2.LINE_AA)
    return canvas


def _grey(mask: Tensor) -> UInt8:
    return np.repeat((mask[0].numpy() * 255).round().astype(np.uint8)[..., None], 3, 2)


@torch.no_grad()
def stages(model: JointModel, batch: Batch) -> list[list[UInt8]]:
    """Pictures (H, W, 3) of every stage, one list per sample, in the order of COLUMNS."""
    x, size = batch.inputs, model.config.size
    made = model.stages(x)
    labels = F.interpolate(made.semantic, size=size, mode="bilinear", align_corners=False).argmax(1).to(torch.uint8)

    rows = []
    for i in range(len(x.body)):
        rows.append(
            [
                denormalise(x.body[i].numpy()),
                denormalise(x.cloth[i].numpy()),
                skeleton(x.keypoints[i].numpy(), size),
                colourise(labels[i].numpy()),
                colourise(batch.target_labels[i].to(torch.uint8).numpy()),
                denormalise(made.coarse.image[i].numpy()),
                _grey(made.coarse.mask[i]),
                denormalise(made.warped[i].numpy()),
                _grey(made.final.composition[i]),
                denormalise(made.final.image[i].numpy()),
                denormalise(batch.target[i].numpy()),
            ]
        )
    return rows


def contact_sheet(rows: list[list[UInt8]], titles: tuple[str, ...] = COLUMNS) -> UInt8:
    """One picture of all ROWS with a line of TITLES above, white gaps between."""
    h, w = rows[0][0].shape[:2]
    gap, head = 4, 26
    sheet = np.full((head + len(rows) * (h + gap), len(titles) * (w + gap) - gap, 3), 255, np.uint8)
    for column, title in enumerate(titles):
        origin = (column * (w + gap) + 4, 18)
        cv2.putText(sheet, title, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            y, x = head + r * (h + gap), c * (w + gap)
            sheet[y : y + h, x : x + w] = picture
    return sheet
