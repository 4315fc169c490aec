"""What `spgvton run` puts into the loop: live mode's stage or pose mode's, with the garments that they wear in turn."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from spgvton import image
from spgvton.bundle import Bundle
from spgvton.cli import backend, parser_options
from spgvton.cli.garments import ShopPicture
from spgvton.economy import Economy
from spgvton.errors import SpgvtonError
from spgvton.live.garment import LiveGarment
from spgvton.machine import cores
from spgvton.perception.parser_options import FOR_PICTURES, FOR_STREAMS
from spgvton.perception.parsing import LabelMapParser, Parser
from spgvton.perception.pose import person_present
from spgvton.person import Garment
from spgvton.stream.frames import Frame
from spgvton.stream.live_stage import LiveStage
from spgvton.stream.loop import Perception
from spgvton.stream.slot import Policy
from spgvton.stream.stages import PoseStage, TryOnStage
from spgvton.stream.wardrobe import Piece, Wardrobe

Note = Callable[[str], None]
Size = tuple[int, int]


@dataclass(frozen=True)
class Dresser:
    """wardrobe: the synthesis stage. size: (height, width) of its pictures. describe: tells what the back end says of itself.

    learn_empty_room: wants to see frames without anybody (live mode).
    """

    wardrobe: Wardrobe[Any]
    size: Size
    describe: Callable[[], dict[str, str]]
    learn_empty_room: Callable[[Frame], None] | None = None

    def perceive(self, pose: PoseStage, frame: Frame) -> Perception:
        """What POSE says of FRAME."""
        perception = pose(frame)
        if self.learn_empty_room and not person_present(perception.keypoints):
            self.learn_empty_room(frame)
        return perception


def choose_parser(
    args: argparse.Namespace, label_set: str, threads: int | None = None, *, default: str = FOR_PICTURES
) -> Parser:
    """The parser that --parsing and --parser ask for, else DEFAULT. Raises SpgvtonError where it and the bundle's LABEL_SET differ."""
    parser: Parser
    if getattr(args, "parsing", None):
        parser = LabelMapParser(args.parsing, args.label_set)
    else:
        parser = parser_options.open_parser(args, default, threads)
    if parser.label_set != label_set:
        raise SpgvtonError(
            f"the semantic map has {parser.label_set} labels, the bundle was trained on {label_set}: use a {label_set} "
            f"parser, or a bundle trained on {parser.label_set} maps"
        )
    return parser


def open_live(
    args: argparse.Namespace, stack: ExitStack, garments: Sequence[ShopPicture], economy: Economy, frame_size: Size,
    policy: Policy, note: Note,
) -> Dresser:  # fmt: skip
    """Live mode for frames of FRAME_SIZE; STACK closes it. Raises UsageError, SpgvtonError."""
    bundle = Bundle.open(args.bundle, mode="live")
    parser = choose_parser(args, bundle.label_set, args.threads or cores(), default=FOR_STREAMS)
    live = backend.open_live(args, bundle, threads=args.threads, parser=parser, economy=economy)
    stack.callback(live.close)
    pieces = [Piece(str(g.path), g.card, LiveGarment.of(g.picture, g.mask, bundle.size)) for g in garments]
    live.use_garment(pieces[0].worn)
    stage = LiveStage(live, latest=policy == "latest", max_age_s=economy.max_age_s)
    stack.callback(stage.close)
    wardrobe = Wardrobe(stage, pieces, stage.set_garment, seconds=args.garment_seconds)
    return Dresser(wardrobe, frame_size, live.describe, stage.learn_empty_room)


def open_pose(
    args: argparse.Namespace, stack: ExitStack, garments: Sequence[ShopPicture], economy: Economy, frame_size: Size,
    policy: Policy, note: Note,
) -> Dresser:  # fmt: skip
    """Pose mode, with the person where it is known already; STACK closes it. Raises UsageError, SpgvtonError."""
    bundle = Bundle.open(args.bundle)
    parser = choose_parser(args, bundle.label_set)
    session = backend.open_session(args, bundle, threads=args.threads, parser=parser, economy=economy)
    stack.callback(session.close)
    if args.record_calibration:
        recorder = session.record(args.recording, args.record_calibration, images=args.record_images)
        if args.record_images:
            note(
                f"--record-images: {recorder.path} will show the person, face included; delete it when it has been used"
            )
        stack.callback(lambda: note(f"{len(recorder)} poses recorded{f' in {recorder.path}' if len(recorder) else ''}"))
        stack.callback(recorder.save)
    pieces = [Piece(str(g.path), g.card, Garment.of(g.picture, g.mask, size=bundle.size)) for g in garments]
    if args.person:
        try:
            session.set_person(image.read(args.person))
        except SpgvtonError as e:
            raise SpgvtonError(f"--person {args.person}: {e}") from e
        stage = TryOnStage(session)
    else:
        note("no --person: the first frame with a usable pose becomes the person")
        stage = TryOnStage(
            session, person_from_stream=True, on_person=lambda index: note(f"the person was taken from frame {index}")
        )
    wardrobe = Wardrobe(stage, pieces, session.use_garment, seconds=args.garment_seconds)
    return Dresser(wardrobe, bundle.size, session.describe)
