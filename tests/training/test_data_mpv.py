"""The loader gives, bit for bit, what its plain definition gives, whatever it remembers and in whatever process it runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from spgvton import image as im
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton import person as ps
from spgvton.cli import main
from spgvton.errors import SpgvtonError
from spgvton.video import cv2
from spgvton_training.data.augment import add_noise, backdrop, overlay
from spgvton_training.data.layout import Triple
from spgvton_training.data.mpv import MPV, Batch, PackedSamples, collate, limit_threads, normalise_flow
from spgvton_training.synthetic.flow import read_flow

SIZE = (96, 72)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synth")
    assert main(["synth", "--out", str(folder), "--count", "2", "--seed", "3", "--unpaired", "--size", "96x72"]) == 0
    return folder


def plainly(root: Path, triple: Triple, rng: np.random.Generator | None) -> list[NDArray[np.generic]]:
    """One sample written down without caches and short cuts."""

    def photo(name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        stem = name.removesuffix(".jpg")
        return (
            im.read(root / "images" / name),
            im.read(root / "parse_cihp" / f"{stem}.png", flags=cv2.IMREAD_UNCHANGED),
            kp.load_openpose(root / "pose_coco" / f"{stem}_keypoints.json"),
            read_flow(root / "flow" / f"{stem}.png"),
        )

    (picture, labels, points, _), (truth, truth_labels, pose, flow) = photo(triple.source), photo(triple.target)
    cloth = im.read(root / "images" / triple.cloth)
    mask = im.read(root / "cloth_mask" / triple.cloth.replace(".jpg", "_mask.png"), flags=cv2.IMREAD_GRAYSCALE)
    h, w = SIZE
    if rng is not None:
        if rng.random() < 0.5:
            picture, labels, points = picture[:, ::-1], lb.FLIP[labels[:, ::-1]], kp.flip(points, w)
            truth, truth_labels, pose = truth[:, ::-1], lb.FLIP[truth_labels[:, ::-1]], kp.flip(pose, w)
            cloth, mask = np.ascontiguousarray(cloth[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
            flow = flow[:, ::-1].copy()
            flow[..., 0] = w - 1 - flow[..., 0]
        points, pose = add_noise(points, rng), add_noise(pose, rng)
    garment = ps.Garment.of(cloth, mask, size=SIZE)
    return [
        ps.reference_map(labels), ps.head_masks(labels), ps.without_clothes(picture, labels), points, garment.image,
        garment.mask, pose, im.normalise(truth), truth_labels.astype(np.int64),
        flow * np.array([2 / (w - 1), 2 / (h - 1)], np.float32) - 1,
    ]  # fmt: skip


def arrays(batch: Batch) -> list[NDArray[np.generic]]:
    return [t.numpy() for t in (*batch.inputs, *batch[1:])]


def same(a: list[NDArray[np.generic]], b: list[NDArray[np.generic]]) -> bool:
    return len(a) == len(b) and all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in zip(a, b)
    )


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("cache_mb", [0, 100])
def test_bit_identical_to_the_definition(root: Path, augment: bool, cache_mb: int) -> None:
    data = MPV(root, "train", size=SIZE, unpaired=True, augment=augment, seed=7, cache_mb=cache_mb)
    assert len(data) == 12
    for epoch in (0, 1, 0):
        for index in range(0, len(data), 3):
            rng = np.random.default_rng((7, epoch, index)) if augment else None
            assert same(arrays(data[index, epoch]), plainly(root, data.triples[index], rng))


def test_workers_and_collation(root: Path) -> None:
    data = MPV(root, "train", size=SIZE, unpaired=True, augment=True, cache_mb=1)
    alone = [torch.stack(list(column)) for column in zip(*([*b.inputs, *b[1:]] for b in (data[i] for i in range(4))))]
    cv2.setNumThreads(4)
    cv2.cvtColor(np.zeros((4000, 4000, 3), np.uint8), cv2.COLOR_RGB2HSV)  # OpenCV's threads: a worker forked now hangs
    limit_threads()
    for samples in (data, PackedSamples(data)):
        loader = DataLoader(samples, 4, collate_fn=collate, num_workers=2, timeout=60)  # type: ignore[arg-type]
        first = next(iter(loader)).to(CPU)
        assert isinstance(first, Batch)
        assert same(arrays(first), [t.numpy() for t in alone])


@pytest.mark.parametrize("label_set", ["cihp", "lip"])
@pytest.mark.parametrize("augment", [False, True])
def test_packed_makes_the_same_batch(root: Path, label_set: str, augment: bool) -> None:
    plain = MPV(root, "train", size=SIZE, unpaired=True, augment=augment, label_set=label_set)
    packed = PackedSamples(plain)
    assert len(packed) == len(plain)
    for triple in plain.triples:  # jumpsuits, so that the label sets differ
        plain.photo(triple.source).labels[::7, ::5] = lb.JUMPSUITS
    for epoch in (0, 1):
        whole = collate([plain[i, epoch] for i in range(len(plain))])
        small = collate([packed[i, epoch] for i in range(len(plain))])
        assert same(arrays(small.to(CPU)), arrays(whole))
        assert 6 * sum(t.nbytes for t in small) < sum(a.nbytes for a in arrays(whole))


def test_packed_without_flow_and_with_garments_of_another_size(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "flow")
    plain = MPV(tmp_path / "data", "train", size=(64, 64))
    packed = PackedSamples(plain)
    small = collate([packed[0], packed[1]])
    assert small.flow.numel() == 0
    assert same(arrays(small.to(CPU)), arrays(collate([plain[0], plain[1]])))
    assert plain[0].flow.isnan().all()
    mask = plain.cloth(plain.triples[0].cloth).mask
    mask[:] = 0
    with pytest.raises(SpgvtonError, match="mask is empty"):
        packed[0]


def test_cache_is_bounded(root: Path) -> None:
    data = MPV(root, "train", size=SIZE, cache_mb=0)
    data._cache_limit = 60_000  # about two photos
    for index in range(len(data)):
        data[index]
        kept = sum(_bytes(value) for value in data._cache.values())
        assert kept == data._cached_bytes <= 60_000 and data._cache


def _bytes(value: object) -> int:
    parts = value if isinstance(value, tuple) else (value,)
    return sum(part.nbytes for part in parts if isinstance(part, np.ndarray))


def test_flow_of_a_flipped_sample_points_at_the_flipped_garment(root: Path) -> None:
    data = MPV(root, "train", size=SIZE)
    name = data.triples[0].target
    flow, photo = data.flow(name), data.photo(name)
    assert flow is not None
    known = np.isfinite(flow[..., 0])
    assert known.sum() > 100 and (known == np.isin(photo.labels, lb.clothes())).mean() > 0.95
    plain, flipped = normalise_flow(flow, SIZE), normalise_flow(flow, SIZE, flip=True)
    assert (np.isfinite(flipped[:, ::-1, 0]) == known).all()
    assert np.allclose(flipped[:, ::-1, 0][known], -plain[..., 0][known], atol=1e-6)
    assert np.array_equal(flipped[:, ::-1, 1][known], plain[..., 1][known])
    assert np.array_equal(photo.flipped().flipped().labels, photo.labels)


def test_chosen_triples_and_another_size(root: Path) -> None:
    every = MPV(root, "train", size=SIZE)
    some = MPV(root, "train", size=SIZE, triples=every.triples[1:2])
    assert len(some) == 1 and same(arrays(some[0]), arrays(every[1]))
    with pytest.raises(SpgvtonError, match="make the data set at that size"):
        MPV(root, "train", size=(128, 96))[0]


def test_overlay_is_the_same_in_both_pictures_and_spares_what_each_masks() -> None:
    rng = np.random.default_rng(0)
    picture, foreign = (rng.integers(0, 256, (*SIZE, 3), np.uint8) for _ in range(2))
    first, second = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    first[40:], second[50:] = True, True
    a, b = overlay([(picture, first), (picture, second)], foreign, np.random.default_rng(1), 0.6)
    assert (a[40:] == picture[40:]).all() and (b[50:] == picture[50:]).all()
    assert (a[:40] == b[:40]).all()
    assert np.abs(b[:50].astype(int) - picture[:50]).mean() > 5


def test_overlay_reaches_the_samples_whose_source_has_the_targets_pose_and_no_others(root: Path) -> None:
    plain = MPV(root, "train", size=SIZE, unpaired=True, augment=True, keypoint_noise=0.0)
    mixed = MPV(root, "train", size=SIZE, unpaired=True, augment=True, keypoint_noise=0.0, foreign=0.8)
    changed = []
    for index, triple in enumerate(plain.triples):
        alike = triple.source.split("@")[1][0] == triple.target.split("@")[1][0]  # item-garment@pose=frame
        for epoch in range(6):
            a, b = plain[index, epoch], mixed[index, epoch]
            same = torch.equal(a.target, b.target)
            assert same == torch.equal(a.inputs.body, b.inputs.body)
            assert alike or same
            if alike:
                changed.append(not same)
    assert 0 < sum(changed) < len(changed)  # in half of them


def test_backdrop_paints_both_backgrounds_alike_and_nobody() -> None:
    rng = np.random.default_rng(2)
    picture = np.full((*SIZE, 3), 200, np.uint8)
    first, second = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    first[:40], second[:60] = True, True
    a, b = backdrop([(picture, first), (picture, second)], rng, 1.0)
    assert (a[41:] == 200).all() and (b[61:] == 200).all()
    assert (a[:39] == b[:39]).all() and (b[:59] == b[:59, :1]).all()  # a row has one colour
    assert np.ptp(b[:59, 0].astype(int), axis=0).max() > 5 and np.abs(np.diff(b[:59, 0].astype(int), axis=0)).max() <= 4
    assert np.abs(b[0, 0].astype(int) - 200).max() > 5
    assert np.abs(a[40, 0].astype(int) - 200).max() < np.abs(a[38, 0].astype(int) - 200).max()  # the edge is mixed
