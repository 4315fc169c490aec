"""What else is in a training picture: the room, other people, and things in front of the customer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.video import cv2
from spgvton_training.cutout import surfaces
from spgvton_training.parsing.appearance import noise, soft
from spgvton_training.parsing.network import SOMEBODY_ELSE
from spgvton_training.parsing.sources import UNKNOWN, Labelled

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Mask = NDArray[np.bool_]
Photograph = Callable[[], UInt8]

HIDDEN: Final = 0.35  # of the customer that somebody in front may cover
ARMS: Final = (lb.LEFT_ARM, lb.RIGHT_ARM)


def room(rng: np.random.Generator, size: tuple[int, int], photograph: Photograph | None) -> UInt8:
    """A background, uint8 (H, W, 3): foliage, a wall, planks, noise, shapes, or a piece of a photograph."""
    kind = rng.random()
    if photograph is not None and kind < 0.5:
        return _piece(photograph(), rng, size)
    if rng.random() < 0.2:
        return _foliage(rng, size)
    if rng.random() < 0.15:
        return _piece(surfaces.draw(rng, max(size)), rng, size)
    h, w = size
    out = rng.integers(0, 256, 3).astype(np.float32) * np.ones((h, w, 3), np.float32)
    if kind < 0.65:
        out *= np.linspace(rng.uniform(0.6, 1.3), rng.uniform(0.6, 1.3), h, dtype=np.float32)[:, None, None]
    else:
        out += noise(rng, size, 3 if rng.random() < 0.5 else 1) * np.float32(rng.uniform(4, 40))
    if kind > 0.75:
        _shapes(out, rng)
    return np.clip(out, 0, 255).astype(np.uint8)


def _foliage(rng: np.random.Generator, size: tuple[int, int]) -> UInt8:
    """Leaves, the farther the darker, with gaps of sky or wall between: much like hair, and none."""
    h, w = size
    green = np.array([rng.uniform(0.4, 1.0), 1.0, rng.uniform(0.2, 0.7)], np.float32)
    deep = np.float32(rng.uniform(5, 60))
    out = np.full((h, w, 3), rng.uniform(0, 255) if rng.random() < 0.3 else deep, np.float32) * green
    length = rng.uniform(2, 12)
    for layer in np.linspace(0, 1, int(rng.integers(2, 5))):
        bright = deep + layer * rng.uniform(20, 160)
        for x, y in zip(rng.integers(0, w, 250), rng.integers(0, h, 250)):
            colour = green * float(bright * np.exp(rng.normal(0, 0.35)))
            axes = (max(1, int(length * rng.uniform(0.5, 1.6))), max(1, int(length * rng.uniform(0.2, 0.6))))
            cv2.ellipse(out, (int(x), int(y)), axes, float(rng.uniform(0, 180)), 0, 360, colour.tolist(), -1)
    out += noise(rng, size) * np.float32(rng.uniform(0, 15))
    blurred = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.3, 4))
    return np.clip(blurred, 0, 255).astype(np.uint8)


def like_hair(background: UInt8, person: Labelled, rng: np.random.Generator) -> UInt8:
    """BACKGROUND (H, W, 3) in the colour of PERSON's hair round the head, or everywhere: where outlines of hair are lost."""
    hair = (person.labels == lb.HAIR).astype(np.uint8)
    if hair.sum() < 20:
        return background
    reach = max(3, round(0.5 * float(hair.sum()) ** 0.5))
    ring = cv2.dilate(hair, np.ones((2 * reach + 1,) * 2, np.uint8)) > 0
    wanted = person.picture[hair > 0].mean(0) * np.exp(rng.normal(0, 0.3))
    gain = (wanted + 4) / (background[ring].mean(0) + 4)
    gain = gain.mean() * (gain / gain.mean()) ** rng.uniform(0, 1)
    share = np.ones(hair.shape, np.float32)
    if rng.random() < 0.5:
        share = cv2.GaussianBlur(ring.astype(np.float32), (0, 0), reach * rng.uniform(0.5, 2))
    changed = background * (1 + share[..., None] * (gain.astype(np.float32) - 1))
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def _piece(picture: UInt8, rng: np.random.Generator, size: tuple[int, int]) -> UInt8:
    (h, w), (rows, columns) = picture.shape[:2], size
    scale = max(rows / h, columns / w) * float(np.exp(rng.uniform(0, 1.2)))
    cut = (min(h, round(rows / scale)), min(w, round(columns / scale)))
    y, x = rng.integers(0, h - cut[0] + 1), rng.integers(0, w - cut[1] + 1)
    out = cv2.resize(picture[y : y + cut[0], x : x + cut[1]], (columns, rows), interpolation=cv2.INTER_LINEAR)
    return np.asarray(out[:, ::-1] if rng.random() < 0.5 else out, np.uint8)


def _shapes(out: Float, rng: np.random.Generator) -> None:
    """Furniture, frames, pillars, foliage: nothing that is anything."""
    h, w = out.shape[:2]
    for _ in range(rng.integers(3, 22)):
        colour = tuple(float(v) for v in rng.integers(0, 256, 3))
        a, b = ((int(rng.integers(0, w)), int(rng.integers(0, h))) for _ in range(2))
        kind = rng.integers(3)
        if kind == 0:
            cv2.rectangle(out, a, b, colour, int(rng.choice([-1, 1, 2, 4])))
        elif kind == 1:
            axes = (int(rng.integers(3, 60)), int(rng.integers(3, 60)))
            cv2.ellipse(out, a, axes, float(rng.integers(0, 180)), 0, 360, colour, -1)
        else:
            cv2.line(out, a, b, colour, int(rng.integers(1, 9)))
    cv2.GaussianBlur(out, (0, 0), rng.uniform(0.3, 3), dst=out)


def put_before(person: Labelled, background: UInt8, outside: Mask, share: float = 1.0) -> Labelled:
    """PERSON before BACKGROUND (H, W, 3); SHARE < 1 lets the person's own background through. OUTSIDE (H, W) shows BACKGROUND alone."""
    hers = soft((person.labels != lb.BACKGROUND) & ~outside)
    own = person.picture.astype(np.float32)
    behind = background * share + own * (1 - share)
    behind[outside] = background[outside]
    picture = behind + hers * (own - behind)
    return person._replace(picture=np.rint(picture).astype(np.uint8))


def add_bystander(person: Labelled, other: Labelled, rng: np.random.Generator) -> Labelled:
    """OTHER, framed like PERSON, beside or before them: somebody else, whose keypoints do not count."""
    h, w = person.labels.shape
    scale = float(np.exp(rng.normal(-0.1, 0.3)))
    side = rng.choice([-1, 1]) * rng.uniform(0.12, 0.62) * w
    matrix = np.array(
        [[scale, 0, (1 - scale) * w / 2 + side], [0, scale, (1 - scale) * h / 3 + rng.normal(0, 0.08) * h]]
    )
    picture = cv2.warpAffine(other.picture, matrix, (w, h), flags=cv2.INTER_LINEAR)
    theirs = cv2.warpAffine((other.labels > 0).astype(np.uint8), matrix, (w, h), flags=cv2.INTER_NEAREST) > 0
    hers = (person.labels > 0) & (person.labels != SOMEBODY_ELSE)
    if rng.random() < 0.65 or (theirs & hers).sum() > HIDDEN * max(1, hers.sum()):
        theirs &= ~hers
    alpha = soft(theirs)
    mixed = person.picture + alpha * (picture.astype(np.float32) - person.picture)
    labels = np.where(theirs, np.uint8(SOMEBODY_ELSE), person.labels)
    return person._replace(picture=np.rint(mixed).astype(np.uint8), labels=labels)


def nobody(person: Labelled) -> Labelled:
    """The same picture without keypoints: then everybody is somebody else."""
    labels = person.labels.copy()
    labels[(labels > 0) & (labels != UNKNOWN)] = SOMEBODY_ELSE
    return Labelled(person.picture, labels, np.zeros_like(person.keypoints))


def _point(at: NDArray[np.floating]) -> tuple[int, int]:
    return round(float(at[0])), round(float(at[1]))


def _box(where: UInt8, at: NDArray[np.floating], size: NDArray[np.floating], angle: float) -> None:
    """Mark a turned rectangle of SIZE (width, height) about AT in WHERE (H, W)."""
    corners = cv2.boxPoints(((float(at[0]), float(at[1])), (float(size[0]), float(size[1])), angle))
    cv2.fillPoly(where, [np.rint(corners).astype(np.int32)], (1,))


def _stain(person: Labelled, where: UInt8, colours: NDArray[np.generic], label: int) -> Labelled:
    """COLOURS (H, W, 3), and LABEL, WHERE (H, W) is not 0."""
    alpha = soft(where > 0)
    mixed = person.picture + alpha * (np.asarray(colours, np.float32) - person.picture)
    labels = np.where(where > 0, np.uint8(label), person.labels)
    return person._replace(picture=np.rint(mixed).astype(np.uint8), labels=labels)


def _phone(k: Float, labels: UInt8, rng: np.random.Generator) -> UInt8 | None:
    """A phone at a hand, with the fingers before it or behind; None where no hand is seen."""
    hands = [k[i, :2] for i in (kp.R_WRIST, kp.L_WRIST) if k[i, 2] > 0]
    if not hands:
        return None
    torso, where = kp.torso_length(k), np.zeros(labels.shape, np.uint8)
    at = hands[rng.integers(len(hands))] + rng.normal(0, 0.08, 2) * torso
    _box(where, at, rng.uniform((0.13, 0.25), (0.2, 0.4)) * torso, float(rng.uniform(-40, 40)))
    if rng.random() < 0.5:
        where[np.isin(labels, ARMS)] = 0
    return where


def _bag(k: Float, labels: UInt8, rng: np.random.Generator) -> UInt8 | None:
    """A bag at a hip with its strap over the other shoulder; None where these are not seen."""
    hip, shoulder = (kp.R_HIP, kp.L_SHOULDER) if rng.random() < 0.5 else (kp.L_HIP, kp.R_SHOULDER)
    if k[hip, 2] <= 0 or k[shoulder, 2] <= 0:
        return None
    torso, where = kp.torso_length(k), np.zeros(labels.shape, np.uint8)
    at = k[hip, :2] + rng.normal(0, 0.15, 2) * torso
    _box(where, at, rng.uniform(0.3, 0.75, 2) * torso, float(rng.normal(0, 12)))
    cv2.line(where, _point(at), _point(k[shoulder]), (1,), int(rng.integers(1, 5)))
    return where


def _anything(labels: UInt8, rng: np.random.Generator) -> UInt8:
    h, w = labels.shape
    where = np.zeros((h, w), np.uint8)
    axes = (int(rng.integers(5, 34)), int(rng.integers(5, 34)))
    middle = (int(rng.integers(0, w)), int(rng.integers(0, h)))
    cv2.ellipse(where, middle, axes, float(rng.integers(0, 180)), 0, 360, (1,), -1)
    return where


def add_thing(person: Labelled, rng: np.random.Generator, photograph: Photograph | None) -> Labelled:
    """A phone or a bag, which are background, or anything in front of her: what that hides is unknown."""
    _, labels, k = person
    kind, label = rng.random(), lb.BACKGROUND
    where = _phone(k, labels, rng) if kind < 0.35 else _bag(k, labels, rng) if kind < 0.65 else None
    if where is None:
        where, label = _anything(labels, rng), UNKNOWN
    size = (labels.shape[0], labels.shape[1])
    if photograph is not None and rng.random() < 0.5:
        return _stain(person, where, _piece(photograph(), rng, size), label)
    colours = rng.integers(0, 256, 3) * rng.uniform(0.2, 1) + noise(rng, size) * np.float32(rng.uniform(0, 20))
    return _stain(person, where, np.clip(colours, 0, 255), label)


def add_hair(person: Labelled, rng: np.random.Generator) -> Labelled:
    """Hair that falls beside the neck onto shoulders and chest, in the colour of the person's own: few pictures show any."""
    picture, labels, k = person
    nose, right, left = k[kp.NOSE], k[kp.R_SHOULDER], k[kp.L_SHOULDER]
    own = labels == lb.HAIR
    width = float(np.linalg.norm(right[:2] - left[:2]))
    if min(nose[2], right[2], left[2]) <= 0 or own.sum() < 30 or width < 10:
        return person
    level = float(nose[1] - rng.uniform(0.1, 0.25) * width)  # where it leaves the head
    head = np.flatnonzero(np.isin(labels[int(max(0, level)) : int(max(0, level)) + 3], (lb.HAIR, lb.FACE)).any(axis=0))
    if len(head) < 4:
        return person
    where, length = np.zeros(labels.shape, np.uint8), rng.uniform(0.35, 1.1) * kp.torso_length(k)
    for side in (-1, 1):
        if rng.random() < 0.15:
            continue  # all of it on one side
        thick, t = rng.uniform(0.08, 0.36) * width, np.linspace(0, 1, 9)
        edge = float(head[-1] if side > 0 else head[0])
        drift = rng.uniform(-0.05, 0.35) * t**1.5 + rng.normal(0, 0.012, 9)
        middle = edge + side * (width * drift - 0.3 * thick)
        half = thick * (0.55 + 0.6 * np.sin(np.pi * (0.15 + 0.8 * t))) * np.exp(rng.normal(0, 0.08, 9)) / 2
        y = level + t * length * np.exp(rng.normal(0, 0.08))
        outline = np.concatenate([np.stack([middle - half, y], 1), np.stack([middle + half, y], 1)[::-1]])
        cv2.fillPoly(where, [np.rint(outline).astype(np.int32)], (1,))
    where[np.isin(labels, (lb.FACE, lb.SUNGLASSES, lb.HAT, SOMEBODY_ELSE))] = 0
    strands = cv2.resize(rng.normal(0, 1, (6, labels.shape[1] // 2)).astype(np.float32), labels.shape[::-1])
    colours = picture[own].mean(0) * np.exp(strands[..., None] * np.float32(rng.uniform(0.05, 0.3)))
    return _stain(person, where, np.clip(colours, 0, 255), lb.HAIR)


def add_scarf(person: Labelled, cloth: UInt8, rng: np.random.Generator) -> Labelled:
    """A scarf round the neck."""
    k = person.keypoints
    neck, nose = k[kp.NECK], k[kp.NOSE]
    if min(neck[2], nose[2], k[kp.R_SHOULDER, 2], k[kp.L_SHOULDER, 2]) <= 0:
        return person
    width = float(np.linalg.norm(k[kp.R_SHOULDER, :2] - k[kp.L_SHOULDER, :2]))
    at = neck[:2] + rng.uniform(0.05, 0.3) * (nose[:2] - neck[:2])
    where = np.zeros(person.labels.shape, np.uint8)
    axes = (round(width * rng.uniform(0.22, 0.36)), round(width * rng.uniform(0.1, 0.22)))
    cv2.ellipse(where, _point(at), axes, float(rng.normal(0, 8)), 0, 360, (1,), -1)
    if rng.random() < 0.5:
        end = at + np.array([rng.normal(0, 0.1), rng.uniform(0.4, 1.1)]) * width
        cv2.line(where, _point(at), _point(end), (1,), max(2, round(width * rng.uniform(0.1, 0.22))))
    body = np.isin(person.labels, (*lb.clothes("cihp"), lb.TORSO_SKIN, lb.BACKGROUND, SOMEBODY_ELSE))
    where[~body] = 0
    return _stain(person, where, cv2.resize(cloth, where.shape[::-1]), lb.SCARF)
