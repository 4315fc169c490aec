"""Twenty labels from six classes: which skin is an arm, which clothes are trousers, and which people are not the customer.

The classes (see multiclass) come from a network that knows no persons, no left and right and no kinds of clothes; the keypoints
and the picture's own colours decide those.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import labels as lb
from spgvton.perception import skeleton as sk
from spgvton.perception.parse import Parse
from spgvton.perception.skeleton import Skeleton
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

BACKGROUND, HAIR, BODY_SKIN, FACE_SKIN, CLOTHES, OTHERS = range(6)
NUM_CLASSES: Final = 6

# How far a part reaches from its bones, as fractions of the torso's length: beyond it is somebody else or a thing.
REACH: Final = np.array([0.40, 0.40, 0.50, 0.50, 0.45, 0.75], np.float32)
SKIN_LABELS: Final = np.array([lb.LEFT_ARM, lb.RIGHT_ARM, lb.LEFT_LEG, lb.RIGHT_LEG, lb.TORSO_SKIN], np.uint8)
WAIST: Final = 1.02  # along the torso, where the clothes' colours do not tell
UNSURE: Final = 0.15  # a probability below it is 0, one above 1 - it is 1: the network is never quite sure
HEAD_HEIGHT, FOOT_HEIGHT = -0.4, 1.6


def parse(probabilities: Float, picture: UInt8, keypoints: Float) -> Parse:
    """The customer's labels and soft masks.

    probabilities: float32 (6, H, W) of the classes. picture: RGB uint8 (H, W, 3). keypoints: (18, 3) in its pixels.
    Raises SpgvtonError where the keypoints show no shoulders.
    """
    size = (picture.shape[0], picture.shape[1])
    skeleton = Skeleton.of(keypoints, size)
    classes = probabilities.argmax(axis=0).astype(np.uint8)
    mine = customer(classes, skeleton)
    classes[~mine] = BACKGROUND
    labels = label(classes, skeleton)
    return Parse(labels, soft_masks(probabilities, labels, classes, mine))


def customer(classes: UInt8, skeleton: Skeleton) -> Mask:
    """Which pixels (H, W) are the customer's: those near her bones that hang together with them."""
    size = (classes.shape[0], classes.shape[1])
    near = (skeleton.distance < (REACH * skeleton.torso)[:, None, None]).any(axis=0)
    person = ((classes != BACKGROUND) & near).astype(np.uint8)
    _, components = cv2.connectedComponents(person, connectivity=4)
    spine = sk.bones(skeleton.keypoints, skeleton.torso)
    lines = sk.draw([s for part in spine for s in part], size, max(1, round(0.05 * skeleton.torso)))
    mine = np.unique(components[(lines > 0) & (person > 0)])
    return np.asarray(np.isin(components, mine[mine > 0]))


def label(classes: UInt8, skeleton: Skeleton) -> UInt8:
    """CIHP labels (H, W) of CLASSES (H, W) that are the customer's alone."""
    labels = np.zeros(classes.shape, np.uint8)
    labels[classes == HAIR] = lb.HAIR
    labels[classes == FACE_SKIN] = lb.FACE
    d = skeleton.distance
    neck = np.minimum(np.abs(skeleton.along) * skeleton.torso, 0) + d[sk.TORSO]
    limbs = np.concatenate([d[: sk.TORSO], np.minimum(neck, d[sk.HEAD])[None]])
    skin = classes == BODY_SKIN
    labels[skin] = SKIN_LABELS[limbs[:, skin].argmin(axis=0)]
    clothes = classes == CLOTHES
    legs, arms = np.minimum(d[sk.LEFT_LEG], d[sk.RIGHT_LEG]), np.minimum(d[sk.LEFT_ARM], d[sk.RIGHT_ARM])
    low = (skeleton.along > WAIST) & (legs < arms)
    labels[clothes & ~low] = lb.UPPER_CLOTHES
    labels[clothes & low] = lb.PANTS
    others = classes == OTHERS
    labels[others & (skeleton.along < HEAD_HEIGHT)] = lb.HAT
    foot = others & (skeleton.along > FOOT_HEIGHT)
    labels[foot] = np.where(d[sk.LEFT_LEG] < d[sk.RIGHT_LEG], lb.LEFT_SHOE, lb.RIGHT_SHOE)[foot]
    return labels


def soft_masks(probabilities: Float, labels: UInt8, classes: UInt8, mine: Mask) -> UInt8:
    """The masks of parse.SOFT, uint8 (4, H, W): the classes' probabilities, where they are the customer's."""
    own = _share(mine, np.ones_like(mine))
    person = 1 - probabilities[BACKGROUND]
    upper = np.isin(labels, lb.clothes("cihp"))
    clothes = probabilities[CLOTHES] * _share(upper, upper | (labels == lb.PANTS))
    skin = probabilities[BODY_SKIN] + probabilities[FACE_SKIN]
    hair = probabilities[HAIR] + probabilities[OTHERS] * _share(labels == lb.HAT, classes == OTHERS)
    masks = (np.stack([person, clothes, skin, hair]) - UNSURE) / (1 - 2 * UNSURE)
    return np.asarray(np.rint(np.clip(masks, 0, 1) * (own > 0) * 255), np.uint8)


def _share(part: Mask, whole: Mask) -> Float:
    """How much of WHOLE near each pixel is PART, 0...1: a sharp division carried on beyond the outline."""
    size = (9, 9)
    p, q = (cv2.boxFilter(m.astype(np.float32), -1, size) for m in (part & whole, whole))
    return np.asarray(p / np.maximum(q, 1e-3), np.float32)
