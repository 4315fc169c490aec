"""Try garments on the person in a video, camera, stream or photograph, frame by frame.

examples:
  spgvton run --source 0 --garment shirt.jpg --mirror
  spgvton run --source 0 --rotate 90 --garment a.jpg --garment b.jpg --garment c.jpg --sink window:fullscreen
  spgvton run --source walk.mp4 --garment shirt.jpg --garment coat.jpg --garment-seconds 4 --sink file:out.mp4
  spgvton run --source walk.mp4 --garment shirt.jpg --person me.jpg --parsing me_labels.png --sink file:out.mp4

Two modes. live (default): the person of the frame itself, at the camera's own resolution; only the clothes are new. pose (default
with --person or --parsing): the person of one picture in the pose of every frame, at the network's size. docs/live.md has more.

Several garments: in the window 1 to 9, n, p or the arrows change between them; --garment-seconds does so by itself.
What tells clothes from skin and hair is a shipped parser (`spgvton parse` shows what it sees), or yours (--parser, an ONNX human
parser). In pose mode the person is --person, or else the first frame with a usable pose, and --parsing is the semantic map of
--person (a PNG of label ids).
Cameras and streams show the latest frame and drop what the machine cannot follow (--policy latest); files are processed without
losing a frame (--policy wait), unless they go to a window. With --policy latest a file plays at its own pace, as a camera would: use
that to measure latency. --still-threshold, --steady and --max-age spend less, or calm the picture, on a live stream (docs/economy.md).
Exit codes: 0 fine, 1 failed (also: the file ended early), 2 wrong use, 130 interrupted before a file's end.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from spgvton.backends import BACKENDS
from spgvton.bundle import MODES
from spgvton.cli import backend, garments, parser_options, run_stages
from spgvton.cli import economy as economy_arguments
from spgvton.cli.run_stages import Dresser
from spgvton.errors import SpgvtonError, UsageError
from spgvton.hints import Hint
from spgvton.labels import LABEL_SETS
from spgvton.perception.parser_options import FOR_STREAMS
from spgvton.stream.compose import LAYOUTS, Composer, Layout
from spgvton.stream.frames import Source
from spgvton.stream.loop import View, run_loop
from spgvton.stream.report import Report
from spgvton.stream.rotate import TURNS, Rotated
from spgvton.stream.sink_thread import in_threads
from spgvton.stream.sinks import KINDS as SINKS
from spgvton.stream.sinks import Sink, WindowSink, open_sink
from spgvton.stream.slot import POLICIES, Policy
from spgvton.stream.sources import KINDS as SOURCES
from spgvton.stream.sources import open_source
from spgvton.stream.stages import PoseStage

UInt8 = NDArray[np.uint8]


def positive(text: str) -> int:
    """argparse type: an integer of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `spgvton run`."""
    parser.add_argument("--source", required=True, metavar="URI", help=SOURCES)
    parser.add_argument(
        "--garment", required=True, action="append", metavar="IMG",
        help="in-shop picture; a PNG's alpha serves as mask; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--garment-mask", action="append", metavar="PNG",
        help="white where the garment is; otherwise NAME_mask.png beside it, or found; one per --garment, in the same order",
    )  # fmt: skip
    parser.add_argument(
        "--garment-seconds", type=float, metavar="S", help="go on to the next garment after S seconds, without end"
    )
    parser.add_argument(
        "--mode", choices=tuple(MODES), help="live: the person of the frame itself; pose: of one picture"
    )
    parser.add_argument(
        "--rotate", type=int, choices=tuple(TURNS), metavar="DEGREES",
        help="turn the camera's picture clockwise by 90, 180 or 270, before everything else",
    )  # fmt: skip
    parser.add_argument("--person", metavar="IMG", help="pose mode: its person; otherwise the first usable frame")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--parsing", metavar="PNG", help="pose mode: semantic map of --person, label ids 0 to 19")
    parser_options.add_choice(how, FOR_STREAMS)
    parser.add_argument(
        "--label-set", choices=tuple(LABEL_SETS), default="cihp", help="of --parsing or --parser (cihp)"
    )
    parser_options.add_arguments(parser)
    parser.add_argument("--bundle", metavar="DIR", help="model bundle; otherwise the shipped one")
    backend.add_arguments(parser, BACKENDS)
    backend.add_compositor(parser)
    economy_arguments.add_arguments(parser)
    parser.add_argument("--sink", action="append", metavar="URI", help=f"{SINKS}; may be repeated (default: window)")
    parser.add_argument(
        "--view",
        choices=LAYOUTS,
        help="what is shown (live mode: result, at the camera's size; pose mode: side-by-side)",
    )
    parser.add_argument("--overlay", action="store_true", help="draw the keypoints on the camera's picture")
    parser.add_argument("--mirror", action="store_true", help="flip left and right, as a mirror does")
    parser.add_argument(
        "--policy", choices=POLICIES, help="drop to stay with the latest frame, or wait for every frame"
    )
    parser.add_argument("--max-frames", type=positive, metavar="N", help="stop after N captured frames")
    parser.add_argument("--threads", type=positive, metavar="N", help="threads of the try-on network on the CPU")
    parser.add_argument(
        "--record-calibration",
        type=positive,
        metavar="N",
        help="pose mode: record up to N poses and the garments for spgvton calibrate; no picture of the person",
    )
    parser.add_argument("--recording", metavar="NPZ", default="session.npz", help="where to (session.npz)")
    parser.add_argument(
        "--record-images", action="store_true",
        help="with --record-calibration: the person's picture without the clothes, too, FACE INCLUDED; ask the person first",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="the report as JSON on stdout")


def say(words: str) -> None:
    """A line for people, on stderr, without tearing the progress bar."""
    tqdm.write(f"spgvton run: {words}", file=sys.stderr)


def mode_of(args: argparse.Namespace) -> str:
    """Either "live" or "pose". Raises UsageError where --mode and the others contradict each other."""
    if args.mode == "live" and (args.person or args.parsing):
        raise UsageError("--person and --parsing are for --mode pose: in live mode the person is the frame's own")
    return args.mode or ("pose" if args.person or args.parsing else "live")


def check_arguments(args: argparse.Namespace) -> list[str]:
    """The sinks' URIs. Raises UsageError for arguments that do not go together."""
    if args.parsing and not args.person:
        raise UsageError("--parsing is the semantic map of --person: give --person, or use --parser")
    economy_arguments.economy(args)
    mode = mode_of(args)
    parser_options.options(args)
    if args.record_images and not args.record_calibration:
        raise UsageError("--record-images adds pictures to a recording: give --record-calibration N, too")
    if args.record_calibration and mode == "live":
        raise UsageError("--record-calibration records what pose mode is fed: add --mode pose")
    if mode == "pose" and (args.compositor or args.compositor_library):
        raise UsageError("--compositor puts garments on the camera's frames: it is for live mode")
    if args.garment_seconds is not None and not 0.1 <= args.garment_seconds <= 86400:
        raise UsageError(f"--garment-seconds {args.garment_seconds:g}: give from 0.1 to 86400")
    if args.garment_seconds is not None and len(args.garment) == 1:
        raise UsageError("--garment-seconds changes between garments: give --garment more than once")
    sinks = list(dict.fromkeys(args.sink or ["window"]))
    files = [("--garment", path) for path in args.garment] + [
        ("--garment-mask", path) for path in args.garment_mask or ()
    ]
    for name, path in (*files, ("--person", args.person), ("--parsing", args.parsing)):
        if path and not Path(path).is_file():  # before a camera is opened and models are loaded
            raise SpgvtonError(f"{name} {path}: no such file")
    garments.pair_masks(args.garment, args.garment_mask)
    return sinks


def play(
    args: argparse.Namespace, source: Source, sink_uris: list[str]
) -> tuple[Report, list[Sink], Dresser, dict[str, str]]:
    """Open the sinks, load the models, run the loop; everything is closed afterwards, whatever happens.

    Returns the report, the sinks, who dressed, and what its back end said of itself at the end.
    """
    policy: Policy = args.policy or ("latest" if source.live else "wait")
    economy, live = economy_arguments.economy(args), mode_of(args) == "live"
    layout: Layout = args.view or ("result" if live else "side-by-side")
    composer = Composer(source.size, layout=layout, overlay=args.overlay, mirror=args.mirror, live=live)
    with ExitStack() as stack:
        stack.callback(source.close)
        if economy.max_age_s is not None and policy == "wait" and not source.live:
            raise UsageError("--max-age is for live streams: a file is not late; add --policy latest, or leave it out")
        sinks: list[Sink] = []
        for uri in sink_uris:  # before the models: a wrong path should fail at once
            sinks.append(open_sink(uri, composer.size, source.fps, keep_time=True))
            stack.callback(sinks[-1].close)
        pieces = [garments.read(*pair, note=say) for pair in garments.pair_masks(args.garment, args.garment_mask)]
        for piece in pieces:
            for words in piece.notes:
                say(f"{piece.path}: {words}")
        open_dresser = run_stages.open_live if live else run_stages.open_pose
        dresser = open_dresser(args, stack, pieces, economy, source.size, policy, say)
        for sink in sinks:
            if isinstance(sink, WindowSink):
                sink.on_key = dresser.wardrobe.key
        total = min((n for n in (source.count, args.max_frames) if n), default=None)
        bar = stack.enter_context(tqdm(total=total, unit="frame", desc=source.name[-30:], disable=None, leave=False))

        def compose(view: View) -> UInt8:
            composer.garment = dresser.wardrobe.piece.picture
            return composer(view)

        def progress(_: View) -> None:
            bar.update()

        report = run_loop(
            source,
            partial(dresser.perceive, PoseStage(live=live)),
            dresser.wardrobe,
            compose,
            in_threads(sinks, policy),
            policy=policy,
            max_frames=args.max_frames,
            on_view=progress,
            max_age_s=None if live else economy.max_age_s,  # live mode never shows an old picture
        )
        described = (
            dresser.describe()
        )  # now: whether CUDA graphs are replayed is known after the frames, and not once closed
    return report, sinks, dresser, described


def run(args: argparse.Namespace) -> int:
    """`spgvton run`. Returns the exit code; raises SpgvtonError."""
    sink_uris = check_arguments(args)
    shows = any(uri.startswith("window") for uri in sink_uris)
    latest = args.policy == "latest" or (shows and args.policy is None)
    # "Latest" means nothing to a file that is decoded a hundred times too fast: it then plays at its own pace.
    source = open_source(args.source, realtime=latest)
    if args.rotate:
        source = Rotated(source, args.rotate)
    report, sinks, dresser, described = play(args, source, sink_uris)
    print(report.summary(), file=sys.stderr)
    if args.json:
        inputs = {
            "mode": mode_of(args),
            "size": list(dresser.size),
            "backend": described,
            "source": source.name,
            "sinks": [sink.name for sink in sinks],
            "garments": args.garment,
        }
        print(json.dumps({**report.as_dict(), **inputs}, indent=1))
    if report.problem:
        raise SpgvtonError(report.problem)
    if not report.frames_out:
        raise SpgvtonError(f"{source.name}: no frame was presented")
    if sum(report.unusable.values()) == report.frames_out:
        most = max(report.unusable, key=lambda reason: report.unusable[reason])
        advice = "one person should stand before the camera, seen whole"
        if most == Hint.WAIT:
            advice = "it ended before the networks' first answer; let it run longer"
        raise SpgvtonError(f"no frame could be dressed ({most}): {advice}")
    return 130 if report.interrupted and not source.live else 0
