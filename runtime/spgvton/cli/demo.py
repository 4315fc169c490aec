"""Play the shipped clip through the real loop, with the shipped models: no camera, no network access, no PyTorch.

The clip's pixels go through pose estimation, try-on and composition exactly as a camera's would; three garments take
turns. Writes demo.mp4 (camera and try-on side by side), demo.png (a few moments of each garment) and demo.json (figures).

examples:
  spgvton demo
  spgvton demo --out results --seconds 4 --json
  spgvton demo --realtime          the clip as a camera: 15 frames a second, what the machine cannot follow is dropped
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from spgvton import image
from spgvton.backends import BACKENDS
from spgvton.bundle import SHIPPED, Bundle
from spgvton.cli import backend
from spgvton.demo_assets import GARMENTS, DemoAssets, ShopGarment
from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import make_folder, write_text
from spgvton.perception.pose import PoseEstimator
from spgvton.session import TryOn
from spgvton.stream.compose import FAINT, PAPER, Composer, card, fit, text
from spgvton.stream.loop import View, run_loop
from spgvton.stream.report import Report
from spgvton.stream.sinks import FileSink
from spgvton.stream.sources import Frame, open_source
from spgvton.stream.stages import PoseStage, TryOnStage

UInt8 = NDArray[np.uint8]

MOMENTS: Final = 3  # per garment, on the poster
HONEST_RENDERED: Final = "The person and the garments are rendered: your own camera and pictures tell more."
HONEST: Final = (
    "The person and the garments are rendered, the try-on network is the small shipped one: judge the pipeline and its "
    "speed by this, and picture quality by a model trained on your own data."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `spgvton demo`."""
    parser.add_argument("--out", default=".", metavar="DIR", help="where the three files go (the current folder)")
    parser.add_argument("--bundle", metavar="DIR", help="model bundle; otherwise the shipped one")
    backend.add_arguments(parser, BACKENDS)
    parser.add_argument("--seconds", type=float, metavar="S", help="play only the first S seconds of the clip")
    parser.add_argument(
        "--realtime", action="store_true", help="play at the clip's own pace and drop, as with a camera"
    )
    parser.add_argument("--json", action="store_true", help="the report as JSON on stdout as well")


class Wardrobe:
    """The synthesis stage of the demo: the session changes its garment at equal shares of the clip."""

    def __init__(self, session: TryOn, garments: list[ShopGarment], frames: int) -> None:
        self._session, self._garments, self._frames = session, garments, frames
        self._stage = TryOnStage(session)
        self._worn: int | None = None

    def at(self, index: int) -> int:
        """Which garment (0, 1, 2) frame INDEX wears."""
        return min(len(self._garments) - 1, index * len(self._garments) // self._frames)

    def __call__(self, frame: Frame, keypoints: NDArray[np.float32]) -> UInt8:
        which = self.at(frame.index)
        if which != self._worn:
            self._session.set_garment(self._garments[which].picture, mask=self._garments[which].mask)
            self._worn = which
        return self._stage(frame, keypoints)


class Poster:
    """Collects a few moments per garment while the loop runs, and lays them out on one picture."""

    def __init__(self, garments: list[ShopGarment], frames: int) -> None:
        self._garments = garments
        share = frames / len(garments)
        # At equal distances, away from the changes of garment.
        self._wanted = [[(g + (m + 0.5) / MOMENTS) * share for m in range(MOMENTS)] for g in range(len(garments))]
        self._taken: list[list[View]] = [[] for _ in garments]

    def look(self, view: View, which: int) -> None:
        """Keep VIEW if it is the first one at or after a wanted moment."""
        taken = self._taken[which]
        if (
            view.result is not None
            and len(taken) < MOMENTS
            and view.frame.index >= int(self._wanted[which][len(taken)])
        ):
            taken.append(view)

    def draw(self, caption: str) -> UInt8:
        """RGB poster: one group per garment, camera above try-on, CAPTION below."""
        width, height, gap, group_gap, margin, head = 216, 288, 6, 34, 36, 118
        group = MOMENTS * width + (MOMENTS - 1) * gap
        total = (margin + head + 2 * height + gap + 56, 2 * margin + GARMENTS * group + (GARMENTS - 1) * group_gap)
        canvas = np.empty((*total, 3), np.uint8)
        canvas[:] = PAPER
        for g, garment in enumerate(self._garments):
            left = margin + g * (group + group_gap)
            picture = card(garment.picture, head - 22)
            y = margin - 6
            canvas[y : y + picture.shape[0], left : left + picture.shape[1]] = picture
            text(canvas, f"garment {g + 1}", (left + picture.shape[1] + 14, y + 20), size=0.55)
            for m, view in enumerate(self._taken[g]):
                assert view.result is not None
                x, y = left + m * (width + gap), margin + head
                canvas[y : y + height, x : x + width] = fit(view.frame.image, (height, width))
                canvas[y + height + gap : y + 2 * height + gap, x : x + width] = fit(view.result, (height, width))
        text(canvas, "camera above, try-on below", (margin, total[0] - 22), size=0.42)
        text(canvas, caption, (total[1] - margin, total[0] - 22), size=0.42, colour=FAINT, align=1.0)
        return canvas


def set_person(session: TryOn) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Give the shipped person to SESSION; the person's keypoints, and the picture's (height, width)."""
    person, labels = DemoAssets.open().person()
    keypoints = PoseEstimator(smooth=False)(person, 0.0)
    session.set_person(person, keypoints=keypoints, labels=labels)
    return keypoints, (person.shape[0], person.shape[1])


def play(args: argparse.Namespace, out: Path) -> tuple[Report, dict[str, str]]:
    """The loop, with demo.mp4 and demo.png as its results; the report, and what the back end says of itself."""
    assets = DemoAssets.open()
    garments = assets.garments()
    with ExitStack() as stack:
        source = open_source(str(assets.clip), realtime=args.realtime)
        stack.callback(source.close)
        frames = source.count or 1
        if args.seconds is not None:
            frames = max(GARMENTS, min(frames, round(args.seconds * source.fps)))
        composer = Composer(source.size)
        sink = FileSink(out / "demo.mp4", composer.size, source.fps, keep_time=args.realtime)
        stack.callback(sink.close)
        session = backend.open_session(args, Bundle.open(args.bundle))
        stack.callback(session.close)
        set_person(session)
        wardrobe, poster = Wardrobe(session, garments, frames), Poster(garments, frames)
        bar = stack.enter_context(tqdm(total=frames, unit="frame", desc="demo", disable=None, leave=False))

        def compose(view: View) -> UInt8:
            composer.garment = garments[wardrobe.at(view.frame.index)].picture
            return composer(view)

        def look(view: View) -> None:
            poster.look(view, wardrobe.at(view.frame.index))
            bar.update()

        report = run_loop(source, PoseStage(), wardrobe, compose, [sink], max_frames=frames, on_view=look)
        described = session.describe()
    machine = f"{report.fps:.1f} frames/s, end to end, with pose estimation"
    image.write(out / "demo.png", poster.draw(machine))
    return report, described


def run(args: argparse.Namespace) -> int:
    """`spgvton demo`. Returns the exit code; raises SpgvtonError."""
    if args.seconds is not None and not 0 < args.seconds < 1e6:
        raise UsageError(f"--seconds {args.seconds} is no duration: give for instance 4")
    out = make_folder(args.out)
    report, described = play(args, out)
    figures = json.dumps({**report.as_dict(), "backend": described, "bundle": str(args.bundle or SHIPPED)}, indent=1)
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
