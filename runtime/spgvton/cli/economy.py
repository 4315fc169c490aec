"""--still-threshold, --steady and --max-age: what `run` and `bench flicker` need not compute again (docs/economy.md)."""

from __future__ import annotations

import argparse

from spgvton.economy import Economy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All three."""
    add_picture(parser)
    parser.add_argument(
        "--max-age", type=float, metavar="MS",
        help="live mode: an answer of the networks older than this is not shown, but the camera as it is (3000); pose mode: a frame "
        "older than this when its turn comes shows the last picture again, never two in a row (off)",
    )  # fmt: skip


def add_picture(parser: argparse.ArgumentParser) -> None:
    """Those that work on pictures one at a time, without a clock."""
    parser.add_argument(
        "--still-threshold", type=float, default=0.0, metavar="PX",
        help="spare the network while no keypoint has moved by more than PX network pixels since (pose mode: show the last picture "
        "again); 0.5 is a good value (0: off)",
    )  # fmt: skip
    parser.add_argument(
        "--steady", action="store_true",
        help="less flicker: each picture (live mode: masks and warp) is averaged with the one before where they agree",
    )  # fmt: skip


def economy(args: argparse.Namespace) -> Economy:
    """What the arguments ask for. Raises UsageError for values that make no sense."""
    max_age_ms = getattr(args, "max_age", None)
    return Economy(args.still_threshold, None if max_age_ms is None else max_age_ms / 1e3, args.steady)
