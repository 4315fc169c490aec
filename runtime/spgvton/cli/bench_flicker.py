"""`spgvton bench flicker`: temporal flicker of the try-on in both modes, as it is and with the options that are asked for."""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from spgvton.backends import BACKENDS
from spgvton.bench.flicker import Flicker, torso
from spgvton.bundle import Bundle
from spgvton.cli import backend
from spgvton.cli import economy as economy_arguments
from spgvton.cli.demo import set_person
from spgvton.cli.run import positive
from spgvton.demo_assets import GARMENTS, DemoAssets
from spgvton.economy import Economy
from spgvton.errors import SpgvtonError, UsageError
from spgvton.live.layers import Answer
from spgvton.live.tryon import LiveTryOn
from spgvton.perception.pose import PoseEstimator, why_unusable
from spgvton.person import place
from spgvton.session import TryOn
from spgvton.ssim import inside, ssim_map
from spgvton.stream.frames import Source
from spgvton.stream.sources import KINDS as SOURCES
from spgvton.stream.sources import open_source

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
PLAIN: Final = "plain"  # pose mode
WITH: Final = "with options"
LIVE: Final = "live"
LIVE_WITH: Final = "live with options"


def add_arguments(actions: Any) -> None:
    """Adds the verb to the subparsers ACTIONS."""
    parser = actions.add_parser(
        "flicker", help="flicker of the try-on beyond the camera's motion, with and without options"
    )
    parser.add_argument("--source", metavar="URI", help=f"{SOURCES}; otherwise the shipped clip")
    parser.add_argument("--frames", type=positive, default=90, metavar="N", help="how many (90)")
    parser.add_argument("--garment", type=int, choices=range(1, GARMENTS + 1), default=1, help="which shipped one (1)")
    economy_arguments.add_picture(parser)
    parser.add_argument("--bundle", metavar="DIR", help="model bundle; otherwise the shipped one")
    parser.add_argument("--threads", type=positive, metavar="N", help="threads of the try-on network on the CPU")
    parser.add_argument("--out", metavar="DIR", help="write flicker.json there")
    parser.add_argument("--json", action="store_true", help="the report as JSON on stdout")
    backend.add_arguments(parser, BACKENDS)


class Candidate:
    """One session, and what was seen of it."""

    def __init__(self, session: TryOn) -> None:
        self.session, self.flicker = session, Flicker()
        self.synthesised = 0
        self.seconds: list[float] = []
        self._last: UInt8 | None = None

    def __call__(self, frame: UInt8, keypoints: Float) -> UInt8:
        """What it makes of FRAME, at the network's size."""
        start = time.process_time()
        picture = self.session(keypoints, (frame.shape[0], frame.shape[1]))
        self.seconds.append(time.process_time() - start)
        self.synthesised += picture is not self._last
        self._last = picture
        return picture

    def as_dict(self) -> dict[str, Any]:
        """Flicker, pictures made, mean processor time of a frame in ms."""
        mean = 1e3 * float(np.mean(self.seconds[1:]))  # the first has the garment's share
        return {**self.flicker.as_dict(), "frames_synthesised": self.synthesised, "cpu_ms": round(mean, 2)}


class LiveCandidate(Candidate):
    """The same of live mode; an answer that was given before counts as no new picture."""

    def __init__(self, live: LiveTryOn, framed_by: TryOn) -> None:
        self.live, self._framed_by = live, framed_by
        self.flicker, self.synthesised, self.seconds = Flicker(), 0, []
        self._answer: Answer | None = None

    def __call__(self, frame: UInt8, keypoints: Float) -> UInt8:
        start = time.process_time()
        try:
            answer = self.live.answer(frame, keypoints)
            picture = self.live.compose(frame, answer)
        except SpgvtonError:  # shown as it is, as `run` does
            answer, picture = None, frame
        self.seconds.append(time.process_time() - start)
        self.synthesised += answer is not None and answer is not self._answer
        self._answer = answer
        return np.asarray(self._framed_by.box.apply(picture), np.uint8)


def measure(args: argparse.Namespace, bundle: Bundle) -> tuple[dict[str, Any], dict[str, str]]:
    """The report, and what the back end says of itself. Plain and candidate take turns with every frame.

    Raises SpgvtonError when fewer than three frames could be dressed.
    """
    if args.frames < 3:
        raise UsageError(f"--frames {args.frames}: give 3 or more")
    economy = economy_arguments.economy(args)
    settings = {PLAIN: Economy()} | ({WITH: economy} if economy != Economy() else {})
    assets = DemoAssets.open()
    garment = assets.garment(args.garment)
    with ExitStack() as stack:
        source = open_source(args.source or str(assets.clip))
        stack.callback(source.close)
        candidates: dict[str, Candidate] = {}
        for name, setting in settings.items():
            session = backend.open_session(args, bundle, threads=args.threads, economy=setting)
            stack.callback(session.close)
            session.set_garment(garment.picture, mask=garment.mask)
            if not args.source:
                set_person(session)
            candidates[name] = Candidate(session)
        for name, setting in zip((LIVE, LIVE_WITH), settings.values()):
            if "live" in bundle.modes:
                live = backend.open_live(
                    args, Bundle.open(args.bundle, mode="live"), threads=args.threads, economy=setting
                )
                stack.callback(live.close)
                live.set_garment(garment.picture, mask=garment.mask)
                candidates[name] = LiveCandidate(live, candidates[PLAIN].session)
        likeness = _play(source, candidates, args.frames, bundle.size, needs_person=bool(args.source))
        described = candidates[PLAIN].session.describe()
        name = source.name
    pairs = candidates[PLAIN].flicker.pairs
    if pairs < 2:
        raise SpgvtonError(f"{name}: {pairs + 1 if pairs else 0} frames could be dressed, which is too few")
    report: dict[str, Any] = {
        "source": name, "garment": args.garment, "frames": pairs + 1,
        "still_threshold": economy.still_threshold, "steady": economy.steady,
        **{key: candidate.as_dict() for key, candidate in candidates.items()},
    }  # fmt: skip
    if likeness:
        ssim, ssim_torso = np.nanmean(likeness, axis=0)
        report["ssim_to_plain"] = {"picture": round(float(ssim), 4), "torso": round(float(ssim_torso), 4)}
    return report, described


def _play(
    source: Source, candidates: dict[str, Candidate], count: int, size: tuple[int, int], *, needs_person: bool
) -> list[tuple[float, float]]:
    """Show COUNT frames to every candidate; SSIM of the one with options to the plain one, whole and torso, by frame.

    Frames that cannot be dressed are left out. needs_person: the first usable frame becomes the person.
    """
    pose, likeness = PoseEstimator(), []
    for _ in tqdm(range(count), unit="frame", desc="flicker", disable=None, leave=False):
        frame = source.read()
        if frame is None:
            break
        shape = (frame.image.shape[0], frame.image.shape[1])
        keypoints = pose(frame.image, frame.timestamp)
        if why_unusable(keypoints, shape):
            continue
        if needs_person:
            for candidate in candidates.values():
                candidate.session.set_person(frame.image, keypoints=keypoints)
            needs_person = False
        pictures = {name: candidate(frame.image, keypoints) for name, candidate in candidates.items()}
        box = candidates[PLAIN].session.box
        camera, placed = np.asarray(box.apply(frame.image), np.uint8), place(keypoints, box)
        for name, picture in pictures.items():
            candidates[name].flicker.add(camera, picture, placed)
        if WITH in pictures:
            found = ssim_map(pictures[WITH], pictures[PLAIN])
            likeness.append((float(found.mean()), inside(found, torso(placed, size))))
    return likeness


def table(report: dict[str, Any]) -> list[str]:
    """The report for people."""
    options = ", ".join(f"{key} {report[key]}" for key in ("still_threshold", "steady") if report[key]) or "none"
    lines = [
        f"source   {report['source']}, garment {report['garment']}, {report['frames']} frames; options: {options}",
        "mean absolute difference of 255, last picture moved along the camera's motion",
        "                       torso   camera   excess   picture   camera   excess   synthesised   CPU ms",
    ]
    for name in (PLAIN, WITH, LIVE, LIVE_WITH):
        if name in report:
            f = report[name]
            lines.append(
                f"  {name:<18}{f['torso']:8.2f} {f['torso_floor']:8.2f} {f['torso_excess']:8.2f} {f['picture']:9.2f} "
                f"{f['picture_floor']:8.2f} {f['picture_excess']:8.2f} {f['frames_synthesised']:13} {f['cpu_ms']:8.1f}"
            )
    if "ssim_to_plain" in report:
        s = report["ssim_to_plain"]
        lines.append(f"SSIM of the second to the first: {s['picture']:.4f}, torso {s['torso']:.4f}")
    return lines
