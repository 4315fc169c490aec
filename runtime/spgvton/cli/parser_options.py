"""The option --parser of all verbs that parse, and --parser-size, --parser-colour and --parser-normalisation beside it."""

from __future__ import annotations

import argparse
from typing import Any

from spgvton.errors import UsageError
from spgvton.perception.parser_options import (
    COLOURS,
    FOR_PICTURES,
    SHIPPED,
    ParserOptions,
    check_choice,
    parse_size,
)
from spgvton.perception.parsing import NORMALISATIONS, Parser


def add_choice(parser: Any, default: str = FOR_PICTURES) -> None:
    """--parser, to PARSER or a group of it."""
    names = "|".join(SHIPPED)
    parser.add_argument(
        "--parser",
        metavar=f"FILE|{names}",
        help=f"human parser: your own in ONNX, or one that ships (default {default})",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--parser-size, --parser-colour and --parser-normalisation."""
    group = parser.add_argument_group("how --parser FILE wants its picture")
    group.add_argument("--parser-size", metavar="HxW", help="height x width, where its file leaves them open")
    group.add_argument(
        "--parser-colour", choices=COLOURS, help=f"order of the channels ({COLOURS[0]}, as SCHP and LIP)"
    )
    group.add_argument(
        "--parser-normalisation", choices=tuple(NORMALISATIONS),
        help=f"imagenet: mean and deviation; unit: 0..1; symmetric: -1..1; raw: 0..255 ({ParserOptions().normalisation})",
    )  # fmt: skip


def options(args: argparse.Namespace) -> ParserOptions:
    """What ARGS say. Raises UsageError where there is no --parser FILE that they could belong to."""
    chosen: dict[str, Any] = {
        name: value for name in ParserOptions._fields if (value := getattr(args, f"parser_{name}", None))
    }
    if "size" in chosen:
        chosen["size"] = parse_size(chosen["size"])
    if chosen and (not args.parser or args.parser in SHIPPED):
        raise UsageError(f"--parser-{next(iter(chosen))} belongs to --parser FILE: give your ONNX human parser, too")
    if args.parser:
        check_choice(args.parser)
    return ParserOptions(**chosen)


def open_parser(args: argparse.Namespace, default: str = FOR_PICTURES, threads: int | None = None) -> Parser:
    """The parser that ARGS choose, else DEFAULT. Raises UsageError and SpgvtonError."""
    label_set = getattr(args, "label_set", "cihp")
    if not args.parser and label_set != "cihp":
        raise UsageError("the shipped parsers give cihp labels: --label-set belongs to --parser FILE")
    return options(args).open(args.parser or default, label_set, threads)
