"""Twenty labels from six classes: which skin is an arm, which clothes are trousers, and which people are not the customer.

The classes (see multiclass) come from a network that knows no persons, no left and right and no kinds of clothes; the keypoints
and the picture's own colours decide those.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.errors import SpgvtonError
from spgvton.perception import skeleton as sk
from spgvton.perception.clothes import colours, label_clothes
from spgvton.perception.customer import customer
from spgvton.perception.parse import Parse, most_likely
from spgvton.perception.skeleton import Skeleton
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

BACKGROUND, HAIR, BODY_SKIN, FACE_SKIN, CLOTHES, OTHERS = range(6)
NUM_CLASSES: Final = 6

NOBODY: Final = "nobody is seen at the keypoints: choose a picture that shows the person clearly"
FREE: Final = 2.2  # by how much the background's logit leads (9 to 1) where surely nobody is
AROUND: Final = 1.5  # torso lengths beyond the keypoints in which hair, hands and clothes are looked for
MARGIN: Final = 8  # pixels round the person's own
BARE: Final = 0.4  # share of a bone on bare skin from which on the limb is bare; a hand covers a quarter of a thigh
BAREFOOT: Final = 0.25  # share of a foot
SKIN_CHROMA: Final = 12.0  # of Lab: how far a limb's colour may be from the face's
# Of halved lightness: how much darker chest and belly may be, how much darker limbs (lamps hang above), how much lighter any.
DARKER, DARKER_LIMBS, LIGHTER = 44.0, 70.0, 60.0
SURE: Final = 0.6  # of that: from where on a pixel of a limb of another colour is clothes
FACE_SHARE: Final = 0.1  # of a head's area: a smaller face tells no colour
MIN_FACE: Final = 30  # pixels
SAMPLES: Final = 4  # of twenty: points along a bone that must be in the picture to tell anything
THIGH: Final = 0.9  # along the torso: skin above it is not a thigh
KNEE: Final = 1.25  # along the torso: skin below it and away from the hands is a leg
UNSEEN_ARM: Final = 50.0  # half widths: skin that is far from everything else belongs to the arm of its side
FOOT: Final = 3.5  # half widths of a shin: how far a foot reaches from its bones
EYES: Final = 0.13  # of the torso: how far glasses reach from the eyes


def parse(logits: Float, picture: UInt8, keypoints: Float) -> Parse:
    """The customer's labels, and where nobody is.

    logits: float32 (6, H, W) of the classes. picture: RGB uint8 (H, W, 3). keypoints: (18, 3) in its pixels.
    Raises SpgvtonError where nobody is seen at the keypoints.
    """
    classes = most_likely(logits)
    rows, columns = _surroundings(classes != BACKGROUND, keypoints)
    k = keypoints - np.array([columns.start, rows.start, 0], np.float32)
    k[keypoints[:, 2] <= 0] = 0
    labels = np.zeros(classes.shape, np.uint8)
    labels[rows, columns], crowded = _parse(
        np.ascontiguousarray(classes[rows, columns]), np.ascontiguousarray(picture[rows, columns]), k
    )
    return Parse(labels, free(logits), crowded)


def _surroundings(people: Mask, keypoints: Float) -> tuple[slice, slice]:
    """Rows and columns of what may be the customer's among the pixels (H, W) of PEOPLE: all else need not be looked at."""
    torso, k = kp.torso_length(keypoints), keypoints[keypoints[:, 2] > 0, :2]
    x, y, w, h = cv2.boundingRect(people.astype(np.uint8))
    (left, top), (right, bottom) = k.min(axis=0) - AROUND * torso, k.max(axis=0) + AROUND * torso
    rows = slice(max(0, y - MARGIN, int(top)), min(people.shape[0], y + h + MARGIN, int(bottom) + 1))
    columns = slice(max(0, x - MARGIN, int(left)), min(people.shape[1], x + w + MARGIN, int(right) + 1))
    if h == 0 or rows.start >= rows.stop or columns.start >= columns.stop:
        raise SpgvtonError(NOBODY)
    return rows, columns


def _parse(classes: UInt8, picture: UInt8, keypoints: Float) -> tuple[UInt8, bool]:
    """The labels (H, W) of what parse() looks at, and Parse.crowded."""
    skeleton = Skeleton.of(keypoints, (picture.shape[0], picture.shape[1]))
    mine, crowded = customer(classes != BACKGROUND, classes == FACE_SKIN, classes == HAIR, skeleton)
    if not mine.any():
        raise SpgvtonError(NOBODY)
    classes[~mine] = BACKGROUND
    return label(classes, picture, skeleton), crowded


def label(classes: UInt8, picture: UInt8, skeleton: Skeleton) -> UInt8:
    """CIHP labels (H, W) of CLASSES (H, W) that are the customer's alone."""
    lab = colours(picture)
    classes[_skin_coloured_clothes(classes, lab, skeleton)] = CLOTHES
    skin, worn, others = classes == BODY_SKIN, classes == CLOTHES, classes == OTHERS
    head = (skeleton.along < -0.25) & (skeleton.distance[sk.HEAD] < 2)
    hat = (worn | others) & head & (skeleton.along < _eye_line(skeleton))
    shoes, shadows = _below_ankles(classes, skeleton)
    legs = skeleton.nearest(*sk.LEFT_LEG, *sk.RIGHT_LEG)
    hips = (skeleton.along > THIGH) & (skeleton.distance[sk.TORSO] < 0.5)
    worn |= others & ((legs < 1) | hips)  # a band round the leg, shiny leggings, a belt
    labels = label_clothes(worn & ~hat & ~shoes & ~shadows, lab, skeleton)
    labels[classes == HAIR] = lb.HAIR
    labels[classes == FACE_SKIN] = lb.FACE
    labels[skin] = label_skin(classes, skeleton)
    labels[others & _near_eyes(skeleton)] = lb.SUNGLASSES
    labels[hat] = lb.HAT
    left = skeleton.nearest(*sk.LEFT_LEG) < skeleton.nearest(*sk.RIGHT_LEG)
    labels[shoes] = np.where(left, lb.LEFT_SHOE, lb.RIGHT_SHOE)[shoes]
    return labels


def _skin_coloured_clothes(classes: UInt8, lab: Float, skeleton: Skeleton) -> Mask:
    """Pixels (H, W) that the network took for skin but that have another colour than the face, part by part of the body.

    lab: see clothes.colours(). Nothing where the face is not seen.
    """
    skin, face = classes == BODY_SKIN, classes == FACE_SKIN
    out = np.zeros(classes.shape, bool)
    size = np.pi * (sk.HALF_WIDTH[sk.HEAD] * skeleton.torso) ** 2
    if face.sum() < max(FACE_SHARE * size, MIN_FACE) or skeleton.keypoints[kp.NOSE, 2] <= 0 or not skin.any():
        return out
    pixels, face_pixels = lab[skin], lab[face]
    lighter = face_pixels[:, 0] >= np.median(face_pixels[:, 0])  # without beard and eyes
    colour = np.median(face_pixels[lighter], axis=0)
    nearest = skeleton.distance[:, skin].argmin(axis=0)
    wrong = np.zeros(len(pixels), bool)
    for part in set(np.unique(nearest)) - {sk.NECK}:  # which is shaded by the chin
        own = nearest == part
        darker = DARKER_LIMBS if part in sk.JOINTS else DARKER
        if _unlike(np.median(pixels[own], axis=0), colour, darker) > 1:
            wrong[own] = _unlike(pixels[own], colour, darker) > SURE  # but a hand before it stays
    out[skin] = wrong
    return out


def _unlike(pixels: Float, face: Float, darker: float) -> Float:
    """How far PIXELS (..., 3) are from the colour (3,) of the FACE, 1 = as far as a limb's colour may be, which may be DARKER.

    Shaded or overexposed skin is between as colourful as the face and less so in proportion to its lightness.
    """
    chroma, own = pixels[..., 1:] - 128, face[1:] - 128
    light = np.maximum(pixels[..., 0], 1.0) / max(float(face[0]), 1.0)
    least = np.clip(np.minimum(light, 1 / light), 0.3, 1.0)
    share = np.clip(chroma @ own / max(float(own @ own), 1.0), least, 1.0)
    off = np.linalg.norm(chroma - share[..., None] * own, axis=-1)
    difference = pixels[..., 0] - face[0]
    return np.asarray(np.hypot(difference / np.where(difference < 0, darker, LIGHTER), off / SKIN_CHROMA), np.float32)


def label_skin(classes: UInt8, skeleton: Skeleton) -> UInt8:
    """The labels (N,) of bare skin, pixel by pixel of CLASSES: the nearest limb that is not covered, or neck and chest."""
    skin = classes == BODY_SKIN
    distance, along, across = skeleton.distance[:, skin], skeleton.along[skin], skeleton.across[skin]
    limbs = np.empty((4, distance.shape[1]), np.float32)
    for i, (arm, side) in enumerate(zip(sk.ARMS, (1, -1))):
        limbs[i] = np.minimum(distance[list(arm)].min(axis=0), UNSEEN_ARM - side * across)
    for i, (thigh, shin) in enumerate(sk.LEGS, start=2):
        # What is before a covered leg is a hand, but feet may be bare below trousers.
        away = distance[sk.FOREARMS].min(axis=0) > 2  # from hands
        upper = ((along > THIGH) & _bare(thigh, classes, skeleton)) | ((along > KNEE) & away)
        lower = _beyond_ankle(shin, skeleton)[skin] | _bare(shin, classes, skeleton)
        limbs[i] = np.minimum(np.where(upper, distance[thigh], sk.FAR), np.where(lower, distance[shin], sk.FAR))
    ids = np.array([lb.LEFT_ARM, lb.RIGHT_ARM, lb.LEFT_LEG, lb.RIGHT_LEG], np.uint8)
    out = ids[limbs.argmin(axis=0)]
    trunk = (np.minimum(distance[sk.NECK], distance[sk.TORSO] + 0.8) < limbs.min(axis=0)) & (along < KNEE)
    near = skin.copy()
    near[skin] = trunk
    out[_trunk(near, skeleton)[skin]] = lb.TORSO_SKIN
    return out


def _bare(part: int, classes: UInt8, skeleton: Skeleton) -> bool:
    """Whether the skin along the bone of a leg's PART is bare."""
    found = skeleton.samples(part, classes)
    return len(found) >= SAMPLES and bool((found == BODY_SKIN).mean() >= BARE)


def _trunk(near: Mask, skeleton: Skeleton) -> Mask:
    """Pixels (H, W) of neck, chest and belly among the skin that is NEAR (H, W) them."""
    if all(skeleton.sees(part) for arm in sk.ARMS for part in arm):
        return near
    # A hand before the chest whose arm is not seen is no chest: chest hangs together with the neck.
    count, pieces = cv2.connectedComponents(near.astype(np.uint8), connectivity=8)
    keep = np.zeros(count, bool)
    keep[pieces[near & (skeleton.distance[sk.NECK] < 1.5)]] = True
    return np.asarray(near & keep[pieces])


def _below_ankles(classes: UInt8, skeleton: Skeleton) -> tuple[Mask, Mask]:
    """Pixels (H, W) of shoes, and of what the network took for clothes beside bare feet: their shadows."""
    worn = (classes == CLOTHES) | (classes == OTHERS)
    shins = [part for part in (sk.L_SHIN, sk.R_SHIN) if skeleton.sees(part)]
    if not shins:
        return np.zeros_like(worn), np.zeros_like(worn)
    feet = np.logical_or.reduce([_beyond_ankle(part, skeleton) & (skeleton.distance[part] < FOOT) for part in shins])
    distance = skeleton.nearest(*shins)
    close = classes[feet & (distance < 1)]
    if len(close) == 0 or (close == BODY_SKIN).mean() < BAREFOOT:
        return worn & feet, np.zeros_like(worn)
    lower = np.concatenate([skeleton.samples(part, classes, 0.5, 0.95) for part in shins])
    if (lower == BODY_SKIN).mean() > 0.5:  # no trousers there either
        knees = min(_along(skeleton, sk.JOINTS[part][0]) for part in shins)
        feet = (skeleton.along > knees + 0.3) & (distance > 0.5)
    return np.zeros_like(worn), worn & feet


def _along(skeleton: Skeleton, joint: int) -> float:
    """Position of a JOINT along the torso."""
    k = skeleton.keypoints
    return float((k[joint, :2] - k[kp.NECK, :2]) @ skeleton.axis / skeleton.torso)


def _beyond_ankle(part: int, skeleton: Skeleton) -> Mask:
    """Pixels (H, W) on the foot's side of the ankle of a shin, PART; none where it is not seen."""
    h, w = skeleton.along.shape
    if not skeleton.sees(part):
        return np.zeros((h, w), bool)
    knee, ankle = (skeleton.keypoints[j, :2] for j in sk.JOINTS[part])
    shin = ankle - knee
    x, y = np.arange(w, dtype=np.float32)[None] - ankle[0], np.arange(h, dtype=np.float32)[:, None] - ankle[1]
    return np.asarray((x * shin[0] + y * shin[1]) > -0.08 * float(shin @ shin))


def _eye_line(skeleton: Skeleton) -> float:
    """Position of the eyes along the torso (negative: above the neck)."""
    seen = [i for i in (kp.R_EYE, kp.L_EYE) if skeleton.keypoints[i, 2] > 0]
    point = skeleton.keypoints[seen, :2].mean(axis=0) if seen else sk.middle_of_head(skeleton.keypoints, skeleton.torso)
    return float((point - skeleton.keypoints[kp.NECK, :2]) @ skeleton.axis / skeleton.torso)


def _near_eyes(skeleton: Skeleton) -> Mask:
    """Pixels (H, W) where glasses are."""
    k, (h, w) = skeleton.keypoints, skeleton.along.shape
    if k[kp.R_EYE, 2] <= 0 or k[kp.L_EYE, 2] <= 0:
        return np.zeros((h, w), bool)
    line = sk.draw([k[[kp.R_EYE, kp.L_EYE], :2]], (h, w), max(1, round(2 * EYES * skeleton.torso)))
    return np.asarray(line > 0)


def free(logits: Float) -> UInt8:
    """255 where LOGITS (6, H, W) say that surely nobody is, not even a bystander, else 0."""
    return np.where(logits[BACKGROUND] - logits[BACKGROUND + 1 :].max(axis=0) > FREE, 255, 0).astype(np.uint8)
