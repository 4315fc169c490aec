"""The command line: `spgvton VERB`. Each verb is a small module that is imported only when it is called."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import inputs
from spgvton.version import __version__

# verb: (module, extra that carries it, one line of help)
VERBS: Final[dict[str, tuple[str, str, str]]] = {
    "demo": ("spgvton.cli.demo", "headless", "play the shipped clip through the real loop; writes demo.mp4"),
    "try": ("spgvton.cli.try_on", "headless", "try garments on the person of one photograph, at full resolution"),
    "run": ("spgvton.cli.run", "headless", "try a garment on a person in a video, camera or stream"),
    "parse": ("spgvton.cli.parse", "headless", "pictures of people -> label maps, keypoints, coloured overlays"),
    "cutout": ("spgvton.cli.cutout", "headless", "photographs of garments -> masks, cut-outs, kind and sleeve length"),
    "kiosk": ("spgvton.cli.kiosk", "web", "run a mirror as a kiosk with a web page; install it as a service"),
    "bench": (
        "spgvton.cli.bench",
        "headless",
        "measure the network, back ends against each other, the live loop; soak a mirror",
    ),
    "doctor": ("spgvton.cli.doctor", "headless", "what this machine has, and what to do about what it lacks"),
    "build": ("spgvton.cli.build", "tensorrt", "bundle -> TensorRT engine, cached with what it was built from"),
    "synth": ("spgvton_training.cli.synth", "train", "make a synthetic data set in MPV layout"),
    "prepare": ("spgvton_training.cli.prepare", "train", "your own photos, or DeepFashion -> a data set in MPV layout"),
    "check-data": ("spgvton_training.cli.check_data", "train", "list the triples of a data set that cannot be used"),
    "train": ("spgvton_training.cli.train", "train", "train the joint model"),
    "train-parser": ("spgvton_training.cli.train_parser", "train", "train the small human parser of live mode"),
    "train-cutout": (
        "spgvton_training.cli.train_cutout",
        "train",
        "train the network that cuts garments out of photographs",
    ),
    "evaluate": ("spgvton_training.cli.evaluate", "train", "score a checkpoint on a test split; contact sheet"),
    "export": (
        "spgvton_export.cli",
        "export",
        "checkpoint -> model bundle (ONNX), or fp32 -> fp16 bundle; each checked",
    ),
    "calibrate": ("spgvton_calibration.cli", "calibrate", "fp32 or fp16 bundle -> INT8 bundle that keeps the picture"),
}


# Arguments that name files and folders: what is read, which no output may replace (spgvton.files), and what is written.
INPUTS: Final = frozenset(
    ("source", "garment", "garment_mask", "person", "parsing", "parser", "pictures", "bundle", "data", "persons", "photos",
     "garments", "deepfashion", "exclude", "fabrics", "config", "checkpoint", "evaluate", "init", "validate", "photographs",
     "masks", "held_out", "sleeves", "people",
     "distill_from", "qat", "ranges", "reference", "plugin", "perceptual_weights", "face_weights", "inception_weights",
     "lpips_weights", "lpips_heads", "before", "after", "also", "compositor_library", "kiosk")
)  # fmt: skip
OUTPUTS: Final = frozenset(("out", "sink", "sheet", "recording", "rendered", "root", "folder", "report"))


def paths_read(args: argparse.Namespace) -> Iterator[Path]:
    """The files and folders among ARGS that are read; numbers, addresses and names of presets may be among them."""
    for name in INPUTS & vars(args).keys():
        given = getattr(args, name)
        for value in given if isinstance(given, list) else [given]:
            if isinstance(value, str | Path) and str(value):
                yield Path(str(value).removeprefix("file://"))


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """The parser; only VERB's module is imported and given its arguments."""
    parser = argparse.ArgumentParser(
        prog="spgvton",
        description="Live multi-pose virtual try-on.",
        epilog="Start with: spgvton demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"spgvton {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, (module, _, help_text) in VERBS.items():
        loaded = importlib.import_module(module) if name == verb else None
        sub = verbs.add_parser(
            name,
            help=help_text,
            description=loaded.__doc__ if loaded else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if loaded:
            loaded.add_arguments(sub)
            sub.set_defaults(run=loaded.run)
            _add_examples(sub, f"spgvton {name}", loaded.__doc__ or "")
    return parser


def _add_examples(parser: argparse.ArgumentParser, command: str, words: str) -> None:
    """Give the --help of each sub-verb the examples of it that WORDS, its verb's, hold."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                lines = [line for line in words.splitlines() if f"{command} {name}" in line]
                if lines and not sub.epilog:
                    sub.epilog = "\n".join(["example:", *lines])
                    sub.formatter_class = argparse.RawDescriptionHelpFormatter


def check_repeated(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Raise UsageError for an option that is given twice and takes one value: the first would be passed over silently."""
    actions: dict[str, argparse.Action] = {}
    waiting = [parser]
    while waiting:
        for action in waiting.pop()._actions:
            if isinstance(action, argparse._SubParsersAction):
                waiting += [sub for name, sub in action.choices.items() if name in arguments]
            actions |= dict.fromkeys(action.option_strings, action)
    seen: set[str] = set()
    for word in arguments[: arguments.index("--") if "--" in arguments else None]:
        name = word.partition("=")[0]
        found = [option for option in actions if option == name] or [
            option for option in actions if name.startswith("--") and len(name) > 2 and option.startswith(name)
        ]
        if len(found) == 1 and type(actions[found[0]]) is argparse._StoreAction:
            if found[0] in seen:
                raise UsageError(f"{found[0]} is given twice, and takes one value: leave one out")
            seen.add(found[0])


def main(argv: list[str] | None = None) -> int:
    """Entry point. Exit codes: 0 fine, 1 failed, 2 wrong use, 130 interrupted."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads starve the other stages of the loop
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be text
    arguments = sys.argv[1:] if argv is None else argv
    verb = arguments[0] if arguments and arguments[0] in VERBS else None
    try:
        parser = build_parser(verb)
        args = parser.parse_args(arguments)
        check_repeated(parser, arguments)
        with inputs(*paths_read(args)):
            return int(args.run(args))
    except ModuleNotFoundError as e:
        if verb is None or (e.name or "").split(".")[0] == "spgvton":
            raise
        print(f"spgvton {verb}: {e.name} is missing: pip install 'spgvton[{VERBS[verb][1]}]'", file=sys.stderr)
        return 1
    except SpgvtonError as e:
        print(f"spgvton {verb}: {e}", file=sys.stderr)
        return 2 if isinstance(e, UsageError) else 1
    except KeyboardInterrupt:
        print(f"spgvton {verb}: interrupted", file=sys.stderr)
        return 130
