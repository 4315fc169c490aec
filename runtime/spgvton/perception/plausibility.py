"""Do a semantic map and keypoints belong to one person, and to the label set and order that they are taken for?

Maps come from other people's networks and folders: with ids of another data set, of another picture, mirrored, shifted or
upside down, they are arrays of the right shape that dress nobody rightly. So each is compared with the keypoints, which are
found in the picture itself. Everything that reads maps asks here: spgvton run, prepare, check-data, the kiosk, the session.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.errors import SpgvtonError
from spgvton.perception.pose import HEAD, MIN_KEYPOINTS, TORSO
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

MIN_ON_PERSON: Final = 0.5  # of the keypoints; limbs may be cut off by the frame, half a body is not
REACH: Final = 0.03  # of the height: how far beside what it should lie on a keypoint may be
MIN_ON_HEAD, MIN_ON_TORSO = 0.4, 0.5
# On rendered people and their own maps: 1.0 of both, exact or estimated; on the map of somebody else two thirds are below.
MIN_ON_BODY, MIN_ON_ARMS, CLOSE = 0.75, 0.7, 0.015
SIDES_APART: Final = 0.3  # torso lengths between left and right, from which on their order says something
CROWD: Final = 0.7  # of what is half a torso's length or more from all keypoints: more of it is no room with bystanders
HEIGHT: Final = 256  # rows at which maps are compared
ARMS: Final = (kp.R_SHOULDER, kp.L_SHOULDER, kp.R_ELBOW, kp.L_ELBOW, kp.R_WRIST, kp.L_WRIST)
ON_HEAD: Final = (lb.HAT, lb.HAIR, lb.SUNGLASSES, lb.FACE)
ON_TORSO: Final = (
    lb.HAIR, lb.GLOVE, lb.UPPER_CLOTHES, lb.DRESS, lb.COAT, lb.PANTS, lb.TORSO_SKIN, lb.SCARF, lb.SKIRT, lb.LEFT_ARM,
    lb.RIGHT_ARM,
)  # fmt: skip
# The joints whose label names a side, and that label: elbow, wrist, knee, ankle.
LEFT: Final = {
    kp.L_ELBOW: lb.LEFT_ARM, kp.L_WRIST: lb.LEFT_ARM, kp.L_KNEE: lb.LEFT_LEG, kp.L_ANKLE: lb.LEFT_SHOE,
}  # fmt: skip
SIDES: Final = {**LEFT, **{kp.FLIP[joint]: int(lb.FLIP[label]) for joint, label in LEFT.items()}}
# What other sets call the label of a face.
OTHER_SETS: Final = {11: "ATR", 12: "ACGPN or CP-VTON", 1: "Pascal"}


def why_odd_keypoints(points: Float) -> str | None:
    """Why keypoints (18, 3) are not those of one upright person in OpenPose's COCO order; None where they are.

    Says "keypoints ...: details". Keypoints of score 0 are not judged.
    """
    seen = points[:, 2] > 0
    torso = kp.torso_length(points)
    if torso <= 0 or not seen[[kp.NECK, kp.R_SHOULDER, kp.L_SHOULDER]].all():
        return None
    xy = points[:, :2].astype(np.float64)
    shoulders = xy[[kp.R_SHOULDER, kp.L_SHOULDER]]
    if np.linalg.norm(xy[kp.NECK] - shoulders.mean(axis=0)) > 0.5 * torso:
        return f"keypoints in another order: the neck (number {kp.NECK}) does not lie between the shoulders; {_ORDER}"
    hips = [i for i in (kp.R_HIP, kp.L_HIP) if seen[i]]
    down = xy[hips].mean(axis=0) - shoulders.mean(axis=0) if hips else np.zeros(2)
    head = [i for i in HEAD if seen[i]]
    up = shoulders.mean(axis=0) - xy[head].mean(axis=0) if head else np.zeros(2)
    for name, way in (("hips below", down), ("head above", up)):
        length = float(np.linalg.norm(way))
        if length > 0.3 * torso and way[1] < 0.5 * length:
            swapped = "; x and y exchanged?" if abs(way[0]) > abs(way[1]) else "; upside down?"
            return f"keypoints turned: no {name} the shoulders{swapped}"
    face = [i for i in (kp.R_EYE, kp.L_EYE, kp.R_EAR, kp.L_EAR) if seen[i]]
    if seen[kp.NOSE] and face and np.linalg.norm(xy[face] - xy[kp.NOSE], axis=1).max() > 0.8 * torso:
        return f"keypoints in another order: eyes or ears far from the nose; {_ORDER}"
    return _mixed_sides(xy, seen, torso)


_ORDER: Final = "give the 18 of OpenPose's COCO model (not BODY_25, not COCO's 17)"


def _mixed_sides(xy: NDArray[np.float64], seen: NDArray[np.bool_], torso: float) -> str | None:
    """Eyes and ears of somebody who faces the camera, shoulders of somebody who does not."""
    width = (xy[kp.L_SHOULDER] - xy[kp.R_SHOULDER])[0] / torso
    pairs = [(kp.R_EYE, kp.L_EYE), (kp.R_EAR, kp.L_EAR)]
    steps = [(xy[left] - xy[right])[0] / torso for right, left in pairs if seen[left] and seen[right]]
    if abs(width) > SIDES_APART and steps and all(step * width < 0 and abs(step) > 0.04 for step in steps):
        return "keypoints with sides exchanged: left and right of the head and of the shoulders contradict each other"
    return None


def why_inconsistent(labels: UInt8, points: Float, label_set: str = "cihp") -> str | None:
    """Why a semantic map (H, W) and keypoints (18, 3) are not those of one dressed person; None where they are."""
    if not (labels != lb.BACKGROUND).any():
        return "no person: the semantic map is background only"
    odd = why_odd_keypoints(points)
    if odd:
        return odd
    seen = points[:, 2] > 0
    h, w = labels.shape
    inside = seen & (points[:, 0] > -0.5) & (points[:, 1] > -0.5) & (points[:, 0] < w - 0.5) & (points[:, 1] < h - 0.5)
    if seen.sum() < MIN_KEYPOINTS or not seen[list(TORSO)].any():
        return f"keypoints missing: {seen.sum()} of {kp.NUM_KEYPOINTS}, {seen[list(TORSO)].sum()} of the torso's four"
    if inside.sum() < MIN_KEYPOINTS or not inside[list(TORSO)].any():
        return (
            f"keypoints outside: {inside.sum()} of {seen.sum()} lie in the {w}x{h} picture, "
            f"{inside[list(TORSO)].sum()} of the torso's four"
        )
    place = _Map(labels, points, inside)
    foreign = place.why_foreign_labels()
    if foreign:
        return foreign
    if not np.isin(labels, lb.clothes(label_set)).any():
        return f"no clothes: the semantic map shows none of what a try-on replaces ({label_set})"
    on = place.count(np.flatnonzero(inside), range(1, lb.NUM_LABELS))
    if on < MIN_ON_PERSON * seen.sum():
        return f"keypoints elsewhere: {on} of {seen.sum()} lie on the person of the semantic map"
    return place.why_no_background() or place.why_another_person() or place.why_mirrored()


def why_unlike(labels: UInt8, points: Float, label_set: str = "cihp") -> str | None:
    """why_inconsistent(), but for keypoints that say too little to judge by: then None."""
    if (points[:, 2] > 0).sum() < MIN_KEYPOINTS or kp.torso_length(points) <= 0:
        return None
    return why_inconsistent(labels, points, label_set)


def check_plausible(labels: UInt8, points: Float, label_set: str, name: str) -> UInt8:
    """LABELS (H, W) as they are. Raises SpgvtonError, which begins with NAME, where they are not those of the keypoints."""
    reason = why_unlike(labels, points, label_set)
    if reason:
        raise SpgvtonError(f"{name} does not fit the picture: {reason}")
    return labels


class _Map:
    """A map at HEIGHT rows or fewer, and the keypoints that lie in it."""

    def __init__(self, labels: UInt8, points: Float, inside: NDArray[np.bool_]) -> None:
        scale = min(1.0, HEIGHT / labels.shape[0])
        h, w = round(labels.shape[0] * scale), max(1, round(labels.shape[1] * scale))
        self.labels = np.asarray(cv2.resize(labels, (w, h), interpolation=cv2.INTER_NEAREST))
        self.points = ((points[:, :2] + 0.5) * (w / labels.shape[1], h / labels.shape[0]) - 0.5).astype(np.float64)
        self.inside, self.reach, self.close = inside, max(1, round(REACH * h)), max(1, round(CLOSE * h))
        self.at = np.clip(np.rint(self.points), 0, (w - 1, h - 1)).astype(np.int64)

    def near(self, joint: int, reach: int | None = None) -> UInt8:
        """The labels round JOINT."""
        (x, y), r = self.at[joint], reach or self.reach
        return self.labels[max(0, y - r) : y + r + 1, max(0, x - r) : x + r + 1]

    def count(self, joints: Iterable[int], wanted: Iterable[int], reach: int | None = None) -> int:
        """How many of JOINTS lie on, or near, one of the labels WANTED."""
        ids = list(wanted)
        return sum(bool(np.isin(self.near(int(joint), reach), ids).any()) for joint in joints)

    def why_foreign_labels(self) -> str | None:
        """The head's keypoints should lie on a head, and the middle of the body on what is worn there."""
        head = [joint for joint in HEAD if self.inside[joint]]
        on_head = self.count(head, ON_HEAD)
        on_torso, most = self._torso()
        if len(head) >= 2 and on_head < MIN_ON_HEAD * len(head):
            there = np.concatenate([self.near(joint).ravel() for joint in head])
            label = int(np.bincount(there).argmax())
            if label == lb.BACKGROUND:
                return (
                    f"keypoints elsewhere: {on_head} of {len(head)} of the head's lie on the head of the semantic map"
                )
            guess = f", as in {OTHER_SETS[label]} maps" if label in OTHER_SETS else ""
            return (
                f"labels elsewhere: where the keypoints see the head the map has {_name(label)}{guess}; it wants CIHP or LIP "
                "labels, of this very picture"
            )
        bare = most == lb.BACKGROUND and not np.isin(self.labels, lb.clothes()).any()  # told more plainly below
        if on_torso is not None and (on_torso < MIN_ON_TORSO or most == lb.HAIR) and not bare:
            return f"labels elsewhere: between shoulders and hips the map has mostly {_name(most)}, nothing that is worn there"
        return None

    def _torso(self) -> tuple[float | None, int]:
        """The share of the torso's inner points that lie on ON_TORSO, None without a torso; and the commonest label."""
        if not self.inside[list(TORSO)].all():
            return None, 0
        right, left = self.points[kp.R_SHOULDER], self.points[kp.L_SHOULDER]
        u, v = np.meshgrid(np.linspace(0.25, 0.75, 7), np.linspace(0.2, 0.8, 9))
        above = right + u[..., None] * (left - right)
        below = self.points[kp.R_HIP] + u[..., None] * (self.points[kp.L_HIP] - self.points[kp.R_HIP])
        at = np.rint(above + v[..., None] * (below - above)).astype(np.int64)
        h, w = self.labels.shape
        found = self.labels[np.clip(at[..., 1], 0, h - 1), np.clip(at[..., 0], 0, w - 1)]
        return float(np.isin(found, ON_TORSO).mean()), int(np.bincount(found.ravel()).argmax())

    def why_no_background(self) -> str | None:
        """Beside and above the customer there is a room, with bystanders at most; legs below may have no keypoints."""
        points = self.points[self.inside]
        reach = 0.5 * kp.torso_length(np.column_stack([self.points, self.inside]).astype(np.float32))
        (left, top), (right, _) = points.min(axis=0) - reach, points.max(axis=0) + reach
        far = np.ones(self.labels.shape, bool)
        far[max(0, int(top)) :, max(0, int(left)) : max(0, int(right) + 1)] = False
        if far.any() and (self.labels[far] != lb.BACKGROUND).mean() > CROWD:
            most = int(np.bincount(self.labels[far]).argmax())
            return f"labels elsewhere: far from the keypoints the map has mostly {_name(most)}, not label 0, the background"
        return None

    def why_another_person(self) -> str | None:
        """The keypoints of a body lie on its own map, those of shoulders and arms too."""
        for name, least, joints in (
            ("the keypoints", MIN_ON_BODY, np.flatnonzero(self.inside).tolist()),
            ("the keypoints of shoulders and arms", MIN_ON_ARMS, [joint for joint in ARMS if self.inside[joint]]),
        ):
            on = self.count(joints, range(1, lb.NUM_LABELS), self.close)
            if len(joints) >= 4 and on < least * len(joints):
                return f"keypoints elsewhere: {on} of {len(joints)} of {name} lie on the person of the semantic map"
        return None

    def why_mirrored(self) -> str | None:
        """Left joints should lie on left limbs."""
        right = wrong = 0
        for joint, label in SIDES.items():
            if self.inside[joint]:
                near = self.near(joint)
                ours, others = (int((near == side).sum()) for side in (label, lb.FLIP[label]))
                right, wrong = right + (ours > others), wrong + (others > ours)
        if wrong >= 2 and wrong > 2 * right:
            return (
                f"sides exchanged: {wrong} left or right joints lie on the other side's limb; is map or pose mirrored?"
            )
        return None


def _name(label: int) -> str:
    return f"label {label} ({lb.LABEL_SETS['cihp'][label]})" if label < lb.NUM_LABELS else f"label {label}"
