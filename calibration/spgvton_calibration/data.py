"""Samples to calibrate on and to judge by: a data set in MPV layout, or a recorded session. Never random numbers.

From a data set the choice is stratified: by size of the pose change, kind of garment and side of the body that the
target shows, the same number from each stratum as far as it has them. Ranges come from the training split, the judgement
from the test split, so no picture and no person is in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton import image as im
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton import person as ps
from spgvton.errors import SpgvtonError, UsageError
from spgvton.mask import read_mask
from spgvton.perception.png_indices import read_labels
from spgvton.recording import Recording
from spgvton_calibration.execution import Inputs
from spgvton_training.data.layout import (  # needs no torch
    PAIRED,
    UNPAIRED,
    ClothFiles,
    PhotoFiles,
    Triple,
    hash_fraction,
    read_pairs,
)

UInt8 = NDArray[np.uint8]
MIN_SAMPLES: Final = 8
_POOL: Final = 8  # triples that are looked at for each one that is wanted: strata need their maps and keypoints
_SMALL_TURN, _LARGE_TURN = 0.15, 0.35  # mean movement of the keypoints, in torso lengths


@dataclass(frozen=True)
class Sample:
    """Inputs of the joint graph; TRUTH (H, W, 3) and its LABELS (H, W) where somebody was photographed like this."""

    name: str
    inputs: Inputs
    truth: UInt8 | None = None
    labels: UInt8 | None = None


@dataclass(frozen=True)
class Source:
    """Calibration samples, samples to judge by, and where they are from, in words for reports."""

    calibration: list[Sample]
    held_out: list[Sample]
    description: str


class _Photos:
    """Photos of a data set at the network's size, read once."""

    def __init__(self, root: Path, size: tuple[int, int]) -> None:
        self._root, self._size = root, size
        self._read: dict[str, tuple[UInt8, ps.Float]] = {}

    def labels_and_keypoints(self, name: str) -> tuple[UInt8, ps.Float]:
        if name not in self._read:
            files = PhotoFiles.of(self._root, name)
            labels = read_labels(files.labels)
            keypoints = kp.load_openpose(files.keypoints)
            if labels.shape != self._size:
                box = im.Letterbox.fit((labels.shape[0], labels.shape[1]), self._size)
                labels = np.asarray(box.apply(labels, border=lb.BACKGROUND, nearest=True), np.uint8)
                keypoints = box.points(keypoints)
            self._read[name] = labels, keypoints
        return self._read[name]

    def picture(self, name: str) -> UInt8:
        picture = im.read(PhotoFiles.of(self._root, name).picture)
        box = im.Letterbox.fit((picture.shape[0], picture.shape[1]), self._size)
        return picture if picture.shape[:2] == self._size else np.asarray(box.apply(picture), np.uint8)

    def cloth(self, name: str) -> ps.Garment:
        files = ClothFiles.of(self._root, name)
        return ps.Garment.of(im.read(files.picture), read_mask(files.mask), size=self._size)


def pose_change(a: ps.Float, b: ps.Float) -> str:
    """How far the keypoints (18, 3) that both poses show move, against the torso's length."""
    both = (a[:, 2] > 0) & (b[:, 2] > 0)
    unit = max(kp.torso_length(a), kp.torso_length(b), 1.0)
    moved = float(np.linalg.norm(a[both, :2] - b[both, :2], axis=1).mean()) / unit if both.any() else np.inf
    return "small" if moved < _SMALL_TURN else "medium" if moved < _LARGE_TURN else "large"


def side(k: ps.Float) -> str:
    """Which side of the body keypoints (18, 3) show: front and back by the order of the shoulders, narrow ones: side."""
    if k[kp.R_SHOULDER, 2] <= 0 or k[kp.L_SHOULDER, 2] <= 0:
        return "side"
    width = float(k[kp.L_SHOULDER, 0] - k[kp.R_SHOULDER, 0])  # positive: their right is on our left, they face us
    if abs(width) < 0.35 * kp.torso_length(k):
        return "side"
    return "front" if width > 0 else "back"


def garment_kind(labels: UInt8, label_set: str) -> str:
    """The clothes label that covers most of a semantic map, or "none"."""
    counts = {lb.LABEL_SETS[label_set][i]: int((labels == i).sum()) for i in lb.clothes(label_set)}
    kind = max(counts, key=lambda name: counts[name])
    return kind if counts[kind] else "none"


def stratified(triples: Sequence[Triple], strata: Sequence[tuple[str, ...]], count: int) -> list[Triple]:
    """COUNT of TRIPLES, in turn from each of their STRATA; within one the order is that of a hash of the names."""
    groups: dict[tuple[str, ...], list[Triple]] = {}
    for triple, stratum in zip(triples, strata):
        groups.setdefault(stratum, []).append(triple)
    rows = [sorted(groups[s], key=_order) for s in sorted(groups)]
    turns = [row[i] for i in range(max(map(len, rows))) for row in rows if i < len(row)]
    return turns[:count]


def _order(triple: Triple) -> float:
    return hash_fraction(0, "\t".join(triple.names))


def _lists(root: Path) -> dict[str, bool]:
    """Which lists of triples the data set has, as read_pairs() takes them."""
    lists = {"paired": (root / PAIRED).exists(), "unpaired": (root / UNPAIRED).exists()}
    if not any(lists.values()):
        raise SpgvtonError(f"{root} has no {PAIRED}: give a data set in MPV layout (spgvton synth, spgvton prepare)")
    return lists


def _of_data_set(root: Path, split: str, count: int, size: tuple[int, int], label_set: str) -> list[Sample]:
    triples = sorted(read_pairs(root, split, **_lists(root)), key=_order)
    if len(triples) < count:
        raise SpgvtonError(f"{root} has {len(triples)} {split} triples, {count} were asked for: ask for fewer")
    triples = triples[: _POOL * count]
    photos = _Photos(root, size)
    strata = []
    for triple in triples:
        before = photos.labels_and_keypoints(triple.source)[1]
        labels, after = photos.labels_and_keypoints(triple.target)
        strata.append((pose_change(before, after), garment_kind(labels, label_set), side(after)))
    return [_sample(photos, triple, label_set) for triple in stratified(triples, strata, count)]


def _sample(photos: _Photos, triple: Triple, label_set: str) -> Sample:
    labels, keypoints = photos.labels_and_keypoints(triple.source)
    target_labels, target = photos.labels_and_keypoints(triple.target)
    garment = photos.cloth(triple.cloth)
    inputs = {
        "reference_map": ps.reference_map(labels, label_set), "head": ps.head_masks(labels),
        "body": ps.without_clothes(photos.picture(triple.source), labels, label_set), "source_keypoints": keypoints,
        "cloth": garment.image, "cloth_mask": garment.mask, "keypoints": target,
    }  # fmt: skip
    arrays = {name: np.ascontiguousarray(a, np.float32)[None] for name, a in inputs.items()}
    return Sample(Path(triple.target).stem, arrays, photos.picture(triple.target), target_labels)


class Photo(NamedTuple):
    """inputs: of a human parser's graph. labels: the true map (H, W)."""

    inputs: dict[str, NDArray[Any]]
    labels: UInt8


def photos(root: Path, split: str, count: int, size: tuple[int, int]) -> list[Photo]:
    """COUNT photographs of SPLIT of the data set ROOT at SIZE (height, width), each of another person and garment as far as there are.

    Raises SpgvtonError for a data set that has fewer, or that is missing or damaged.
    """
    if not root.is_dir():
        raise SpgvtonError(f"{root} is no folder: give a data set in MPV layout (spgvton synth, spgvton prepare)")
    names = list(dict.fromkeys(t.target for t in sorted(read_pairs(root, split, **_lists(root)), key=_order)))
    if len(names) < count:
        raise SpgvtonError(f"{root} has {len(names)} {split} photographs, {count} were asked for: ask for fewer")
    read, found = _Photos(root, size), []
    for name in names[:count]:
        labels, keypoints = read.labels_and_keypoints(name)
        inputs: dict[str, NDArray[Any]] = {
            "picture": read.picture(name)[None],
            "keypoints": keypoints[None].astype(np.float32),
        }
        found.append(Photo(inputs, labels))
    return found


def load(
    path: Path, count: int, held_out: int, size: tuple[int, int], label_set: str, *, persons: Path | None = None
) -> Source:
    """COUNT calibration samples (0: none are wanted) and HELD_OUT to judge by, from a folder in MPV layout or a recording.

    Of a recording the last part is held out; it has no ground truth. persons: a data set whose people take the recorded
    poses and garments, where the recording does not hold its own person. Raises UsageError for counts that are too small
    and for arguments that do not go together, SpgvtonError for data that are missing, damaged, too few, or of another size
    or label set.
    """
    if 0 < count < MIN_SAMPLES or count < 0:
        raise UsageError(f"--samples {count} is too few to find ranges: give {MIN_SAMPLES} or more")
    if path.is_dir():
        if persons is not None:
            raise UsageError(f"--persons is for a recorded session, --data {path} has its own: leave it out")
        return Source(
            _of_data_set(path, "train", count, size, label_set) if count else [],
            _of_data_set(path, "test", held_out, size, label_set) if held_out else [],
            f"{path.name}: {count} stratified training triples, {held_out} stratified test triples",
        )
    recording = Recording.load(path)
    recording.check(size, label_set)
    if len(recording) < count + held_out:
        raise SpgvtonError(
            f"{path} holds {len(recording)} poses, {count} + {held_out} were asked for: record more, or ask for fewer"
        )
    first = [int(i) for i in np.linspace(0, len(recording) - held_out - 1, count).round()]
    last = list(range(len(recording) - held_out, len(recording)))
    words = f"recorded session: {count} poses, and the last {held_out} to judge by"
    if recording.has_person:
        if persons is not None:
            raise UsageError(f"{path} holds its own person: leave --persons out")
        people: list[list[Inputs]] = [[{}], [{}]]
    elif persons is None:
        raise UsageError(
            f"{path} was recorded without the person's picture: give --persons DATASET, whose people take its poses, or "
            "record with --record-images"
        )
    else:
        people = [
            _people(persons, split, n, size, label_set) if n else [{}]
            for split, n in (("train", count), ("test", held_out))
        ]
        words += f", on people of {persons.name}"
    calibration, judged = (_recorded(recording, *part) for part in ((first, people[0]), (last, people[1])))
    return Source(calibration, judged, words)


def _people(root: Path, split: str, count: int, size: tuple[int, int], label_set: str) -> list[Inputs]:
    """Inputs of at most COUNT triples of SPLIT, of which the recording's poses and garments replace the own."""
    found = len(read_pairs(root, split, **_lists(root)))
    if not found:
        raise SpgvtonError(f"{root} has no {split} triples: --persons needs both splits")
    return [s.inputs for s in _of_data_set(root, split, min(count, found), size, label_set)]


def _recorded(recording: Recording, poses: Sequence[int], people: Sequence[Inputs]) -> list[Sample]:
    """The recording's POSES, in turn on PEOPLE."""
    return [Sample(f"pose {i}", {**people[n % len(people)], **recording.inputs(i)}) for n, i in enumerate(poses)]
