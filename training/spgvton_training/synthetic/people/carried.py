"""What people carry before their clothes: a bag on a strap across the body, a phone in the hand. No label set has a label for them.

They belong to the person, as hair does: the same bag is there in whatever garment, and a network is to leave it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton_training.synthetic.drawing.arrays import Float, Int, grid
from spgvton_training.synthetic.drawing.texture import colour_array
from spgvton_training.synthetic.people.assets import BONE
from spgvton_training.synthetic.people.pose import Skeleton

_BAGS: Final = 0.08  # share of people
_COLOURS: Final = colour_array(
    (26, 24, 24), (112, 70, 42), (168, 124, 84), (70, 76, 60), (150, 30, 38), (206, 200, 188), (40, 52, 90)
)
_PHONE: Final = (0.37, 0.76)  # half its width and height in decimetres
_ROWS, _COLUMNS = 12, 20


@dataclass(frozen=True, eq=False)
class Bag:
    """A bag that hangs from a strap; decimetres."""

    colour: Float  # (3,) RGB in [0, 255]
    strap: float  # its width
    side: int  # of the hip where it hangs: 1 the person's left, -1 the right
    size: float  # half its width


def sample_bag(rng: np.random.Generator) -> Bag | None:
    """Mostly none."""
    bag = Bag(
        _COLOURS[rng.integers(len(_COLOURS))], rng.uniform(0.18, 0.42), int(rng.choice([-1, 1])), rng.uniform(0.6, 1.1)
    )
    return bag if rng.random() < _BAGS else None


def under_strap(bag: Bag, rest: Float) -> tuple[NDArray[np.bool_], Float]:
    """Which rest-pose points (n, 3) of the torso its strap covers, and the brightness (n,) of the strap there."""
    x, y = rest[:, 0] * bag.side, rest[:, 1]
    top, low = np.array([-0.98, 5.95]), np.array([1.85, -0.1])
    along = (low - top) / np.linalg.norm(low - top)
    across = np.abs((x - top[0]) * along[1] - (y - top[1]) * along[0]) / (bag.strap / 2)
    covered = (across < 1) & (y < 6.3) & (y > -0.3) & (np.abs(x) < 1.95)
    return covered, np.asarray(1 - 0.35 * np.clip((across - 0.7) / 0.3, 0, 1), np.float32)


def bag_mesh(bag: Bag) -> tuple[Float, Int]:
    """The bag in the rest pose: vertices (n, 3), triangles (m, 3), a box with round edges at the hip."""
    up, around = np.meshgrid(
        np.linspace(-np.pi / 2, np.pi / 2, _ROWS), np.linspace(0, 2 * np.pi, _COLUMNS), indexing="ij"
    )

    def boxy(a: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.sign(a) * np.abs(a) ** 0.4)

    shape = np.stack(
        [boxy(np.cos(up)) * boxy(np.sin(around)), boxy(np.sin(up)), boxy(np.cos(up)) * boxy(np.cos(around))], -1
    )
    size = bag.size * np.array([0.55, 0.75, 0.5])
    centre = np.array([bag.side * 2.0, -0.35 - 0.6 * bag.size, 0.55])
    return (centre + shape.reshape(-1, 3) * size).astype(np.float32), grid(_ROWS, _COLUMNS)


def bag_weights(count: int) -> Float:
    """Skinning weights (COUNT, B): it hangs at the hips."""
    weights = np.zeros((count, len(BONE)), np.float32)
    weights[:, BONE["root"]] = 1
    return weights


def phone_mesh(skeleton: Skeleton) -> tuple[Float, Float, Int]:
    """The back of a phone in the right hand: posed vertices (4, 3), where paint goes (4, 3), triangles; it faces the camera."""
    corners = np.array([(-1, 1), (1, 1), (-1, -1), (1, -1)], np.float32)
    flat = np.concatenate([corners * np.array(_PHONE, np.float32), np.zeros((4, 1), np.float32)], 1)
    held = np.mean([skeleton.head(f"finger{i}-2.R") for i in (2, 3, 4)], axis=0)
    lean = np.array([[0.99, 0.10, 0], [-0.10, 0.99, 0], [0, 0, 1]], np.float32)
    return (held + np.array([0.12, 0.15, 0.30]) + flat @ lean.T).astype(np.float32), flat, grid(2, 2)
