"""The clean plate: the room without anybody in it, learnt from what the camera shows where nobody stands."""

from __future__ import annotations

import threading
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton.image import Letterbox
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

SHRINK: Final = 2  # the plate has so much less resolution than the camera
MARGIN: Final = 0.012  # of the frame's height: how far from a person a pixel is surely free
TRUST: Final = 3  # times that a pixel must have been free, one after the other, before it is learnt
MEMORY: Final = 12.0  # views of a pixel over which light that changes is followed
LIGHT: Final = (0.6, 1.6)  # how much the light may have changed where the room cannot be seen now

_TO_CAMERA: Final = np.array([[SHRINK, 0, (SHRINK - 1) / 2], [0, SHRINK, (SHRINK - 1) / 2], [0, 0, 1.0]])  # pixels


class View(NamedTuple):
    """The plate in the network's frame: picture RGB uint8 (H, W, 3), and known uint8 (H, W), 255 where it was ever seen."""

    picture: UInt8
    known: UInt8


class CleanPlate:
    """learn() from frames, framed() when a hole must be filled, forget() with everything else of a customer.

    A pixel is learnt where no person is, not near one, and only after it has been free for TRUST views in a row: so nobody burns in,
    however long they stand still, as long as the parser sees them.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._mean: Float | None = None  # 0 where nothing was learnt
        self._seen = np.zeros((0, 0), np.float32)  # views that the mean is of
        self._free = np.zeros((0, 0), np.uint8)  # views in a row that were free

    def forget(self) -> None:
        """Drop the plate; its memory is overwritten."""
        with self._lock:
            if self._mean is not None:
                self._mean.fill(0)
            self._mean, self._seen, self._free = None, np.zeros((0, 0), np.float32), np.zeros((0, 0), np.uint8)

    @property
    def is_empty(self) -> bool:
        return self._mean is None or not self._seen.any()

    def learn(self, frame: UInt8, free: UInt8) -> None:
        """FRAME, RGB uint8 (h, w, 3); FREE, uint8 of any size over the same view, 255 where surely nobody is.

        A frame of another size begins a new plate.
        """
        size = (frame.shape[1] // SHRINK, frame.shape[0] // SHRINK)
        small = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
        with self._lock:
            self._learn(small, free)

    def _learn(self, small: UInt8, free: UInt8) -> None:
        size = (small.shape[1], small.shape[0])
        if self._mean is None or self._mean.shape[:2] != small.shape[:2]:
            self.forget()
            self._mean = np.zeros(small.shape, np.float32)
            self._seen, self._free = np.zeros(small.shape[:2], np.float32), np.zeros(small.shape[:2], np.uint8)
        now = cv2.resize(free, size, interpolation=cv2.INTER_NEAREST)
        margin = max(1, round(MARGIN * size[1]))
        now = cv2.erode(now, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)) >= 128
        self._free = np.where(now, np.minimum(self._free + 1, TRUST), 0).astype(np.uint8)
        take = self._free >= TRUST
        if not take.any():
            return
        self._follow_light(small, take & (self._seen > 0))
        self._seen[take] = np.minimum(self._seen[take] + 1, MEMORY)
        rate = np.where(take, 1 / np.maximum(self._seen, 1), 0).astype(np.float32)
        self._mean += rate[..., None] * (small - self._mean)

    def learn_framed(self, frame: UInt8, free: UInt8, box: Letterbox) -> None:
        """learn() where FREE (H, W) is of the network's view only: beyond BOX nothing is known of who is there."""
        h, w = frame.shape[:2]
        matrix = np.vstack([box.matrix, [0, 0, 1]]) @ _TO_CAMERA
        size = (w // SHRINK, h // SHRINK)
        self.learn(frame, cv2.warpAffine(free, matrix[:2], size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP))  # type: ignore[arg-type]

    def _follow_light(self, small: UInt8, both: NDArray[np.bool_]) -> None:
        """How much brighter the room is, where it is seen, than the plate was."""
        assert self._mean is not None
        if both.sum() < 0.02 * both.size:
            return
        now, before = small[both].mean(0), self._mean[both].mean(0)
        gain = np.clip((now + 4) / (before + 4), *LIGHT)
        hidden = (self._seen > 0) & ~both  # cannot be seen now: they follow as fast as the others do
        self._mean[hidden] = np.minimum(self._mean[hidden] * (1 + (gain - 1) / MEMORY), 255)

    def framed(self, box: Letterbox) -> View | None:
        """The plate in BOX's frame, the network's view of the camera; None while nothing was learnt."""
        with self._lock:
            if self.is_empty:
                return None
            assert self._mean is not None
            matrix = (np.vstack([box.matrix, [0, 0, 1]]) @ _TO_CAMERA)[:2]
            size, seen = box.target[::-1], (self._seen > 0).astype(np.float32)
            picture = cv2.warpAffine(self._mean, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            share = cv2.warpAffine(seen, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            known = cv2.warpAffine(seen, matrix, size, flags=cv2.INTER_NEAREST)
        picture = picture / np.maximum(share, 1e-3)[..., None]  # the mean of what is known, where both are mixed
        return View(np.clip(picture, 0, 255).astype(np.uint8), known.astype(np.uint8) * np.uint8(255))
