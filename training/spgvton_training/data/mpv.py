"""Triples in the layout of the MPV data set [7] (see layout.py) as what a training step takes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, default_collate, get_worker_info

from spgvton import image as im
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton import person as ps
from spgvton.errors import SpgvtonError
from spgvton.live.arms import forget_arms
from spgvton.live.lay_out import LaidOut, lay_out
from spgvton.mask import read_mask
from spgvton.perception.png_indices import read_labels
from spgvton.video import cv2
from spgvton_training.data.augment import add_noise, backdrop, displace, overlay, same_pose, tone_curve
from spgvton_training.data.batch import Batch
from spgvton_training.data.layout import ClothFiles, PhotoFiles, Triple, exchanges_garment, of_task, read_pairs
from spgvton_training.data.packed import Packed
from spgvton_training.networks.joint import Inputs
from spgvton_training.synthetic.flow import read_flow

T = TypeVar("T")
UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]


class Photo(NamedTuple):
    """A person picture (H, W, 3) with its label ids (H, W) and keypoints (18, 3)."""

    picture: UInt8
    labels: UInt8
    keypoints: Float

    def flipped(self) -> Photo:
        labels = lb.FLIP[mirror(self.labels)]
        return Photo(mirror(self.picture), labels, kp.flip(self.keypoints, labels.shape[1]))


class Cloth(NamedTuple):
    picture: UInt8
    mask: UInt8


class _Sample(NamedTuple):
    """A triple with its augmentation applied. flow: normalised, or None where nobody knows."""

    source: Photo
    target: Photo
    cloth: Cloth
    flow: Float | None


class MPV(Dataset[Batch]):
    """Triples of one split as one-sample batches; `collate` stacks them.

    root: folder in MPV layout. paired, unpaired, no_truth: the lists that are read. triples: those to use instead of all
    of the split, e.g. those that data.check found to be good. augment: random horizontal flip and keypoint noise of
    `keypoint_noise` pixels. tone, foreign, backdrop, label_noise: with augment, strengths of tone_curve(), overlay(),
    backdrop() and displace(). cache_mb: decoded files kept in memory by all workers together.

    task: "live" takes only the rows that exchange the garment in one pose; there, and in those rows of "both", the
    target's keypoints are the source's, label_noise moves the source's map, the garment is laid out as live mode does it, and
    with `forget_arms` her bare arms count as old clothes.
    """

    def __init__(
        self, root: str | Path, split: str, *, size: tuple[int, int] = im.SIZE, label_set: str = "cihp",
        paired: bool = True, unpaired: bool = False, no_truth: bool = False, triples: Sequence[Triple] | None = None,
        augment: bool = False, keypoint_noise: float = 1.5, tone: float = 0.0, foreign: float = 0.0, backdrop: float = 0.0,
        label_noise: float = 0.0, task: str = "pose", forget_arms: bool = False, seed: int = 0, cache_mb: int = 4000,
    ) -> None:  # fmt: skip
        self.root, self.size, self.label_set, self.augment, self.seed = Path(root), size, label_set, augment, seed
        self.keypoint_noise, self.tone, self.foreign, self.backdrop = keypoint_noise, tone, foreign, backdrop
        if triples is None:
            triples = read_pairs(self.root, split, paired=paired, unpaired=unpaired, no_truth=no_truth)
        self.label_noise, self.task, self.forget_arms = label_noise, task, forget_arms
        self.triples = of_task(triples, task)
        self._has_flow = (self.root / "flow").is_dir()
        self._cache: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._cached_bytes, self._cache_limit = 0, cache_mb * 2**20

    def __len__(self) -> int:
        return len(self.triples)

    def _cached(self, kind: str, name: str, load: Callable[[str], T]) -> T:
        """LOAD(NAME), or what it gave before. What was used least recently is forgotten beyond cache_mb."""
        key = (kind, name)
        if key in self._cache:
            self._cache.move_to_end(key)
            found: T = self._cache[key]
            return found
        found = load(name)
        self._cache[key] = found
        self._cached_bytes += _nbytes(found)
        worker = get_worker_info()  # each has a cache of its own
        limit = self._cache_limit // (worker.num_workers if worker else 1)
        while self._cached_bytes > limit and self._cache:
            self._cached_bytes -= _nbytes(self._cache.popitem(last=False)[1])
        return found

    def photo(self, name: str) -> Photo:
        """A person picture. Raises SpgvtonError naming the file that is missing, damaged or of another size."""
        return self._cached("photo", name, self._load_photo)

    def flow(self, name: str) -> Float | None:
        """Where each pixel of photo NAME lies on the garment picture, (H, W, 2) in pixels; None where nobody knows.

        Raises SpgvtonError for a damaged file, or one of another size than the network's.
        """
        return self._cached("flow", name, self._load_flow)

    def cloth(self, name: str) -> Cloth:
        """An in-shop picture and its mask. Raises SpgvtonError."""
        return self._cached("cloth", name, self._load_cloth)

    def laid_out(self, name: str) -> LaidOut:
        """cloth() as live mode shows it to the networks. Raises SpgvtonError."""
        return self._cached("laid out", name, lambda name: lay_out(*self.cloth(name)))

    def _load_photo(self, name: str) -> Photo:
        files = PhotoFiles.of(self.root, name)
        picture = im.read(files.picture)
        labels = read_labels(files.labels)
        keypoints = kp.load_openpose(files.keypoints)
        if labels.shape != picture.shape[:2]:
            raise SpgvtonError(f"{files.labels} is {labels.shape}, its picture {picture.shape[:2]}")
        if picture.shape[:2] != self.size:
            box = im.Letterbox.fit((picture.shape[0], picture.shape[1]), self.size)
            picture = np.asarray(box.apply(picture), np.uint8)
            labels = np.asarray(box.apply(labels, border=lb.BACKGROUND, nearest=True), np.uint8)
            keypoints = box.points(keypoints)
        return Photo(picture, labels, keypoints)

    def _load_flow(self, name: str) -> Float | None:
        file = PhotoFiles.of(self.root, name).flow
        if not file.exists():
            return None
        flow = read_flow(file)
        if flow.shape[:2] != self.size:
            raise SpgvtonError(f"{file} needs pictures of {self.size}: make the data set at that size")
        return flow

    def _load_cloth(self, name: str) -> Cloth:
        files = ClothFiles.of(self.root, name)
        return Cloth(im.read(files.picture), read_mask(files.mask))

    def __getitem__(self, key: int | tuple[int, int]) -> Batch:
        """One sample by index, or by (index, epoch): with `augment` the epoch chooses among its variants."""
        source, target, cloth, flow = self._sample(*key) if isinstance(key, tuple) else self._sample(key)
        garment = ps.Garment.of(cloth.picture, cloth.mask, size=self.size)
        inputs = (
            ps.reference_map(source.labels, self.label_set),
            ps.head_masks(source.labels),
            ps.without_clothes(source.picture, source.labels, self.label_set),
            source.keypoints,
            garment.image,
            garment.mask,
            target.keypoints,
        )
        return Batch(
            Inputs(*(torch.from_numpy(np.ascontiguousarray(a)) for a in inputs)),
            torch.from_numpy(im.normalise(target.picture)),
            torch.from_numpy(target.labels.astype(np.int64)),
            torch.from_numpy(np.full((*self.size, 2), np.nan, np.float32) if flow is None else flow),
        )

    def packed(self, key: int | tuple[int, int]) -> Packed:
        """The same sample as bytes; its `to(device)` makes the Batch. See PackedSamples."""
        source, target, cloth, flow = self._sample(*key) if isinstance(key, tuple) else self._sample(key)
        if not cloth.mask.any() or cloth.mask.shape != cloth.picture.shape[:2]:
            ps.Garment.of(cloth.picture, cloth.mask, size=self.size)  # says what is wrong
        box = im.Letterbox.fit((cloth.picture.shape[0], cloth.picture.shape[1]), self.size)
        if flow is None:
            flow = np.full((*self.size, 2), np.nan, np.float32) if self._has_flow else np.empty((0, 0, 2), np.float32)
        parts = (
            source.picture, source.labels, source.keypoints, box.apply(cloth.picture), box.apply(cloth.mask, border=0),
            target.keypoints, target.picture, target.labels, flow,
            np.isin(np.arange(lb.NUM_LABELS), lb.clothes(self.label_set)),
        )  # fmt: skip
        return Packed(*(torch.from_numpy(np.ascontiguousarray(a)) for a in parts))

    def _sample(self, index: int, epoch: int = 0) -> _Sample:
        triple = self.triples[index]
        source, target, cloth = self.photo(triple.source), self.photo(triple.target), self.cloth(triple.cloth)
        live = self.task != "pose" and exchanges_garment(triple)
        flow = self.flow(triple.target)
        if live:
            target = target._replace(keypoints=source.keypoints)
            laid = self.laid_out(triple.cloth)
            cloth = Cloth(laid.picture, laid.mask)
            flow = None if flow is None else moved_flow(flow, laid, self.size)
        flip = False
        if self.augment:  # the same draw for the same seed, epoch and triple, whatever worker makes it
            rng = np.random.default_rng((self.seed, epoch, index))
            flip = bool(rng.random() < 0.5)
            if flip:
                source, target = source.flipped(), target.flipped()
                cloth = Cloth(mirror(cloth.picture), mirror(cloth.mask))
            alike = self.foreign > 0 and same_pose(source.keypoints, target.keypoints, self.size[0])
            noisy = [add_noise(p.keypoints, rng, sigma=self.keypoint_noise) for p in (source, target)]
            source, target = source._replace(keypoints=noisy[0]), target._replace(keypoints=noisy[0 if live else 1])
            if self.backdrop and rng.random() < 0.75:
                seen = [(p.picture, p.labels == lb.BACKGROUND) for p in (source, target)]
                painted = backdrop(seen, rng, self.backdrop)
                source, target = source._replace(picture=painted[0]), target._replace(picture=painted[1])
            if alike and rng.random() < 0.5:
                source, target = self._overlaid(source, target, rng, live)
            if self.tone:
                curve = tone_curve(rng, self.tone)
                source, target = (p._replace(picture=cv2.LUT(p.picture, curve)) for p in (source, target))
                cloth = cloth._replace(picture=cv2.LUT(cloth.picture, curve))
            if live and self.label_noise:
                source = source._replace(labels=displace(source.labels, rng, self.label_noise))
        if live and self.forget_arms:
            source = source._replace(labels=forget_arms(source.labels, source.keypoints))
        return _Sample(source, target, cloth, None if flow is None else normalise_flow(flow, self.size, flip=flip))

    def _overlaid(self, source: Photo, target: Photo, rng: np.random.Generator, live: bool) -> tuple[Photo, Photo]:
        """SOURCE and TARGET with part of another picture in both, each but for its own clothes and forgotten arms.

        So what the source's clothes hide goes on as the picture beside them does, and is filled from there.
        """
        other = self.photo(self.triples[int(rng.integers(len(self)))].source)
        clothes = lb.clothes(self.label_set)
        forget = live and self.forget_arms
        maps = [forget_arms(p.labels, p.keypoints) if forget else p.labels for p in (source, target)]
        both = [(p.picture, np.isin(labels, clothes)) for p, labels in zip((source, target), maps)]
        pictures = overlay(both, other.picture, rng, self.foreign)
        return source._replace(picture=pictures[0]), target._replace(picture=pictures[1])


class PackedSamples(Dataset[Packed]):
    """The samples of DATA as Packed, for a DataLoader with workers: they send a seventh of the bytes."""

    def __init__(self, data: MPV) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: int | tuple[int, int]) -> Packed:
        return self.data.packed(key)


def mirror(picture: UInt8) -> UInt8:
    """A picture or map flipped left to right; several times faster than numpy's strided copy of three channels."""
    return cv2.flip(picture, 1)  # type: ignore[return-value]


def _nbytes(value: object) -> int:
    """Bytes of an array, or of the arrays of a tuple."""
    if isinstance(value, tuple):
        return sum(_nbytes(part) for part in value)
    return value.nbytes if isinstance(value, np.ndarray) else 0


def moved_flow(flow: Float, laid: LaidOut, size: tuple[int, int]) -> Float:
    """FLOW (H, W, 2) onto a garment picture of SIZE -> onto that picture LAID out, letterboxed to SIZE; NaN stays."""
    known = np.isfinite(flow).all(2)
    box = im.Letterbox.fit((laid.mask.shape[0], laid.mask.shape[1]), size)
    out = flow.copy()
    out[known] = box.points(laid.moves.points(flow[known]))
    return out


def normalise_flow(flow: Float, size: tuple[int, int], *, flip: bool = False) -> Float:
    """Pixels of the garment picture (H, W, 2) -> [-1, 1], corner centres at +-1; NaN stays.

    flip: of the flipped photo on the flipped garment picture.
    """
    h, w = size
    out = (flow[:, ::-1] if flip else flow).copy()
    if flip:
        out[..., 0] = w - 1 - out[..., 0]
    out *= np.array([2 / (w - 1), 2 / (h - 1)], np.float32)
    out -= 1
    return out


def limit_threads() -> None:
    """One thread for OpenCV, in this process and in the loader's workers that it forks. Call it before they are started.

    OpenCV would start one per core in each of them; and a pool of threads that exists when a worker is forked hangs there
    at its first use, which includes setNumThreads() in the worker itself.
    """
    cv2.setNumThreads(1)


B = TypeVar("B", Batch, Packed)


def collate(samples: list[B]) -> B:
    """Stack one-sample batches. In a worker process they are stacked in shared memory, which spares a copy."""
    batch: B = default_collate(samples)
    return batch
