"""Open every file of a data set in MPV layout once, and list the triples that cannot be used, with reasons.

  spgvton check-data --data data/mpv --workers 8
  spgvton check-data --data data/mpv --split test --exclude noise.txt --strict

`train` and `evaluate` do the same check before they start; what was found is remembered in DATA/.checked.json, so that
files are read once only. The list is DATA/rejected.tsv (reason <tab> source <tab> target <tab> cloth).
Exit codes: 0 fine, or something is skipped; 1 nothing can be used, or anything is wrong with --strict.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from spgvton.labels import LABEL_SETS
from spgvton_training.data.check import examine, write_rejected
from spgvton_training.data.layout import LISTS, NO_TRUTH, PAIRED, SPLITS, UNPAIRED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `spgvton check-data`."""
    parser.add_argument("--data", type=Path, required=True, metavar="DATA", help="data set in MPV layout")
    parser.add_argument("--split", choices=SPLITS, help="default: both")
    parser.add_argument("--exclude", type=Path, metavar="FILE", help="noise list: pictures or triples, one a line")
    parser.add_argument("--label-set", choices=tuple(LABEL_SETS), default="cihp", help="of the maps (default cihp)")
    parser.add_argument("--allow-overlap", action="store_true", help="people and garments may be in train and test")
    parser.add_argument("--strict", action="store_true", help="exit 1 when anything is wrong")
    parser.add_argument("--workers", type=int, default=1, metavar="W", help="processes (default 1)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Run the verb. Raises SpgvtonError."""
    here = {name for name in LISTS if (args.data / name).exists()}
    reports = {
        split: examine(
            args.data, split, paired=PAIRED in here or not here, unpaired=UNPAIRED in here, no_truth=NO_TRUTH in here,
            exclude=args.exclude, strict=args.strict, allow_overlap=args.allow_overlap, workers=args.workers,
            label_set=args.label_set,
        )
        for split in ([args.split] if args.split else SPLITS)
    }  # fmt: skip
    bad = list(dict.fromkeys(rejected for report in reports.values() for rejected in report.bad))
    path = write_rejected(args.data, bad) if bad else None
    if args.json:
        count = {split: {"good": len(report.good), "bad": len(report.bad)} for split, report in reports.items()}
        print(json.dumps({**count, "rejected_list": str(path) if path else None}))
    for split, report in reports.items():
        print(f"{split}: {report.summary()}", file=sys.stderr if args.json else sys.stdout)
    if path:
        print(f"see {path}", file=sys.stderr)
    return int(not any(report.good for report in reports.values()) or (args.strict and bool(bad)))
