"""Temporal smoothing of the soft maps: calm where nothing moves, on time where something does, and forgotten when it must be."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from tiny_parser import figure

from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.errors import SpgvtonError
from spgvton.image import Letterbox
from spgvton.live.garment import LiveGarment
from spgvton.live.parse_stream import ParseStream
from spgvton.live.tryon import LiveTryOn
from spgvton.perception.parse import Parse
from spgvton.video import cv2

BOX = Letterbox.fit((256, 192))


class Unsure:
    """A parser whose soft maps are those of the colours, shaken by NOISE near every outline."""

    label_set = "cihp"

    def __init__(self, noise: float) -> None:
        self.noise, self._random = noise, np.random.default_rng(1)
        self.fails = False

    def __call__(self, image: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
        raise AssertionError("a stream asks for maps")

    def maps(self, picture: np.ndarray, keypoints: np.ndarray, box: Letterbox) -> np.ndarray:
        assert picture.shape[:2] == box.target and box.scale == 1 and box.pad == (0, 0)
        if self.fails:
            raise SpgvtonError("nobody")
        full = [np.abs(picture.astype(np.float32) - colour).max(-1) < 24 for colour in lb.PALETTE.astype(np.float32)]
        half = [cv2.resize(m.astype(np.float32), (96, 128), interpolation=cv2.INTER_AREA) for m in full]
        soft = np.stack([cv2.GaussianBlur(m, (0, 0), 1.5) for m in (*half, np.zeros((128, 96), np.float32))])
        soft = np.maximum(soft + self.noise * self._random.normal(size=soft.shape) * (soft > 0.05), 0)
        soft /= np.maximum(soft.sum(0), 1e-6)
        return np.rint(255 * soft).astype(np.uint8)


def moved(labels: np.ndarray, keypoints: np.ndarray, dx: float) -> tuple[np.ndarray, np.ndarray]:
    matrix = np.array([[1.0, 0, dx], [0, 1, 0]])
    out = cv2.warpAffine(labels, matrix, labels.shape[::-1], flags=cv2.INTER_NEAREST)
    k = keypoints.copy()
    k[k[:, 2] > 0, 0] += dx
    return np.asarray(out, np.uint8), k


def play(stream: ParseStream, steps: list[float], limb: float = 0.0) -> list[tuple[np.ndarray, np.ndarray]]:
    """(labels, truth) of frames in which the figure stands at STEPS; LIMB: by how much its left arm moves in each beyond that."""
    labels, keypoints = figure()
    found = []
    for n, dx in enumerate(steps):
        now = labels.copy()
        now[80:140, 120 : 145 + round(n * limb)] = np.where(
            now[80:140, 120 : 145 + round(n * limb)] == 0, lb.LEFT_ARM, now[80:140, 120 : 145 + round(n * limb)]
        )
        k = keypoints.copy()
        k[[kp.L_ELBOW, kp.L_WRIST], 0] += n * limb
        truth, k = moved(now, k, dx)
        picture = lb.colourise(truth)
        found.append((stream(picture, k, BOX, picture).labels, truth))
    return found


def changes(found: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Share of the person's pixels that change label from one answer to the next."""
    rates = [(a != b).sum() / (a > 0).sum() for (a, _), (b, _) in pairwise(found[3:])]
    return float(np.mean(rates))


def test_labels_are_calmer_while_nothing_moves() -> None:
    class Plain(ParseStream):
        def __call__(self, *view: object) -> Parse:
            self.reset()
            return super().__call__(*view)  # type: ignore[arg-type]

    before, after = (changes(play(kind(Unsure(0.25)), [0.0] * 14)) for kind in (Plain, ParseStream))
    assert before > 0.02 and after < 0.5 * before


@pytest.mark.parametrize("step", [0.5, 2.0, 6.0])
def test_labels_keep_up_with_somebody_who_walks(step: float) -> None:
    for labels, truth in play(ParseStream(Unsure(0.0)), [n * step for n in range(8)]):
        person = truth > 0
        columns = np.nonzero(person)[1].mean()
        assert abs(np.nonzero(labels > 0)[1].mean() - columns) < 0.5  # pixels


def test_a_limb_that_moves_leaves_nothing_behind() -> None:
    found = play(ParseStream(Unsure(0.0)), [0.0] * 6, limb=4.0)
    labels, truth = found[-1]
    assert ((labels == lb.LEFT_ARM) != (truth == lb.LEFT_ARM)).mean() < 0.004


def test_forgotten() -> None:
    labels, keypoints = figure()
    picture, stream = lb.colourise(labels), ParseStream(Unsure(0.0))
    stream(picture, keypoints, BOX, picture)
    assert stream._before is not None
    stream.reset()
    assert stream._before is None
    stream(picture, keypoints, BOX, picture)
    stream.parser.fails = True  # type: ignore[attr-defined]
    with pytest.raises(SpgvtonError, match="nobody"):
        stream(picture, keypoints, BOX, picture)
    assert stream._before is None


def test_live_mode_forgets_it_with_the_customer_and_the_garment(live: LiveTryOn, garment: LiveGarment) -> None:
    parser = Unsure(0.0)
    mirror = LiveTryOn(live.network.sibling(), parser=parser)
    labels, keypoints = figure((512, 384))
    frame = lb.colourise(labels)
    for forget in (mirror.forget, lambda: mirror.use_garment(garment)):
        mirror.use_garment(garment)
        assert (mirror.answer(frame, keypoints).parse.labels == lb.UPPER_CLOTHES).mean() > 0.05
        assert mirror._parse._before is not None
        forget()
        assert mirror._parse._before is None


def test_another_view_begins_anew() -> None:
    """A frame of another scale or camera is not mixed with the one before."""
    labels, keypoints = figure()
    stream, picture = ParseStream(Unsure(0.0)), lb.colourise(labels)
    stream(picture, keypoints, BOX, picture)
    naked = labels.copy()
    naked[labels == lb.UPPER_CLOTHES] = lb.TORSO_SKIN
    for box in (
        Letterbox((512, 384), (256, 192), 0.5, (0.0, 0.0)),
        Letterbox((256, 200), (256, 192), 1.0, (-4.0, 0.0)),
    ):
        seen = lb.colourise(naked)
        k = keypoints.copy()
        k[:, :2] = box.points_back(keypoints)[:, :2]
        parse = stream(seen, k.astype(np.float32), box, seen)
        assert parse.labels[110, 96] == lb.TORSO_SKIN


def test_parsers_without_soft_maps_are_only_asked() -> None:
    class Plain:
        label_set = "cihp"

        def __call__(self, image: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
            return np.full(image.shape[:2], lb.DRESS, np.uint8)

    stream = ParseStream(Plain())
    frame = np.zeros((256, 192, 3), np.uint8)
    assert (stream(frame, figure()[1], BOX, frame).labels == lb.DRESS).all() and stream._before is None
