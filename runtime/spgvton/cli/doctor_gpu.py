"""`spgvton doctor --gpu`: every step of spgvton.doctor on this machine's GPU, one JSON and one picture."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from spgvton.backends import tell
from spgvton.backends.tensorrt import require_gpu
from spgvton.bundle import Bundle
from spgvton.doctor import report as made
from spgvton.doctor.contract import Rig, Verdict
from spgvton.doctor.steps import run_steps, skip_all
from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import check_output, make_folder, write_text
from spgvton.image import write as write_picture


def rig_of(args: argparse.Namespace, bundle: Bundle) -> Rig:
    """What is examined. Raises SpgvtonError where there is no GPU, or a package lacks."""
    name = args.backend or "tensorrt"
    plugin = args.plugin or os.environ.get("SPGVTON_PLUGIN")
    others = tuple(Bundle.open(folder) for folder in args.also)
    gpu = require_gpu(name)
    tell(f"{gpu.name} (SM {gpu.sm}, {gpu.memory / 2**30:.1f} GiB), {name}, {bundle.folder} ({bundle.precision})")
    rig = Rig(bundle, name, gpu, warp=args.warp, plugin=Path(plugin) if plugin else None, others=others)
    return replace(rig, replays=args.replays or rig.replays)


def deliver(args: argparse.Namespace, bundle: Bundle, verdicts: list[Verdict], gpu: str) -> dict[str, Any]:
    """Write the report and its picture where --report asks for them, print it where --json does; the report."""
    report = made.as_dict(verdicts, bundle, args.backend or "tensorrt", gpu)
    if args.report:
        make_folder(args.report.resolve().parent)
        title = f"spgvton doctor --gpu: {gpu or 'no GPU'}, {args.backend or 'tensorrt'}, {bundle.folder.name}, {bundle.precision}"
        m = report["machine"]
        versions = ", ".join(f"{k} {v}" for k, v in report["versions"].items() if v)
        write_text(args.report, json.dumps(report, indent=1) + "\n")
        write_picture(args.report.with_suffix(".png"), made.draw(verdicts, title, f"{m['cpu']}, {m['os']}; {versions}"))
    if args.json:
        print(json.dumps(report, indent=1))
    return report


def run(args: argparse.Namespace) -> int:
    """`spgvton doctor --gpu`. Returns the exit code; raises UsageError, SpgvtonError."""
    if args.report and args.report.suffix.lower() != ".json":
        raise UsageError(f"--report {args.report}: name a .json file; the picture goes beside it as .png")
    if args.replays is not None and args.replays < 1:
        raise UsageError(f"--replays {args.replays}: give 1 or more")
    if args.report:  # now rather than after minutes
        for file in (args.report, args.report.with_suffix(".png")):
            check_output(file)
    bundle = Bundle.open(args.bundle)
    try:
        rig = rig_of(args, bundle)
    except SpgvtonError as e:
        deliver(args, bundle, skip_all(str(e)), "")
        raise
    assert rig.gpu is not None
    verdicts = run_steps(rig)
    report = deliver(args, bundle, verdicts, f"{rig.gpu.name} (SM {rig.gpu.sm})")
    print("\n".join(made.table(verdicts)), file=sys.stderr if args.json else sys.stdout)
    if not report["ok"]:
        failed = [f"{v.step} ({v.verdict.partition(': ')[2]})" for v in verdicts if v.failed]
        raise SpgvtonError(f"failed: {'; '.join(failed)}" if failed else "no step could run: see the verdicts")
    return 0
