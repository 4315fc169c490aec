"""What every back end agrees on: what it does, the tensors of each mode's joint graph, and the errors of wrong use."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from spgvton.bundle import MODES
from spgvton.errors import SpgvtonError

PERSON: Final = ("reference_map", "head", "body", "source_keypoints")
GARMENT: Final = ("cloth", "cloth_mask")
KEYPOINTS: Final = "keypoints"
IMAGE: Final = "image"
CONTROL_POINTS: Final = (4, 9, 16, 25)  # of the warp's grid
RESIDUAL_STRIDE: Final = 4  # network pixels on one of the residual flow

Array = NDArray[Any]


Typed = tuple[
    type[np.generic], tuple[int | str, ...]
]  # an element, and a shape without the batch axis; see Mode.item_shape


@dataclass(frozen=True)
class Mode:
    """One of spgvton.bundle.MODES: its joint graph and that graph's tensors by name.

    static: inputs that stay until they are set again, float32. frame: what every frame brings. outputs: what it gives.
    some: those of OUTPUTS that only some networks give.
    """

    name: str
    static: tuple[str, ...]
    frame: dict[str, Typed]
    outputs: dict[str, Typed]
    some: frozenset[str] = frozenset()

    @property
    def joint(self) -> str:
        """Name of the graph in a bundle; what it is in two is spgvton.bundle.PAIRS of it."""
        return MODES[self.name]

    @property
    def typed(self) -> dict[str, Typed]:
        """What every frame brings and gives."""
        return {**self.frame, **self.outputs}

    def item_shape(self, name: str, size: tuple[int, int], found: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Shape of NAME, one of `typed`, without the batch axis, for a network of SIZE (H, W).

        found: the shape that a graph has there, which decides how many control points there are.
        """
        points = found[-1] if found and found[-1] in CONTROL_POINTS else CONTROL_POINTS[-1]
        h, w = size
        sides = {"H": h, "W": w, "G*G": points, "H/4": h // RESIDUAL_STRIDE, "W/4": w // RESIDUAL_STRIDE}
        return tuple(sides[n] if isinstance(n, str) else n for n in self.typed[name][1])


POSE: Final = Mode("pose", (*PERSON, *GARMENT), {KEYPOINTS: (np.float32, (18, 3))}, {IMAGE: (np.uint8, ("H", "W", 3))})
# rendered: I_r of G3; composition, clothes_mask: M of G3 and M_p^C of G2, 255 where 1; semantic: G1's likeliest label; residual:
# R of a network with `residual_flow` (spgvton.live.spline.bent).
LIVE: Final = Mode(
    "live", GARMENT,
    {"picture": (np.uint8, ("H", "W", 3)), "labels": (np.uint8, ("H", "W")), KEYPOINTS: (np.float32, (18, 3))},
    {
        "rendered": (np.uint8, ("H", "W", 3)), "composition": (np.uint8, ("H", "W")), "clothes_mask": (np.uint8, ("H", "W")),
        "semantic": (np.uint8, ("H", "W")), "theta": (np.float32, (2, "G*G")),
        "residual": (np.float32, (2, "H/4", "W/4")),
    },
    frozenset({"residual"}),
)  # fmt: skip


class Backend(Protocol):
    """Runs the joint graph of one Mode. Static tensors are set once per person or garment; a frame brings the rest.

    Not thread-safe, but the thread may change between two calls.
    """

    def set_static(self, name: str, value: NDArray[np.float32]) -> None:
        """Set an input (with batch axis) that stays until it is set again."""

    def infer(self, frame: Mapping[str, Array]) -> dict[str, Array]:
        """The mode's frame inputs (N, ...) by name -> its outputs (N, ...) by name, the caller's to keep."""

    def run(self, keypoints: NDArray[np.float32]) -> NDArray[np.uint8]:
        """infer() of mode `pose`: keypoints (N, 18, 3) in network pixels -> try-on images (N, H, W, 3)."""

    def describe(self) -> dict[str, str]:
        """Name, version, device and settings: for reports."""

    def forget(self) -> None:
        """Let nothing be held of the person and of the last frame; the garment stays. Static inputs of PERSON must be set again."""

    def close(self) -> None:
        """Give everything back; calling it again does nothing. A closed back end cannot be used."""


class RunsPoses:
    """Backend.run() in terms of Backend.infer()."""

    def infer(self, frame: Mapping[str, Array]) -> dict[str, Array]:
        raise NotImplementedError

    def run(self, keypoints: NDArray[np.float32]) -> NDArray[np.uint8]:
        image: NDArray[np.uint8] = self.infer({KEYPOINTS: keypoints})[IMAGE]
        return image


def check_inputs(inputs: Collection[str], mode: Mode, what: str) -> None:
    """Raise SpgvtonError unless INPUTS are those of MODE's graph; one without `align_source` has no source keypoints."""
    if set(mode.frame) - set(inputs) or set(inputs) - {*mode.static, *mode.frame}:
        raise SpgvtonError(f"{what} is not an spgvton joint graph (inputs {', '.join(inputs)})")


def given_outputs(outputs: Collection[str], mode: Mode, what: str) -> list[str]:
    """Those of MODE's outputs that the graph WHAT gives, in MODE's order. Raises SpgvtonError where OUTPUTS are not a joint graph's."""
    if set(outputs) - set(mode.outputs) or set(mode.outputs) - set(outputs) - mode.some:
        raise SpgvtonError(f"{what} is not an spgvton joint graph (outputs {', '.join(outputs) or 'none'})")
    return [name for name in mode.outputs if name in outputs]


def check_static_name(name: str, mode: Mode = POSE) -> None:
    """Raise ValueError unless NAME is one of MODE's static tensors."""
    if name not in mode.static:
        raise ValueError(f"{name} is not one of {mode.static}")


def check_frame(frame: Mapping[str, Array], mode: Mode, size: tuple[int, int], batch: int) -> dict[str, Array]:
    """FRAME as contiguous arrays of MODE's types. Raises ValueError for a shape that is not BATCH frames of SIZE."""
    given = {}
    for name, (dtype, _) in mode.frame.items():
        expected = (batch, *mode.item_shape(name, size))
        if frame[name].shape != expected:
            raise ValueError(f"expected {name} {expected}, got {frame[name].shape}")
        given[name] = np.ascontiguousarray(frame[name], dtype=dtype)
    return given


def check_all_set(missing: Collection[str]) -> None:
    """Raise SpgvtonError when inputs are MISSING because no person or no garment was set."""
    if missing:
        who = "person" if "body" in missing else "garment"
        raise SpgvtonError(f"no {who} is set yet ({', '.join(sorted(missing))})")
