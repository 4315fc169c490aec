"""The shipped demo: a clip of a moving synthetic person, their picture and semantic map, the empty room, three garments."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton import image as im
from spgvton.labels import check_semantic_map
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
GARMENTS: Final = 3


class ShopGarment(NamedTuple):
    """One shipped garment: in-shop picture RGB (H, W, 3) and mask (H, W), 255 = garment."""

    picture: UInt8
    mask: UInt8


@dataclass(frozen=True)
class DemoAssets:
    """Files of the demo. Pictures are RGB uint8; clip, person, map and room are 720 x 540 (height x width), garments 1024 x 768.

    Examples:
        >>> from spgvton import DemoAssets
        >>> picture, labels = DemoAssets.open().person()
        >>> picture.shape, labels.shape, DemoAssets.open().keypoints().shape
        ((720, 540, 3), (720, 540), (180, 18, 3))
    """

    folder: Path

    @staticmethod
    def open() -> DemoAssets:
        return DemoAssets(Path(str(resources.files("spgvton") / "assets" / "demo")))

    @property
    def clip(self) -> Path:
        return self.folder / "clip.mp4"

    def person(self) -> tuple[UInt8, UInt8]:
        """The source picture (H, W, 3) and its semantic map (H, W), CIHP labels."""
        labels = im.read(self.folder / "person_parsing.png", flags=cv2.IMREAD_UNCHANGED)
        return im.read(self.folder / "person.jpg"), check_semantic_map(labels)

    def room(self) -> UInt8:
        """What the clip's camera sees when nobody is there (H, W, 3)."""
        return im.read(self.folder / "room.jpg")

    def garment(self, number: int) -> ShopGarment:
        """Garment 1, 2 or 3."""
        picture = im.read(self.folder / f"garment_{number}.jpg")
        return ShopGarment(picture, im.read(self.folder / f"garment_{number}_mask.png", flags=cv2.IMREAD_GRAYSCALE))

    def garments(self) -> list[ShopGarment]:
        """All of them, in the order in which the demo wears them."""
        return [self.garment(number) for number in range(1, GARMENTS + 1)]

    def keypoints(self) -> NDArray[np.float32]:
        """The renderer's exact keypoints of every frame of the clip (frames, 18, 3)."""
        return np.asarray(json.loads((self.folder / "clip_keypoints.json").read_text()), np.float32)
