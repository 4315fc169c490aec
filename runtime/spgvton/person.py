"""What the networks take of a person and of a garment (sections III-A and III-B): the one definition of both.

Arrays are float32, channels first, one sample, at network size. Training stacks them, the runtime adds a batch axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spgvton import image as im
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.errors import SpgvtonError
from spgvton.keypoints import check_keypoints

Float = NDArray[np.float32]
UInt8 = NDArray[np.uint8]


def one_hot(labels: UInt8) -> Float:
    """Semantic map S (20, H, W) of zeros and ones from label ids (H, W).

    Examples:
        >>> import numpy as np
        >>> from spgvton import labels, person
        >>> person.one_hot(np.array([[labels.FACE, labels.HAIR]], np.uint8))[labels.FACE].tolist()
        [[1.0, 0.0]]
    """
    return (labels[None] == np.arange(lb.NUM_LABELS, dtype=np.uint8)[:, None, None]).astype(np.float32)


def clothes_mask(labels: UInt8, label_set: str = "cihp") -> Float:
    """M_t^C (1, H, W): 1 where the person wears what a try-on replaces.

    Examples:
        >>> import numpy as np
        >>> from spgvton import labels, person
        >>> person.clothes_mask(np.array([[labels.UPPER_CLOTHES, labels.FACE]], np.uint8)).tolist()
        [[[1.0, 0.0]]]
    """
    return np.isin(labels, lb.clothes(label_set)).astype(np.float32)[None]


def reference_map(labels: UInt8, label_set: str = "cihp") -> Float:
    """S'_s (20, H, W): the semantic map with hair, face and clothes channels emptied."""
    out = one_hot(labels)
    out[list(lb.HEAD + lb.clothes(label_set))] = 0
    return out


def head_masks(labels: UInt8) -> Float:
    """A_s = {M_f, M_h} (2, H, W): face mask and hair mask."""
    return np.stack([labels == label for label in lb.HEAD]).astype(np.float32)


def without_clothes(picture: UInt8, labels: UInt8, label_set: str = "cihp") -> Float:
    """I_s^{w/o C} (3, H, W) in [-1, 1]; the clothes region is 0 (mid grey)."""
    return im.normalise(picture) * (1 - clothes_mask(labels, label_set))


# Framing at height 256, after the training data: torsos are 60 (whole figure) to 130 pixels long, mostly about 100, and
# the neck then lies near row 80.
_SMALL_TORSO, _TORSO, _NECK_ROW = 50.0, 100.0, 80.0


def framing(
    keypoints: Float, source: tuple[int, int], size: tuple[int, int] = im.SIZE, scale: float | None = None
) -> im.Letterbox:
    """How a picture of SOURCE pixels with a person of these KEYPOINTS (18, 3) is put into the network's frame.

    The frame is filled: of a picture of another shape the part around the person is taken. Where they would be smaller
    than in any training picture, the picture is enlarged around them.
    scale: keep to this one instead (a stream should not zoom with every breath).
    """
    (h, w), (rows, columns) = source, size
    body = keypoints[[kp.NECK, kp.R_SHOULDER, kp.L_SHOULDER, kp.R_HIP, kp.L_HIP]]
    seen = body[body[:, 2] > 0, 0]
    point = (float(seen.mean()) if len(seen) else (w - 1) / 2, float(keypoints[kp.NECK, 1]))
    if scale is None:
        scale = max(rows / h, columns / w)
        torso, unit = kp.torso_length(keypoints), rows / 256
        if 0 < torso * scale < _SMALL_TORSO * unit:
            scale = _TORSO * unit / torso
    return im.Letterbox.around(source, scale, point, ((columns - 1) / 2, _NECK_ROW * rows / 256), size)


def place(keypoints: Float, box: im.Letterbox) -> Float:
    """Keypoints (18, 3) moved into BOX's frame; missing ones are all zeros."""
    return np.where(keypoints[:, 2:] > 0, box.points(keypoints), 0).astype(np.float32)


@dataclass(frozen=True)
class PersonRepresentation:
    """The source person: S'_s (20, H, W), A_s (2, H, W), I_s without clothes (3, H, W), and the keypoints (18, 3)."""

    reference_map: Float
    head: Float
    body: Float
    keypoints: Float

    @staticmethod
    def of(
        picture: UInt8, labels: UInt8, keypoints: Float, *, label_set: str = "cihp", size: tuple[int, int] = im.SIZE
    ) -> PersonRepresentation:
        """From an RGB picture (h, w, 3), its semantic map (h, w) and its keypoints in the same pixels, framed to SIZE.

        Raises SpgvtonError when sizes differ, a label id is above 19, a keypoint is NaN, or no face and hair are found.

        Examples:
            >>> from spgvton import DemoAssets
            >>> from spgvton.person import PersonRepresentation
            >>> assets = DemoAssets.open()
            >>> person = PersonRepresentation.of(*assets.person(), assets.keypoints()[0])
            >>> person.reference_map.shape, person.head.shape, person.body.shape
            ((20, 256, 192), (2, 256, 192), (3, 256, 192))
        """
        labels = lb.check_semantic_map(labels)
        if labels.shape != picture.shape[:2]:
            raise SpgvtonError(f"semantic map {labels.shape} and picture {picture.shape[:2]} differ in size")
        if not np.isin(labels, lb.HEAD).any():
            raise SpgvtonError("the semantic map shows neither face nor hair: is it the map of this picture?")
        keypoints = check_keypoints(keypoints)
        box = framing(keypoints, (picture.shape[0], picture.shape[1]), size)
        fitted = np.asarray(box.apply(picture), np.uint8)
        fitted_labels = np.asarray(box.apply(labels, border=lb.BACKGROUND, nearest=True), np.uint8)
        return PersonRepresentation(
            reference_map(fitted_labels, label_set),
            head_masks(fitted_labels),
            without_clothes(fitted, fitted_labels, label_set),
            place(keypoints, box),
        )


@dataclass(frozen=True)
class Garment:
    """The in-shop garment: picture C (3, H, W) in [-1, 1] on white, and its mask M^C (1, H, W) in [0, 1]."""

    image: Float
    mask: Float

    @staticmethod
    def of(picture: UInt8, mask: UInt8, *, size: tuple[int, int] = im.SIZE) -> Garment:
        """From an RGB picture (h, w, 3) and a mask (h, w), 255 = garment, letterboxed to SIZE; the rest becomes white.

        Raises SpgvtonError when sizes differ or the mask is empty.

        Examples:
            >>> from spgvton import DemoAssets
            >>> from spgvton.person import Garment
            >>> garment = Garment.of(*DemoAssets.open().garment(1))
            >>> garment.image.shape, garment.mask.shape
            ((3, 256, 192), (1, 256, 192))
        """
        Garment.check(picture, mask)
        box = im.Letterbox.fit((picture.shape[0], picture.shape[1]), size)
        fitted = im.normalise(np.asarray(box.apply(picture), np.uint8))
        alpha = np.asarray(box.apply(mask, border=0), np.float32)[None] / 255.0
        return Garment(fitted * alpha + (1 - alpha), alpha)

    @staticmethod
    def check(picture: UInt8, mask: UInt8) -> None:
        """Raise SpgvtonError when PICTURE (h, w, 3) and MASK (h, w) differ in size, or the mask is empty."""
        if mask.shape != picture.shape[:2]:
            raise SpgvtonError(f"garment mask {mask.shape} and picture {picture.shape[:2]} differ in size")
        if not mask.any():
            raise SpgvtonError("the garment mask is empty: nothing to try on")
