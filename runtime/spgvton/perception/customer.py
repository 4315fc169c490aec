"""Which pixels are the customer's where a network says "person" for everybody in the picture."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.perception import skeleton as sk
from spgvton.perception.skeleton import Skeleton
from spgvton.video import cv2

Mask = NDArray[np.bool_]

LOOSE: Final = 6.0  # half widths from the nearest part that hair and wide clothes may reach
TIGHT: Final = 2.2  # likewise, where somebody else stands in touch with the customer
HEAD_SHARE: Final = 0.1  # a head is at least this share of the customer's head in area
HEAD_NEAR: Final = 1.6  # half widths from the customer's head within which a head is theirs
OWN: Final = 0.5  # within which it surely is
FACE_NEAR: Final = 1.2  # beyond which most of a face that does not touch theirs is somebody else's
MIN_PIXELS: Final = 12  # less is no person


def customer(person: Mask, face: Mask, hair: Mask, skeleton: Skeleton) -> tuple[Mask, bool]:
    """The customer's pixels (H, W) among those of all PERSONs (H, W): what hangs together with their bones.

    face, hair: pixels (H, W) of anybody's. Where another head hangs together with the customer, only what is near the
    customer's bones is theirs, and the second value is True: parts of the other person may be among it.
    """
    lines = _bones(skeleton, (person.shape[0], person.shape[1]))
    closest = skeleton.distance.min(axis=0)
    mine = person & (closest < LOOSE)
    mine = _touching(mine, lines)
    strangers = _strangers(face & mine, hair & mine, skeleton)
    if strangers.any():
        mine &= ~strangers & (closest < TIGHT)
        mine = _touching(mine, lines)
    return (mine if mine.sum() >= MIN_PIXELS else np.zeros_like(mine)), bool(strangers.any())


def _bones(skeleton: Skeleton, size: tuple[int, int]) -> Mask:
    lines = [line for part in skeleton.lines for line in part]
    return sk.draw(lines, size, max(1, round(0.06 * skeleton.torso))) > 0


def _touching(mask: Mask, lines: Mask) -> Mask:
    """The connected pieces of MASK that LINES run through."""
    count, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    keep = np.zeros(count, bool)
    keep[pieces[lines & mask]] = True
    keep[0] = False
    return np.asarray(keep[pieces])


def _strangers(face: Mask, hair: Mask, skeleton: Skeleton) -> Mask:
    """Heads (H, W) among FACE and HAIR (H, W) that are not the customer's: away from their head, or with a face beside it."""
    away = skeleton.distance[sk.HEAD]
    heads, faces = _pieces(face | hair, skeleton), _pieces(face, skeleton)
    own = [piece for piece in heads if away[piece].min() < OWN]
    strange = np.zeros_like(face)
    for piece in (piece for piece in faces if away[piece].min() > OWN and np.median(away[piece]) > FACE_NEAR):
        strange |= piece
    for piece in heads:
        if away[piece].min() >= HEAD_NEAR or (strange[piece].any() and not any((piece & one).any() for one in own)):
            strange |= piece
    return strange


def _pieces(mask: Mask, skeleton: Skeleton) -> list[Mask]:
    """The connected pieces of MASK (H, W) that are large enough for a head."""
    size = HEAD_SHARE * np.pi * (sk.HALF_WIDTH[sk.HEAD] * skeleton.torso) ** 2
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return [pieces == i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] > size]
