"""The table of ranges of a joint graph: `spgvton calibrate` writes it as JSON that can be edited, `train --qat` goes on from it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from spgvton.bundle import WEIGHTS, Bundle, sha256
from spgvton.errors import SpgvtonError
from spgvton.files import write_text

FORMAT: Final = "spgvton-ranges-2"


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
    def load(path: Path, graph: str, needed: Iterable[tuple[str, str]] = ()) -> RangeTable:
        """Read a table for the joint graph of sha256 GRAPH. needed: (tensor, name of the layer that needs its range).

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
        lacking = [f"{t} ({name})" for t, name in needed if t not in table.amax]
        if lacking:
            raise SpgvtonError(f"{path} lacks the range of {lacking[0]}: calibrate again, or --keep-float that layer")
        return table
