"""A human parse without a parsing network: BlazePose's mask and landmarks, then the person's own colours decide.

No registry carries a human parser, so this composes one from geometry: skin colour is read off the face, the sleeves and
trouser legs end where skin begins along each limb, the waist is where the clothes' colour changes. It is right on most frontal
pictures with plain backgrounds and visibly worse on free photos; it knows no skirts, dresses, hats or bags. A network of
the user's own is better: see OnnxParser.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton.errors import SpgvtonError
from spgvton.perception import blazepose as bp
from spgvton.perception.blazepose import BlazePose, Body33
from spgvton.perception.composed_body import Body, part_map
from spgvton.perception.composed_head import FaceFrame, label_head, skin_from_face
from spgvton.perception.composed_limbs import Cloth, label_arms, label_legs
from spgvton.perception.composed_refine import refine
from spgvton.perception.composed_waist import label_clothes
from spgvton.video import cv2

WORK_SIDE: Final = 640  # pixels on the long side: 2.5 times the network's, beyond which only time is spent
MIN_PERSON: Final = 0.01  # of the picture


class ComposedParser:
    """Parser (see parsing.Parser) for pictures of one person; CIHP labels. threads: ONNX Runtime threads."""

    label_set: str = "cihp"

    def __init__(self, threads: int = 1) -> None:
        self._blazepose = BlazePose(threads)

    def __call__(self, image: NDArray[np.uint8], keypoints: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Label ids (H, W) uint8 of IMAGE, RGB uint8 (H, W, 3), whose person has KEYPOINTS (18, 3) from PoseEstimator.

        Raises SpgvtonError when there is no person at the keypoints.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise SpgvtonError(f"a picture to parse must be RGB uint8 (H, W, 3), got {image.dtype} {image.shape}")
        k = kp.check_keypoints(keypoints).copy()
        h, w = image.shape[:2]
        scale = min(1.0, WORK_SIDE / max(h, w))
        if scale < 1:
            size = (max(1, round(w * scale)), max(1, round(h * scale)))
            small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
            k[:, :2] = (k[:, :2] + 0.5) * (size[0] / w, size[1] / h) - 0.5
        else:
            small = image
        labels = self._parse(small, k)
        return np.asarray(cv2.resize(labels, (w, h), interpolation=cv2.INTER_NEAREST))

    def _parse(self, rgb: NDArray[np.uint8], keypoints: NDArray[np.float32]) -> NDArray[np.uint8]:
        seen = agree_on_sides(self._blazepose(rgb, keypoints), keypoints)
        body = Body.build(rgb, seen, keypoints)
        if body.person.mean() < MIN_PERSON:
            raise SpgvtonError("the person in the picture is too small to be parsed: choose a closer one")
        labels = np.zeros(rgb.shape[:2], np.uint8)
        face = FaceFrame.build(body)
        parts = part_map(body, face.chin)
        skin = skin_from_face(body, face)
        cloth = Cloth(np.zeros(labels.shape, bool), np.zeros(labels.shape, bool))
        hair_z = label_head(labels, body, parts, face, skin)
        label_arms(labels, body, parts, skin, cloth)
        label_legs(labels, body, parts, skin, cloth)
        label_clothes(labels, body, parts, face, skin, cloth)
        return refine(labels, body, face, skin, hair_z)


def agree_on_sides(body: Body33, k: NDArray[np.float32]) -> Body33:
    """BODY with left and right as the keypoints have them: BlazePose confuses them on people seen from behind."""
    pairs = ((bp.L_SHOULDER, kp.L_SHOULDER), (bp.R_SHOULDER, kp.R_SHOULDER), (bp.L_HIP, kp.L_HIP), (bp.R_HIP, kp.R_HIP))
    known = [(b, i) for b, i in pairs if k[i, 2] > 0]
    mirrored = body.landmarks[list(bp.MIRRORED)]
    same, swapped = (sum(float(np.linalg.norm(p[b] - k[i, :2])) for b, i in known) for p in (body.landmarks, mirrored))
    return Body33(mirrored, body.visible[list(bp.MIRRORED)], body.mask) if swapped < same else body
