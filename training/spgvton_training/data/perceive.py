"""From a photo to the files of the MPV layout, with the runtime's own perception and framing.

A network should be trained on what it will see when it is used: keypoints of the runtime's estimator, the same parser,
and the same part of the picture. So this calls what `spgvton run` calls, in the same order.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from spgvton import files, image
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.errors import SpgvtonError, UsageError
from spgvton.perception.parser_options import FOR_PICTURES, SHIPPED, ParserOptions
from spgvton.perception.parsing import LabelMapParser, Parser
from spgvton.perception.plausibility import why_inconsistent
from spgvton.perception.pose import PoseEstimator, why_unusable
from spgvton.person import framing, place
from spgvton.video import cv2
from spgvton_training.data.check import Rejected
from spgvton_training.data.layout import PhotoFiles
from spgvton_training.workers import process_pool

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

SETTINGS: Final = "prepared.json"
JPEG_QUALITY: Final = 97
MAX_ENLARGED: Final = 2.0  # of the picture, to fill the network's frame; beyond it there is nothing to learn but blur
SECOND_PERSON: Final = 0.4  # of the first one's torso; who is smaller stands in the background


class Settings(NamedTuple):
    """How photos are perceived. parser: a shipped one's name or an ONNX file; parsing: a folder of label maps; neither: the default."""

    size: tuple[int, int] = image.SIZE
    label_set: str = "cihp"
    parser: str | None = None
    parsing: str | None = None
    options: ParserOptions = ParserOptions()

    def describe(self) -> dict[str, object]:
        """What a data set must not mix. Raises SpgvtonError when the parser cannot be read."""
        how = "maps" if self.parsing else self.parser or FOR_PICTURES
        if self.parser and self.parser not in SHIPPED:
            try:
                how = f"onnx sha256 {sha256(Path(self.parser).read_bytes()).hexdigest()}"
            except OSError as e:
                raise SpgvtonError(f"--parser {self.parser}: {e.strerror or e}") from e
        found: dict[str, object] = {
            "height": self.size[0], "width": self.size[1], "label_set": self.label_set, "parser": how,
        }  # fmt: skip
        if self.options != ParserOptions():
            found["parser_options"] = [str(value) for value in self.options]
        return found


class Job(NamedTuple):
    """A photo to be made: its file, its name under images/, and its label map under Settings.parsing."""

    source: Path
    name: str
    labels: str


class Seen(NamedTuple):
    """A person in the network's frame: picture (H, W, 3), label ids (H, W), keypoints (18, 3)."""

    picture: UInt8
    labels: UInt8
    keypoints: Float


class Perceiver:
    """Photo -> Seen, as the runtime does it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._pose = PoseEstimator(smooth=False)
        self._parser: Parser | None = None
        if not settings.parsing:
            self._parser = settings.options.open(settings.parser or FOR_PICTURES, settings.label_set)

    def __call__(self, photo: UInt8, labels: str = "") -> Seen:
        """The one person in PHOTO, RGB uint8 (h, w, 3). LABELS: its map under Settings.parsing, where that is used.

        Raises SpgvtonError, as "kind: details", when the photo cannot be used.
        """
        source = (photo.shape[0], photo.shape[1])
        points = self._find(photo)
        reason = why_unusable(points, source)
        if reason:
            raise SpgvtonError(f"{reason}: show one person from head to hips, seen whole")
        box = framing(points, source, self.settings.size)
        if box.scale > MAX_ENLARGED:
            raise SpgvtonError(f"person too small: the photo would have to be enlarged {box.scale:.1f} times")
        parser = self._parser or LabelMapParser(Path(self.settings.parsing or "") / labels, self.settings.label_set)
        semantic = parser(photo, points)
        self._refuse_second(photo, semantic, points)
        seen = Seen(
            np.asarray(box.apply(photo), np.uint8),
            np.asarray(box.apply(semantic, border=lb.BACKGROUND, nearest=True), np.uint8),
            place(points, box),
        )
        unlike = why_inconsistent(seen.labels, seen.keypoints, self.settings.label_set)
        if unlike:
            raise SpgvtonError(unlike)
        if not np.isin(seen.labels, lb.HEAD).any():
            raise SpgvtonError("no head: the semantic map shows neither face nor hair")
        return seen

    def _find(self, photo: UInt8) -> Float:
        self._pose.reset()
        return self._pose(photo)

    def _refuse_second(self, photo: UInt8, semantic: UInt8, points: Float) -> None:
        """Raise SpgvtonError when somebody is left after the first person has been painted over.

        The estimator knows one person only, so it is asked again without them. It may answer with their silhouette: a
        second person counts where most of him lies beside it.
        """
        painted, gone = paint_over(photo, semantic, points)
        other = self._find(painted)
        if why_unusable(other, (photo.shape[0], photo.shape[1])) is not None:
            return
        x, y = np.rint(other[other[:, 2] > 0, :2]).astype(np.int64).T
        h, w = gone.shape
        beside = 1 - gone[np.clip(y, 0, h - 1), np.clip(x, 0, w - 1)].mean()
        if beside > 0.5 and kp.torso_length(other) > SECOND_PERSON * kp.torso_length(points):
            raise SpgvtonError(f"two people: another one stands at x = {other[kp.NECK, 0]:.0f}")


def paint_over(photo: UInt8, semantic: UInt8, points: Float) -> tuple[UInt8, UInt8]:
    """PHOTO with the person of the map and of the keypoints in the mean colour of the rest; and where that is (1)."""
    gone = (semantic != lb.BACKGROUND).astype(np.uint8)
    seen = points[points[:, 2] > 0, :2]
    reach = max(2, round(0.3 * kp.torso_length(points)))
    for a, b in kp.SKELETON:
        if points[a, 2] > 0 and points[b, 2] > 0:
            ends = [tuple(int(v) for v in np.rint(points[i, :2])) for i in (a, b)]
            cv2.line(gone, ends[0], ends[1], 1, reach)
    for x, y in np.rint(seen).astype(int).tolist():
        cv2.circle(gone, (x, y), reach, 1, -1)
    out = photo.copy()
    left = photo[gone == 0]
    out[gone > 0] = left.mean(axis=0).astype(np.uint8) if len(left) else 127
    return out, gone


# ------------------------------------------------------------------ files
def is_made(root: Path, name: str) -> bool:
    """All files of photo NAME are there."""
    paths = PhotoFiles.of(root, name)
    return all(path.is_file() for path in (paths.picture, paths.labels, paths.keypoints))


def write_photo(root: Path, name: str, seen: Seen) -> None:
    """Write the files of photo NAME, each atomically, the picture last. Raises SpgvtonError."""
    paths = PhotoFiles.of(root, name)
    for path in (paths.picture, paths.labels, paths.keypoints):
        files.make_folder(path.parent)
    image.write(paths.labels, seen.labels)
    files.write_text(paths.keypoints, kp.to_openpose(seen.keypoints) + "\n")
    image.write(paths.picture, seen.picture, quality=JPEG_QUALITY)


_perceiver: Perceiver | None = None  # of a worker process


def _start(settings: Settings) -> None:
    global _perceiver
    _perceiver = Perceiver(settings)


def _make(job: tuple[Path, Job]) -> str | None:
    """Make one photo; the reason where that is not possible. What fails on writing is raised: the next would fail too."""
    root, (source, name, labels) = job
    assert _perceiver
    try:
        seen = _perceiver(image.read(source), labels)
    except SpgvtonError as e:
        return str(e)
    write_photo(root, name, seen)
    return None


def _results(root: Path, jobs: Sequence[Job], settings: Settings, workers: int) -> Iterator[str | None]:
    if workers <= 1:
        _start(settings)
        yield from map(_make, ((root, job) for job in jobs))
        return
    pool = process_pool(workers, _start, settings)
    try:
        yield from pool.map(_make, [(root, job) for job in jobs], chunksize=4)
    finally:
        pool.shutdown(cancel_futures=True)


def make_photos(
    root: Path, jobs: Sequence[Job], settings: Settings, *, workers: int = 1, quiet: bool = False
) -> list[Rejected]:
    """Make what is not there yet, in WORKERS processes, with a progress bar on stderr. Returns what was refused.

    Raises SpgvtonError when ROOT cannot be written or the parser is none.
    """
    todo = [job for job in jobs if not is_made(root, job.name)]
    rejected = []
    if todo and workers > 1:
        Perceiver(settings)  # a wrong parser is an error of the call; a process that cannot start breaks the pool
    bar = tqdm(total=len(todo), desc="photos", unit="photo", file=sys.stderr, disable=quiet or not todo)
    with bar:
        for job, reason in zip(todo, _results(root, todo, settings, min(workers, len(todo)))):
            if reason is not None:
                rejected.append(Rejected(str(job.source), reason))
            bar.update()
    return rejected


def check_settings(root: Path, settings: Settings) -> None:
    """Record SETTINGS in ROOT/SETTINGS; refuse to mix them. Raises UsageError."""
    path, wanted = root / SETTINGS, settings.describe()
    if not path.exists():
        files.write_text(path, json.dumps(wanted) + "\n")
        return
    try:
        present = json.loads(path.read_text())
    except (OSError, ValueError):
        present = "something unreadable"
    if present != wanted:
        raise UsageError(f"{root} was prepared with {present}, now {wanted} is asked for: choose another --out")
