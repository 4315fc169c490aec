"""What a network is made of. `paper` is Table I exactly; every other option is this project's extension and off there."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

from spgvton.errors import SpgvtonError
from spgvton.labels import check_label_set

METHODS: Final = ("spg-vton", "viton", "cp-vton", "mg-vton")  # the paper's, and those of its Table II
# Options that a method of the comparison does not read: they must be off, for they would do nothing.
_SPG_ALONE: Final = (
    "half_semantics", "space_to_depth", "space_to_depth_g1", "align_source", "align_once", "fill_background",
    "background_margin", "copy_mask", "mask_in_g3", "pose_in_gmm", "residual_flow", "forget_arms",
)  # fmt: skip
NOT_READ: Final[dict[str, tuple[str, ...]]] = {
    "spg-vton": (),
    "viton": (*_SPG_ALONE, "moment_alignment", "features_in_gmm"),
    "cp-vton": (*_SPG_ALONE, "moment_alignment"),
    "mg-vton": _SPG_ALONE,
}


@dataclass(frozen=True)
class NetworkConfig:
    """Size and options of the joint model. Extensions default to the paper's reading (off)."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  (for spgvton_training.config, which reads it from YAML)

    method: str = "spg-vton"  # or one of the comparison (spgvton_training.comparison)
    preset: str = "paper"
    height: int = 256
    width: int = 192
    label_set: str = "cihp"
    ngf: int = 64  # base width of G1, G2, G3 (Table I: 64)
    gmm_ngf: int = 64
    grid_size: int = 5  # TPS control points per side (section III-C)

    # --- extensions, each off in `paper` -----------------------------------------------------------------------------
    norm: str = "instance"  # "batch": keeps absolute colour, folds into the convolution
    skips: bool = False  # encoder features are added to the decoder
    wide_tail: bool = False  # Conv9 and Conv10 keep ngf channels instead of OUT
    half_semantics: bool = False  # G1 and the GMMs work at half resolution
    space_to_depth: bool = False  # G2, G3: 2x2 pixels become channels; no full-resolution convolution
    space_to_depth_g1: bool = False  # the same for G1, at its own resolution
    trunk_blocks: int = 4  # Resblocks at an eighth of the resolution (Table I: 4)
    first_block: bool = True  # False: no Resblock before Conv4
    second_tail_convolution: bool = True  # False: no Conv10
    separable_blocks: bool = False  # Resblocks of depthwise 3x3 and pointwise convolutions
    align_source: bool = False  # body parts of the source are moved onto the target pose (alignment.py)
    align_once: bool = False  # of the body each pixel moves with one part, and is resampled once
    fill_background: bool = False  # what the source person hid is guessed from around them (background.py)
    background_margin: bool = False  # fill_background: pixels at the source person's edge count as hidden, too
    copy_mask: bool = False  # G2 and G3 also output where to keep their input image
    mask_in_g3: bool = False  # G3 also sees the predicted clothes mask
    moment_alignment: bool = False  # GMM: masks are brought to the same centre and spread first
    pose_in_gmm: bool = False  # GMM1 also sees the target pose
    features_in_gmm: bool = False  # GMM1: the regression sees both feature maps beside their correlation
    bounded_theta: bool = True  # GMM: tanh on the offsets (CP-VTON); False: linear
    residual_flow: bool = False  # beside the spline: a small flow where it is too stiff (residual_flow.py)
    forget_arms: bool = False  # live: bare arms of the source count as old clothes (spgvton.live.arms)

    def __post_init__(self) -> None:
        check_label_set(self.label_set)
        if self.height % 32 or self.width % 32:
            raise SpgvtonError(f"network size {self.height}x{self.width} must be a multiple of 32")
        if self.norm not in ("instance", "batch"):
            raise SpgvtonError(f"norm '{self.norm}' is unknown: use instance or batch")
        if not 1 <= self.trunk_blocks <= 16:
            raise SpgvtonError(f"network option trunk_blocks must be 1 to 16, got {self.trunk_blocks}")
        if self.background_margin and not self.fill_background:
            raise SpgvtonError("network option background_margin needs fill_background")
        if self.method not in METHODS:
            raise SpgvtonError(f"method '{self.method}' is unknown: use one of {', '.join(METHODS)}")
        if on := [name for name in NOT_READ[self.method] if getattr(self, name)]:
            raise SpgvtonError(f"network option {on[0]} does nothing in {self.method}: set it to false")
        if self.align_once and not self.align_source:
            raise SpgvtonError("network option align_once needs align_source")

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def extensions(self) -> list[str]:
        """Names of the options in which this network differs from the paper, other than its width."""
        paper = NetworkConfig()
        same = ("method", "preset", "height", "width", "label_set", "ngf", "gmm_ngf")
        return [f.name for f in fields(self) if f.name not in same and getattr(self, f.name) != getattr(paper, f.name)]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> NetworkConfig:
        """Raises SpgvtonError for an option this version does not know."""
        unknown = set(values) - {f.name for f in fields(NetworkConfig)}
        if unknown:
            raise SpgvtonError(f"network option {', '.join(sorted(unknown))} is unknown to this version of spgvton")
        return NetworkConfig(**values)


_PAYING = dict(
    norm="batch", skips=True, wide_tail=True, align_source=True, fill_background=True, background_margin=True,
    copy_mask=True, mask_in_g3=True, moment_alignment=True, pose_in_gmm=True, features_in_gmm=True, bounded_theta=False,
)  # fmt: skip

_MINI = dict(ngf=16, gmm_ngf=16, half_semantics=True, space_to_depth=True, **_PAYING)
_REALTIME = dict(
    _MINI, space_to_depth_g1=True, trunk_blocks=1, first_block=False, second_tail_convolution=False, align_once=True
)
# The source has the target's pose.
_LIVE = dict(_REALTIME, align_source=False, align_once=False, forget_arms=True, residual_flow=True)

PRESETS: Final[dict[str, NetworkConfig]] = {
    "paper": NetworkConfig(),
    "edge": NetworkConfig(preset="edge", ngf=32, gmm_ngf=32, **_PAYING),  # type: ignore[arg-type]
    "mini": NetworkConfig(preset="mini", **_MINI),  # type: ignore[arg-type]
    "realtime": NetworkConfig(preset="realtime", **_REALTIME),  # type: ignore[arg-type]
    "live": NetworkConfig(preset="live", **_LIVE),  # type: ignore[arg-type]
    "lite": NetworkConfig(preset="lite", separable_blocks=True, align_once=True, **_MINI),  # type: ignore[arg-type]
}


def preset(name: str, **changes: Any) -> NetworkConfig:
    """The preset NAME with CHANGES applied. Raises SpgvtonError for an unknown name."""
    if name not in PRESETS:
        raise SpgvtonError(f"preset '{name}' is unknown: use one of {', '.join(PRESETS)}")
    return replace(PRESETS[name], **changes)
