"""Measure this machine: the network alone, the live loop end to end, and whether a mirror keeps its memory over time.

examples:
  spgvton bench model --backend openvino             each graph: latency, GMAC, percent of this machine's peak
  spgvton bench compare onnxruntime openvino         in turn; ratio with confidence interval, dB and SSIM of the pictures
  spgvton bench compare onnxruntime openvino@bundles/realtime-int8:1 --out results
  spgvton bench single-stream --queries 200          MLPerf's scenario: 90th percentile by early stopping
  spgvton bench mirrors --backend openvino           one to four mirrors on one engine, one to eight frames in one run
  spgvton bench loop                                 the shipped clip: speed, latency by stage, what the loop itself costs
  spgvton bench loop --source 0 --frames 600 --json  the same of a camera
  spgvton bench loop --mode live --size 1080x1920    live mode on a portrait screen: age, rates, processor time, memory
  spgvton bench flicker --steady                     what flickers beyond the camera's motion, without and with an option
  spgvton bench labels --source walk.mp4 --parser small    which labels change though nothing moves, and how late they are
  spgvton bench diff before.json after.json --limit 10    two reports: what became slower, and what else differed
  spgvton bench soak --minutes 60 --out soak         a mirror for an hour: memory, descriptors, threads; CSV and plot

`bench loop` sends its pictures nowhere (sink null). `bench soak` runs the kiosk's mirror with customers who come and go and
a garment every 5 seconds, and exits with 1 when something grows; docs/bench.md has the rule.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from spgvton.backends import BACKENDS
from spgvton.bench import loop as bench_loop
from spgvton.bench import sensors
from spgvton.bench.power import Power
from spgvton.bench.power import line as power_line
from spgvton.bench.report import context, context_lines, say
from spgvton.bench.soak import QUANTITIES, Soak, Verdict
from spgvton.bench.trend import BLOCK_S, MIN_BLOCKS
from spgvton.bundle import Bundle
from spgvton.cli import backend, bench_diff, bench_engine, bench_flicker, bench_labels, bench_live, parser_options
from spgvton.cli.demo import set_person
from spgvton.cli.run import positive
from spgvton.demo_assets import DemoAssets
from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import make_folder, write_text
from spgvton.image import write as write_picture
from spgvton.kiosk.mirror.mirror import Mirror
from spgvton.perception.parser_options import FOR_STREAMS, ParserOptions
from spgvton.session import TryOn
from spgvton.stream.compose import Composer
from spgvton.stream.loop import View
from spgvton.stream.sources import KINDS as SOURCES
from spgvton.stream.sources import open_source
from spgvton.stream.stages import PoseStage, TryOnStage

EXCLUDED: Final = (
    f"the first {bench_loop.WARM_UP} frames of each pass",
    "loading of models",
    "display and encoding (the sink is null)",
    "decoding is stage capture, which is in the latency and not in the overhead",
)
SOAK_SOURCE: Final = "synthetic://?stay=30&away=8"
WIPE_AFTER_S: Final = 4.0  # the next customer of SOAK_SOURCE is a new one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `spgvton bench`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="WHAT")
    loop = actions.add_parser("loop", help="speed, latency by stage, and overhead of the live loop")
    loop.add_argument("--source", metavar="URI", help=f"{SOURCES}; otherwise the shipped clip")
    loop.add_argument(
        "--mode",
        choices=("pose", "live"),
        default="pose",
        help="live: how fresh and how dear the live mirror is (pose)",
    )
    loop.add_argument(
        "--size", type=bench_live.size_of, metavar="WxH",
        help="live mode: the camera's width x height; the source's pictures are fitted into it (the source's own)",
    )  # fmt: skip
    loop.add_argument(
        "--max-age", type=float, metavar="MS",
        help="live mode: of the networks' answer that a frame is dressed by (3000)",
    )  # fmt: skip
    loop.add_argument("--frames", type=positive, default=150, metavar="N", help="of each of the two passes (150)")
    parser_options.add_choice(loop, FOR_STREAMS)
    parser_options.add_arguments(loop)
    bench_flicker.add_arguments(actions)
    bench_labels.add_arguments(actions)
    soak = actions.add_parser("soak", help="run a mirror for minutes or hours; do memory, descriptors, threads grow?")
    soak.add_argument("--source", default=SOAK_SOURCE, metavar="URI", help=f"of the mirror ({SOAK_SOURCE})")
    soak.add_argument("--mode", choices=("live", "pose"), default="live", help="of the mirror (live)")
    soak.add_argument("--minutes", type=float, default=10.0, metavar="M", help="how long (10)")
    bench_engine.add_actions(actions)
    bench_diff.add_arguments(actions)
    for action in (loop, soak):
        action.add_argument("--bundle", metavar="DIR", help="model bundle; otherwise the shipped one")
        action.add_argument("--threads", type=positive, metavar="N", help="threads of the try-on network on the CPU")
        action.add_argument("--out", metavar="DIR", help="write the figures there")
        action.add_argument("--json", action="store_true", help="the report as JSON on stdout")
    backend.add_arguments(loop, BACKENDS)
    soak.add_argument("--backend", choices=BACKENDS, default=BACKENDS[0], help=f"({BACKENDS[0]})")


def one_pass(
    args: argparse.Namespace, bundle: Bundle, *, one_at_a_time: bool
) -> tuple[bench_loop.Pass, dict[str, str], str]:
    """One pass over --source with a session of its own; what the back end says of itself; the source's name."""
    assets = DemoAssets.open()
    garment = assets.garment(1)
    with ExitStack() as stack:
        source = open_source(args.source or str(assets.clip))
        stack.callback(source.close)
        session: TryOn = backend.open_session(args, bundle, threads=args.threads)
        stack.callback(session.close)
        session.set_garment(garment.picture, mask=garment.mask)
        if not args.source:
            set_person(session)
        title = "one at a time" if one_at_a_time else "full rate"
        bar = stack.enter_context(tqdm(total=args.frames, unit="frame", desc=title, disable=None, leave=False))

        def progress(_: View) -> None:
            bar.update()

        measured = bench_loop.measure(
            source, PoseStage(), TryOnStage(session, person_from_stream=bool(args.source)),
            Composer(source.size, garment=garment.picture), frames=args.frames, one_at_a_time=one_at_a_time,
            on_view=progress,
        )  # fmt: skip
        described = session.describe()
    report = measured.report
    if report.problem:
        raise SpgvtonError(report.problem)
    if report.interrupted:
        raise KeyboardInterrupt
    if measured.counted < 2:
        raise SpgvtonError(
            f"{source.name}: {report.frames_out} frames are too few to measure; {bench_loop.WARM_UP} warm up"
        )
    if sum(report.unusable.values()) > report.frames_out / 2:
        most = max(report.unusable, key=lambda reason: report.unusable[reason])
        raise SpgvtonError(f"{source.name}: most frames could not be dressed ({most}), so the network was not measured")
    return measured, described, source.name


def loop_table(report: dict[str, Any]) -> list[str]:
    """The report of `bench loop` for people."""
    own, single = report["overhead"], report["one_at_a_time"]
    lines = [
        (
            f"frames   {report['frames_in']} in, {report['frames_out']} out, {report['dropped']} dropped; "
            f"{report['frames_counted']} counted"
        ),
        f"speed    {report['fps']:.1f} frames/s at full rate (policy: {report['policy']})",
    ]
    for title, found in (("full rate", report), ("one at a time", single)):
        latency = "  ".join(f"{name} {ms:.1f}" for name, ms in found["latency_ms"].items())
        lines += [f"latency  {latency}  ms, capture to present, {title}"]
    lines.append("                      full rate                   one at a time")
    lines.append("stage, ms             mean     p50     p99        mean     p50     p99")
    for name, full in report["stages_ms"].items():
        alone = single["stages_ms"][name]
        cells = [f"{found[key]:8.2f}" for found in (full, alone) for key in ("mean", "p50", "p99")]
        lines.append(f"  {name:<18}{''.join(cells[:3])}    {''.join(cells[3:])}")
    lines.append(f"  {'sum':<18}{report['latency_ms']['mean']:8.2f}{'':20}{single['latency_ms']['mean']:8.2f}")
    for kind, frame in (("wall", "time of a frame at full rate"), ("cpu", "processor time of the slowest stage")):
        found = own[kind]
        words = "within" if found["within_limits"] else "OVER"
        lines.append(
            f"overhead {found['ms']:.2f} ms a frame ({kind}), {found['percent_of_frame']:.1f}% of the {frame}, "
            f"{found['frame_ms']:.1f} ms: {words} the limits ({bench_loop.MAX_MS} ms, {bench_loop.MAX_PERCENT:.0f}%)"
        )
    lines.append(power_line(report["power"]))
    return [*lines, f"excluded {'; '.join(report['excluded'])}"]


def loop_csv(passes: dict[str, bench_loop.Pass], power: Power) -> str:
    """A row for each frame: ms by stage, and at full rate watts and the GPU's clock where these can be read."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("pass", *bench_loop.STAGES, "watts", "gpu_mhz"))
    for title, measured in passes.items():
        for row, finished in zip(measured.rows, measured.finished):
            reading = power.at(finished) if title == "full rate" else None
            beside = (reading.watts, reading.gpu_mhz) if reading else (None, None)
            writer.writerow([title, *(f"{ms:.4f}" for ms in row), *beside])
    return table.getvalue()


def run_loop(args: argparse.Namespace, out: Path | None) -> int:
    """`spgvton bench loop`."""
    if args.frames < bench_loop.WARM_UP + 2:
        raise UsageError(f"--frames {args.frames}: the first {bench_loop.WARM_UP} warm up; give more, for instance 150")
    bundle = Bundle.open(args.bundle)
    with Power(sensors.find()) as power:
        full, described, name = one_pass(args, bundle, one_at_a_time=False)
    single, *_ = one_pass(args, bundle, one_at_a_time=True)
    report = {
        **full.report.as_dict(),
        "fps": round(1e3 / full.frame_ms, 2),
        "frames_counted": full.counted,
        "latency_ms": full.latency_ms(),
        "stages_ms": full.stages_ms(),
        "one_at_a_time": {
            "frames_counted": single.counted, "latency_ms": single.latency_ms(), "stages_ms": single.stages_ms(),
        },
        "overhead": bench_loop.overhead(full, single),
        "power": power.report(full.report.frames_out),
        "source": name,
        "excluded": list(EXCLUDED),
        **context(described, bundle),
    }  # fmt: skip
    text = json.dumps(report, indent=1)
    if out:
        write_text(out / "loop.json", text + "\n")
        write_text(out / "loop.csv", loop_csv({"full rate": full, "one at a time": single}, power))
    say([*context_lines(report), *loop_table(report)])
    if args.json:
        print(text)
    return 0


def run_flicker(args: argparse.Namespace, out: Path | None) -> int:
    """`spgvton bench flicker`."""
    bundle = Bundle.open(args.bundle)
    found, described = bench_flicker.measure(args, bundle)
    report = {**found, **context(described, bundle)}
    text = json.dumps(report, indent=1)
    if out:
        write_text(out / "flicker.json", text + "\n")
    say([*context_lines(report), *bench_flicker.table(report)])
    if args.json:
        print(text)
    return 0


def run_soak(args: argparse.Namespace, out: Path) -> int:
    """`spgvton bench soak`. Raises SpgvtonError when something grows, after everything was written."""
    if not 0.5 <= args.minutes <= 60 * 24 * 31:
        raise UsageError(f"--minutes {args.minutes:g}: give from 0.5 up to a month")
    bundle = Bundle.open(args.bundle, mode=args.mode)
    seconds = 60 * args.minutes
    mirror = Mirror(
        args.source, args.bundle, mode=args.mode, backend=args.backend, threads=args.threads, wipe_after_s=WIPE_AFTER_S
    )
    with tqdm(total=round(seconds), unit="s", desc="soak", disable=None, leave=False) as bar:
        soak = Soak(
            mirror, DemoAssets.open().garments(), seconds, out / "soak.csv", on_sample=lambda s: set_bar(bar, s)
        )
        soak.run()
    if soak.code:
        raise SpgvtonError(f"the mirror gave up: {mirror.status().last_error} (samples: {out / 'soak.csv'})")
    verdict = Verdict.of(soak.samples)
    report = {
        **verdict.as_dict(), "interrupted": soak.interrupted, "source": args.source, "mode": args.mode,
        **context(mirror.status().backend, bundle),
    }  # fmt: skip
    text = json.dumps(report, indent=1)
    write_text(out / "soak.json", text + "\n")
    found = report["machine"]
    caption = f"{found['cpu']}, {found['cores']} cores, load {report['load'][1]}; {report['customers']} customers"
    write_picture(
        out / "soak.png", verdict.plot(f"{caption}, {report['garments']} garments, {report['frames_out']} frames")
    )
    say([*context_lines(report), *soak_table(report), f"wrote    {out}/soak.csv, soak.json, soak.png"])
    if args.json:
        print(text)
    if verdict.too_short:
        needed = MIN_BLOCKS * BLOCK_S / 60
        say(
            [
                f"too short to judge: {verdict.judged_s / 60:.1f} min after the warm-up, {needed:.0f} are needed (--minutes 10)"
            ]
        )
    if verdict.growing:
        names = ", ".join(QUANTITIES[name].split(",")[0] for name in verdict.growing)
        raise SpgvtonError(f"it grows: {names}; see {out / 'soak.png'}")
    return 130 if soak.interrupted else 0


def set_bar(bar: tqdm[Any], seconds: float) -> None:
    """Show SECONDS on the bar."""
    bar.n = round(seconds)
    bar.refresh()


def soak_table(report: dict[str, Any]) -> list[str]:
    """The report of `bench soak` for people."""
    lines = [
        (
            f"ran      {report['seconds'] / 60:.1f} min, the first {report['warm_up_s'] / 60:.1f} not judged; "
            f"{report['frames_out']} frames, {report['customers']} customers, {report['garments']} garments"
        ),
        "                         mean   slope per hour     growth    noise",
    ]
    for name, title in QUANTITIES.items():
        t = report["trends"][name]
        slope = f"{t['slope_per_hour']:+.2f} +- {t['standard_error_per_hour']:.2f}"
        words = "GROWS" if t["grows"] else "flat"
        lines.append(f"  {title:<22}{t['mean']:7.1f} {slope:>16} {t['growth']:+10.2f} {t['noise']:8.2f}  {words}")
    return lines


def run(args: argparse.Namespace) -> int:
    """`spgvton bench`. Returns the exit code; raises SpgvtonError."""
    if args.action == "diff":
        return bench_diff.run(args)
    if args.action == "flicker":
        return run_flicker(args, make_folder(args.out) if args.out else None)
    if args.action == "labels":
        return bench_labels.run(args, make_folder(args.out) if args.out else None)
    if args.action in bench_engine.ACTIONS:
        return bench_engine.run(args, make_folder(args.out) if args.out else None)
    if args.action == "loop":
        for name in ("size", "parser", *(f"parser_{option}" for option in ParserOptions._fields)):
            if getattr(args, name) and args.mode != "live":
                raise UsageError(f"--{name.replace('_', '-')} is of live mode: add --mode live")
        measured = bench_live.run if args.mode == "live" else run_loop
        return measured(args, make_folder(args.out) if args.out else None)
    return run_soak(args, make_folder(args.out or "."))
