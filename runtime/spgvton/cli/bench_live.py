"""`spgvton bench loop --mode live`: how fresh, how often, how dear; see spgvton.bench.live_loop."""

from __future__ import annotations

import argparse
import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from spgvton.bench import live_loop, sensors
from spgvton.bench.power import Power
from spgvton.bench.power import line as power_line
from spgvton.bench.report import context, context_lines, say
from spgvton.bundle import Bundle
from spgvton.cli import backend, parser_options
from spgvton.demo_assets import DemoAssets
from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import write_text
from spgvton.image import MAX_PIXELS
from spgvton.live.garment import LiveGarment
from spgvton.machine import cores
from spgvton.perception.parser_options import FOR_STREAMS
from spgvton.stream.loop import View
from spgvton.stream.sources import open_source

SOURCE: Final = "synthetic://?fps=30"  # the shipped clip without end
WORDS: Final = {
    "fps": "frames/s presented, at least", "latency_p95_ms": "ms age of the shown frame (p95), at most",
    "compositing_cpu_ms": "ms processor time of compositing (p50), at most",
}  # fmt: skip


def size_of(words: str) -> tuple[int, int]:
    """argparse type: WIDTHxHEIGHT, such as 720x1280 for a portrait screen, as (height, width)."""
    found = re.fullmatch(r"(\d{2,5})x(\d{2,5})", words)
    if not found or not min(int(found[1]), int(found[2])) >= 64 or int(found[1]) * int(found[2]) > MAX_PIXELS:
        raise argparse.ArgumentTypeError(f"{words!r}: give WIDTHxHEIGHT in pixels, for instance 1080x1920")
    return int(found[2]) // 2 * 2, int(found[1]) // 2 * 2


def measure(args: argparse.Namespace, bundle: Bundle) -> dict[str, Any]:
    """The report's own part. Raises SpgvtonError."""
    with ExitStack() as stack:
        source = open_source(args.source or SOURCE, realtime=True)
        stack.callback(source.close)
        if args.size:
            source = live_loop.Fitted(source, args.size)
        parser = parser_options.open_parser(args, FOR_STREAMS, args.threads or cores())
        live = backend.open_live(args, bundle, threads=args.threads, parser=parser)
        stack.callback(live.close)
        shop = DemoAssets.open().garment(1)
        bar = stack.enter_context(tqdm(total=args.frames, unit="frame", desc="live", disable=None, leave=False))

        def progress(_: View) -> None:
            bar.update()

        garment = LiveGarment.of(shop.picture, shop.mask, bundle.size)
        max_age_s = None if args.max_age is None else args.max_age / 1e3
        power = Power(sensors.find())
        with power:
            measured = live_loop.measure(
                source, live, garment, frames=args.frames, max_age_s=max_age_s, on_view=progress
            )
        described = live.describe()
    report = measured.report
    if report.problem:
        raise SpgvtonError(report.problem)
    if report.interrupted:
        raise KeyboardInterrupt
    if measured.counted < 2 or not measured.rows:
        most = max(report.unusable, key=lambda reason: report.unusable[reason], default="too few frames")
        raise SpgvtonError(
            f"{source.name}: of {len(measured.ages)} frames none was dressed ({most}): give more --frames, or on a slow machine a "
            "longer --max-age"
        )
    chosen = {"source": source.name, "parser": args.parser or FOR_STREAMS, "power": power.report(report.frames_out)}
    return {**measured.as_dict(), **chosen, **context(described, bundle)}


def table(report: dict[str, Any]) -> list[str]:
    """The report for people."""
    height, width = report["size"]
    age = "  ".join(f"{name} {ms:.0f}" for name, ms in report["latency_ms"].items())
    lines = [
        f"parser   {report['parser']}",
        (
            f"frames   {width}x{height}: {report['frames_in']} in, {report['frames_counted']} counted, "
            f"{report['dressed']} of them dressed, {report['dropped']} dropped"
        ),
        f"speed    {report['fps']:.1f} frames/s presented, the networks answered {report['answers_per_s']:.1f} times/s",
        f"age      {age}  ms, of the shown camera frame",
        "stage, ms        p50     p95     p99",
        *(f"  {name:<12}{ms['p50']:8.1f}{ms['p95']:8.1f}{ms['p99']:8.1f}" for name, ms in report["stages_ms"].items()),
        f"memory   {report['peak_rss_mb']} MB at most (resident)",
        power_line(report["power"]),
    ]
    cpu = report["compositing_cpu_ms"]
    if cpu:
        lines.append(f"compositing {cpu['p50']:.1f} ms processor time a frame (p50), {cpu['max']:.1f} at most")
    for name, (limit, held) in report["targets"].items():
        lines.append(f"target   {WORDS[name]} {limit:g}: {'held' if held else 'MISSED'}")
    return lines


def run(args: argparse.Namespace, out: Path | None) -> int:
    """`spgvton bench loop --mode live`."""
    if args.frames < live_loop.WARM_UP + 2:
        raise UsageError(f"--frames {args.frames}: the first {live_loop.WARM_UP} warm up; give more, for instance 150")
    bundle = Bundle.open(args.bundle, mode="live")
    report = measure(args, bundle)
    text = json.dumps(report, indent=1)
    if out:
        write_text(out / "loop-live.json", text + "\n")
    say([*context_lines(report), *table(report)])
    if args.json:
        print(text)
    return 0
