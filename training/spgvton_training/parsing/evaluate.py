"""How well a parser network labels: intersection over union on pictures framed as the runtime frames them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from spgvton import image as im
from spgvton import labels as lb
from spgvton.live.framing import LiveFraming
from spgvton.video import cv2
from spgvton_training.parsing.framing import boxed
from spgvton_training.parsing.network import SOMEBODY_ELSE, ParserNetwork
from spgvton_training.parsing.sources import UNKNOWN, Item, Labelled

UInt8 = NDArray[np.uint8]

GROUPS: Final[dict[str, tuple[int, ...]]] = {
    "person": tuple(range(1, lb.NUM_LABELS)),
    "upper clothes": lb.clothes("cihp"),
    "lower clothes": (lb.PANTS, lb.SKIRT),
    "clothes": (*lb.clothes("cihp"), lb.PANTS, lb.SKIRT, lb.SCARF, lb.SOCKS, lb.GLOVE),
    "skin": (lb.FACE, lb.TORSO_SKIN, lb.LEFT_ARM, lb.RIGHT_ARM, lb.LEFT_LEG, lb.RIGHT_LEG),
    "arms": (lb.LEFT_ARM, lb.RIGHT_ARM),
    "hair": (lb.HAIR,),
    "face": (lb.FACE,),
}


def framed(item: Item, size: tuple[int, int], which: int = 0) -> Labelled:
    """ITEM as live mode's first answer would frame it. which: of its keypoints."""
    person = item.read(which)
    height, width = person.labels.shape
    return boxed(person, LiveFraming()(person.keypoints, (height, width), size, long=False))


@torch.no_grad()
def predict(network: ParserNetwork, people: Sequence[Labelled]) -> UInt8:
    """The customer's labels (N, H, W) of framed PEOPLE; everybody else is background, as in the runtime."""
    device = next(network.parameters()).device
    pictures = torch.from_numpy(np.stack([im.normalise(p.picture) for p in people])).to(device)
    keypoints = torch.from_numpy(np.stack([p.keypoints for p in people])).to(device)
    logits: Tensor = F.interpolate(network(pictures, keypoints), scale_factor=2.0, mode="bilinear", align_corners=False)
    labels = logits.argmax(1).to(torch.uint8).cpu().numpy()
    labels[labels == SOMEBODY_ELSE] = lb.BACKGROUND
    return np.asarray(labels, np.uint8)


class Confusion:
    """Counts of (true, predicted) label, from which every intersection over union follows."""

    def __init__(self) -> None:
        self.counts = np.zeros((lb.NUM_LABELS, lb.NUM_LABELS), np.int64)

    def add(self, truth: UInt8, predicted: UInt8) -> None:
        """Maps of one size. Pixels unknown in TRUTH do not count; somebody else is background."""
        known = truth != UNKNOWN
        true = np.where(truth == SOMEBODY_ELSE, lb.BACKGROUND, truth)[known].astype(np.int64)
        pairs = true * lb.NUM_LABELS + predicted[known]
        self.counts += np.bincount(pairs, minlength=lb.NUM_LABELS**2).reshape(self.counts.shape)

    def iou(self, ids: Sequence[int]) -> float:
        """Of the union of labels IDS; NaN where neither map has any."""
        ids = list(ids)
        hit = self.counts[np.ix_(ids, ids)].sum()
        either = self.counts[ids].sum() + self.counts[:, ids].sum() - hit
        return float(hit / either) if either else float("nan")

    def scores(self) -> dict[str, float]:
        """IoU of GROUPS and of each label that the truth has ("label dress"), and their mean "mIoU"."""
        of_labels = {i: self.iou([i]) for i in range(lb.NUM_LABELS) if self.counts[i].any()}
        names = lb.LABEL_SETS["cihp"]
        return {
            "mIoU": float(np.mean(list(of_labels.values()))),
            **{name: self.iou(ids) for name, ids in GROUPS.items() if self.counts[list(ids)].any()},
            **{f"label {names[i]}": value for i, value in of_labels.items()},
        }


def evaluate(network: ParserNetwork, people: Iterable[Labelled]) -> dict[str, float]:
    """Confusion.scores() of framed PEOPLE. NETWORK is in evaluation mode."""
    confusion = Confusion()
    for person in people:
        confusion.add(person.labels, predict(network, [person])[0])
    return confusion.scores()


def sheet(network: ParserNetwork, people: Sequence[Labelled], columns: int = 4) -> UInt8:
    """A picture of PEOPLE, each beside what the network says and what is true."""
    palette = np.full((256, 3), 90, np.uint8)
    palette[: lb.NUM_LABELS], palette[SOMEBODY_ELSE] = lb.PALETTE, 255
    cells = [
        np.hstack([p.picture, *((0.35 * p.picture + 0.65 * palette[m]).astype(np.uint8) for m in (made, p.labels))])
        for p, made in zip(people, predict(network, people))
    ]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    rows = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    picture = np.vstack(rows)
    return np.asarray(cv2.resize(picture, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA), np.uint8)
