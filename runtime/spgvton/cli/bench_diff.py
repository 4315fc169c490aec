"""`spgvton bench diff BEFORE.json AFTER.json`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from spgvton.bench import diff
from spgvton.bench.report import table
from spgvton.errors import SpgvtonError, UsageError


def add_arguments(actions: Any) -> None:
    """Add the action to the sub-parsers of `spgvton bench`."""
    parser = actions.add_parser("diff", help="two reports (JSON): what became faster or slower, and what else differed")
    parser.add_argument("before", type=Path, metavar="BEFORE.json")
    parser.add_argument("after", type=Path, metavar="AFTER.json")
    parser.add_argument(
        "--limit", type=float, metavar="PERCENT",
        help=f"exit with 1 when a figure is worse by more; tails ({', '.join(diff.TAILS[:4])}) are not judged",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="the comparison as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Returns the exit code; raises SpgvtonError when a figure is worse by more than --limit."""
    if args.limit is not None and not 0 <= args.limit < 1e6:
        raise UsageError(f"--limit {args.limit:g}: give percent, for instance 10")
    found = diff.compare(diff.read(args.before), diff.read(args.after))
    differing = [f"differs  {line}" for line in found.context] or ["the same machine, versions and bundle"]
    lines = [*differing, *table([c.row() for c in found.changes])]
    print("\n".join(lines), file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(json.dumps(found.as_dict(), indent=1))
    worse = [] if args.limit is None else found.worse(args.limit / 100)
    if worse:
        names = ", ".join(f"{c.name} {c.row()['change']}" for c in worse)
        raise SpgvtonError(f"worse by more than {args.limit:g}%: {names}")
    return 0
