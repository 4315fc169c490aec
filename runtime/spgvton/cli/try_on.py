"""Try garments on the person of one photograph: full resolution in, full resolution out.

examples:
  spgvton try me.jpg shirt.jpg                       writes me-shirt.jpg
  spgvton try me.jpg shirt.png --out dressed.png
  spgvton try me.jpg shirt.jpg coat.jpg dress.jpg    one picture each, and me-sheet.jpg with all of them
  spgvton try me.jpg shop/ --out results --json      every garment in the folder

PERSON comes first: one person from the front, seen from the head to the hips or farther. A garment is a photograph of
it lying, hanging or worn, or a PNG whose alpha channel cuts it out; its mask is found, lies beside it as NAME_mask.png, or is --mask.
Everything but the clothes stays the photograph's, pixel by pixel. Results have the photograph's size and format.
Exit codes: 0 fine, 1 failed (also: some garments could not be tried on), 2 wrong use.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from spgvton import image, machine
from spgvton import labels as lb
from spgvton.backends import CPU_BACKENDS
from spgvton.bundle import Bundle
from spgvton.cli import backend, garments, parser_options
from spgvton.cli.run import positive
from spgvton.cli.run_stages import choose_parser
from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import check_output, make_folder
from spgvton.labels import LABEL_SETS
from spgvton.live.garment import LiveGarment
from spgvton.live.tryon import LiveTryOn, why_not_live
from spgvton.perception.pose import PoseEstimator
from spgvton.stream.compose import PAPER, card, fit, text
from spgvton.stream.latency import LatencyMeter
from spgvton.stream.loop import COMPOSE, PARSE, POSE, SYNTHESIS

UInt8 = NDArray[np.uint8]

WRITABLE: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
READ, WRITE = "read", "write"
SHEET_HEIGHT: Final = 560
SHEET_WIDTH: Final = 2400
GAP: Final = 14


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `spgvton try`."""
    parser.add_argument("person", metavar="PERSON", help="photograph of one person, from the front")
    parser.add_argument("garments", metavar="GARMENT", nargs="+", help="photographs of garments, or folders of them")
    parser.add_argument(
        "--out", metavar="FILE", help="file of one result, or folder of several (PERSON-GARMENT.jpg, here)"
    )
    parser.add_argument(
        "--mask", dest="garment_mask", action="append", metavar="PNG",
        help="white where the garment is; one per garment, in the same order",
    )  # fmt: skip
    parser_options.add_choice(parser)
    parser.add_argument("--label-set", choices=tuple(LABEL_SETS), default="cihp", help="of --parser (cihp)")
    parser.add_argument("--bundle", metavar="DIR", help="model bundle; otherwise the shipped one")
    parser.add_argument("--backend", choices=(*CPU_BACKENDS, "auto"), default=CPU_BACKENDS[0], help="(onnxruntime)")
    parser.add_argument("--threads", type=positive, metavar="N", help="threads of the networks")
    parser.add_argument("--json", action="store_true", help="what was written, and times, as JSON on stdout")
    parser_options.add_arguments(parser)
    parser.set_defaults(warp=None, plugin=None)


def say(words: str) -> None:
    """A line for people, on stderr."""
    tqdm.write(f"spgvton try: {words}", file=sys.stderr)


def expand(given: Sequence[str], masks: list[str] | None) -> list[tuple[str, str | None]]:
    """Garments and their masks, those of folders in the order of their names. Raises UsageError, SpgvtonError."""
    found: list[tuple[str, str | None]] = []
    for path, mask in garments.pair_masks(list(given), masks):
        if not Path(path).is_dir():
            found.append((path, mask))
            continue
        if mask:
            raise UsageError(f"{path} is a folder: its masks lie in it as NAME{garments.MASK}.png; leave --mask out")
        pictures = sorted(f for f in Path(path).iterdir() if f.suffix.lower() in image.SUFFIXES)
        pictures = [f for f in pictures if not f.stem.endswith(garments.MASK)]
        if not pictures:
            raise SpgvtonError(f"folder {path} holds no picture of a garment")
        found += garments.pair_masks([str(f) for f in pictures], None)
    return found


def name_outputs(person: Path, pictures: Sequence[str], out: str | None) -> tuple[list[Path], Path | None]:
    """The results' paths, and the contact sheet's where there are several. Raises UsageError, SpgvtonError."""
    suffix = person.suffix.lower() if person.suffix.lower() in WRITABLE else ".jpg"
    given = Path(out) if out else None
    if given and len(pictures) == 1 and given.suffix and not given.is_dir():
        if given.suffix.lower() not in WRITABLE:
            raise UsageError(f"--out {given}: pictures are written as {', '.join(WRITABLE)}")
        check_output(given)
        return [given], None
    if given and given.suffix.lower() in WRITABLE and not given.is_dir():
        raise UsageError(f"--out {given}: {len(pictures)} garments give {len(pictures)} pictures; name a folder")
    folder = make_folder(given) if given else Path()
    names: list[str] = []
    for picture in pictures:
        name = base = f"{person.stem}-{Path(picture).stem}"
        count = 1
        while name in names:
            count += 1
            name = f"{base}-{count}"
        names.append(name)
    paths = [folder / f"{name}{suffix}" for name in names]
    sheet = folder / f"{person.stem}-sheet.jpg" if len(paths) > 1 else None
    for path in (*paths, *([sheet] if sheet else [])):
        check_output(path)
    return paths, sheet


def read_person(path: str) -> tuple[UInt8, NDArray[np.float32], dict[str, float]]:
    """The photograph RGB (h, w, 3), its keypoints (18, 3), and the seconds that both took. Raises SpgvtonError."""
    start = time.monotonic()
    photo = image.read(path)
    read = time.monotonic()
    keypoints = PoseEstimator(smooth=False)(photo, 0.0)
    reason = why_not_live(keypoints, (photo.shape[0], photo.shape[1]))
    if reason:
        raise SpgvtonError(
            f"{path}: {reason}; the first picture is the person's: one person from the front, seen from head to hips"
        )
    return photo, keypoints, {READ: read - start, POSE: time.monotonic() - read}


class Sheet:
    """The photograph and the results beside each other, each with its garment."""

    def __init__(self, photo: UInt8) -> None:
        self._width = round(SHEET_HEIGHT * min(1.4, photo.shape[1] / photo.shape[0]))
        self._cells = [(self._small(photo), None, "photograph")]

    def _small(self, picture: UInt8) -> UInt8:
        return fit(picture, (SHEET_HEIGHT, self._width), PAPER)

    def add(self, picture: UInt8, garment: UInt8, name: str) -> None:
        """A result, RGB, and its garment's picture, RGB or RGBA."""
        self._cells.append((self._small(picture), card(garment, SHEET_HEIGHT // 7), name))  # type: ignore[arg-type]

    def draw(self) -> UInt8:
        """RGB uint8 (h, w, 3)."""
        columns = max(1, min(len(self._cells), (SHEET_WIDTH - GAP) // (self._width + GAP)))
        rows = -(-len(self._cells) // columns)
        line = SHEET_HEIGHT + 36
        canvas = np.empty((GAP + rows * line, GAP + columns * (self._width + GAP), 3), np.uint8)
        canvas[:] = PAPER
        for i, (picture, garment, name) in enumerate(self._cells):
            y, x = GAP + i // columns * line, GAP + i % columns * (self._width + GAP)
            canvas[y : y + SHEET_HEIGHT, x : x + self._width] = picture
            if garment is not None:
                h, w = garment.shape[:2]
                canvas[y + 8 : y + 8 + h, x + self._width - 8 - w : x + self._width - 8] = garment
            text(canvas, name.encode("ascii", "replace").decode()[:40], (x + 2, y + SHEET_HEIGHT + 22), size=0.5)
        return canvas


@contextmanager
def timed(times: dict[str, float], stage: str) -> Iterator[None]:
    """Add the seconds inside to STAGE of TIMES."""
    start = time.monotonic()
    yield
    times[stage] = times.get(stage, 0.0) + time.monotonic() - start


def try_one(
    live: LiveTryOn, photo: UInt8, keypoints: NDArray[np.float32], garment: tuple[str, str | None], out: Path
) -> tuple[UInt8, UInt8, dict[str, float]]:
    """Dress and write one result; the result, the garment's card, and seconds per stage. Raises SpgvtonError."""
    times: dict[str, float] = {}
    with timed(times, READ):
        try:
            shop = garments.read(*garment, note=lambda _: None)
        except SpgvtonError as e:
            raise SpgvtonError(str(e).replace("--garment-mask", "--mask")) from e
        for words in shop.notes:
            say(f"{garment[0]}: {words}")
        live.use_garment(LiveGarment.of(shop.picture, shop.mask, live.network.size), dress=shop.kind == "dress")
    try:
        answer = live.answer(photo, keypoints)
    except SpgvtonError as e:
        raise SpgvtonError(f"{garment[0]}: {e}") from e
    if not np.isin(answer.parse.labels, lb.HEAD).any():  # a pose is found in a garment's picture, too
        raise SpgvtonError("the photograph shows no face and no hair: the person comes first, then the garments")
    if live.note:
        say(f"{garment[0]}: {live.note}")
    times |= dict(zip((PARSE, SYNTHESIS), live.times_s))
    with timed(times, COMPOSE):
        result = live.compose(photo, answer)
    with timed(times, WRITE):
        image.write(out, result)
    return result, shop.card, times


def run(args: argparse.Namespace) -> int:
    """`spgvton try`. Returns the exit code; raises SpgvtonError."""
    for path in (args.person, *args.garments, *(args.garment_mask or ())):
        if path and not Path(path).exists():
            raise SpgvtonError(f"{path}: no such file")
    pairs = expand(args.garments, args.garment_mask)
    outs, sheet_path = name_outputs(Path(args.person), [path for path, _ in pairs], args.out)
    photo, keypoints, person_s = read_person(args.person)
    meter, files, failed = LatencyMeter(), [], []
    sheet = Sheet(photo) if sheet_path else None
    with ExitStack() as stack:
        bundle = Bundle.open(args.bundle, mode="live")
        parser = choose_parser(args, bundle.label_set, args.threads or machine.cores())
        live = backend.open_live(args, bundle, threads=args.threads, parser=parser)
        stack.callback(live.close)
        work = list(zip(pairs, outs))
        bar = tqdm(work, unit="garment", desc="try", disable=True if len(work) == 1 else None, leave=False)
        for garment, out in bar:
            try:
                result, shown, times = try_one(live, photo, keypoints, garment, out)
            except SpgvtonError as e:
                if len(work) == 1:
                    raise
                say(str(e))
                failed.append(garment[0])
                continue
            times = {**person_s, **times, READ: person_s[READ] + times[READ]}
            meter.add(sum(times.values()), times)
            files.append({"garment": garment[0], "out": str(out)})
            if sheet:
                sheet.add(result, shown, Path(garment[0]).stem)
    if sheet and sheet_path and files:
        image.write(sheet_path, sheet.draw())
    for file in files:
        say(f"wrote {file['out']}")
    if sheet_path and files:
        say(f"wrote {sheet_path}")
    if args.json:
        stages = {name: ms for name, ms in meter.stages_ms().items() if name != "waiting"}
        print(json.dumps({
            "out": str(sheet_path or outs[0]), "files": files, "failed": failed, "mode": "live",
            "size": [photo.shape[0], photo.shape[1]], "stages_ms": stages,
            "machine": machine.describe(), "versions": machine.versions(),
        }, indent=1))  # fmt: skip
    if failed:
        raise SpgvtonError(f"{len(failed)} of {len(work)} garments could not be tried on; the reasons are above")
    return 0
