"""What stands beside every figure, and where reports go: table on stderr, JSON on stdout, CSV, JSON and PNG in a folder."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spgvton import machine
from spgvton.bundle import Bundle
from spgvton.files import write_text
from spgvton.image import write as write_picture


def context(described: dict[str, str], bundle: Bundle) -> dict[str, Any]:
    """What every figure needs beside it. load: the machine's load averages over 1, 5 and 15 minutes."""
    return {
        "backend": described,
        "bundle": bundle.folder.name,
        "preset": bundle.manifest["network"].get("preset"),
        "precision": bundle.precision,
        "resolution": list(bundle.size),
        "machine": machine.describe(),
        "clocks": machine.clocks(),
        "versions": {**machine.versions(), "openvino": (machine.version_of("openvino") or "").split("-")[0] or None},
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def context_lines(about: dict[str, Any]) -> list[str]:
    """context() for people."""
    found, run_by = about["machine"], about["backend"]
    load = ", ".join(f"{value:.1f}" for value in about["load"])
    parts = (f"{found['cores']} cores", f"{found['ram_gib']} GiB", found["gpu"] or "no GPU", found["os"])
    clocks = ", ".join(f"{name} {value}" for name, value in about["clocks"].items()) or "cannot be read"
    height, width = about["resolution"]
    return [
        f"machine  {found['cpu']}, {', '.join(parts)}; load {load}",
        f"clocks   {clocks}",
        f"versions {', '.join(f'{name} {version}' for name, version in about['versions'].items() if version)}",
        f"backend  {', '.join(f'{name} {value}' for name, value in run_by.items())}; precision {about['precision']}",
        f"bundle   {about['bundle']} (preset {about['preset']}), {height}x{width} pixels",
    ]


def say(lines: Sequence[str]) -> None:
    """Lines for people, on stderr."""
    print("\n".join(lines), file=sys.stderr)


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """ROWS, all of the same keys, with a head line and aligned columns."""
    cells = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return ["  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in cells]


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """ROWS, all of the same keys, with a head line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def machine_columns(about: dict[str, Any]) -> dict[str, Any]:
    """The columns of a CSV that say what its figures were measured on."""
    versions = about["versions"]
    return {
        "cpu": about["machine"]["cpu"], "cores": about["machine"]["cores"], "load": about["load"][0],
        "spgvton": versions["spgvton"], "onnxruntime": versions["onnxruntime"], "openvino": versions.get("openvino"),
    }  # fmt: skip


def deliver(
    name: str, report: dict[str, Any], lines: Sequence[str], rows: Sequence[dict[str, Any]], *, out: Path | None,
    picture: NDArray[np.uint8] | None, as_json: bool,
) -> None:  # fmt: skip
    """Print LINES, and REPORT if AS_JSON; with OUT write NAME.json, NAME.csv (ROWS) and NAME.png there.

    Raises SpgvtonError where that cannot be written.
    """
    text = json.dumps(report, indent=1)
    if out:
        columns = machine_columns(report)
        write_text(out / f"{name}.json", text + "\n")
        write_text(out / f"{name}.csv", as_csv([{**row, **columns} for row in rows]))
        if picture is not None:
            write_picture(out / f"{name}.png", picture)
    # the table belongs on stdout unless a machine reads that
    print("\n".join(lines), file=sys.stderr if as_json else sys.stdout)
    if as_json:
        print(text)
