"""Photographs of people for `spgvton train-parser`: the panels of openpeople's sheets, apart, and the frames of a video.

    pip download --no-deps openpeople==0.1.2 && unzip -d openpeople openpeople-0.1.2-py3-none-any.whl
    python tools/parser_photos.py --people openpeople/openpeople/data/curated --leave-out P009,P010 --video squats.mp4 --out photos/images
    spgvton parse photos/images --out photos/labels --json     # the teacher's labels and the keypoints
    spgvton train-parser --data photos ...

--only takes the people named alone: those held out. Pictures are reduced to 1024 pixels on the long side.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import image
from spgvton.files import make_folder
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
SIDE: Final = 1024
MIN_PANEL: Final = 0.01  # of a sheet's area
FRAME: Final = 225  # a panel's white frame is brighter
INSIDE: Final = 6  # pixels that the frame is wide


def panels(sheet: UInt8) -> Iterator[UInt8]:
    """The pictures of a SHEET (H, W, 3) on grey ground, each in a white frame, in reading order."""
    white = (sheet.min(axis=2) > FRAME).astype(np.uint8)
    contours, _ = cv2.findContours(white, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    boxes = [cv2.boundingRect(c) for c in contours]
    boxes = [b for b in boxes if b[2] * b[3] > MIN_PANEL * white.size]
    for x, y, w, h in sorted(boxes, key=lambda b: (round(b[1] / 100), b[0])):
        yield sheet[y + INSIDE : y + h - INSIDE, x + INSIDE : x + w - INSIDE]


def of_people(root: Path, only: set[str], leave_out: set[str]) -> Iterator[tuple[str, UInt8]]:
    """(name, picture) of every photograph and panel of the people under ROOT."""
    for folder in sorted(p for p in root.iterdir() if p.name not in leave_out and (not only or p.name in only)):
        for file in sorted((folder / "assets").glob("*.jpg")):
            picture, name = image.read(file), f"{folder.name}_{file.stem}"
            if file.stem.endswith("_sheet"):
                yield from ((f"{name}_{i:02d}", panel) for i, panel in enumerate(panels(picture)))
            else:
                yield name, picture


def of_video(file: Path) -> Iterator[tuple[str, UInt8]]:
    """(name, picture) of every frame of FILE."""
    video = cv2.VideoCapture(str(file))
    number = 0
    while True:
        found, frame = video.read()
        if not found:
            return
        yield f"{file.stem}_{number:04d}", np.ascontiguousarray(frame[..., ::-1])
        number += 1


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=Path, help="openpeople's folder `curated`")
    parser.add_argument("--only", default="", metavar="P001,...", help="these people alone")
    parser.add_argument("--leave-out", default="", metavar="P001,...", help="all but these people")
    parser.add_argument("--video", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    only, leave_out = ({p for p in text.split(",") if p} for text in (args.only, args.leave_out))
    out = make_folder(args.out)
    found: list[Iterator[tuple[str, UInt8]]] = [of_people(args.people, only, leave_out)] if args.people else []
    found += [of_video(args.video)] if args.video else []
    for pictures in found:
        for name, picture in pictures:
            scale = min(1.0, SIDE / max(picture.shape[:2]))
            size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
            image.write(
                out / f"{name}.jpg", np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
            )


if __name__ == "__main__":
    main()
