"""Labelled pictures of people: data sets in MPV layout, and plain folders with LIP, CIHP or ATR labels.

A plain folder:

    images/<name>.jpg|.jpeg|.png             pictures, one person each who counts
    labels/<name>.png                        label ids, one channel or palette; <name>_labels.png does, too; 255 = unknown
    keypoints/<name>_keypoints.json          OpenPose, 18 points; may lie beside the labels; estimated and kept where it is missing

so what `spgvton parse photos/images --out photos/labels --json` writes fits as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton import image as im
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import make_folder, write_text
from spgvton.perception.png_indices import read_indices
from spgvton.perception.pose import PoseEstimator
from spgvton_training.data.layout import PhotoFiles
from spgvton_training.parsing.network import SOMEBODY_ELSE

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

UNKNOWN: Final = 255  # a label that is not learnt
SUFFIXES: Final = (".jpg", ".jpeg", ".png")

# ATR: background, hat, hair, sunglasses, upper clothes, skirt, pants, dress, belt, shoes, face, legs, arms, bag, scarf.
_ATR: Final = (
    lb.BACKGROUND, lb.HAT, lb.HAIR, lb.SUNGLASSES, lb.UPPER_CLOTHES, lb.SKIRT, lb.PANTS, lb.DRESS, lb.PANTS, lb.LEFT_SHOE,
    lb.RIGHT_SHOE, lb.FACE, lb.LEFT_LEG, lb.RIGHT_LEG, lb.LEFT_ARM, lb.RIGHT_ARM, lb.BACKGROUND, lb.SCARF,
)  # fmt: skip
# LIP calls the neck face, and has no label for it; a jumpsuit is learnt as the dress that a try-on replaces alike.
_LIP: Final = tuple(lb.DRESS if label == lb.JUMPSUITS else label for label in range(lb.NUM_LABELS))
LABEL_SETS: Final = {"cihp": tuple(range(SOMEBODY_ELSE + 1)), "lip": _LIP, "atr": _ATR}


class Labelled(NamedTuple):
    """A picture, RGB uint8 (H, W, 3); labels uint8 (H, W): CIHP ids, 20 somebody else, 255 unknown; keypoints (18, 3)."""

    picture: UInt8
    labels: UInt8
    keypoints: Float


@dataclass(frozen=True)
class Item:
    """Files of one picture. keypoints: one or several that describe it alike (exact ones, estimated ones)."""

    picture: Path
    labels: Path
    keypoints: tuple[Path, ...]
    label_set: str

    def read(self, which: int = 0) -> Labelled:
        """With the keypoints of number WHICH, modulo how many there are. Raises SpgvtonError."""
        picture, labels = im.read(self.picture), read_labels(self.labels, self.label_set)
        if labels.shape != picture.shape[:2]:
            raise SpgvtonError(
                f"{self.labels} is {labels.shape}, its picture {picture.shape[:2]}: give maps of the same size"
            )
        return Labelled(picture, labels, kp.load_openpose(self.keypoints[which % len(self.keypoints)]))


def read_labels(path: Path, label_set: str) -> UInt8:
    """The map at PATH in CIHP's ids; 20 is somebody else in CIHP maps, 255 unknown. Raises SpgvtonError for other ids."""
    ids = LABEL_SETS[label_set]
    labels = np.asarray(read_indices(path, im.MAX_BYTES, im.MAX_PIXELS), np.int64)
    table = np.full(256, UNKNOWN, np.uint8)
    table[: len(ids)] = ids
    wrong = labels[(labels >= len(ids)) & (labels != UNKNOWN)]
    if wrong.size:
        raise SpgvtonError(
            f"{path} holds label id {int(wrong.min())}; ids of {label_set} run from 0 to {len(ids) - 1}, 255 is unknown: name "
            "the right one of --label-set cihp, lip, atr"
        )
    return table[labels]


def find(root: str | Path, label_set: str = "cihp") -> list[Item]:
    """The labelled pictures under ROOT, sorted. Raises SpgvtonError for a folder of no known layout or without a picture."""
    folder = Path(root)
    if label_set not in LABEL_SETS:
        raise UsageError(f"label set '{label_set}' is unknown: use one of {', '.join(LABEL_SETS)}")
    if (folder / "parse_cihp").is_dir():
        items = _of_mpv(folder, label_set)
    elif (folder / "labels").is_dir() and (folder / "images").is_dir():
        items = _of_folder(folder, label_set)
    else:
        raise SpgvtonError(
            f"{folder} holds neither parse_cihp/ (MPV layout) nor images/ and labels/: see train-parser --help"
        )
    if not items:
        raise SpgvtonError(f"{folder} holds no picture with labels and keypoints")
    return items


def _of_mpv(folder: Path, label_set: str) -> list[Item]:
    items = []
    for labels in sorted((folder / "parse_cihp").glob("*/*.png")):
        if labels.stem.endswith("_vis"):
            continue
        files = PhotoFiles.of(folder, f"{labels.parent.name}/{labels.stem}.jpg")
        exact = folder / "pose_exact" / labels.parent.name / files.keypoints.name
        keypoints = tuple(path for path in (files.keypoints, exact) if path.is_file())
        if files.picture.is_file() and keypoints:
            items.append(Item(files.picture, labels, keypoints, label_set))
    return items


def _of_folder(folder: Path, label_set: str) -> list[Item]:
    items, estimator = [], None
    for picture in sorted(p for p in (folder / "images").iterdir() if p.suffix.lower() in SUFFIXES):
        maps = [folder / "labels" / f"{picture.stem}{end}.png" for end in ("", "_labels")]
        labels = next((path for path in maps if path.is_file()), None)
        if labels is None:
            continue
        name = f"{picture.stem}_keypoints.json"
        keypoints = next((folder / d / name for d in ("keypoints", "labels") if (folder / d / name).is_file()), None)
        if keypoints is None:
            estimator = estimator or PoseEstimator(smooth=False)
            keypoints = make_folder(folder / "keypoints") / name
            write_text(keypoints, kp.to_openpose(_estimate(estimator, im.read(picture))))
        items.append(Item(picture, labels, (keypoints,), label_set))
    return items


def _estimate(estimator: PoseEstimator, picture: UInt8) -> Float:
    """Keypoints as a stream has them: the second look uses the crop region of the first."""
    estimator.reset()
    estimator(picture)
    return estimator(picture)
