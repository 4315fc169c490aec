"""The rows of Tables IV, V and VI as changes of a configuration. `w/ S_t` changes the test only: `evaluate --true-maps`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from spgvton.errors import UsageError
from spgvton_training.config import RunConfig


def _losses(**changes: Any) -> Callable[[RunConfig], RunConfig]:
    return lambda config: replace(config, losses=replace(config.losses, **changes))


def _two_stages(config: RunConfig) -> RunConfig:
    """Section IV-F (1): G1 first, then the rest with G1 fixed. Stage 3's updates go to stage 2: the same budget."""
    first, second, third = config.optimiser.iterations
    return replace(config, optimiser=replace(config.optimiser, iterations=(first, second + third, 0)))


def _without_noise(config: RunConfig) -> RunConfig:
    if config.data.exclude is None:
        raise UsageError("ablation w/o-noise needs the list of noisy triples: give --exclude FILE")
    return config


# Table IV; the comment is section IV-F's own number.
TABLE_IV: Final[dict[str, Callable[[RunConfig], RunConfig]]] = {
    "w/o-e2e": _two_stages,  # (1)
    "w/o-cycle": _losses(cycle=False),  # (2): L_cond = |C_w - C_t|
    "w/o-predicted-map": _losses(predicted_map=False),  # (3): the body's shape instead
    "w/o-id": _losses(identity=False),  # (4)
    "w/o-local-adv": _losses(local_adversarial=False),  # (5)
    "w/o-perceptual": _losses(perceptual=False),  # (6): both of Eqs. 4 and 12
    "w/o-predicted-mask": _losses(predicted_mask=False),  # (7): M_t^C in training
    "w/o-noise": _without_noise,  # (8)
}


def apply(config: RunConfig, name: str) -> RunConfig:
    """CONFIG with one ablation: a name of TABLE_IV, or `lambda-K=VALUE` (Tables V and VI). Raises UsageError."""
    weight = re.fullmatch(r"lambda-([1-5])=(\d+(?:\.\d+)?)", name)
    if weight:
        lambdas = list(config.losses.lambdas)
        lambdas[int(weight[1]) - 1] = float(weight[2])
        changed = _losses(lambdas=tuple(lambdas))(config)
    elif name in TABLE_IV:
        changed = TABLE_IV[name](config)
    else:
        raise UsageError(
            f"ablation '{name}' is unknown: use {', '.join(TABLE_IV)} or lambda-K=VALUE with K from 1 to 5"
        )
    if changed == config and name != "w/o-noise":
        raise UsageError(f"ablation '{name}' would change nothing: the run does without it already")
    return replace(changed, ablations=(*config.ablations, name))
