"""Scores of a checkpoint on a test split (section IV-B), with predicted semantic maps as at inference.

Per picture, mean and standard deviation over the pictures: SSIM, PSNR, Mask-SSIM as the paper has it and the stricter
region SSIM (see metrics.py for the two), IoU of the clothes mask, LPIPS; SSIM of the coarse result alone and of the
source picture copied, as baselines. Of the whole set: mean IoU of the predicted semantic map; IS and Mask-IS over 10
splits, FID, KID.

Regions come from the target's own map: face = face and hair, clothes, without_clothes = all but the clothes. A picture
in which a region is empty (a head from behind) does not count for that region. Where no ground truth exists, regions
come from the predicted map and only IS, Mask-IS, FID and KID are left; so the paper measures IS.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from spgvton import labels as lb
from spgvton.errors import SpgvtonError, UsageError
from spgvton_training import metrics
from spgvton_training.comparison.method import Made, Method
from spgvton_training.data.mpv import MPV, Batch, collate, limit_threads
from spgvton_training.distribution_metrics import DistributionScores
from spgvton_training.networks.joint import JointModel, Stages, halve
from spgvton_training.pretrained.inception import Inception
from spgvton_training.pretrained.lpips import LPIPS

REGIONS: Final = ("face", "clothes", "without_clothes")
PER_PICTURE: Final = (
    "ssim", "psnr", *(f"mask_ssim.{r}" for r in REGIONS), *(f"region_ssim.{r}" for r in REGIONS), "clothes_mask_iou",
    "ssim_coarse", "ssim_copy_source",
)  # fmt: skip
INCEPTION_METRICS: Final = ("is", "mask_is", "fid", "kid")
NO_MAP: Final = "{} predicts no semantic map"
NO_TRUTH: Final = "nobody wears these garments in the data set: there is no ground truth to compare with"


@dataclass(frozen=True)
class Settings:
    """How to evaluate. true_maps: row "w/ S_t" of Table IV. truth: the targets wear the garments."""

    limit: int | None = None
    batch: int = 4
    workers: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    true_maps: bool = False
    truth: bool = True


@dataclass(frozen=True)
class Evaluation:
    """summary: keys of the `evaluate` verb. rows: one dict per triple with its files and scores (NaN: no such region)."""

    summary: dict[str, Any]
    rows: list[dict[str, Any]]


@contextmanager
def true_maps(model: JointModel | Method, labels: Tensor) -> Iterator[None]:
    """Inside, G1 answers with log S_t, so that the predicted map is the true one. labels: ids (N, H, W) of S_t.

    Raises UsageError for a method that predicts none.
    """
    s = F.one_hot(labels, lb.NUM_LABELS).permute(0, 3, 1, 2).float()
    stride, network = (1, model.semantic_network) if isinstance(model, Method) else (model.semantic_stride, model.g1)
    if network is None:
        raise UsageError(f"{NO_MAP.format(model.config.method)}: leave --true-maps out")
    logits = (halve(s) if stride == 2 else s).log()
    hook = network.register_forward_hook(lambda *_: logits)
    try:
        yield
    finally:
        hook.remove()


def regions(labels: Tensor, label_set: str) -> dict[str, Tensor]:
    """Masks (N, 1, H, W) of REGIONS in label ids (N, H, W)."""
    head, clothes = (
        torch.isin(labels, torch.tensor(ids, device=labels.device))[:, None].float()
        for ids in (lb.HEAD, lb.clothes(label_set))
    )
    return dict(zip(REGIONS, (head, clothes, 1 - clothes)))


def predict(model: JointModel | Method, batch: Batch, settings: Settings) -> tuple[Stages | Made, Tensor | None]:
    """What every module makes of BATCH, and the semantic map's label ids (N, H, W), if the method predicts one.

    Raises SpgvtonError when the network gives values that are not finite.
    """
    with true_maps(model, batch.target_labels) if settings.true_maps else nullcontext():
        made = model.stages(batch.inputs)
    if not made.final.image.isfinite().all():
        raise SpgvtonError(
            "the network gives values that are not finite: its training diverged or the file is damaged; give another "
            "--checkpoint"
        )
    if made.semantic is None:
        return made, None
    return made, F.interpolate(made.semantic, size=model.config.size, mode="bilinear", align_corners=False).argmax(1)


def score(made: Stages | Made, batch: Batch, masks: dict[str, Tensor]) -> dict[str, Tensor]:
    """Per-picture scores (N,), keys PER_PICTURE; NaN where a region is empty."""
    image, target = made.final.image, batch.target
    values = metrics.ssim_map(image, target)
    return {
        "ssim": values.mean((1, 2, 3)),
        "psnr": metrics.psnr(image, target),
        **{f"mask_ssim.{r}": metrics.mask_ssim(image, target, m) for r, m in masks.items()},
        **{f"region_ssim.{r}": metrics.region_ssim(values, m) for r, m in masks.items()},
        "clothes_mask_iou": metrics.mask_iou(made.coarse.mask, masks["clothes"]),
        "ssim_coarse": metrics.ssim(made.coarse.image, target),
        "ssim_copy_source": metrics.ssim(batch.inputs.body, target),
    }


@torch.no_grad()
def evaluate(
    model: JointModel | Method,
    data: MPV,
    settings: Settings | None = None,
    *,
    inception: Inception | None = None,
    lpips: LPIPS | None = None,
) -> Evaluation:
    """Score MODEL on the first `limit` triples of DATA. Without a network its metrics are listed as missing."""
    s = settings or Settings()
    model = model.to(s.device).eval()
    sets = DistributionScores(inception.to(s.device)) if inception else None
    lpips = lpips.to(s.device) if lpips else None
    count = len(data) if s.limit is None else min(s.limit, len(data))
    limit_threads()
    loader = DataLoader(Subset(data, range(count)), s.batch, collate_fn=collate, num_workers=s.workers)
    rows: list[dict[str, Any]] = []
    matrix = torch.zeros(lb.NUM_LABELS, lb.NUM_LABELS, dtype=torch.int64)
    seen: set[str] = set()
    with tqdm(total=count, desc="evaluate", unit="picture") as bar:
        for samples in loader:
            batch: Batch = samples.to(s.device)
            made, labels = predict(model, batch, s)
            ids = batch.target_labels if s.truth else labels
            masks = {} if ids is None else regions(ids, model.config.label_set)
            found: dict[str, Tensor] = {}
            if s.truth:
                found = score(made, batch, masks)
                if labels is not None:
                    matrix += metrics.confusion(labels, batch.target_labels, lb.NUM_LABELS).cpu()
                if lpips:
                    found["lpips"] = lpips(made.final.image, batch.target)
            triples = data.triples[len(rows) : len(rows) + len(batch.target)]
            if sets:
                sets.update("generated", made.final.image, masks)
                first = {t.target: i for i, t in reversed(list(enumerate(triples))) if t.target not in seen}
                seen |= first.keys()
                if fresh := list(first.values()):  # a photograph counts once, however many triples it is the target of
                    own = regions(batch.target_labels[fresh], model.config.label_set)
                    sets.update("real", batch.target[fresh], own)
            columns = {k: v.tolist() for k, v in found.items()}
            for i, t in enumerate(triples):
                files = {"source": t.source, "target": t.target, "cloth": t.cloth}
                rows.append({"index": len(rows), **files, **{k: c[i] for k, c in columns.items()}})
            bar.update(len(triples))
    no_map = ""
    if isinstance(model, Method) and model.semantic_network is None:
        no_map = NO_MAP.format(model.config.method)
    return Evaluation(_summary(rows, matrix, s, sets, lpips, no_map), rows)


def _summary(
    rows: list[dict[str, Any]], matrix: Tensor, s: Settings, sets: DistributionScores | None, lpips: LPIPS | None,
    no_map: str,
) -> dict[str, Any]:  # fmt: skip
    """no_map: why there is no semantic map to score, if there is none."""
    means: dict[str, float | None] = {}
    stds: dict[str, float | None] = {}
    missing: dict[str, str] = {}
    empty = dict.fromkeys(REGIONS, 0)
    for key in (*PER_PICTURE, "lpips"):
        if not s.truth:
            missing[key.partition(".")[0]] = NO_TRUTH
        elif key == "lpips" and lpips is None:
            missing[key] = "no weights: give --lpips-weights FILE"
        else:
            values = torch.tensor([row[key] for row in rows], dtype=torch.float64)
            known = values[values.isfinite()]
            means[key] = round(float(known.mean()), 4) if len(known) else None
            stds[key] = round(float(known.std(correction=0)), 4) if len(known) else None
            if key.startswith("mask_ssim."):
                empty[key.partition(".")[2]] = len(values) - len(known)
            if not len(known):
                missing[key] = "no picture has this region"
    if s.truth and not s.true_maps and not no_map:
        means["semantic_miou"] = round(metrics.mean_iou(matrix), 4)
    else:
        missing["semantic_miou"] = no_map or ("the true maps are given" if s.true_maps else NO_TRUTH)
    if sets is None:
        missing |= dict.fromkeys(INCEPTION_METRICS, "no weights: give --inception-weights FILE")
    else:
        scores, reasons = sets.compute(REGIONS)
        missing |= reasons
        for key, (mean, std) in scores.items():
            means[key] = round(mean, 6)
            if std is not None:
                stds[key] = round(std, 6)
    summary = _nest(means)
    summary["std"] = _nest(stds)
    summary["n"] = len(rows)
    summary["empty_regions"] = empty
    summary["missing"] = list(missing)
    summary["missing_because"] = missing
    return summary


def _nest(flat: dict[str, float | None]) -> dict[str, Any]:
    """{"a.b": 1} -> {"a": {"b": 1}}."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        group, _, name = key.partition(".")
        if name:
            nested.setdefault(group, {})[name] = value
        else:
            nested[group] = value
    return nested
