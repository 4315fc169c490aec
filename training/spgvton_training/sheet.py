"""Contact sheets: pictures of what each module makes of a few samples, one sample a row."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spgvton import keypoints as kp
from spgvton.image import denormalise
from spgvton.labels import colourise
from spgvton.video import cv2
from spgvton_training.comparison.method import Method
from spgvton_training.data.mpv import MPV, Batch, collate
from spgvton_training.evaluate import Settings, predict
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
    return np.repeat((mask[0].cpu().numpy() * 255).round().astype(np.uint8)[..., None], 3, 2)


def _rgb(image: Tensor) -> UInt8:
    return denormalise(image.cpu().numpy())


@torch.no_grad()
def stages(model: JointModel | Method, batch: Batch, settings: Settings | None = None) -> list[list[UInt8]]:
    """Pictures (H, W, 3) of every stage, one list per sample, in the order of COLUMNS. BATCH is on MODEL's device.

    The map of a method that predicts none is left grey.
    """
    x, size = batch.inputs, model.config.size
    made, labels = predict(model, batch, settings or Settings())
    true_maps = batch.target_labels.to(torch.uint8).cpu().numpy()
    maps = None if labels is None else labels.to(torch.uint8).cpu().numpy()
    keypoints = x.keypoints.cpu().numpy()
    return [
        [
            _rgb(x.body[i]),
            _rgb(x.cloth[i]),
            skeleton(keypoints[i], size),
            np.full((*size, 3), 128, np.uint8) if maps is None else colourise(maps[i]),
            colourise(true_maps[i]),
            _rgb(made.coarse.image[i]),
            _grey(made.coarse.mask[i]),
            _rgb(made.warped[i]),
            _grey(made.final.composition[i]),
            _rgb(made.final.image[i]),
            _rgb(batch.target[i]),
        ]
        for i in range(len(x.body))
    ]


def sample_rows(model: JointModel | Method, data: MPV, count: int, rows: int, settings: Settings) -> list[list[UInt8]]:
    """stages() of ROWS samples spread over the first COUNT triples of DATA."""
    rows = min(rows, count)
    chosen = [i * count // rows for i in range(rows)]
    return [row for i in chosen for row in stages(model, collate([data[i]]).to(settings.device), settings)]


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
