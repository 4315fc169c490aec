"""How the methods of the comparison are trained: SPG-VTON's recipe, as far as it is theirs."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Final

from spgvton.errors import UsageError
from spgvton_training.comparison.registry import COMPARED
from spgvton_training.config import LossConfig, RunConfig
from spgvton_training.networks.config import NOT_READ

# Terms that a method has; its other losses must be as in NEUTRAL, for they would do nothing.
_SHARED: Final = ("perceptual", "structure")
READ: Final[dict[str, tuple[str, ...]]] = {
    "viton": _SHARED,
    "cp-vton": (*_SHARED, "clothes_regulariser"),
    "mg-vton": (*_SHARED, "clothes_regulariser", "alpha", "semantic_l1_scale", "adversarial", "adversarial_scale"),
}
NEUTRAL: Final = LossConfig(adversarial=False, local_adversarial=False, perceptual=False, identity=False)


def with_method(config: RunConfig, method: str) -> RunConfig:
    """CONFIG, a recipe of SPG-VTON, for METHOD: options that it does not read are switched off, updates are shared out evenly.

    Iterations: as many as CONFIG has in its three stages, over the stages that the method has.
    """
    if method not in COMPARED:
        raise UsageError(f"the configuration is one of {config.network.method}: take a preset for {method}")
    off: dict[str, Any] = dict.fromkeys(NOT_READ[method], False)
    network = replace(config.network, **off, method=method)
    losses = replace(NEUTRAL, **{name: getattr(config.losses, name) for name in READ[method]})
    stages = COMPARED[method].phases
    total = sum(config.optimiser.iterations)
    each, rest = divmod(total, len(stages))
    first, second, third = (each if stage in stages else 0 for stage in (1, 2, 3))
    optimiser = replace(config.optimiser, iterations=(first + rest, second, third), matching_iterations=0)
    data = replace(config.data, task="pose")
    return replace(config, network=network, losses=losses, optimiser=optimiser, data=data)


def check_method(config: RunConfig) -> None:
    """Raise UsageError for an option that CONFIG's method does not have. SPG-VTON has them all."""
    method = config.network.method
    if method not in COMPARED:
        return
    for field in fields(LossConfig):
        value, neutral = getattr(config.losses, field.name), getattr(NEUTRAL, field.name)
        if field.name not in READ[method] and value != neutral:
            raise UsageError(f"losses.{field.name} does nothing in {method}: leave it at {neutral}")
    for stage in (0, 1, 2, 3):
        if config.optimiser.of_stage(stage)[0] and stage not in COMPARED[method].phases:
            parts = ", ".join(f"{number} ({what})" for number, what in COMPARED[method].phases.items())
            raise UsageError(f"{method} has no stage {stage}: its stages are {parts}; give it 0 iterations")
    if config.data.task != "pose":
        raise UsageError(f"data.task {config.data.task} is of spg-vton alone: {method} learns the task pose")
    if config.ablations:
        raise UsageError(f"ablation {config.ablations[0]} is of spg-vton alone: leave it out")
