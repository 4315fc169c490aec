"""The parser that ships: Google's selfie_multiclass network on a square crop, then the keypoints and colours (human_parsing)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton import person
from spgvton.errors import SpgvtonError
from spgvton.image import Letterbox
from spgvton.perception import human_parsing
from spgvton.perception.onnx_session import open_session, shipped_model
from spgvton.perception.parse import Parse
from spgvton.perception.pose import Region, crop
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

WORK_SIDE: Final = 640  # pixels on the long side: 2.5 times the network's, beyond which only time is spent
OUTSIDE: Final = 12.0  # the background's logit where the crop does not reach


class MulticlassParser:
    """Parser (see parsing.Parser) of one person in a picture, bystanders or not; CIHP labels.

    threads: ONNX Runtime threads; None = 1.
    """

    label_set: str = "cihp"

    def __init__(self, threads: int | None = None) -> None:
        self._session = open_session(shipped_model("selfie_multiclass.onnx"), threads or 1)
        self._side = int(self._session.get_inputs()[0].shape[1])

    def __call__(self, image: UInt8, keypoints: Float) -> UInt8:
        """Label ids (H, W) uint8 of IMAGE, RGB uint8 (H, W, 3), whose customer has KEYPOINTS (18, 3) in its pixels.

        Raises SpgvtonError when there is no person at the keypoints.
        """
        image = _check(image)
        h, w = image.shape[:2]
        k = kp.check_keypoints(keypoints)
        scale = min(1.0, WORK_SIDE / max(h, w))
        size = (max(1, round(h * scale)), max(1, round(w * scale)))
        box = Letterbox.fit((h, w), size)
        labels = self._parse(image, k, box, _surroundings(k, (h, w))).labels
        return np.asarray(cv2.resize(labels, (w, h), interpolation=cv2.INTER_NEAREST))

    def framed(self, picture: UInt8, keypoints: Float, box: Letterbox) -> Parse:
        """What BOX shows of PICTURE, RGB uint8 (H, W, 3), whose customer has KEYPOINTS (18, 3) in its pixels.

        For streams: one pass of the network, nothing at the picture's size. Raises SpgvtonError when there is no person
        at the keypoints.
        """
        picture, k = _check(picture), kp.check_keypoints(keypoints)
        (rows, columns), (left, top) = box.target, box.pad
        middle = ((columns / 2 - left) / box.scale - 0.5, (rows / 2 - top) / box.scale - 0.5)
        return self._parse(picture, k, box, Region(*middle, max(rows, columns) / box.scale))

    def _parse(self, picture: UInt8, k: Float, box: Letterbox, region: Region) -> Parse:
        placed = person.place(k, box)
        probabilities = softmax(self._logits(picture, region, box))
        small = np.asarray(box.apply(picture), np.uint8)
        return human_parsing.parse(probabilities, small, placed)

    def _logits(self, picture: UInt8, region: Region, box: Letterbox) -> Float:
        """The network's logits (6, H, W) of REGION, a square of PICTURE, brought into BOX's frame."""
        feed = {"picture": crop(picture, region, self._side)[None]}
        logits = np.asarray(self._session.run(None, feed)[0][0], np.float32)
        if not np.isfinite(logits).all():
            raise SpgvtonError("the parsing network gave NaN: the model file is damaged, install spgvton again")
        zoom = box.scale * region.side / self._side  # frame pixels for each pixel of the crop
        left = box.scale * (region.x - region.side / 2 + 0.5) + box.pad[0]
        top = box.scale * (region.y - region.side / 2 + 0.5) + box.pad[1]
        matrix = np.array([[zoom, 0, left + 0.5 * zoom - 0.5], [0, zoom, top + 0.5 * zoom - 0.5]])
        out = np.empty((len(logits), *box.target), np.float32)
        for i, (source, target) in enumerate(zip(logits, out)):
            border = OUTSIDE if i == human_parsing.BACKGROUND else 0.0
            cv2.warpAffine(source, matrix, box.target[::-1], dst=target, flags=cv2.INTER_LINEAR, borderValue=(border,))
        return out


def softmax(logits: Float) -> Float:
    """Probabilities (C, H, W) of LOGITS (C, H, W)."""
    e = np.asarray(cv2.exp((logits - logits.max(axis=0)).reshape(len(logits), -1)), np.float32).reshape(logits.shape)
    return e / e.sum(axis=0)


def _check(picture: UInt8) -> UInt8:
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise SpgvtonError(f"a picture to parse must be RGB uint8 (H, W, 3), got {picture.dtype} {picture.shape}")
    return picture


def _surroundings(k: Float, size: tuple[int, int]) -> Region:
    """A square of a picture of SIZE (height, width) that holds the person of KEYPOINTS (18, 3)."""
    torso = kp.torso_length(k)
    if torso <= 0:
        raise SpgvtonError("no person at the keypoints: both shoulders must be seen")
    seen = k[k[:, 2] > 0, :2]
    low = np.maximum(seen.min(axis=0) - np.array([0.5, 0.6]) * torso, -0.5)
    high = np.minimum(seen.max(axis=0) + np.array([0.5, 0.35]) * torso, (size[1] - 0.5, size[0] - 0.5))
    middle = (low + high) / 2
    return Region(float(middle[0]), float(middle[1]), float((high - low).max()))
