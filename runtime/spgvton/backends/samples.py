"""Real inputs of the joint graphs: the shipped person, garments and poses, for whatever tries or measures a back end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spgvton import image as im
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.backends.contract import KEYPOINTS, POSE, Backend, Mode
from spgvton.demo_assets import GARMENTS, DemoAssets
from spgvton.person import Garment, PersonRepresentation, framing, place

Sample = dict[str, NDArray[Any]]  # a joint graph's inputs by name, each (N, ...)


def demo_samples(size: tuple[int, int], label_set: str, poses: int = 3) -> list[Sample]:
    """The shipped person at SIZE (height, width), in three garments and POSES poses of the clip: 3 * POSES samples."""
    assets = DemoAssets.open()
    picture, labels = assets.person()
    keypoints = assets.keypoints()
    person = PersonRepresentation.of(picture, labels, keypoints[0], label_set=label_set, size=size)
    box = im.Letterbox.fit((picture.shape[0], picture.shape[1]), size)
    samples = []
    for number in range(1, GARMENTS + 1):
        garment = Garment.of(*assets.garment(number), size=size)
        static = {
            "reference_map": person.reference_map[None], "head": person.head[None], "body": person.body[None],
            "source_keypoints": person.keypoints[None], "cloth": garment.image[None], "cloth_mask": garment.mask[None],
        }  # fmt: skip
        for share in range(1, poses + 1):
            pose = box.points(keypoints[len(keypoints) * share // (poses + 1)])[None]
            samples.append({**static, KEYPOINTS: pose})
    return samples


def live_samples(size: tuple[int, int], label_set: str) -> list[Sample]:
    """The live graph's inputs: the shipped person at SIZE and her mirror image, in every garment in turn."""
    assets = DemoAssets.open()
    picture, labels = assets.person()
    keypoints = assets.keypoints()[0]
    box = framing(keypoints, (picture.shape[0], picture.shape[1]), size)
    fitted = np.asarray(box.apply(picture), np.uint8)
    found = np.asarray(box.apply(labels, border=lb.BACKGROUND, nearest=True), np.uint8)
    placed = place(keypoints, box)
    frames: list[Sample] = [
        {"picture": fitted[None], "labels": found[None], KEYPOINTS: placed[None]},
        {
            "picture": np.ascontiguousarray(fitted[None, :, ::-1]), "labels": lb.FLIP[found[None, :, ::-1]],
            KEYPOINTS: kp.flip(placed, size[1])[None],
        },
    ]  # fmt: skip
    samples = []
    for number in range(1, GARMENTS + 1):
        garment = Garment.of(*assets.garment(number), size=size)
        cloth = {"cloth": garment.image[None], "cloth_mask": garment.mask[None]}
        samples += [{**frame, **cloth} for frame in frames]
    return samples


def by_garment(samples: Sequence[Sample]) -> list[list[Sample]]:
    """SAMPLES of demo_samples() or live_samples() in one list for each garment."""
    found: dict[int, list[Sample]] = {}
    for sample in samples:
        found.setdefault(id(sample["cloth"]), []).append(sample)
    return list(found.values())


def batch_of(samples: Sequence[Sample]) -> Sample:
    """SAMPLES as one batch."""
    return {name: np.concatenate([s[name] for s in samples]) for name in samples[0]}


def dress(backend: Backend, sample: Sample, mode: Mode = POSE) -> None:
    """Give person and garment of SAMPLE, or in live mode the garment, to BACKEND."""
    for name in mode.static:
        backend.set_static(name, sample[name])


def frame_of(sample: Sample, mode: Mode = POSE) -> Sample:
    """What a frame brings, of SAMPLE: the input of Backend.infer()."""
    return {name: sample[name] for name in mode.frame}
