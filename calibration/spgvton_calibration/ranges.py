"""The table of ranges: found by running the chain, saved as JSON that can be edited and applied again."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from spgvton.bundle import WEIGHTS, Bundle, sha256
from spgvton.errors import SpgvtonError
from spgvton.files import write_text
from spgvton_calibration.network import Layer
from spgvton_calibration.qdq import LEVELS

FORMAT: Final = "spgvton-ranges-2"
TRAINED: Final = "qat"  # in place of a file: RangeTable.trained()
_TRT_NAMES: Final = {"minmax": "MinMaxCalibration"}  # TensorRT has but two; the method is in the cache's first line


def graph_hash(bundle: Bundle) -> str:
    """What a table of ranges is bound to: the joint graph and its weights."""
    return sha256(bundle.graph("tryon"), bundle.folder / WEIGHTS)


@dataclass(frozen=True)
class Range:
    """amax: int8 holds TENSOR's values from -amax to amax.

    layers: the convolutions that read it as int8. sums: the convolutions to whose output it is added. results: those that
    make it, where the frame graph needs to know (integer.py).
    """

    tensor: str
    layers: list[str]
    sums: list[str]
    results: list[str]
    amax: float
    method: str
    samples: int

    @property
    def users(self) -> list[str]:
        return [*self.layers, *self.sums, *self.results]


@dataclass(frozen=True)
class RangeTable:
    """The ranges of one joint graph. graph: sha256 of tryon.onnx and the weights file after it. source: of the samples."""

    graph: str
    source: str
    ranges: list[Range]

    @property
    def amax(self) -> dict[str, float]:
        return {r.tensor: r.amax for r in self.ranges}

    @property
    def method(self) -> str:
        """The method of all ranges, or "mixed"."""
        methods = {r.method for r in self.ranges}
        return methods.pop() if len(methods) == 1 else "mixed"

    @property
    def samples(self) -> int:
        return min((r.samples for r in self.ranges), default=0)

    def save(self, path: Path) -> None:
        """Write the table atomically. Raises SpgvtonError."""
        rows = ",\n  ".join(json.dumps(asdict(r)) for r in self.ranges)  # a range a line, to be edited and compared
        head = json.dumps({"format": FORMAT, "graph": self.graph, "source": self.source}, indent=1)
        write_text(path, f'{head[:-2]},\n "ranges": [\n  {rows}\n ]\n}}\n')

    @staticmethod
    def load(
        path: Path, graph: str, layers: Sequence[Layer], results: Mapping[str, str] = MappingProxyType({})
    ) -> RangeTable:
        """Read a table for the joint graph of sha256 GRAPH, whose LAYERS may be quantised; RESULTS: see of().

        Raises SpgvtonError when it is missing, damaged, of another graph, or lacks the range of a layer.
        """
        try:
            data = json.loads(path.read_text())
            if data["format"] != FORMAT:
                raise SpgvtonError(f"{path} has format {data['format']!r}, this version reads {FORMAT!r}")
            ranges = [
                Range(
                    str(r["tensor"]),
                    [str(n) for n in r["layers"]],
                    [str(n) for n in r["sums"]],
                    [str(n) for n in r["results"]],
                    float(r["amax"]),
                    str(r["method"]),
                    int(r["samples"]),
                )
                for r in data["ranges"]
            ]
            table = RangeTable(str(data["graph"]), str(data["source"]), ranges)
        except OSError as e:
            raise SpgvtonError(f"cannot read {path}: {e.strerror or e}") from e
        except (ValueError, KeyError, TypeError) as e:
            raise SpgvtonError(f"{path} is no table of ranges ({type(e).__name__}: {e})") from e
        if table.graph != graph:
            raise SpgvtonError(
                f"{path} is of another graph ({table.graph[:8]}..., not {graph[:8]}...): calibrate this bundle"
            )
        for r in ranges:
            if not (math.isfinite(r.amax) and r.amax >= 0):
                raise SpgvtonError(f"{path}: the range of {r.tensor} is {r.amax}, it must be a number of at least 0")
        needed = [(t, layer.name) for layer in layers for t in layer.tensors] + [
            (t, name) for name, t in results.items()
        ]
        lacking = [f"{t} ({name})" for t, name in needed if t not in table.amax]
        if lacking:
            raise SpgvtonError(f"{path} lacks the range of {lacking[0]}: calibrate again, or --keep-float that layer")
        return table

    @staticmethod
    def of(
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

    def tensorrt_cache(self) -> str:
        """The table in TensorRT's calibration cache format: a line per tensor, its scale as a big-endian float in hex.

        For trtexec --int8 --calib of TensorRT 10.x (implicit quantisation; 11 has none) with the float tryon.onnx.
        """
        kind = _TRT_NAMES.get(self.method, "EntropyCalibration2")
        lines = [f"{r.tensor}: {struct.pack('>f', r.amax / LEVELS).hex()}" for r in self.ranges]
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
