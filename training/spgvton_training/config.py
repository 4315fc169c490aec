"""What a training run is: typed, readable from and written to YAML. Defaults are the paper's (section IV-C).

Options under "extensions" are this project's, and off in `paper`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import write_bytes
from spgvton_training.networks.config import NetworkConfig
from spgvton_training.networks.config import preset as network_preset

Run = TypeVar("Run")
# PyYAML's own slips: 2026-99-99 as a date, !!int '', !!bool x, "\\UFFFFFFFF"
YAML_SLIPS: Final = (ValueError, LookupError, AttributeError, TypeError, OverflowError)
STAGES: Final = (0, 1, 2, 3)  # 0 is an extension: OptimiserConfig.matching_iterations


@dataclass(frozen=True)
class LossConfig:
    """The terms of Eq. 17 and their weights."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    lambdas: tuple[float, float, float, float, float] = (10.0, 10.0, 20.0, 10.0, 10.0)  # lambda_1 .. lambda_5
    alpha: tuple[float, float] = (2.0, 0.5)  # Eq. 11
    adversarial: bool = True  # Eqs. 1, 3 and 13
    local_adversarial: bool = True  # Eq. 14
    perceptual: bool = True  # Eqs. 4 and 12
    identity: bool = True  # Eq. 15
    cycle: bool = True  # the second term of Eq. 8; False: w/o Cycle
    predicted_map: bool = True  # False: G1 learns the body's silhouette only (w/o S^_t)
    predicted_mask: bool = True  # False: in training the true clothes mask takes the predicted one's place (w/o M_p^C)
    erase_probability: float = 1.0  # of a random rectangle in I_p (section III-D)

    # --- extensions --------------------------------------------------------------------------------------------------
    adversarial_scale: float = 1.0  # of all adversarial terms
    semantic_l1_scale: float = 1.0
    class_weights: bool = False  # rare labels count more in the focal loss
    structure: float = 0.0  # weight of losses.structure beside each image L1
    head: float = 0.0  # weight of one more L1 and structure term on the true head region of both images
    changed: float = 0.0  # weight of L1 and structure in the region that changes (losses.changed_region)
    flow: float = 0.0  # weight of losses.warp_flow
    smoothness: float = 0.0  # weight of losses.theta_smoothness
    residual_smoothness: float = 0.0  # weight of losses.flow_smoothness of the residual flow
    clothes_regulariser: bool = False  # |M - M_t^C| instead of |1 - M|
    distill_image: float = 0.0  # weights of the terms of distill.py, which need a teacher: both images and the mask
    distill_semantic: float = 0.0
    distill_grid: float = 0.0
    distill_features: float = 0.0
    predicted_matching: bool = False  # stage 0 learns on the masks that G1 and G2, trained before, predict
    true_mask_until: float = (
        0.0  # share of stage 2 in which the GMMs see true masks: the predicted one is noise at first
    )


@dataclass(frozen=True)
class DiscriminatorConfig:
    """D1, D2, Dg and Dl."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    ndf: int = 32  # Table I
    scales: int = 3  # pix2pixHD [3]
    r1: float = 10.0  # gamma of the gradient penalty [52]

    # --- extensions --------------------------------------------------------------------------------------------------
    r1_every: int = 1  # iterations between penalties, each then counted so many times
    local_crop: tuple[int, int] | None = None  # Dl sees the head alone, enlarged to this height and width


@dataclass(frozen=True)
class OptimiserConfig:
    """Adam, and how long. Batch sizes are those of one update, over all GPUs together."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    iterations: tuple[int, int, int] = (70_000, 70_000, 100_000)  # 0 leaves a stage out
    batch_sizes: tuple[int, int, int] = (16, 8, 8)
    learning_rates: tuple[float, float, float] = (2e-4, 2e-4, 2e-4)
    betas: tuple[float, float] = (0.0, 0.999)
    weight_decay: float = 5e-4

    # --- extensions --------------------------------------------------------------------------------------------------
    cosine: bool = False  # the second half of each stage decays to 3%
    warm_up: int = 0  # iterations
    clip: float | None = None  # largest gradient norm, of each network by itself
    ema: float | None = None  # decay of the running average of the weights, which is then what is saved
    accumulate: int = 1  # parts into which each batch is cut to save memory
    matching_iterations: int = 0  # of a stage 0: the GMMs alone
    matching_batch_size: int = 32
    matching_learning_rate: float = 1e-3

    def of_stage(self, stage: int) -> tuple[int, int, float]:
        """Iterations, batch size and learning rate of STAGE, 0 to 3."""
        if stage == 0:
            return self.matching_iterations, self.matching_batch_size, self.matching_learning_rate
        return self.iterations[stage - 1], self.batch_sizes[stage - 1], self.learning_rates[stage - 1]


@dataclass(frozen=True)
class DataConfig:
    """Which triples."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    augment: bool = True  # random flips, and keypoint noise like a real estimator's
    keypoint_noise: float = 1.5  # its standard deviation in pixels
    exclude: str | None = None  # file that lists the triples that are noise (section IV-A)

    # --- extensions --------------------------------------------------------------------------------------------------
    unpaired: bool = False  # also triples in which the garment changes (synthetic data has their truth)
    tone: float = 0.0  # strength of a random tone curve, the same for all pictures of a triple
    foreign: float = 0.0  # largest share of another picture blended into source and target where both have one pose
    backdrop: float = 0.0  # largest share of one colour painted over the background of source and target
    task: Literal["pose", "live", "both"] = "pose"  # live: the garment is exchanged, the pose is not (MPV)
    label_noise: float = 0.0  # live: by how many pixels the source's semantic map is wrong


@dataclass(frozen=True)
class RunConfig:
    """One run: everything but where its data, weights and outputs lie."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    network: NetworkConfig = field(default_factory=NetworkConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    discriminators: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    data: DataConfig = field(default_factory=DataConfig)
    seed: int = 0
    ablations: tuple[str, ...] = ()  # names of those applied; for the record

    def __post_init__(self) -> None:
        o = self.optimiser
        iterations, batch_sizes, _ = zip(*(o.of_stage(stage) for stage in STAGES))
        if min(iterations) < 0 or max(iterations) == 0:
            raise UsageError(f"optimiser.iterations must not be negative, nor all zero, got {list(o.iterations)}")
        if o.accumulate < 1 or any(b < 1 or b % o.accumulate for b in batch_sizes):
            raise UsageError(
                f"batch sizes {list(batch_sizes)} of stages 0 to 3 must be multiples of optimiser.accumulate {o.accumulate}"
            )
        if self.data.task != "pose" and not self.data.unpaired:
            raise UsageError(
                f"data.task {self.data.task} needs data.unpaired: garments are exchanged in unpaired rows only"
            )
        if o.ema is not None and not 0 < o.ema < 1:
            raise UsageError(f"optimiser.ema must be between 0 and 1, got {o.ema}")

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as YAML and JSON have them."""
        plain: dict[str, Any] = TypeAdapter(RunConfig).dump_python(self, mode="json")
        return plain

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.to_dict(), sort_keys=False, default_flow_style=None, width=120)

    def save(self, path: str | Path) -> None:
        write_bytes(path, self.to_yaml().encode())

    def with_values(self, *trees: dict[str, Any]) -> RunConfig:
        """This configuration with the values of TREES, each of some of its fields, in place of its own.

        Checked once, when all are in place: fields that need one another may come in any order. Raises UsageError.
        """
        return parse(reduce(merge, trees, self.to_dict()))


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """BASE with the values of CHANGES, a tree of some of its fields."""
    merged = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if nested else value
    return merged


def validated(kind: type[Run], values: Any, origin: str) -> Run:
    """A tree of fields -> KIND; those not named keep their defaults. Raises UsageError with the first mistake."""
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise UsageError(f"{origin}: {where}: {first['msg'].lower()} (got {str(first['input'])[:60]!r})") from e


def parse(values: Any, origin: str = "configuration") -> RunConfig:
    """validated() as a run of the joint model."""
    return validated(RunConfig, values, origin)


def read_yaml(path: str | Path) -> Any:
    """What a YAML file holds. Raises SpgvtonError when it cannot be read, UsageError when it is none."""
    try:
        return yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError) as e:
        raise SpgvtonError(f"cannot read configuration {path}: {e}") from e
    except yaml.YAMLError as e:
        raise UsageError(f"{path} is not YAML: {' '.join(str(e).split())}") from e
    except YAML_SLIPS as e:
        raise UsageError(f"{path} is not YAML that can be read: {type(e).__name__}: {e}") from e


def load(path: str | Path) -> RunConfig:
    """Read a YAML file. Raises SpgvtonError when it cannot be read, UsageError naming the field that is wrong."""
    return parse(read_yaml(path), str(path))


def assignment(text: str) -> dict[str, Any]:
    """ "losses.alpha=[2, 1]" -> {"losses": {"alpha": [2, 1]}}; the value is YAML. Raises UsageError."""
    key, equals, value = text.partition("=")
    if not equals or not all(part.isidentifier() for part in key.split(".")):
        raise UsageError(f"--set takes NAME=VALUE, e.g. optimiser.batch_sizes=[8,4,4], got '{text}'")
    try:
        tree: Any = yaml.safe_load(value)
    except (yaml.YAMLError, *YAML_SLIPS) as e:
        raise UsageError(f"--set {key}: '{value}' is not a YAML value") from e
    for part in reversed(key.split(".")):
        tree = {part: tree}
    return dict(tree)


def run_preset(name: str) -> RunConfig:
    """The recipe of preset NAME: the paper's, or that of the shipped small networks. Raises SpgvtonError."""
    network = network_preset(name)
    if name == "paper":
        return RunConfig(network=network)
    small = RunConfig(
        network=network,
        losses=replace(
            LossConfig(), adversarial=False, local_adversarial=False, perceptual=False, identity=False,
            erase_probability=0.5, semantic_l1_scale=20.0, class_weights=True, structure=1.0, flow=5.0, smoothness=0.01,
            clothes_regulariser=True, true_mask_until=0.5,
        ),
        discriminators=DiscriminatorConfig(ndf=16, scales=2, r1_every=8, local_crop=(64, 64)),
        optimiser=OptimiserConfig(
            iterations=(700, 1300, 800), batch_sizes=(8, 4, 4), learning_rates=(1e-3, 1e-3, 5e-4), betas=(0.5, 0.999),
            weight_decay=0.0, cosine=True, warm_up=50, clip=20.0, matching_iterations=2000,
        ),
        data=DataConfig(unpaired=True, tone=1.0),
    )  # fmt: skip
    return small.with_values(_LIVE) if name == "live" else small


# What the live network is trained with, beside the recipe of the other small ones: from the weights of `realtime`.
_LIVE: Final[dict[str, Any]] = {
    "data": {
        "task": "live", "foreign": 0.3, "backdrop": 1.0, "keypoint_noise": 0.5, "tone": 0.5, "label_noise": 1.0,
    },
    "losses": {
        "erase_probability": 0.1, "changed": 1.0, "cycle": False, "residual_smoothness": 1.0, "predicted_matching": True,
    },
    "optimiser": {
        "iterations": [0, 0, 8000], "learning_rates": [1e-3, 1e-3, 6e-4], "matching_iterations": 0, "ema": 0.998,
    },
}  # fmt: skip
