"""Rooms and gardens for `spgvton train-parser --photographs`: what is seen beside and above the people of labelled photographs.

    spgvton parse photos/images --out photos/labels
    python tools/parser_rooms.py --photos photos --out rooms

Plain backdrops are left out: the trainer draws walls itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import image
from spgvton.files import make_folder
from spgvton.video import cv2
from spgvton_training.parsing.sources import find

UInt8 = NDArray[np.uint8]
LEAST: Final = 0.16  # of the picture's longer side: a band is at least so wide
MARGIN: Final = 0.03  # of the longer side, round the person
PLAIN: Final = 12.0  # standard deviation of grey levels under which a band is a backdrop


def bands(picture: UInt8, person: NDArray[np.bool_]) -> list[UInt8]:
    """What of PICTURE (H, W, 3) lies left of, right of and above PERSON (H, W)."""
    longer = max(picture.shape[:2])
    grown = np.ones((2 * round(MARGIN * longer) + 1,) * 2, np.uint8)
    left, top, w, _ = cv2.boundingRect(cv2.dilate(person.astype(np.uint8), grown))
    found = (picture[:, :left], picture[:, left + w :], picture[:top])
    large = (band for band in found if min(band.shape[:2]) >= LEAST * longer)
    return [band for band in large if cv2.cvtColor(band, cv2.COLOR_RGB2GRAY).std() >= PLAIN]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder with images/ and labels/")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    out, count = make_folder(args.out), 0
    for item in find(args.photos):
        person = item.read()
        for i, band in enumerate(bands(person.picture, person.labels > 0)):
            image.write(out / f"{item.picture.stem}_{i}.jpg", np.ascontiguousarray(band))
            count += 1
    print(f"{count} pictures in {out}")


if __name__ == "__main__":
    main()
