"""`spgvton bench model | compare | single-stream | mirrors`: the network and its back ends, without a loop around them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from spgvton.backends import BACKENDS, CPU_BACKENDS, open_backend, tell
from spgvton.backends.contract import LIVE, POSE
from spgvton.backends.samples import by_garment, demo_samples, live_samples
from spgvton.bench import compare, mirrors, sensors, single_stream
from spgvton.bench.latency_plot import draw
from spgvton.bench.power import Power
from spgvton.bench.power import line as power_line
from spgvton.bench.report import context, context_lines, deliver, table
from spgvton.bench.statistics import CONFIDENCE
from spgvton.bundle import MODES, Bundle
from spgvton.cli import backend as cli_backend
from spgvton.cli.run import positive
from spgvton.errors import SpgvtonError, UsageError

ACTIONS: Final = ("model", "compare", "single-stream", "mirrors")
EXCLUDED: Final = ("loading and compiling", "pose estimation, framing, display and encoding")


def add_actions(actions: Any) -> None:
    """Add ACTIONS to the sub-parsers of `spgvton bench`."""
    model = actions.add_parser("model", help="each graph alone: latency, GMAC, percent of this machine's peak")
    model.add_argument("--backend", choices=CPU_BACKENDS, default=CPU_BACKENDS[0], help=f"({CPU_BACKENDS[0]})")
    model.add_argument("--runs", type=positive, default=30, metavar="N", help="of each graph (30)")
    several = actions.add_parser("compare", help="back ends, presets or bundles in turn: ratio, interval, dB, SSIM")
    several.add_argument(
        "sides", nargs="+", metavar="BACKEND[@BUNDLE][:THREADS]",
        help="two or more, compared with the first; BUNDLE: a folder or a shipped preset",
    )  # fmt: skip
    several.add_argument("--rounds", type=positive, default=40, metavar="N", help="frames of each (40)")
    stream = actions.add_parser("single-stream", help="next pose on completion; 90th percentile by early stopping")
    cli_backend.add_arguments(stream, BACKENDS)
    stream.add_argument(
        "--queries", type=positive, default=single_stream.MIN_QUERIES, metavar="N",
        help=f"at least; {single_stream.MIN_QUERIES} are the fewest that early stopping allows",
    )  # fmt: skip
    stream.add_argument("--seconds", type=float, default=10.0, metavar="S", help="at least (10; MLPerf asks for 600)")
    many = actions.add_parser("mirrors", help="1 to 4 mirrors on one engine, 1 to 8 frames in one run: time per frame")
    many.add_argument("--backend", choices=CPU_BACKENDS, default=CPU_BACKENDS[0], help=f"({CPU_BACKENDS[0]})")
    many.add_argument("--mode", choices=MODES, default=LIVE.name, help=f"whose network ({LIVE.name})")
    many.add_argument("--seconds", type=float, default=6.0, metavar="S", help="for each number of mirrors (6)")
    many.add_argument("--rounds", type=positive, default=9, metavar="N", help="runs of each batch size (9)")
    for action in (model, stream, many):
        action.add_argument("--bundle", metavar="DIR", help="model bundle; otherwise the shipped one")
        action.add_argument("--threads", type=positive, metavar="N", help="threads of the network on the CPU")
    for action in (model, several, stream, many):
        action.add_argument("--out", metavar="DIR", help="write the report there as JSON, CSV and PNG")
        action.add_argument("--json", action="store_true", help="the report as JSON on stdout")


def caption(about: dict[str, Any]) -> str:
    """One line below a plot."""
    found, by = about["machine"], about["backend"]
    threads = f", {by['threads']} threads" if "threads" in by else ""
    return f"{found['cpu']}, {found['cores']} cores, load {about['load'][0]}; {by['backend']}{threads}, {about['precision']}"


def run_model(args: argparse.Namespace, out: Path | None) -> int:
    """`spgvton bench model`."""
    try:
        from spgvton.bench import model
    except ModuleNotFoundError as e:  # onnx
        raise SpgvtonError(f"bench model reads graphs with {e.name}: pip install 'spgvton[openvino]'") from e
    bundle = Bundle.open(args.bundle)
    opened = open_backend(args.backend, bundle, threads=args.threads)
    described = opened.describe()
    opened.close()
    with tqdm(unit="graph", desc="model", disable=None, leave=False) as bar:
        found = model.measure(bundle, args.backend, args.threads, args.runs, tell, lambda _: bar.update() and None)
    about = context(described, bundle)
    excluded = [*EXCLUDED, f"the first {model.WARM_UP} runs of each graph"]
    report = {**found.as_dict(), "runs": args.runs, "excluded": excluded, **about}
    peaks = ", ".join(f"{name} {rate:.1f}" for name, rate in found.peaks.items())
    lines = [
        *context_lines(about), *table(found.rows()),
        f"peak     {peaks} GMAC/s, same back end and threads, measured between the graphs; times in ms",
        f"excluded {'; '.join(excluded)}",
    ]  # fmt: skip
    rows = [{**_what(about), **row, "peak_gmac_s": round(found.peak, 2)} for row in found.rows()]
    picture = draw({name: g.wall for name, g in found.graphs.items()}, caption(about)) if out else None
    deliver("model", report, lines, rows, out=out, picture=picture, as_json=args.json)
    return 0


def run_compare(args: argparse.Namespace, out: Path | None) -> int:
    """`spgvton bench compare`."""
    if len(args.sides) < 2:
        raise UsageError("compare needs two sides or more, for instance: onnxruntime openvino")
    sides = [compare.Side.parse(text) for text in args.sides]
    opened = compare.open_sides(sides, tell)
    samples = compare.samples_of(opened[0][0])
    rounds = max(args.rounds, len(samples))
    with tqdm(total=rounds, unit="round", desc="compare", disable=None, leave=False) as bar:
        found = compare.measure([backend for _, backend in opened], samples, rounds, bar.update)
    abouts = [context(backend.describe(), bundle) for bundle, backend in opened]
    for _, backend in opened:
        backend.close()
    excluded = [*EXCLUDED, f"the first {compare.WARM_UP} frames", "what is computed once per garment"]
    figures = [timed.as_dict(found[0]) for timed in found]
    own = ("backend", "bundle", "preset", "precision")
    report = {
        "rounds": rounds,
        "sides": [{"side": s.text, **{k: about[k] for k in own}, **f} for s, about, f in zip(sides, abouts, figures)],
        "excluded": excluded, **abouts[0],
    }  # fmt: skip
    rows = [
        {
            "side": side.text, **_what(about), "rounds": rounds, "p50": f["latency_ms"]["p50"], "p99": f["latency_ms"]["p99"],
            "ratio": f["ratio"]["ratio"], "ratio_low": f["ratio"]["low"], "ratio_high": f["ratio"]["high"],
            "cpu_p50": f["cpu_ms"]["p50"], "cpu_ratio": f["cpu_ratio"]["ratio"], "cpu_ratio_low": f["cpu_ratio"]["low"],
            "cpu_ratio_high": f["cpu_ratio"]["high"], "psnr_db": f["psnr_db"]["mean"], "psnr_worst": f["psnr_db"]["worst"],
            "ssim": f["ssim"]["mean"], "ssim_worst": f["ssim"]["worst"],
        }
        for side, about, f in zip(sides, abouts, figures)
    ]  # fmt: skip
    shown = [{k: v for k, v in row.items() if k not in ("preset", "backend", "rounds", "p99")} for row in rows]
    lines = [
        *context_lines(abouts[0]), *table(shown),
        (f"times in ms of {rounds} rounds; ratio: median over the first side's, low and high hold it in {CONFIDENCE:.0%} of "
         "bootstrap resamples; cpu: processor time of all threads;"),
        f"psnr_db, ssim: of {figures[0]['pictures']} pictures against the first side's, 100 dB = equal",
        f"excluded {'; '.join(excluded)}",
    ]  # fmt: skip
    picture = draw({s.text: timed.wall for s, timed in zip(sides, found)}, caption(abouts[0])) if out else None
    deliver("compare", report, lines, rows, out=out, picture=picture, as_json=args.json)
    return 0


def run_single_stream(args: argparse.Namespace, out: Path | None) -> int:
    """`spgvton bench single-stream`."""
    if not 0 <= args.seconds < 1e6:
        raise UsageError(f"--seconds {args.seconds:g}: give for instance 10")
    bundle = Bundle.open(args.bundle)
    opened = open_backend(args.backend, bundle, threads=args.threads, warp=args.warp, plugin=args.plugin)
    samples = by_garment(demo_samples(bundle.size, bundle.label_set, poses=20))[0]
    power = Power(sensors.find())
    with power, tqdm(unit="query", desc="single-stream", disable=None, leave=False) as bar:
        found = single_stream.measure(opened, samples, args.queries, args.seconds, bar.update)
    about = context(opened.describe(), bundle)
    opened.close()
    excluded = [*EXCLUDED, f"the first {single_stream.WARM_UP} queries"]
    figures = found.as_dict()
    report = {**figures, "power": power.report(figures["queries"]), "excluded": excluded, **about}
    stop = figures["early_stopping"]
    lines = [
        *context_lines(about),
        f"queries  {figures['queries']} in {figures['seconds']:.1f} s, {figures['qps']:.2f} a second",
        f"latency  {'  '.join(f'{k} {v:.2f}' for k, v in figures['latency_ms'].items())}  ms",
        (f"MLPerf   90th percentile at most {stop['estimate_ms']:.2f} ms (confidence {stop['confidence']:.0%}); "
         f"{stop['queries_needed']} queries are needed, of these {figures['queries']} the {stop['discarded']} slowest are "
         f"discarded, one more from {stop['one_more_discarded_at']} queries on"),
        power_line(report["power"]),
        f"excluded {'; '.join(excluded)}",
    ]  # fmt: skip
    row = {**_what(about), "queries": figures["queries"], "qps": figures["qps"], **figures["latency_ms"],
           "p90_early_stopping": stop["estimate_ms"], "discarded": stop["discarded"]}  # fmt: skip
    picture = draw({"single-stream": found.times}, caption(about)) if out else None
    deliver("single-stream", report, lines, [row], out=out, picture=picture, as_json=args.json)
    return 0


def run_mirrors(args: argparse.Namespace, out: Path | None) -> int:
    """`spgvton bench mirrors`."""
    if not 0.1 <= args.seconds < 1e6:
        raise UsageError(f"--seconds {args.seconds:g}: give for instance 6")
    bundle = Bundle.open(args.bundle)
    mode, make = (LIVE, live_samples) if args.mode == LIVE.name else (POSE, demo_samples)
    samples = make(bundle.size, bundle.label_set)
    opened = open_backend(args.backend, bundle, threads=args.threads, mode=mode)
    passes = 3
    with tqdm(total=passes * len(mirrors.MIRRORS) + args.rounds, desc="mirrors", disable=None, leave=False) as bar:
        shared = mirrors.measure_mirrors(opened, samples, mirrors.MIRRORS, args.seconds, passes, bar.update, mode)
        about = context(opened.describe(), bundle)
        opened.close()
        batches = mirrors.measure_batches(
            args.backend, bundle, args.threads, samples, mirrors.BATCHES, args.rounds, tell, bar.update, mode
        )
    rows = [found.row(shared[0].ms_per_frame) for found in shared]
    alone = mirrors.batch_row(1, batches[1], 1.0)["ms_per_frame"]
    rows += [mirrors.batch_row(size, times, alone) for size, times in batches.items()]
    excluded = [*EXCLUDED, "the first frame of each", "what is computed once per garment"]
    report = {"rows": rows, "mode": mode.name, "seconds": args.seconds, "excluded": excluded, **about}
    lines = [
        *context_lines(about), *table(rows),
        "ms_per_frame: time over frames of all mirrors together; relative: that over one mirror's (one frame's), at most 1 is",
        "linear or better; latency: of a mirror's frame with its waiting, or of a whole batch; fairness: fewest / most frames",
        f"excluded {'; '.join(excluded)}",
    ]  # fmt: skip
    plots = {f"{found.row(1.0)['count']} mirrors": [ms for times in found.times for ms in times] for found in shared}
    plots |= {f"batch of {size}": times for size, times in batches.items()}
    picture = draw(plots, caption(about)) if out else None
    deliver(
        "mirrors", report, lines, [{**_what(about), **r} for r in rows], out=out, picture=picture, as_json=args.json
    )
    return 0


def _what(about: dict[str, Any]) -> dict[str, Any]:
    """The first columns of a CSV: what was measured."""
    by = about["backend"]
    return {"preset": about["preset"], "precision": about["precision"], "backend": by["backend"],
            "graphs": by.get("graphs"), "threads": by.get("threads")}  # fmt: skip


def run(args: argparse.Namespace, out: Path | None) -> int:
    """One of ACTIONS. Returns the exit code; raises SpgvtonError."""
    verbs = {"model": run_model, "compare": run_compare, "single-stream": run_single_stream, "mirrors": run_mirrors}
    return verbs[args.action](args, out)
