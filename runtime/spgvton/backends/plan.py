"""Which buffers an engine needs, and whether it is a joint graph at all: decided from its tensors alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from spgvton.backends.contract import IMAGE, KEYPOINTS, POSE, check_inputs
from spgvton.errors import SpgvtonError

DTYPES: Final[dict[str, np.dtype[Any]]] = {"FLOAT": np.dtype(np.float32), "UINT8": np.dtype(np.uint8)}


@dataclass(frozen=True)
class Tensor:
    """An input or output as the engine describes it. dtype as TensorRT names it; shape with -1 where it may vary."""

    name: str
    is_input: bool
    dtype: str
    shape: tuple[int, ...]
    max_batch: int = 0  # of an input


@dataclass(frozen=True)
class Buffer:
    """One tensor's memory, the same size on the host and on the device. item: shape without the batch axis."""

    name: str
    dtype: np.dtype[Any]
    item: tuple[int, ...]
    max_batch: int

    @property
    def nbytes(self) -> int:
        return self.max_batch * math.prod(self.item) * self.dtype.itemsize

    def shape(self, batch: int) -> tuple[int, ...]:
        return (batch, *self.item)


@dataclass(frozen=True)
class BufferPlan:
    """Every buffer of an engine: static inputs (set once per person or garment), keypoints in, image out."""

    static: dict[str, Buffer]
    keypoints: Buffer
    image: Buffer
    max_batch: int

    @property
    def inputs(self) -> dict[str, Buffer]:
        return {**self.static, KEYPOINTS: self.keypoints}

    @property
    def all(self) -> dict[str, Buffer]:
        return {**self.inputs, IMAGE: self.image}


def plan_buffers(tensors: Sequence[Tensor], size: tuple[int, int], what: str) -> BufferPlan:
    """The buffers for TENSORS of engine WHAT, whose picture must have SIZE (height, width).

    Raises SpgvtonError when the engine is not one of a joint graph: other names, types, sizes, or batches that differ.
    """
    inputs = {t.name: t for t in tensors if t.is_input}
    outputs = {t.name: t for t in tensors if not t.is_input}
    check_inputs(list(inputs), POSE, what)
    if set(outputs) != {IMAGE}:
        raise SpgvtonError(f"{what} is not an spgvton joint graph (outputs {', '.join(outputs) or 'none'})")
    batches = {t.max_batch for t in inputs.values()}
    if len(batches) != 1:
        raise SpgvtonError(f"{what} takes inputs of different batches ({', '.join(map(str, sorted(batches)))})")
    (max_batch,) = batches
    expected = {KEYPOINTS: ("FLOAT", (18, 3)), IMAGE: ("UINT8", (*size, 3))}
    buffers = {}
    for tensor in tensors:
        dtype, item = expected.get(tensor.name, ("FLOAT", tensor.shape[1:]))
        if tensor.dtype != dtype or tensor.shape[1:] != item or any(n < 1 for n in item):
            raise SpgvtonError(
                f"{what} has {tensor.name} as {tensor.dtype} {tensor.shape}, expected {dtype} {(-1, *item)}: build it again"
            )
        buffers[tensor.name] = Buffer(tensor.name, DTYPES[dtype], item, max_batch)
    keypoints, image = buffers.pop(KEYPOINTS), buffers.pop(IMAGE)
    return BufferPlan(buffers, keypoints, image, max_batch)
