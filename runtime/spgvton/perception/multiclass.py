"""The parser that ships: Google's selfie_multiclass network on a square crop, then the keypoints and colours (human_parsing)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import person
from spgvton.errors import SpgvtonError
from spgvton.image import Letterbox
from spgvton.perception import human_parsing
from spgvton.perception.crops import check_person, check_picture, feathered, head_to_hips, square, whole_person
from spgvton.perception.onnx_session import open_session, shipped_model
from spgvton.perception.parse import Parse
from spgvton.perception.pose import Region, crop
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

NEAR: Final = 14  # pixels of the network round people seen in a whole picture that may be theirs, too
WORK_SIDE: Final = 512  # pixels of the map in which a picture's person is labelled
OUTSIDE: Final = 12.0  # the background's logit where no crop reaches
GAMMA: Final = 0.7  # brightens the network's picture: it takes black hair and black leggings for background otherwise
SECOND_CROP: Final = 0.7  # of the person's height: a head-to-hips crop smaller than this shows more than the whole
_BRIGHTER: Final = np.rint(255 * (np.arange(256) / 255) ** GAMMA).astype(np.uint8)


class MulticlassParser:
    """Parser (see parsing.Parser) of one person in a picture, bystanders or not; CIHP labels.

    threads: ONNX Runtime threads; None = 1. Several threads may call it.
    """

    label_set: str = "cihp"

    def __init__(self, threads: int | None = None) -> None:
        self._session = open_session(shipped_model("selfie_multiclass.onnx"), threads or 1)
        self._side = int(self._session.get_inputs()[0].shape[1])

    def __call__(self, image: UInt8, keypoints: Float) -> UInt8:
        """Label ids (H, W) uint8 of IMAGE, RGB uint8 (H, W, 3), whose customer has KEYPOINTS (18, 3) in its pixels.

        The network looks at the whole person and, where the legs are seen too, at head to hips once more. Raises SpgvtonError when
        there is nobody at the keypoints.
        """
        image, k = check_picture(image), check_person(keypoints)
        h, w = image.shape[:2]
        whole, upper = square(whole_person((h, w), k)), square(head_to_hips(k))
        scale = min(1.0, WORK_SIDE / whole.side)
        size = (max(1, round(min(whole.side, h) * scale)), max(1, round(min(whole.side, w) * scale)))
        middle = ((size[1] - 1) / 2, (size[0] - 1) / 2)
        box = Letterbox.around((h, w), scale, (whole.x, whole.y), middle, size)
        regions = [whole, upper] if upper.side < SECOND_CROP * whole.side else [whole]
        labels = self._parse(image, k, box, regions).labels
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(labels, box.matrix, (w, h), flags=flags, borderValue=(0,)), np.uint8)

    def framed(self, picture: UInt8, keypoints: Float, box: Letterbox) -> Parse:
        """What BOX shows of PICTURE, RGB uint8 (H, W, 3), whose customer has KEYPOINTS (18, 3) in its pixels.

        For streams: one pass of the network, nothing at the picture's size. Raises SpgvtonError when there is nobody at the
        keypoints.
        """
        picture, k = check_picture(picture), check_person(keypoints)
        (rows, columns), (left, top) = box.target, box.pad
        middle = ((columns / 2 - left) / box.scale - 0.5, (rows / 2 - top) / box.scale - 0.5)
        return self._parse(picture, k, box, [Region(*middle, max(rows, columns) / box.scale)])

    def _parse(self, picture: UInt8, k: Float, box: Letterbox, regions: list[Region]) -> Parse:
        """The customer in BOX's frame, from one pass of the network for each of REGIONS; a later one lies over the earlier ones."""
        logits = self._logits(picture, regions[0], box)
        for region in regions[1:]:
            side, left, top = _placed(region, box)
            weight = feathered((left, top), (side, side), box)
            logits += weight * (self._logits(picture, region, box) - logits)
        return human_parsing.parse(logits, np.asarray(box.apply(picture), np.uint8), person.place(k, box))

    def free(self, picture: UInt8) -> UInt8:
        """Where in PICTURE, RGB uint8 (H, W, 3), surely nobody is: 255 in a small map (h, w) of the whole of it, else 0.

        For a room without a customer, in which somebody may stand all the same. Raises SpgvtonError.
        """
        size = (picture.shape[0], picture.shape[1])
        scale = self._side / max(size)
        box = Letterbox.fit(size, (max(1, round(size[0] * scale)), max(1, round(size[1] * scale))))
        found = human_parsing.free(self._logits(check_picture(picture), Region.whole(size), box))
        return np.asarray(cv2.erode(found, np.ones((2 * NEAR + 1,) * 2, np.uint8)))  # hands are not seen at that size

    def _logits(self, picture: UInt8, region: Region, box: Letterbox) -> Float:
        """The network's logits (6, H, W) of REGION, a square of PICTURE, brought into BOX's frame."""
        seen = cv2.LUT(crop(picture, region, self._side, cv2.BORDER_REPLICATE), _BRIGHTER)
        logits = np.asarray(self._session.run(None, {"picture": seen[None]})[0][0], np.float32)
        if not np.isfinite(logits).all():
            raise SpgvtonError("the parsing network gave NaN: its model file is damaged, install spgvton again")
        zoom, left, top = _placed(region, box)
        zoom /= self._side  # frame pixels for each pixel of the crop
        matrix = np.array([[zoom, 0, left + 0.5 * zoom - 0.5], [0, zoom, top + 0.5 * zoom - 0.5]])
        out = np.empty((len(logits), *box.target), np.float32)
        for i, (source, target) in enumerate(zip(logits, out)):
            border = OUTSIDE if i == human_parsing.BACKGROUND else 0.0
            cv2.warpAffine(source, matrix, box.target[::-1], dst=target, flags=cv2.INTER_LINEAR, borderValue=(border,))
        return out


def _placed(region: Region, box: Letterbox) -> tuple[float, float, float]:
    """(side, left, top) of REGION in BOX's frame; edges, not pixel centres."""
    left, top = (box.scale * (c - region.side / 2 + 0.5) + pad for c, pad in zip(region[:2], box.pad))
    return region.side * box.scale, left, top
