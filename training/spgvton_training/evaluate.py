"""Scores of a checkpoint on a test split (section IV-B), with predicted semantic maps as at inference."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader
from tqdm import tqdm

from spgvton import labels as lb
from spgvton_training import metrics
from spgvton_training.data.mpv import MPV, Batch, collate
from spgvton_training.networks.joint import JointModel


def _region(labels: Tensor, ids: tuple[int, ...]) -> Tensor:
    return torch.isin(labels, torch.tensor(ids, device=labels.device))[:, None].float()


@torch.no_grad()
def score(model: JointModel, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
    """Per-image scores (N,) of one batch, and the confusion matrix of the semantic map.

    Regions are taken from the target's own map: face = face and hair, clothes, without_clothes = all but the clothes.
    """
    x, size = batch.inputs, model.config.size
    made = model.stages(x)
    image = made.final.image
    clothes = _region(batch.target_labels, lb.clothes(model.config.label_set))
    labels = F.interpolate(made.semantic, size=size, mode="bilinear", align_corners=False).argmax(1)
    scores = {
        "ssim": metrics.ssim(image, batch.target),
        "psnr": metrics.psnr(image, batch.target),
        "mask_ssim.face": metrics.ssim(image, batch.target, _region(batch.target_labels, lb.HEAD)),
        "mask_ssim.clothes": metrics.ssim(image, batch.target, clothes),
        "mask_ssim.without_clothes": metrics.ssim(image, batch.target, 1 - clothes),
        "clothes_mask_iou": metrics.mask_iou(made.coarse.mask, clothes),
        "ssim_coarse": metrics.ssim(made.coarse.image, batch.target),
        "ssim_copy_source": metrics.ssim(x.body, batch.target),
    }
    return scores, metrics.confusion(labels, batch.target_labels, lb.NUM_LABELS)


def evaluate(model: JointModel, data: MPV, *, limit: int | None = None, batch: int = 4) -> dict[str, Any]:
    """Mean scores over the first LIMIT triples of DATA, with the keys of the `evaluate` verb."""
    model.eval()
    count = len(data) if limit is None else min(limit, len(data))
    subset = torch.utils.data.Subset(data, range(count))
    columns: dict[str, list[Tensor]] = {}
    matrix = torch.zeros(lb.NUM_LABELS, lb.NUM_LABELS, dtype=torch.int64)
    for samples in tqdm(DataLoader(subset, batch, collate_fn=collate), desc="evaluate", unit="batch"):
        scores, confusion = score(model, samples)
        matrix += confusion
        for k, v in scores.items():
            columns.setdefault(k, []).append(v)
    result: dict[str, Any] = {"mask_ssim": {}}
    for k, column in columns.items():
        values = torch.cat(column)
        mean = round(float(values[values.isfinite()].mean()), 4)
        group, _, name = k.partition(".")
        if name:
            result[group][name] = mean
        else:
            result[group] = mean
    result["semantic_miou"] = round(metrics.mean_iou(matrix), 4)
    result["n"] = count
    result["missing"] = ["is", "mask_is", "lpips", "fid", "kid"]  # need pretrained weights; come with issue B
    return result
