"""The MPV data set [7], and everything written in its layout (`spgvton synth`).

images/<item>/<photo>.jpg                      person and in-shop pictures
cloth_mask/<item>/<cloth>_mask.png             M^C, 255 = garment
parse_cihp/<item>/<photo>.png                  semantic map, label ids
pose_coco/<item>/<photo>_keypoints.json        OpenPose
flow/<item>/<photo>.png                        optional, synthetic only: where each clothes pixel lies on the garment
data_pair.txt                                  source <tab> target <tab> cloth <tab> train|test
data_pair_unpaired.txt                         same, target wears CLOTH but SOURCE something else (synthetic only)
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from spgvton import image as im
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton import person as ps
from spgvton.errors import SpgvtonError
from spgvton.video import cv2
from spgvton_training.networks.joint import Inputs
from spgvton_training.synthetic.flow import read_flow

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]


class Batch(NamedTuple):
    """What a training step takes. Without a flow file `flow` is NaN."""

    inputs: Inputs
    target: Tensor  # I_t (N, 3, H, W) in [-1, 1]
    target_labels: Tensor  # (N, H, W) int64
    flow: Tensor  # (N, H, W, 2): normalised (x, y) on the garment picture, NaN outside the clothes

    def to(self, device: torch.device) -> Batch:
        return Batch(Inputs(*(t.to(device) for t in self.inputs)), *(t.to(device) for t in self[1:]))


@dataclass(frozen=True)
class Photo:
    """A person picture with what is known of it."""

    picture: UInt8
    labels: UInt8
    keypoints: Float
    flow: Float | None  # (H, W, 2) pixels of the garment picture

    def flipped(self) -> Photo:
        flow = self.flow
        if flow is not None:
            flow = flow[:, ::-1].copy()
            flow[..., 0] = flow.shape[1] - 1 - flow[..., 0]
        labels = lb.FLIP[self.labels[:, ::-1]]
        return Photo(self.picture[:, ::-1], labels, kp.flip(self.keypoints, self.labels.shape[1]), flow)


class Cloth(NamedTuple):
    picture: UInt8
    mask: UInt8


@dataclass(frozen=True)
class Triple:
    """One line of data_pair.txt, paths relative to images/."""

    source: str
    target: str
    cloth: str


def read_pairs(root: Path, split: str, *, paired: bool = True, unpaired: bool = False) -> list[Triple]:
    """The triples of SPLIT. Raises SpgvtonError for a missing file, a malformed line, or none of this split."""
    names = (["data_pair.txt"] if paired else []) + (["data_pair_unpaired.txt"] if unpaired else [])
    triples = []
    for name in names:
        try:
            lines = (root / name).read_text().splitlines()
        except OSError as e:
            raise SpgvtonError(f"cannot read {root / name}: {e.strerror}; a data set in MPV layout has it") from e
        for number, line in enumerate(lines, 1):
            columns = line.split("\t")
            if len(columns) != 4:
                raise SpgvtonError(f"{root / name} line {number}: expected 4 tab-separated columns, got {len(columns)}")
            if columns[3] == split:
                triples.append(Triple(*columns[:3]))
    if not triples:
        raise SpgvtonError(f"{root} has no {split} triples in {' or '.join(names)}")
    return triples


class MPV(Dataset[Batch]):
    """Triples of one split as one-sample batches; `collate` stacks them.

    root: folder in MPV layout. augment: random horizontal flip and keypoint noise like a real estimator's.
    cache_mb: decoded files kept in memory by each worker.
    """

    def __init__(
        self, root: str | Path, split: str, *, size: tuple[int, int] = im.SIZE, label_set: str = "cihp",
        paired: bool = True, unpaired: bool = False, augment: bool = False, seed: int = 0, cache_mb: int = 4000,
    ) -> None:  # fmt: skip
        self.root, self.size, self.label_set, self.augment, self.seed = Path(root), size, label_set, augment, seed
        self.triples = read_pairs(self.root, split, paired=paired, unpaired=unpaired)
        self._cache: OrderedDict[str, tuple[int, Photo | Cloth]] = OrderedDict()
        self._cached_bytes, self._cache_limit = 0, cache_mb * 2**20

    def __len__(self) -> int:
        return len(self.triples)

    def _remember(self, key: str, value: Photo | Cloth, arrays: list[NDArray[np.generic] | None]) -> None:
        size = sum(a.nbytes for a in arrays if a is not None)
        self._cache[key] = (size, value)
        self._cached_bytes += size
        while self._cached_bytes > self._cache_limit:
            _, (dropped, _) = self._cache.popitem(last=False)
            self._cached_bytes -= dropped

    def photo(self, name: str) -> Photo:
        """Load a person picture. Raises SpgvtonError naming the file that is missing, damaged or of another size."""
        if name in self._cache:
            found = self._cache[name][1]
            assert isinstance(found, Photo)
            return found
        stem = str(Path(name).with_suffix(""))
        picture = im.read(self.root / "images" / name)
        labels = im.read(self.root / "parse_cihp" / f"{stem}.png", flags=cv2.IMREAD_UNCHANGED)
        labels = lb.check_semantic_map(labels, f"parse_cihp/{stem}.png")
        keypoints = kp.load_openpose(self.root / "pose_coco" / f"{stem}_keypoints.json")
        if labels.shape != picture.shape[:2]:
            raise SpgvtonError(f"parse_cihp/{stem}.png is {labels.shape}, its picture {picture.shape[:2]}")
        flow_file = self.root / "flow" / f"{stem}.png"
        flow = read_flow(flow_file) if flow_file.exists() else None
        if picture.shape[:2] != self.size:
            box = im.Letterbox.fit((picture.shape[0], picture.shape[1]), self.size)
            if flow is not None:
                raise SpgvtonError(f"{flow_file} needs pictures of {self.size}: make the data set at that size")
            picture = np.asarray(box.apply(picture), np.uint8)
            labels = np.asarray(box.apply(labels, border=lb.BACKGROUND, nearest=True), np.uint8)
            keypoints = box.points(keypoints)
        found = Photo(picture, labels, keypoints, flow)
        self._remember(name, found, [picture, labels, flow])
        return found

    def cloth(self, name: str) -> Cloth:
        """Load an in-shop picture and its mask. Raises SpgvtonError."""
        if name in self._cache:
            found = self._cache[name][1]
            assert isinstance(found, Cloth)
            return found
        stem = str(Path(name).with_suffix(""))
        picture = im.read(self.root / "images" / name)
        mask = im.read(self.root / "cloth_mask" / f"{stem}_mask.png", flags=cv2.IMREAD_GRAYSCALE)
        found = Cloth(picture, mask)
        self._remember(name, found, [picture, mask])
        return found

    def __getitem__(self, key: int | tuple[int, int]) -> Batch:
        """One sample by index, or by (index, epoch): with `augment` the epoch chooses among its variants."""
        index, epoch = key if isinstance(key, tuple) else (key, 0)
        triple = self.triples[index]
        source, target, cloth = self.photo(triple.source), self.photo(triple.target), self.cloth(triple.cloth)
        if self.augment:  # the same draw for the same seed, epoch and triple, whatever worker makes it
            rng = np.random.default_rng((self.seed, epoch, index))
            if rng.random() < 0.5:
                source, target = source.flipped(), target.flipped()
                cloth = Cloth(cloth.picture[:, ::-1], cloth.mask[:, ::-1])
            source_keypoints, keypoints = (add_noise(p.keypoints, rng) for p in (source, target))
        else:
            source_keypoints, keypoints = source.keypoints, target.keypoints
        garment = ps.Garment.of(np.ascontiguousarray(cloth.picture), np.ascontiguousarray(cloth.mask), size=self.size)
        inputs = (
            ps.reference_map(source.labels, self.label_set),
            ps.head_masks(source.labels),
            ps.without_clothes(source.picture, source.labels, self.label_set),
            source_keypoints,
            garment.image,
            garment.mask,
            keypoints,
        )
        h, w = self.size
        if target.flow is None:
            flow = np.full((h, w, 2), np.nan, np.float32)
        else:
            flow = target.flow * np.array([2 / (w - 1), 2 / (h - 1)], np.float32) - 1
        return Batch(
            Inputs(*(torch.from_numpy(np.ascontiguousarray(a)) for a in inputs)),
            torch.from_numpy(im.normalise(target.picture)),
            torch.from_numpy(target.labels.astype(np.int64)),
            torch.from_numpy(np.ascontiguousarray(flow, dtype=np.float32)),
        )


def add_noise(keypoints: Float, rng: np.random.Generator, *, sigma: float = 1.5, missing: float = 0.02) -> Float:
    """Keypoints with Gaussian noise of SIGMA pixels (half of it on the face) and each lost with probability MISSING."""
    spread = np.full((kp.NUM_KEYPOINTS, 1), sigma)
    spread[[kp.NOSE, kp.R_EYE, kp.L_EYE, kp.R_EAR, kp.L_EAR]] *= 0.5
    out = keypoints.copy()
    out[:, :2] += rng.normal(size=(kp.NUM_KEYPOINTS, 2)) * spread
    out[rng.random(kp.NUM_KEYPOINTS) < missing] = 0
    out[keypoints[:, 2] <= 0] = 0
    return out.astype(np.float32)


def collate(samples: list[Batch]) -> Batch:
    """Stack one-sample batches."""
    inputs = Inputs(*(torch.stack(list(column)) for column in zip(*(s.inputs for s in samples))))
    rest = (torch.stack(list(column)) for column in zip(*(s[1:] for s in samples)))
    return Batch(inputs, *rest)
