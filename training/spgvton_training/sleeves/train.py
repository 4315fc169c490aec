"""Training of the sleeve network: one loop of minutes, one process."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from spgvton.errors import SpgvtonError
from spgvton_training.cutout.train import LAST_RATE, averaging
from spgvton_training.schedule import rate_factor
from spgvton_training.sleeves.network import SleeveCheckpoint, SleeveNetwork
from spgvton_training.sleeves.rendered import Flat
from spgvton_training.sleeves.samples import sample


@dataclass(frozen=True)
class Recipe:
    """What a run is to do."""

    iterations: int = 1500
    batch: int = 12
    rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 30
    average: float = 0.99  # of the weights that are kept
    point: float = 20.0  # how much more a bell's middle counts than what is empty
    seed: int = 1


def losses(logits: Tensor, maps: Tensor, recipe: Recipe) -> dict[str, Tensor]:
    """cloth: cross-entropy and soft Dice. points: cross-entropy, more where the bells are. Both (n, 3, h, w)."""
    share, truth = logits[:, 0].sigmoid(), maps[:, 0]
    dice = 1 - (2 * (share * truth).sum() + 1) / (share.sum() + truth.sum() + 1)
    points = F.binary_cross_entropy_with_logits(logits[:, 1:], maps[:, 1:], reduction="none")
    return {
        "cloth": F.binary_cross_entropy_with_logits(logits[:, 0], truth) + 0.5 * dice,
        "points": (points * (1 + recipe.point * maps[:, 1:])).mean(),
    }


def train(flats: list[Flat], recipe: Recipe, provenance: dict[str, Any]) -> SleeveCheckpoint:
    """A network trained on FLATS. Raises SpgvtonError for a loss that is not finite."""
    torch.manual_seed(recipe.seed)
    network = SleeveNetwork().train()
    average = AveragedModel(network, multi_avg_fn=averaging(recipe.average), use_buffers=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)
    rng, started = np.random.default_rng(recipe.seed), time.monotonic()
    sums: dict[str, float] = {}
    for i in (bar := tqdm(range(recipe.iterations), unit="it")):
        factor = rate_factor(i, recipe.iterations, warm_up=recipe.warmup, last=LAST_RATE)
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * factor
        drawn = [sample(flats[int(rng.integers(len(flats)))], rng) for _ in range(recipe.batch)]
        pictures = torch.from_numpy(np.stack([s.picture for s in drawn])).permute(0, 3, 1, 2).float()
        terms = losses(network(pictures), torch.from_numpy(np.stack([s.maps for s in drawn])), recipe)
        loss = torch.stack(list(terms.values())).sum()
        if not loss.isfinite():
            raise SpgvtonError(f"iteration {i}: the loss is not finite; lower the learning rate")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        average.update_parameters(network)
        sums = {name: 0.9 * sums.get(name, float(v.detach())) + 0.1 * float(v.detach()) for name, v in terms.items()}
        bar.set_postfix({name: f"{value:.3f}" for name, value in sums.items()}, refresh=False)
    made = {
        "recipe": asdict(recipe),
        "hours": round((time.monotonic() - started) / 3600, 3),
        "torch": torch.__version__,
    }
    weights = {k: v.detach().clone().contiguous() for k, v in average.module.state_dict().items()}
    losses_now = {name: round(value, 4) for name, value in sums.items()}
    return SleeveCheckpoint(weights, provenance | made | {"garments": len(flats), "losses": losses_now})
