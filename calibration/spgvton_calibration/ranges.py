"""Ranges of layers as a table (spgvton.range_table): of a run of the chain, as training left them, for TensorRT."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from spgvton.bundle import Bundle
from spgvton.errors import SpgvtonError
from spgvton.range_table import Range, RangeTable
from spgvton_calibration.network import Layer
from spgvton_calibration.qdq import LEVELS

TRAINED: Final = "qat"  # in place of a file: trained_ranges()
_TRT_NAMES: Final = {"minmax": "MinMaxCalibration"}  # TensorRT has but two; the method is in the cache's first line


def needed(layers: Sequence[Layer], results: Mapping[str, str]) -> list[tuple[str, str]]:
    """(tensor, layer's name) of every range that LAYERS need to be quantised; RESULTS: see table_of()."""
    return [(t, layer.name) for layer in layers for t in layer.tensors] + [(t, name) for name, t in results.items()]


def table_of(
    layers: Sequence[Layer], amax: Mapping[str, float], graph: str, method: str, source: str, samples: int,
    results: Mapping[str, str] = MappingProxyType({}),
) -> RangeTable:  # fmt: skip
    """The table of what LAYERS read and, by layer name, of their RESULTS; all found by METHOD on SAMPLES samples."""
    tensors = dict.fromkeys([*(t for layer in layers for t in layer.tensors), *results.values()])
    rows = [
        Range(
            t, [x.name for x in layers if x.source == t], [x.name for x in layers if x.residual == t],
            [name for name, made in results.items() if made == t], amax[t], method, samples,
        )
        for t in tensors
    ]  # fmt: skip
    return RangeTable(graph, source, rows)


def tensorrt_cache(table: RangeTable) -> str:
    """TABLE in TensorRT's calibration cache format: a line per tensor, its scale as a big-endian float in hex.

    For trtexec --int8 --calib of TensorRT 10.x (implicit quantisation; 11 has none) with the float tryon.onnx.
    """
    kind = _TRT_NAMES.get(table.method, "EntropyCalibration2")
    lines = [f"{r.tensor}: {struct.pack('>f', r.amax / LEVELS).hex()}" for r in table.ranges]
    return "\n".join([f"TRT-100000-{kind}", *lines]) + "\n"


def trained_ranges(bundle: Bundle, layers: Sequence[Layer]) -> dict[str, float]:
    """amax of what LAYERS of BUNDLE's joint graph read, as `spgvton train --qat` trained them along with its weights.

    Raises SpgvtonError when it trained none, or none for one of LAYERS.
    """
    try:
        rows = bundle.manifest["provenance"]["qat"]
        read = {str(name): float(r["amax"]) for r in rows for name in r["layers"]}
        added = {str(name): float(r["amax"]) for r in rows for name in r["sums"]}
    except (KeyError, TypeError, ValueError) as e:
        raise SpgvtonError(
            f"{bundle.folder} holds no trained ranges: export it from a checkpoint of spgvton train --qat"
        ) from e
    amax: dict[str, float] = {}
    for layer in layers:
        for tensor, known in ((layer.source, read), (layer.residual, added)):
            if tensor is None:
                continue
            if layer.name not in known:
                raise SpgvtonError(f"{bundle.folder} has no trained range for {layer.name}: --keep-float that layer")
            amax[tensor] = known[layer.name]
    return amax
