"""IS and Mask-IS [48], FID and KID: metrics of a whole set of pictures, by torchmetrics on Inception activations.

Each picture passes through the network once, here; torchmetrics is given the activations. Its own network needs
torch-fidelity, and with it torchvision.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn

from spgvton_training.metrics import extract
from spgvton_training.pretrained.inception import FEATURES

SPLITS: Final = 10  # of IS, mean +- std over them
PER_SPLIT: Final = 10  # fewer pictures cannot show what IS asks for: that they differ
KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000
_SEED = 0  # torchmetrics shuffles; the same pictures get the same scores


class Activations(nn.Identity):
    """What torchmetrics calls the feature network: the input is the features already."""

    def __init__(self, num_features: int = FEATURES) -> None:
        super().__init__()
        self.num_features = num_features


def inception_score(logits: Tensor) -> tuple[float, float]:
    """IS of logits (N, classes), mean and std over 10 splits; N at least 100."""
    from torchmetrics.image.inception import InceptionScore

    metric = _quiet(InceptionScore, feature=Activations(), splits=SPLITS)
    metric.update(logits.double())  # in single precision a very sure network's small probabilities are 0, and IS NaN
    return _pair(metric)


def frechet_distance(generated: Tensor, real: Tensor) -> float:
    """FID of two sets of features (N, D) and (M, D), each of at least 2. Biased upwards for few pictures."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = _quiet(FrechetInceptionDistance, feature=Activations(generated.shape[1]))
    metric.update(real, real=True)
    metric.update(generated, real=False)
    return float(metric.compute())


def kernel_distance(generated: Tensor, real: Tensor) -> tuple[float, float]:
    """KID of two sets of features (N, D) and (M, D): mean and std over 100 subsets of kid_subset() each. Unbiased."""
    from torchmetrics.image.kid import KernelInceptionDistance

    size = kid_subset(len(generated), len(real))
    metric = _quiet(KernelInceptionDistance, feature=Activations(), subsets=KID_SUBSETS, subset_size=size)
    metric.update(real, real=True)
    metric.update(generated, real=False)
    return _pair(metric)


def kid_subset(generated: int, real: int) -> int:
    """1000 as is usual, or half of the smaller set where that is less, so that subsets differ."""
    return min(KID_SUBSET_SIZE, min(generated, real) // 2)


def _quiet(metric: Any, **arguments: Any) -> Any:
    with warnings.catch_warnings():  # that features are kept in memory: the caller has them anyway
        warnings.simplefilter("ignore", UserWarning)
        return metric(**arguments)


def _pair(metric: Any) -> tuple[float, float]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        mean, std = metric.compute()
    return float(mean), float(std)


@dataclass
class DistributionScores:
    """Collects activations of generated and of real pictures batch by batch.

    network: images (N, 3, H, W) in [-1, 1] -> features (N, D) and logits (N, classes), as Inception gives them.
    """

    network: Callable[[Tensor], tuple[Tensor, Tensor]]
    _features: dict[str, list[Tensor]] = field(default_factory=dict)
    _logits: dict[str, list[Tensor]] = field(default_factory=dict)

    @torch.no_grad()
    def update(self, kind: str, images: Tensor, regions: dict[str, Tensor]) -> None:
        """Add images (N, 3, H, W) in [-1, 1] of KIND "generated" or "real", with masks (N, 1, H, W) per region.

        Pictures whose region is empty are left out of that region's Mask-IS.
        """
        features, logits = self.network(images)
        self._features.setdefault(kind, []).append(features.cpu())
        self._logits.setdefault(kind, []).append(logits.cpu())
        for name, mask in regions.items():
            there = mask.sum((1, 2, 3)) > 0
            if there.any():
                _, logits = self.network(extract(images, mask)[there])
                self._logits.setdefault(f"{kind} {name}", []).append(logits.cpu())

    def compute(self, regions: tuple[str, ...]) -> tuple[dict[str, tuple[float, float | None]], dict[str, str]]:
        """Scores {metric: (mean, std)}, and {metric: reason} for those that these pictures do not allow.

        Metrics: is, mask_is.REGION, the same of the real pictures as real_is, ..., fid and kid.
        """
        scores: dict[str, tuple[float, float | None]] = {}
        missing: dict[str, str] = {}
        least = SPLITS * PER_SPLIT
        for kind, prefix in (("generated", ""), ("real", "real_")):
            for key, source in (("is", kind), *((f"mask_is.{r}", f"{kind} {r}") for r in regions)):
                logits = torch.cat(self._logits.get(source, [torch.empty(0, 1)]))
                if len(logits) >= least:
                    scores[prefix + key] = inception_score(logits)
                else:
                    missing[prefix + key] = f"{SPLITS} splits need at least {least} pictures, there are {len(logits)}"
        generated, real = (torch.cat(self._features[k]) for k in ("generated", "real"))
        if min(len(generated), len(real)) >= 4:  # two subsets of two
            scores["fid"] = frechet_distance(generated, real), None
            scores["kid"] = kernel_distance(generated, real)
        else:
            reason = f"at least 4 generated and 4 real pictures are needed, there are {len(generated)} and {len(real)}"
            missing |= {"fid": reason, "kid": reason}
        for key in [k for k, (mean, _) in scores.items() if not math.isfinite(mean)]:
            del scores[key]
            missing[key] = "not a finite number: are these the published Inception weights?"
        return scores, missing
