"""A human parser of your own: an object with `label_set` that turns a picture and keypoints into 20 labels.

This one corrects the shipped parser: what it calls a coat is taken for upper clothes. A network in ONNX needs no code at all:
spgvton try me.jpg shirt.jpg --parser schp.onnx (docs/parsing.md).
python examples/own_parser.py ME.jpg SHIRT.jpg OUT.jpg
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from spgvton import TryOn, image, labels
from spgvton.perception.multiclass import MulticlassParser


class NoCoats:
    """label_set: "cihp" or "lip", what label 10 means."""

    label_set = "cihp"

    def __init__(self) -> None:
        self.shipped = MulticlassParser()

    def __call__(self, picture: NDArray[np.uint8], keypoints: NDArray[np.float32]) -> NDArray[np.uint8]:
        """RGB (h, w, 3) and keypoints (18, 3) in its pixels -> label ids (h, w)."""
        found = self.shipped(picture, keypoints).copy()
        found[found == labels.COAT] = labels.UPPER_CLOTHES
        return found


def main(me: str, shirt: str, out: str) -> None:
    tryon = TryOn(parser=NoCoats())
    tryon.set_garment(image.read(shirt))
    image.write(out, tryon.live(image.read(me)))


if __name__ == "__main__":
    main(*sys.argv[1:4])
