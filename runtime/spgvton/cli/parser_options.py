"""The options --parser-size, --parser-colour and --parser-normalisation of `run` and `prepare`."""

from __future__ import annotations

import argparse
from typing import Any

from spgvton.errors import UsageError
from spgvton.perception.parser_options import COLOURS, ParserOptions, parse_size
from spgvton.perception.parsing import NORMALISATIONS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--parser-size, --parser-colour and --parser-normalisation."""
    group = parser.add_argument_group("how --parser wants its picture")
    group.add_argument("--parser-size", metavar="HxW", help="height x width, where its file leaves them open")
    group.add_argument(
        "--parser-colour", choices=COLOURS, help=f"order of the channels ({COLOURS[0]}, as SCHP and LIP)"
    )
    group.add_argument(
        "--parser-normalisation", choices=tuple(NORMALISATIONS),
        help=f"imagenet: mean and deviation; unit: 0..1; symmetric: -1..1; raw: 0..255 ({ParserOptions().normalisation})",
    )  # fmt: skip


def options(args: argparse.Namespace) -> ParserOptions:
    """What ARGS say. Raises UsageError where there is no --parser that they could belong to."""
    chosen: dict[str, Any] = {
        name: value for name in ParserOptions._fields if (value := getattr(args, f"parser_{name}", None))
    }
    if "size" in chosen:
        chosen["size"] = parse_size(chosen["size"])
    if chosen and not args.parser:
        raise UsageError(f"--parser-{next(iter(chosen))} belongs to --parser: give your ONNX human parser, too")
    return ParserOptions(**chosen)
