"""`spgvton evaluate --mode live`: arguments to networks, results to table and sheet. Help is in evaluate.py."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from spgvton import image as im
from spgvton.bundle import Bundle
from spgvton.errors import UsageError
from spgvton.files import make_folder, write_text
from spgvton.image import Letterbox
from spgvton.live.network import LiveNetwork
from spgvton.machine import versions
from spgvton.perception.multiclass import MulticlassParser
from spgvton.session import TryOn
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.data.check import select_triples
from spgvton_training.evaluate_live import (
    LIVE_KEYS,
    METHODS,
    PICTURE_KEYS,
    CheckpointNetwork,
    LiveEvaluation,
    LivePath,
    evaluate_live,
    open_data,
)
from spgvton_training.evaluation_report import table_csv
from spgvton_training.sheet import contact_sheet

COLUMNS: Final = ("camera frame", "garment", "network alone", "live", "truth")
CELL: Final = 384  # rows of a picture on the sheet, at most
_WORDS: Final = {"source": "frame as it is", "pose": "pose mode", "network": "network alone", "live": "**live**"}


def run_live(args: argparse.Namespace) -> int:
    """Run the verb. Raises UsageError for options of the other mode."""
    others = ("unpaired", "no_truth", "true_maps", "inception_weights", "lpips_weights")
    for name in others:
        if getattr(args, name):
            raise UsageError(f"--{name.replace('_', '-')} does not go with --mode live")
    if args.bundle and args.checkpoint:
        raise UsageError("give --bundle or --checkpoint, not both")
    if args.out:
        make_folder(args.out)
    live, label_set, name = _network(args)
    triples = select_triples(
        args.data, args.split, paired=False, unpaired=True, exclude=args.exclude, strict=args.strict,
        allow_overlap=args.allow_overlap, workers=max(1, args.workers), label_set=label_set,
    )  # fmt: skip
    data = open_data(args.data, args.split, triples)
    evaluation = evaluate_live(live, data, pose=TryOn(), limit=args.limit, shown=args.rows)
    written = []
    if args.out:
        about = {
            "command": f"`spgvton {shlex.join(sys.argv[1:])}`" if sys.argv[1:2] == ["evaluate"] else "(from Python)",
            "network": name,
            "data": f"`{args.data}`, split {args.split}, {data.size[0]}x{data.size[1]}",
            "semantic maps": "the runtime's parser" if args.maps == "parser" else "true",
            "versions": ", ".join(f"{k} {v}" for k, v in {**versions(), "torch": torch.__version__}.items() if v),
        }
        written = [args.out / "results.md", args.out / "results.csv"]
        write_text(written[0], table_md(evaluation.summary, about))
        write_text(written[1], table_csv([_flat(row) for row in evaluation.rows]))
    for file in ([args.out / "sheet.png"] if args.out else []) + ([args.sheet] if args.sheet else []):
        im.write(file, contact_sheet([[_cell(p) for p in row] for row in evaluation.pictures], COLUMNS))
        written.append(file)
    for file in written:
        print(f"wrote {file}", file=sys.stderr)
    print(json.dumps(evaluation.summary) if args.json else text(evaluation), end="\n" if args.json else "")
    return 0


def _network(args: argparse.Namespace) -> tuple[LivePath, str, str]:
    """The live path that the options ask for, its label set, and its name for the report."""
    parser = MulticlassParser() if args.maps == "parser" else None
    if args.checkpoint:
        checkpoint = Checkpoint.load(args.checkpoint)
        network = CheckpointNetwork(checkpoint.model())
        return LivePath(network, parser), checkpoint.config.label_set, f"`{args.checkpoint}`"
    bundle = Bundle.open(args.bundle, mode="live")
    return LivePath(LiveNetwork(bundle), parser), bundle.label_set, f"bundle `{bundle.folder.name}`"


def _methods(summary: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    every = {**summary["baselines"], "live": summary}
    return {method: every[method] for method in METHODS if method in every}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def text(evaluation: LiveEvaluation) -> str:
    """The scores as lines: first what every method has, then live mode's own."""
    summary = evaluation.summary
    lines = [f"{'':16} " + " ".join(f"{key:>13}" for key in PICTURE_KEYS)]
    for method, scores in _methods(summary).items():
        lines.append(f"{method:16} " + " ".join(f"{_number(scores[key]):>13}" for key in PICTURE_KEYS))
    lines += ["", *(f"{key:16} {_number(summary[key])}" for key in LIVE_KEYS if key not in PICTURE_KEYS)]
    return "\n".join([*lines, f"{'n':16} {summary['n']}", ""])


def table_md(summary: dict[str, Any], about: dict[str, str]) -> str:
    """results.md. about: lines on network, data, command, versions."""
    lines = [
        "# Live mode",
        "",
        *(f"- {name}: {value}" for name, value in about.items()),
        f"- pictures: {summary['n']}",
        "",
    ]
    lines += ["| | SSIM ↑ | in the changed region ↑ | leakage ↓ |", "|---|---|---|---|"]
    for method, scores in _methods(summary).items():
        lines.append(f"| {_WORDS[method]} | " + " | ".join(_number(scores[key]) for key in PICTURE_KEYS) + " |")
    own = [key for key in LIVE_KEYS if key not in PICTURE_KEYS]
    lines += ["", "| live | |", "|---|---|", *(f"| `{key}` | {_number(summary[key])} |" for key in own)]
    return "\n".join(lines) + "\n\n`spgvton evaluate --help` says what each is.\n"


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """ROW for a CSV file: a share becomes two columns, hits and pixels."""
    out: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, tuple):
            out[f"{key}.hits"], out[f"{key}.pixels"] = value
        else:
            out[key] = value
    return out


def _cell(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    h, w = picture.shape[:2]
    if h <= CELL:
        return picture
    return np.asarray(Letterbox.fit((h, w), (CELL, round(w * CELL / h))).apply(picture), np.uint8)
