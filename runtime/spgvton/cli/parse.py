"""What the parser sees: label map, keypoints and, on request, a coloured overlay of each picture.

examples:
  spgvton parse me.jpg --out parsed --overlay
  spgvton parse photos --out parsed --json
  spgvton parse photos --out parsed --parser small
  spgvton parse a.jpg b.jpg --out parsed --parser schp.onnx --label-set lip

Written for PHOTO.jpg: OUT/PHOTO_labels.png (one channel of label ids, 0 to 19, of the picture's size), OUT/PHOTO_keypoints.json
(OpenPose, 18 points) and OUT/PHOTO_overlay.jpg. The person in the foreground is labelled, everybody else is background. Names that
come twice are numbered. The labels can be given to `spgvton run --parsing`. With --json the report alone goes to stdout.
Exit codes: 0 fine, 1 a picture could not be parsed (the others are written), 2 wrong use.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from spgvton import image
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.cli import parser_options
from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import make_folder, write_text
from spgvton.perception.parsing import Parser
from spgvton.perception.pose import PoseEstimator, why_unusable
from spgvton.stream.compose import draw_keypoints
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]

OVERLAY_SIDE: Final = 1024  # pixels on the long side of an overlay
OVERLAY_COLOUR: Final = 0.6  # of the labels; the rest is the picture


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `spgvton parse`."""
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help="a picture, or a folder of pictures")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of what is written")
    parser.add_argument("--overlay", action="store_true", help="write coloured overlays, too")
    parser_options.add_choice(parser)
    parser.add_argument(
        "--label-set", choices=tuple(lb.LABEL_SETS), default="cihp", help="of --parser FILE (default cihp)"
    )
    parser_options.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Run the verb. Raises SpgvtonError."""
    pictures = list(find(args.pictures, args.out))
    parser = parser_options.open_parser(args)
    out = make_folder(args.out)
    pose = PoseEstimator(smooth=False)
    files: list[dict[str, str]] = []
    failed = 0
    for picture, stem in tqdm(pictures, unit="picture", desc="parse", disable=None, leave=False):
        try:
            files.append(parse(picture, out / stem, pose, parser, overlay=args.overlay))
        except SpgvtonError as e:
            failed += 1
            reason = str(e) if str(picture) in str(e) else f"{picture}: {e}"
            tqdm.write(f"spgvton parse: {reason}", file=sys.stderr)
    if args.json:
        print(json.dumps({"files": files}))
    else:
        print(f"{len(files)} of {len(pictures)} pictures parsed into {out}", file=sys.stderr)
    return 1 if failed else 0


def find(given: Iterable[Path], out: Path) -> Iterable[tuple[Path, str]]:
    """The pictures that are GIVEN, those of folders by name, each with the stem of what is written for it.

    Raises UsageError where OUT is a folder that is read, SpgvtonError for a folder without pictures.
    """
    taken: set[str] = set()
    for path in given:
        pictures = [path]
        if path.is_dir():
            if out.resolve() == path.resolve():
                raise UsageError(f"--out {out} is the folder of the pictures: name another one")
            pictures = sorted(f for f in path.iterdir() if f.suffix.lower() in image.SUFFIXES and f.name[:1] != ".")
            if not pictures:
                raise SpgvtonError(f"{path} holds no pictures ({', '.join(sorted(image.SUFFIXES))})")
        for picture in pictures:
            stem, number = picture.stem, 1
            while stem in taken:
                number += 1
                stem = f"{picture.stem}_{number}"
            taken.add(stem)
            yield picture, stem


def parse(path: Path, target: Path, pose: PoseEstimator, parser: Parser, *, overlay: bool) -> dict[str, str]:
    """Parse the picture PATH and write TARGET_labels.png, TARGET_keypoints.json and, with OVERLAY, TARGET_overlay.jpg.

    Returns the report's entry. Raises SpgvtonError where the picture cannot be read, shows nobody, or nothing can be written.
    """
    picture = image.read_colour(path, keep_alpha=False)
    pose.reset()
    keypoints = pose(picture)
    reason = why_unusable(keypoints, (picture.shape[0], picture.shape[1]))
    if reason:
        raise SpgvtonError(f"{path}: {reason}: choose a picture of one person from head to hips")
    labels = parser(picture, keypoints)
    written: dict[str, str] = {}
    for name, suffix in (("labels", "png"), ("keypoints", "json"), *([("overlay", "jpg")] if overlay else [])):
        file = str(target.with_name(f"{target.name}_{name}.{suffix}"))
        try:
            if name == "keypoints":
                write_text(file, kp.to_openpose(keypoints) + "\n")
            else:
                image.write(file, labels if name == "labels" else draw_overlay(picture, labels, keypoints))
        except SpgvtonError as e:
            raise SpgvtonError(f"{e} (written before: {', '.join(written.values()) or 'nothing'})") from e
        written[name] = file
    return {"image": str(path), **written}


def draw_overlay(picture: UInt8, labels: UInt8, keypoints: NDArray[np.float32]) -> UInt8:
    """PICTURE (h, w, 3) with LABELS (h, w) in their colours and KEYPOINTS (18, 3), at most OVERLAY_SIDE pixels on a side."""
    h, w = labels.shape
    scale = min(1.0, OVERLAY_SIDE / max(h, w))
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    ids = np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    colour = np.where((ids > 0)[..., None], lb.colourise(ids), small)
    out = np.rint(OVERLAY_COLOUR * colour + (1 - OVERLAY_COLOUR) * small).astype(np.uint8)
    points = keypoints.copy()
    points[:, :2] = (points[:, :2] + 0.5) * scale - 0.5
    draw_keypoints(out, points)
    return out
