"""Play the shipped clip through the real loop, with the shipped models: no camera, no network access, no PyTorch.

The clip's pixels go through pose estimation, parsing, the network and the compositor exactly as a camera's would; three
garments take turns. Writes demo.mp4 (camera and result side by side), demo.png (a large moment of each garment) and
demo.json (figures). --mode pose shows the paper's way instead: the person of one picture in the pose of every frame.

examples:
  spgvton demo
  spgvton demo --out results --seconds 4 --json
  spgvton demo --realtime          the clip as a camera: 15 frames a second, what the machine cannot follow is dropped
  spgvton demo --mode pose
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from spgvton import image
from spgvton.backends import BACKENDS
from spgvton.bundle import MODES, SHIPPED, Bundle
from spgvton.cli import backend
from spgvton.cli.demo_poster import Poster
from spgvton.demo_assets import GARMENTS, DemoAssets, ShopGarment
from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import make_folder, write_text
from spgvton.live.garment import LiveGarment
from spgvton.live.tryon import LiveTryOn
from spgvton.perception.pose import PoseEstimator
from spgvton.session import TryOn
from spgvton.stream.compose import Composer
from spgvton.stream.frames import Frame
from spgvton.stream.live_stage import LiveStage
from spgvton.stream.loop import Synthesise, View, run_loop
from spgvton.stream.report import Report
from spgvton.stream.sinks import FileSink
from spgvton.stream.sources import open_source
from spgvton.stream.stages import PoseStage, TryOnStage

UInt8 = NDArray[np.uint8]

HONEST_RENDERED: Final = "The person, the room and the garments are rendered: your own camera and pictures tell more."
HONEST: Final = (
    "The person, the room and the garments are rendered, and the networks are the small shipped ones: judge the pipeline and "
    "its speed by this. What to expect of photographs of people, the README shows."
)
CAPTIONS: Final = {
    "live": "Person, room and garments are rendered; only the clothes in the large pictures are new.",
    "pose": "Person, room and garments are rendered; the large pictures are the network's, of 256x192 pixels.",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `spgvton demo`."""
    parser.add_argument("--out", default=".", metavar="DIR", help="where the three files go (the current folder)")
    parser.add_argument(
        "--mode", choices=tuple(MODES), default="live",
        help="live: the frame's own person in the garment; pose: the person of one picture in the frame's pose (live)",
    )  # fmt: skip
    parser.add_argument("--bundle", metavar="DIR", help="model bundle; otherwise the shipped one")
    backend.add_arguments(parser, BACKENDS)
    parser.add_argument("--seconds", type=float, metavar="S", help="play only the first S seconds of the clip")
    parser.add_argument(
        "--realtime", action="store_true", help="play at the clip's own pace and drop, as with a camera"
    )
    parser.add_argument("--json", action="store_true", help="the report as JSON on stdout as well")


class Turns:
    """The synthesis stage of the demo: the garment changes at equal shares of the clip."""

    def __init__(self, stage: Synthesise, wear: Callable[[int], None], count: int, frames: int) -> None:
        """wear: puts on garment 0 .. COUNT - 1. frames: of the whole run."""
        self._stage, self._wear, self._count, self._frames = stage, wear, count, frames
        self._worn: int | None = None

    @property
    def times_s(self) -> dict[str, float]:
        """Seconds of the parts of the last frame's synthesis, where the stage tells them."""
        return getattr(self._stage, "times_s", {})

    def at(self, index: int) -> int:
        """Which garment frame INDEX wears."""
        return min(self._count - 1, index * self._count // self._frames)

    def __call__(self, frame: Frame, keypoints: NDArray[np.float32]) -> UInt8:
        which = self.at(frame.index)
        if which != self._worn:
            self._wear(which)
            self._worn = which
        return self._stage(frame, keypoints)


def set_person(session: TryOn) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Give the shipped person to SESSION; the person's keypoints, and the picture's (height, width)."""
    person, labels = DemoAssets.open().person()
    keypoints = PoseEstimator(smooth=False)(person, 0.0)
    session.set_person(person, keypoints=keypoints, labels=labels)
    return keypoints, (person.shape[0], person.shape[1])


def open_live(
    args: argparse.Namespace, bundle: Bundle, garments: list[ShopGarment], stack: ExitStack
) -> tuple[LiveTryOn, LiveStage, Callable[[int], None]]:
    """The live session, its stage, and what puts on a garment by number; STACK closes them. Raises SpgvtonError."""
    live = backend.open_live(args, bundle)
    stack.callback(live.close)
    prepared = [LiveGarment.of(garment.picture, garment.mask, bundle.size) for garment in garments]
    stage = LiveStage(live, latest=args.realtime)
    stack.callback(stage.close)
    return live, stage, lambda which: stage.set_garment(prepared[which])


def open_pose(
    args: argparse.Namespace, bundle: Bundle, garments: list[ShopGarment], stack: ExitStack
) -> tuple[TryOn, TryOnStage, Callable[[int], None]]:
    """The same for pose mode, with the shipped person."""
    session = backend.open_session(args, bundle)
    stack.callback(session.close)
    set_person(session)
    return (
        session,
        TryOnStage(session),
        lambda which: session.set_garment(garments[which].picture, mask=garments[which].mask),
    )


def tell(words: str) -> None:
    """A line of progress on stderr, also where it is no terminal."""
    tqdm.write(f"spgvton demo: {words}", file=sys.stderr)
    sys.stderr.flush()


def play(args: argparse.Namespace, out: Path) -> tuple[Report, dict[str, str], tuple[int, int]]:
    """The loop, with demo.mp4 and demo.png as its results; the report, what the back end says of itself, the clip's (height, width)."""
    assets = DemoAssets.open()
    garments = assets.garments()
    with ExitStack() as stack:
        source = open_source(str(assets.clip), realtime=args.realtime)
        stack.callback(source.close)
        frames = source.count or 1
        if args.seconds is not None:
            frames = max(GARMENTS, min(frames, round(args.seconds * source.fps)))
        tell(f"opening the networks, then {frames} frames of the shipped clip")
        bar = stack.enter_context(tqdm(total=frames, unit="frame", desc="demo", disable=None, leave=False))
        composer = Composer(source.size, live=args.mode == "live")
        sink = FileSink(out / "demo.mp4", composer.size, source.fps, keep_time=args.realtime)
        stack.callback(sink.close)
        open_mode = open_live if args.mode == "live" else open_pose
        session, stage, wear = open_mode(args, Bundle.open(args.bundle, mode=args.mode), garments, stack)
        turns = Turns(stage, wear, len(garments), frames)
        poster = Poster(garments, frames)

        def compose(view: View) -> UInt8:
            composer.garment = garments[turns.at(view.frame.index)].picture
            return composer(view)

        seen = -1

        def look(view: View) -> None:
            nonlocal seen
            which = turns.at(view.frame.index)
            if which != seen:
                seen = which
                tell(f"garment {which + 1} of {len(garments)}, frame {view.frame.index + 1} of {frames}")
            poster.look(view, which)
            bar.update()

        report = run_loop(
            source, PoseStage(live=args.mode == "live"), turns, compose, [sink], max_frames=frames, on_view=look
        )
        described = session.describe()
    image.write(out / "demo.png", poster.draw(CAPTIONS[args.mode]))
    return report, described, source.size


def run(args: argparse.Namespace) -> int:
    """`spgvton demo`. Returns the exit code; raises SpgvtonError."""
    if args.seconds is not None and not 0 < args.seconds < 1e6:
        raise UsageError(f"--seconds {args.seconds} is no duration: give for instance 4")
    out = make_folder(args.out)
    report, described, size = play(args, out)
    played = {
        "mode": args.mode,
        "size": list(size),
        "bundle": str(args.bundle or SHIPPED[args.mode]),
        "backend": described,
    }
    figures = json.dumps({**played, **report.as_dict()}, indent=1)
    write_text(out / "demo.json", figures + "\n")
    print(report.summary(), file=sys.stderr)
    for name in ("demo.mp4", "demo.png", "demo.json"):
        print(f"wrote {out / name}", file=sys.stderr)
    print(
        f"played {args.bundle or 'the shipped bundle'} ({described.get('backend', 'unknown back end')})",
        file=sys.stderr,
    )
    print(HONEST if args.bundle is None else HONEST_RENDERED, file=sys.stderr)
    if args.json:
        print(figures)
    if report.problem:
        raise SpgvtonError(report.problem)
    return 130 if report.interrupted else 0
