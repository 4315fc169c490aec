"""Which buffers a session's engines need, and whether they are those of a joint graph at all: decided from their tensors alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from spgvton.backends.contract import Mode, check_inputs, given_outputs
from spgvton.errors import SpgvtonError

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "FLOAT": np.dtype(np.float32), "UINT8": np.dtype(np.uint8), "HALF": np.dtype(np.float16),
}  # fmt: skip
NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}


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
    """Every buffer of a session: static inputs (set once per person or garment), what every frame brings and gives, and
    kept, what one engine makes of the static ones for the other and what never leaves the device."""

    static: dict[str, Buffer]
    kept: dict[str, Buffer]
    frame: dict[str, Buffer]
    outputs: dict[str, Buffer]
    max_batch: int

    @property
    def on_host(self) -> dict[str, Buffer]:
        """Those that have pinned memory, too."""
        return {**self.static, **self.frame, **self.outputs}

    @property
    def all(self) -> dict[str, Buffer]:
        return {**self.on_host, **self.kept}


def plan_buffers(
    tensors: Sequence[Tensor], mode: Mode, size: tuple[int, int], what: str, prepared: Sequence[Tensor] = ()
) -> BufferPlan:
    """The buffers for TENSORS of engine WHAT, which runs MODE for pictures of SIZE (height, width).

    prepared: the tensors of the engine that runs before it when a static input changes. Its outputs are inputs of this one.
    Raises SpgvtonError when the engines are not those of a joint graph: other names, types, sizes, or batches that differ.
    """
    kept = {t.name: t for t in prepared if not t.is_input}
    outputs = {t.name: t for t in tensors if not t.is_input}
    inputs = {t.name: t for t in (*prepared, *tensors) if t.is_input and t.name not in kept}
    check_inputs(list(inputs), mode, what)
    given_outputs(outputs, mode, what)
    batches = {t.max_batch for t in (*prepared, *tensors) if t.is_input}
    if len(batches) != 1:
        raise SpgvtonError(f"{what} takes inputs of different batches ({', '.join(map(str, sorted(batches)))})")
    (max_batch,) = batches
    buffers: dict[str, Buffer] = {}
    for tensor in (*prepared, *tensors):
        buffer = _buffer(tensor, mode, size, what, max_batch, known=tensor.name not in kept)
        if buffers.setdefault(tensor.name, buffer) != buffer:
            raise SpgvtonError(f"{what} takes {tensor.name} as another engine does not give it: build both again")

    def those(names: Sequence[str]) -> dict[str, Buffer]:
        return {name: buffers[name] for name in buffers if name in names}

    return BufferPlan(those(mode.static), those(list(kept)), those(list(mode.frame)), those(list(outputs)), max_batch)


def _buffer(tensor: Tensor, mode: Mode, size: tuple[int, int], what: str, max_batch: int, *, known: bool) -> Buffer:
    """TENSOR's memory. known: its type is MODE's to say."""
    name, dtype, item = tensor.name, tensor.dtype, tensor.shape[1:]
    expected, shape = ("FLOAT", item) if known else (dtype, item)
    if name in mode.typed:
        expected, shape = NAMES[np.dtype(mode.typed[name][0])], mode.item_shape(name, size, item)
    if dtype not in DTYPES or (dtype, item) != (expected, shape) or any(n < 1 for n in item):
        raise SpgvtonError(
            f"{what} has {name} as {dtype} {tensor.shape}, expected {expected} {(-1, *shape)}: build it again"
        )
    return Buffer(name, DTYPES[dtype], item, max_batch)
