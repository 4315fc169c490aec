"""Recorded sessions for INT8 calibration: what the joint graph was fed, and nothing else.

One file, numpy's .npz, without pickle:

    format             "spgvton-recording-1"
    size, label_set    of the network: (height, width), "cihp" or "lip"
    keypoints          (N, 18, 3) float32: target poses, in network pixels
    static             (N,) int32: which set of static inputs pose n was tried on with
    static.K.NAME      set K of the garment's inputs, each as Backend.set_static() got it, (1, C, H, W)

No camera frame, no result, and no picture of the person is in it: poses and garments. With images=True, which its user
asks for, set K holds the person's inputs as well: semantic map, keypoints, and the picture with the clothes removed
(`body`), face included. The file is readable by its owner alone.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spgvton.backends import Backend
from spgvton.backends.contract import KEYPOINTS, Array, RunsPoses
from spgvton.errors import SpgvtonError
from spgvton.files import atomic_path

FORMAT: Final = "spgvton-recording-1"
GARMENT: Final = ("cloth", "cloth_mask")  # static inputs that show nobody
EVERY: Final = 5  # frames between two recorded poses: neighbours are all but equal

Float = NDArray[np.float32]


class Recorder(RunsPoses):
    """A back end that passes everything on to INNER and remembers every EVERY-th pose, at most COUNT of them.

    The file PATH is written by save() or close(), or as soon as COUNT poses are there. images: the person's inputs, too.
    """

    def __init__(
        self, inner: Backend, path: str | Path, count: int, size: tuple[int, int], label_set: str, *, images: bool = False
    ) -> None:  # fmt: skip
        self._inner, self.path, self.count, self._images = inner, Path(path), count, images
        self._size, self._label_set = size, label_set
        self._current: dict[str, Float] = {}
        self._sets: list[dict[str, Float]] = []
        self._changed, self._seen, self._written = True, 0, False
        self._keypoints: list[Float] = []
        self._static: list[int] = []

    def set_static(self, name: str, value: Float) -> None:
        self._inner.set_static(name, value)
        if self._images or name in GARMENT:
            self._current[name] = np.array(value, np.float32)
            self._changed = True

    def infer(self, frame: Mapping[str, Array]) -> dict[str, Array]:
        result, keypoints = self._inner.infer(frame), frame[KEYPOINTS]
        if self._seen % EVERY == 0 and len(self._keypoints) < self.count:
            if self._changed:
                self._sets.append(dict(self._current))
                self._changed = False
            self._keypoints.append(np.array(keypoints[0], np.float32))
            self._static.append(len(self._sets) - 1)
            if len(self._keypoints) == self.count:
                self.save()
        self._seen += 1
        return result

    def forget(self) -> None:
        """What was recorded stays: that is what it was recorded for."""
        self._inner.forget()

    def describe(self) -> dict[str, str]:
        return self._inner.describe()

    def __len__(self) -> int:
        """Poses that were recorded."""
        return len(self._keypoints)

    def close(self) -> None:
        """Write the file and close INNER. Raises SpgvtonError where the file cannot be written."""
        try:
            self.save()
        finally:
            self._inner.close()

    def save(self) -> None:
        """Write the file, unless it is written or nothing was recorded. Raises SpgvtonError."""
        if self._written or not self._keypoints:
            return
        arrays: dict[str, Any] = {
            "format": np.array(FORMAT), "size": np.array(self._size, np.int32), "label_set": np.array(self._label_set),
            "keypoints": np.stack(self._keypoints), "static": np.array(self._static, np.int32),
        }  # fmt: skip
        arrays |= {f"static.{i}.{name}": a for i, one in enumerate(self._sets) for name, a in one.items()}
        data = io.BytesIO()
        np.savez_compressed(data, **arrays)
        with atomic_path(self.path) as temporary:
            temporary.touch(mode=0o600)
            temporary.write_bytes(data.getvalue())
        self._written = True


@dataclass(frozen=True)
class Recording:
    """A recorded session: N poses and the static inputs of each."""

    path: Path
    size: tuple[int, int]
    label_set: str
    keypoints: Float
    static: NDArray[np.int32]
    sets: list[dict[str, Float]]

    @staticmethod
    def load(path: str | Path) -> Recording:
        """Read a recording. Raises SpgvtonError when it is missing, damaged, or another kind of file."""
        file = Path(path)
        try:
            with np.load(file, allow_pickle=False) as data:
                if "format" not in data or str(data["format"]) != FORMAT:
                    raise SpgvtonError(
                        f"{file} is no recorded session ({FORMAT}): make one by spgvton run --record-calibration"
                    )
                size = tuple(int(n) for n in data["size"])
                keypoints, static = data["keypoints"], data["static"]
                sets: list[dict[str, Float]] = [{} for _ in range(int(static.max(initial=-1)) + 1)]
                for key in data.files:
                    if key.startswith("static."):
                        _, number, name = key.split(".", 2)
                        sets[int(number)][name] = np.asarray(data[key], np.float32)
                label_set = str(data["label_set"])
        except FileNotFoundError as e:
            raise SpgvtonError(f"there is no {file}: give a data set in MPV layout, or a recorded session") from e
        except (OSError, ValueError, KeyError, IndexError, TypeError, EOFError, zipfile.BadZipFile) as e:
            raise SpgvtonError(f"{file} is damaged or no recorded session ({' '.join(str(e).split())[:100]})") from e
        fits = keypoints.ndim == 3 and keypoints.shape[1:] == (18, 3) and static.shape == keypoints.shape[:1]
        finite = np.issubdtype(keypoints.dtype, np.floating) and bool(np.isfinite(keypoints).all())
        if not fits or not finite or len(size) != 2 or (len(static) and static.min() < 0):
            raise SpgvtonError(f"{file} is damaged: its poses are not (N, 18, 3) finite numbers; record again")
        return Recording(file, (size[0], size[1]), label_set, np.asarray(keypoints, np.float32), static, sets)

    def __len__(self) -> int:
        return len(self.keypoints)

    @property
    def has_person(self) -> bool:
        """Whether the person's inputs are in it, the picture among them."""
        return all("body" in one for one in self.sets)

    def check(self, size: tuple[int, int], label_set: str) -> None:
        """Raise SpgvtonError unless the session was recorded with a network of SIZE and LABEL_SET."""
        if self.size != size or self.label_set != label_set:
            raise SpgvtonError(
                f"{self.path} was recorded with a network of {self.size} {self.label_set}, this one has {size} {label_set}"
            )

    def inputs(self, index: int) -> dict[str, Float]:
        """Inputs of the joint graph for pose INDEX, each with its batch axis; without the person's if it has none."""
        return {**self.sets[int(self.static[index])], "keypoints": self.keypoints[index][None]}
