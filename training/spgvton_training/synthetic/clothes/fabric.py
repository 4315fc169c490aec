"""Real cloth on rendered garments: patches of photographs, laid on the garment's plane."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import image
from spgvton.errors import UsageError
from spgvton.video import cv2
from spgvton_training.synthetic.drawing.arrays import Float

UInt8 = NDArray[np.uint8]

SHARE: Final = 0.6  # of the garments that get a fabric, where there are fabrics
MIDDLE: Final = 0.42  # of a photograph's width and height: that much of its middle is taken for cloth
OPAQUE_MIDDLE: Final = 0.6  # of a cut-out's
MIN_OPAQUE: Final = 0.9  # share of the patch that must be opaque
TEST_SHARE: Final = 8  # one fabric in so many is the test split's
SIDE: Final = 256  # pixels of a patch, at most


@dataclass(frozen=True)
class Fabrics:
    """The fabrics of one split, by file."""

    paths: tuple[Path, ...]

    @staticmethod
    def of(folder: Path, split: str) -> Fabrics:
        """Those of the pictures in FOLDER, at any depth, that SPLIT may use; no picture is in both. Raises UsageError."""
        found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in image.SUFFIXES)
        chosen = tuple(p for p in found if _is_test(p) == (split == "test"))
        if not chosen:
            raise UsageError(f"--fabrics {folder}: no pictures for the {split} split; give a folder of at least 20")
        return Fabrics(chosen)

    def sample(self, rng: np.random.Generator) -> Path | None:
        """A fabric, or None: plain and drawn prints stay among the garments."""
        index, chance = int(rng.integers(len(self.paths))), rng.random()
        return self.paths[index] if chance < SHARE else None

    def digest(self) -> str:
        """Of the files' names: another set gives other pictures."""
        return hashlib.sha256("\n".join(p.name for p in self.paths).encode()).hexdigest()[:16]


def _is_test(path: Path) -> bool:
    return int(hashlib.sha256(path.name.encode()).hexdigest(), 16) % TEST_SHARE == 0


@lru_cache(maxsize=16)
def patch(path: Path) -> UInt8:
    """The cloth in the picture at PATH, RGB (h, w, 3): its middle, or that of what is opaque. Raises SpgvtonError."""
    picture = image.read_colour(path, keep_alpha=True)
    if picture.shape[2] == 4:
        alpha = picture[..., 3]
        left, top, width, height = cv2.boundingRect((alpha > 127).astype(np.uint8))
        picture, share = picture[top : top + height, left : left + width], OPAQUE_MIDDLE
    else:
        share = MIDDLE
    h, w = picture.shape[:2]
    top, left = round(h * (1 - share) / 2), round(w * (1 - share) / 2)
    cut = picture[top : max(top + 1, h - top), left : max(left + 1, w - left)]
    if cut.shape[2] == 4 and (cut[..., 3] > 127).mean() < MIN_OPAQUE:
        raise UsageError(f"{path}: the middle of this cut-out is transparent: take it out of the fabrics")
    scale = min(1.0, SIDE / max(cut.shape[:2]))
    size = max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale))
    return np.asarray(cv2.resize(np.ascontiguousarray(cut[..., :3]), size, interpolation=cv2.INTER_AREA), np.uint8)


def draw_fabric(path: Path, x: Float, y: Float, width: float, rng: np.random.Generator) -> Float:
    """The fabric (H, W, 3) in [0, 255] on flat coordinates x (1, W) and y (H, 1), in decimetres.

    WIDTH: decimetres that the patch is wide; it is mirrored beyond. rng: where it begins.
    """
    cloth = patch(path)
    scale = cloth.shape[1] / width
    begin = rng.uniform(0, 1, 2)
    u = (x - x.min()) * scale + begin[0] * cloth.shape[1]
    v = (y.max() - y) * scale + begin[1] * cloth.shape[0]
    shape = len(y), x.shape[1]
    across, down = (np.ascontiguousarray(np.broadcast_to(m, shape), np.float32) for m in (u, v))
    drawn = cv2.remap(cloth, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return drawn.astype(np.float32)
