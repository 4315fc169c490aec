"""What calibration is asked for (Settings) and what it came to (Outcome): written by calibrate.py, told by report.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from spgvton.bundle import Bundle
from spgvton.range_table import RangeTable
from spgvton_calibration.mixed import Cost
from spgvton_calibration.network import Layer


@dataclass(frozen=True)
class Settings:
    """keep_float: patterns of layer names. sensitivity: samples per layer; 0 measures it only when the gate needs it.

    gate: False writes the bundle whatever it costs. max_ssim_drop: for each region of quality.REGIONS.
    """

    method: str = "mse"
    keep_float: tuple[str, ...] = ()
    max_ssim_drop: float = 0.005
    gate: bool = True
    sensitivity: int = 8


class Frame(NamedTuple):
    """What session.onnx and frame.onnx, in integers, cost the picture; kept: the bundle has them."""

    kept: bool
    drop: Mapping[str, float]
    fidelity: tuple[float, float]


@dataclass
class Outcome:
    """What the report tells. bundle: None until it is written."""

    settings: Settings
    table: RangeTable
    chosen: list[Layer]
    by_rule: list[str]  # layers that are float by default or by --keep-float
    given_up: list[str]  # layers that the gate returned to float
    full_drop: Mapping[str, float] | None = None  # with every candidate quantised
    drop: Mapping[str, float] | None = None
    fidelity: tuple[float, float] | None = None  # SSIM and PSNR against the reference's pictures
    reference_ssim: dict[str, float] = field(default_factory=dict)
    held_out: int = 0
    frame: Frame | None = None
    costs: list[Cost] = field(default_factory=list)
    bundle: Bundle | None = None

    @property
    def layers_float(self) -> list[str]:
        return [*self.by_rule, *self.given_up]
