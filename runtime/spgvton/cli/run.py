"""Try a garment on a person in a video, camera or stream, frame by frame.

examples:
  spgvton run --source 0 --garment shirt.jpg --sink window --mirror
  spgvton run --source walk.mp4 --garment shirt.jpg --person me.jpg --parsing me_labels.png --sink file:out.mp4
  spgvton run --source rtsp://camera.local/main --garment shirt.png --parser schp.onnx --label-set lip --sink null --json

The person is --person, or else the first frame in which a usable pose is found. Its semantic map is --parsing (a PNG of
label ids), or comes from --parser (your ONNX human parser), or else from the shipped parser (`spgvton parse` shows what that
sees). Cameras and streams show the latest frame and drop what the machine cannot follow
(--policy latest); files are processed without losing a frame (--policy wait), unless they go to a window. With --policy
latest a file plays at its own pace, as a camera would: use that to measure latency. --still-threshold, --steady and
--max-age spend less, or calm the picture, on a live stream (docs/economy.md).
Exit codes: 0 fine, 1 failed (also: the file ended early), 2 wrong use, 130 interrupted before a file's end.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from spgvton import image
from spgvton.backends import BACKENDS
from spgvton.bundle import Bundle
from spgvton.cli import backend
from spgvton.cli import economy as economy_arguments
from spgvton.economy import Economy
from spgvton.errors import SpgvtonError, UsageError
from spgvton.labels import LABEL_SETS
from spgvton.mask import read_mask
from spgvton.perception.garment_mask import garment_mask
from spgvton.perception.multiclass import MulticlassParser
from spgvton.perception.parsing import LabelMapParser, OnnxParser, Parser
from spgvton.session import TryOn
from spgvton.stream.compose import LAYOUTS, Composer
from spgvton.stream.loop import View, run_loop
from spgvton.stream.report import Report
from spgvton.stream.sink_thread import in_threads
from spgvton.stream.sinks import KINDS as SINKS
from spgvton.stream.sinks import Sink, open_sink
from spgvton.stream.slot import POLICIES, Policy
from spgvton.stream.sources import KINDS as SOURCES
from spgvton.stream.sources import Source, open_source
from spgvton.stream.stages import PoseStage, TryOnStage

UInt8 = NDArray[np.uint8]
Note = Callable[[str], None]


def positive(text: str) -> int:
    """argparse type: an integer of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `spgvton run`."""
    parser.add_argument("--source", required=True, metavar="URI", help=SOURCES)
    parser.add_argument("--garment", required=True, metavar="IMG", help="in-shop picture; a PNG's alpha serves as mask")
    parser.add_argument("--garment-mask", metavar="PNG", help="white where the garment is; found by itself otherwise")
    parser.add_argument("--person", metavar="IMG", help="picture of the person; otherwise the first usable frame")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--parsing", metavar="PNG", help="semantic map of --person: label ids 0 to 19")
    how.add_argument("--parser", metavar="ONNX", help="human parser that makes the semantic map")
    parser.add_argument(
        "--label-set", choices=tuple(LABEL_SETS), default="cihp", help="of --parsing or --parser (cihp)"
    )
    parser.add_argument("--bundle", metavar="DIR", help="model bundle; otherwise the shipped one")
    backend.add_arguments(parser, BACKENDS)
    economy_arguments.add_arguments(parser)
    parser.add_argument("--sink", action="append", metavar="URI", help=f"{SINKS}; may be repeated (default: window)")
    parser.add_argument("--view", choices=LAYOUTS, default=LAYOUTS[0], help=f"what is shown ({LAYOUTS[0]})")
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
        help="record up to N poses and the garments for spgvton calibrate; no picture of the person",
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


def set_garment(session: TryOn, path: str, mask_path: str | None, note: Note = say) -> UInt8:
    """Give the garment to the session; the mask is the file, else the alpha channel, else found on the picture.

    Returns the picture, RGB or RGBA. Raises SpgvtonError.
    """
    garment = image.read_colour(path, keep_alpha=mask_path is None)
    if mask_path is not None:
        mask = read_mask(mask_path, (garment.shape[0], garment.shape[1]))
    else:
        if garment.shape[2] == 3:
            note("no --garment-mask: it is found on the picture itself (wants a plain background)")
        mask = garment_mask(garment)
    session.set_garment(np.ascontiguousarray(garment[..., :3]), mask=np.ascontiguousarray(mask))
    return garment


def choose_parser(args: argparse.Namespace, label_set: str, note: Note = say) -> Parser:
    """The parser that --parsing and --parser ask for. Raises SpgvtonError where it and the bundle's LABEL_SET differ."""
    parser: Parser
    if args.parsing:
        parser = LabelMapParser(args.parsing, args.label_set)
    elif args.parser:
        parser = OnnxParser(args.parser, args.label_set)
    else:
        parser = MulticlassParser()
    if parser.label_set != label_set:
        raise SpgvtonError(
            f"the semantic map has {parser.label_set} labels, the bundle was trained on {label_set}: use a {label_set} "
            f"parser, or a bundle trained on {parser.label_set} maps"
        )
    return parser


def check_arguments(args: argparse.Namespace) -> list[str]:
    """The sinks' URIs. Raises UsageError for arguments that do not go together."""
    if args.parsing and not args.person:
        raise UsageError("--parsing is the semantic map of --person: give --person, or use --parser")
    economy_arguments.economy(args)
    if args.record_images and not args.record_calibration:
        raise UsageError("--record-images adds pictures to a recording: give --record-calibration N, too")
    sinks = list(dict.fromkeys(args.sink or ["window"]))
    for name, path in (("--garment", args.garment), ("--garment-mask", args.garment_mask), ("--person", args.person),
                       ("--parsing", args.parsing), ("--parser", args.parser)):  # fmt: skip
        if path and not Path(path).is_file():  # before a camera is opened and models are loaded
            raise SpgvtonError(f"{name} {path}: no such file")
    return sinks


def play(args: argparse.Namespace, source: Source, sink_uris: list[str]) -> tuple[Report, list[Sink], dict[str, str]]:
    """Open the sinks, load the models, run the loop; everything is closed afterwards, whatever happens.

    Returns the report, the sinks, and what the back end says of itself.
    """
    policy: Policy = args.policy or ("latest" if source.live else "wait")
    economy = economy_arguments.economy(args)
    composer = Composer(source.size, layout=args.view, overlay=args.overlay, mirror=args.mirror)
    with ExitStack() as stack:
        stack.callback(source.close)
        if economy.max_age_s is not None and policy == "wait" and not source.live:
            raise UsageError("--max-age is for live streams: a file is not late; add --policy latest, or leave it out")
        sinks: list[Sink] = []
        for uri in sink_uris:  # before the models: a wrong path should fail at once
            sinks.append(open_sink(uri, composer.size, source.fps, keep_time=True))
            stack.callback(sinks[-1].close)
        session, synthesise, composer.garment = prepare(args, stack, economy)
        total = min((n for n in (source.count, args.max_frames) if n), default=None)
        bar = stack.enter_context(tqdm(total=total, unit="frame", desc=source.name[-30:], disable=None, leave=False))

        def progress(_: View) -> None:
            bar.update()

        report = run_loop(
            source,
            PoseStage(),
            synthesise,
            composer,
            in_threads(sinks, policy),
            policy=policy,
            max_frames=args.max_frames,
            on_view=progress,
            max_age_s=economy.max_age_s,
        )
        described = session.describe()
    return report, sinks, described


def prepare(args: argparse.Namespace, stack: ExitStack, economy: Economy) -> tuple[TryOn, TryOnStage, UInt8]:
    """The session, which STACK closes; the stage with garment and, where it is known already, person; the garment."""
    bundle = Bundle.open(args.bundle)
    parser = choose_parser(args, bundle.label_set)
    session = backend.open_session(args, bundle, threads=args.threads, parser=parser, economy=economy)
    stack.callback(session.close)
    if args.record_calibration:
        recorder = session.record(args.recording, args.record_calibration, images=args.record_images)
        if args.record_images:
            say(
                f"--record-images: {recorder.path} will show the person, face included; delete it when it has been used"
            )
        stack.callback(lambda: say(f"{len(recorder)} poses recorded{f' in {recorder.path}' if len(recorder) else ''}"))
        stack.callback(recorder.save)
    garment = set_garment(session, args.garment, args.garment_mask)
    if not args.person:
        say("no --person: the first frame with a usable pose becomes the person")
        stage = TryOnStage(
            session, person_from_stream=True, on_person=lambda index: say(f"the person was taken from frame {index}")
        )
        return session, stage, garment
    try:
        session.set_person(image.read(args.person))
    except SpgvtonError as e:
        raise SpgvtonError(f"--person {args.person}: {e}") from e
    return session, TryOnStage(session), garment


def run(args: argparse.Namespace) -> int:
    """`spgvton run`. Returns the exit code; raises SpgvtonError."""
    sink_uris = check_arguments(args)
    shows = any(uri.startswith("window") for uri in sink_uris)
    latest = args.policy == "latest" or (shows and args.policy is None)
    # "Latest" means nothing to a file that is decoded a hundred times too fast: it then plays at its own pace.
    source = open_source(args.source, realtime=latest)
    report, sinks, described = play(args, source, sink_uris)
    print(report.summary(), file=sys.stderr)
    if args.json:
        inputs = {
            "backend": described,
            "source": source.name,
            "sinks": [sink.name for sink in sinks],
            "garment": args.garment,
        }
        print(json.dumps({**report.as_dict(), **inputs}, indent=1))
    if report.problem:
        raise SpgvtonError(report.problem)
    if not report.frames_out:
        raise SpgvtonError(f"{source.name}: no frame was presented")
    if sum(report.unusable.values()) == report.frames_out:
        most = max(report.unusable, key=lambda reason: report.unusable[reason])
        raise SpgvtonError(f"no frame could be dressed ({most}): one person should stand before the camera, seen whole")
    return 130 if report.interrupted and not source.live else 0
