"""A tensor seen through reshapes and transpositions that have not been carried out.

TensorFlow Lite computes in NHWC, ONNX convolutions in NCHW, and attention blocks cut pictures into patches by chains of
Reshape and Transpose. A View remembers, as NumPy's strides do, where the elements of every axis lie in the stored tensor; such a
chain then becomes one Reshape, one Transpose and one Reshape where the data is next computed with, or nothing at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


class Piece(NamedTuple):
    """A part of an axis: SIZE elements that lie STRIDE elements apart."""

    size: int
    stride: int


Axis = tuple[Piece, ...]  # slowest piece first; empty for an axis of one element


@dataclass(frozen=True)
class View:
    """name: the stored tensor. axes: the axes as seen, each put together from pieces."""

    name: str
    axes: tuple[Axis, ...]

    @staticmethod
    def stored(name: str, shape: tuple[int, ...]) -> View:
        """A tensor as it is stored, with SHAPE."""
        axes: list[Axis] = []
        for i, size in enumerate(shape):
            axes.append((Piece(size, math.prod(shape[i + 1 :])),) if size > 1 else ())
        return View(name, tuple(axes))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape as seen."""
        return tuple(math.prod(p.size for p in axis) for axis in self.axes)

    def transpose(self, order: tuple[int, ...]) -> View:
        """The axes in another ORDER."""
        return View(self.name, tuple(self.axes[i] for i in order))

    def reshape(self, shape: tuple[int, ...]) -> View:
        """The same sequence of elements with another SHAPE. Raises ValueError where that would cut a piece unevenly."""
        if math.prod(shape) != math.prod(self.shape):
            raise ValueError(f"{self.shape} and {shape} hold different numbers of elements")
        rest = [piece for axis in self.axes for piece in axis]
        axes: list[Axis] = []
        for size in shape:
            axis: list[Piece] = []
            while size > 1:
                piece = rest.pop(0)
                if piece.size > size:  # the axis ends within the piece
                    inner, uneven = divmod(piece.size, size)
                    rest.insert(0, Piece(inner, piece.stride))
                    piece = Piece(size, piece.stride * inner)
                else:
                    uneven = size % piece.size
                if uneven:
                    raise ValueError(f"{self.shape} cannot be seen as {shape}")
                size //= piece.size
                axis.append(piece)
            axes.append(tuple(axis))
        return View(self.name, tuple(axes))

    def recipe(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(shape, order): reshaping the stored tensor to SHAPE and transposing it by ORDER brings its elements into the order seen."""
        wanted = [piece for axis in self.axes for piece in axis]
        stored = sorted(wanted, key=lambda p: -p.stride)
        return tuple(p.size for p in stored), tuple(stored.index(p) for p in wanted)
