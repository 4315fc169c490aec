"""Cut garments out of photographs: lying on a bed or on wood, on a hanger, before a wall, or worn by somebody.

examples:
  spgvton cutout shirt.jpg --out cut
  spgvton cutout photographs --out cut --overlay --json

Written for SHIRT.jpg: OUT/SHIRT_mask.png (white = garment, soft edges; what `spgvton try --mask` takes) and OUT/SHIRT_cutout.png (the
garment on nothing: RGBA); with --overlay OUT/SHIRT_overlay.jpg. Names that come twice are numbered. An alpha channel is taken as it
is. --json prints {"files": [{image, mask, cutout, kind, sleeve, confidence, notes}], "refused": [{image, reason}]}.
Exit codes: 0 fine, 1 a picture was refused (the others are written), 2 wrong use.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from spgvton import image
from spgvton.cli.parse import find
from spgvton.errors import SpgvtonError
from spgvton.files import make_folder
from spgvton.perception.garment_mask import cut_out
from spgvton.video import cv2

PAPER = (228, 0, 170)  # of an overlay, over what is no garment: a colour that few clothes have


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `spgvton cutout`."""
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help="a picture, or a folder of pictures")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of what is written")
    parser.add_argument("--overlay", action="store_true", help="write pictures that show the mask, too")
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Run the verb. Raises SpgvtonError."""
    pictures = list(find(args.pictures, args.out))
    out = make_folder(args.out)
    files: list[dict[str, Any]] = []
    refused: list[dict[str, str]] = []
    for picture, stem in tqdm(pictures, unit="picture", desc="cutout", disable=None, leave=False):
        try:
            files.append(cut(picture, out / stem, overlay=args.overlay))
        except SpgvtonError as e:
            reason = str(e).replace("give --garment-mask", "give a mask yourself")
            refused.append({"image": str(picture), "reason": reason})
            told = reason if str(picture) in reason else f"{picture}: {reason}"
            tqdm.write(f"spgvton cutout: {told}", file=sys.stderr)
    if args.json:
        print(json.dumps({"files": files, "refused": refused}))
    else:
        for file in files:
            words = [file["kind"], f"sleeves {file['sleeve']}", f"confidence {file['confidence']:.2f}", *file["notes"]]
            print(f"{file['image']}: {', '.join(words)}")
        print(f"{len(files)} of {len(pictures)} garments cut out into {out}", file=sys.stderr)
    return 1 if refused else 0


def cut(path: Path, target: Path, *, overlay: bool) -> dict[str, Any]:
    """Cut the garment of the picture PATH out and write TARGET_mask.png and so on. Returns the report's entry; raises SpgvtonError."""
    picture = image.read_colour(path, keep_alpha=True)
    found = cut_out(picture)
    rgb = np.ascontiguousarray(picture[..., :3])
    written: dict[str, Any] = {"image": str(path)}
    for name, made in (("mask", found.mask), ("cutout", np.dstack([rgb, found.mask]))):
        written[name] = str(target.with_name(f"{target.name}_{name}.png"))
        image.write(written[name], made)
    if overlay:
        written["overlay"] = str(target.with_name(f"{target.name}_overlay.jpg"))
        image.write(written["overlay"], draw_overlay(rgb, found.mask))
    told = {"kind": found.kind, "sleeve": found.sleeve, "confidence": found.confidence, "notes": list(found.notes)}
    return written | told


def draw_overlay(picture: image.UInt8, mask: image.UInt8) -> image.UInt8:
    """PICTURE (h, w, 3) tinted where MASK (h, w) has no garment, with a line along its edge."""
    share = mask[..., None].astype(np.float32) / 255
    tinted = 0.4 * picture + 0.6 * np.array(PAPER, np.float32)
    out = np.rint(share * picture + (1 - share) * tinted).astype(np.uint8)
    contours, _ = cv2.findContours((mask > 127).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(out, contours, -1, (255, 255, 255), 1), np.uint8)
