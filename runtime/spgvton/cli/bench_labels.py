"""`spgvton bench labels`: flicker, lag and processor time of a stream's human parsing, frame by frame."""

from __future__ import annotations

import argparse
import json
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from spgvton.bench.label_flicker import LabelFlicker
from spgvton.bench.report import say
from spgvton.cli import parser_options
from spgvton.cli.run import positive
from spgvton.demo_assets import DemoAssets
from spgvton.errors import SpgvtonError
from spgvton.files import write_text
from spgvton.image import SIZE
from spgvton.live.framing import LiveFraming
from spgvton.live.parse_stream import ParseStream
from spgvton.live.tryon import why_not_live
from spgvton.machine import cores, describe
from spgvton.perception.parser_options import FOR_STREAMS
from spgvton.perception.pose import PoseEstimator
from spgvton.person import place
from spgvton.stream.sources import KINDS as SOURCES
from spgvton.stream.sources import open_source

STREAM: Final = "stream"  # as live mode has it, with what was said of the frames before
ALONE: Final = "alone"  # each frame by itself


def add_arguments(actions: Any) -> None:
    """Adds the verb to the subparsers ACTIONS."""
    parser = actions.add_parser("labels", help="flicker and lag of the human parser's labels in a stream")
    parser.add_argument("--source", metavar="URI", help=f"{SOURCES}; otherwise the shipped clip")
    parser.add_argument("--frames", type=positive, default=90, metavar="N", help="how many (90)")
    parser_options.add_choice(parser, FOR_STREAMS)
    parser_options.add_arguments(parser)
    parser.add_argument("--threads", type=positive, metavar="N", help="of the parser")
    parser.add_argument("--out", metavar="DIR", help="write labels.json there")
    parser.add_argument("--json", action="store_true", help="the report as JSON on stdout")


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The report. Raises SpgvtonError when fewer than three frames could be parsed."""
    parser = parser_options.open_parser(args, FOR_STREAMS, args.threads or cores())
    streams = {STREAM: ParseStream(parser), ALONE: ParseStream(parser)}
    found = {name: LabelFlicker() for name in streams}
    spent: list[float] = []
    pose, framing = PoseEstimator(), LiveFraming()
    held = None
    with closing(open_source(args.source or str(DemoAssets.open().clip))) as source:
        for _ in tqdm(range(args.frames), unit="frame", desc="labels", disable=None, leave=False):
            frame = source.read()
            if frame is None:
                break
            size = (frame.image.shape[0], frame.image.shape[1])
            keypoints = pose(frame.image, frame.timestamp)
            if why_not_live(keypoints, size):
                continue
            box = framing(keypoints, size, SIZE, long=False)
            view = (frame.image, keypoints, box, np.asarray(box.apply(frame.image), np.uint8))
            with suppress(SpgvtonError):  # nobody is found there: live mode shows the frame as it is
                streams[ALONE].reset()
                alone = streams[ALONE](*view)
                start = time.process_time()
                stream = streams[STREAM](*view)
                spent.append(1e3 * (time.process_time() - start))
                if box != held:
                    for flicker in found.values():
                        flicker.cut()
                held = box
                placed = place(keypoints, box)
                found[STREAM].add(view[3], stream, alone, placed)
                found[ALONE].add(view[3], alone, alone, placed)
        name = source.name
    if found[STREAM].frames < 3:
        raise SpgvtonError(f"{name}: {found[STREAM].frames} frames could be parsed, which is too few")
    cpu = {"p50": round(float(np.median(spent)), 2), "min": round(min(spent), 2)}
    return {
        "source": name, "parser": args.parser or FOR_STREAMS, **{k: f.as_dict() for k, f in found.items()}, "cpu_ms": cpu,
        "machine": describe(),
    }  # fmt: skip


def table(report: dict[str, Any]) -> list[str]:
    """The report for people."""
    stream, alone = report[STREAM], report[ALONE]
    return [
        f"source   {report['source']}, parser {report['parser']}, {stream['frames']} frames",
        (
            f"flicker  {100 * stream['changed']:.3f}% of the pixels that do not move change label, of frames looked at alone "
            f"{100 * alone['changed']:.3f}% ({stream['still_frames']} pairs)"
        ),
        f"lag      {stream['lag_px']:+.2f} pixels of the network's frame behind who moves ({stream['lag_frames']} frames)",
        f"CPU      {report['cpu_ms']['p50']:.1f} ms a frame (p50), {report['cpu_ms']['min']:.1f} at least",
    ]


def run(args: argparse.Namespace, out: Path | None) -> int:
    """`spgvton bench labels`."""
    report = measure(args)
    text = json.dumps(report, indent=1)
    if out:
        write_text(out / "labels.json", text + "\n")
    say(table(report))
    if args.json:
        print(text)
    return 0
