"""Training samples: a labelled picture, framed as the runtime frames it, in any clothes, room, light and company."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from spgvton import image as im
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.errors import SpgvtonError, UsageError
from spgvton.video import cv2
from spgvton_training.networks.ushape import STRIDE
from spgvton_training.parsing import appearance, scene
from spgvton_training.parsing.framing import draw_matrix, flipped, warp
from spgvton_training.parsing.sources import SUFFIXES, UNKNOWN, Item, Labelled, find, read_labels

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
RARE = (lb.HAT, lb.SUNGLASSES, lb.DRESS, lb.COAT, lb.SKIRT, lb.SCARF, lb.SOCKS, lb.GLOVE)
BORDER = 255  # image.Letterbox's, beyond the camera's picture
PHOTOGRAPH_SIDE = 384  # pixels to which a photograph for backgrounds is reduced


@dataclass(frozen=True)
class SceneConfig:
    """How often what is changed in a rendered picture; PHOTOS' probabilities hold for all folders but those in MPV layout."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    recolour: float = 0.9
    upper_cloth: float = 0.3  # another cloth for the upper clothes
    lower_cloth: float = 0.15
    coat: float = 0.08
    scarf: float = 0.04
    tucked: float = 0.45  # the top tucked into trousers or a skirt
    long_hair: float = 0.3  # hair is made longer
    dark_hair: float = 0.3
    like_hair: float = 0.35  # of the rooms have the colour of the hair
    room: float = 0.85  # another background
    bystander: float = 0.3
    thing: float = 0.25
    nobody: float = 0.06  # people are in the picture, but there are no keypoints
    empty: float = 0.03  # a room alone


RENDERED = SceneConfig()
PHOTOS = SceneConfig(recolour=0.6, upper_cloth=0.15, lower_cloth=0.1, coat=0.03, scarf=0.02, tucked=0.4, room=0.5)


class ParserBatch(NamedTuple):
    """One sample, or a batch of them (N, ...)."""

    picture: Tensor  # uint8 (3, H, W), RGB
    keypoints: Tensor  # float32 (18, 3)
    labels: Tensor  # uint8 (4, H / 2, W / 2): of the four pixels of each of the logits; 255 is not learnt

    def normalised(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """(picture float32 in [-1, 1], keypoints, labels int64) on DEVICE."""
        picture, keypoints, labels = (t.to(device, non_blocking=True) for t in self)
        return picture.float() / 127.5 - 1, keypoints, labels.long()


def pack(person: Labelled) -> ParserBatch:
    """A framed person as one sample."""
    h, w = person.labels.shape
    cells = person.labels.reshape(h // STRIDE, STRIDE, w // STRIDE, STRIDE).transpose(1, 3, 0, 2)
    return ParserBatch(
        torch.from_numpy(np.ascontiguousarray(person.picture.transpose(2, 0, 1))),
        torch.from_numpy(np.ascontiguousarray(person.keypoints, np.float32)),
        torch.from_numpy(np.ascontiguousarray(cells.reshape(STRIDE**2, h // STRIDE, w // STRIDE))),
    )


class Photographs:
    """Pictures without people, for backgrounds and cloth, reduced and kept in memory as they are needed.

    Each of FOLDERS is drawn as often as any other. Raises SpgvtonError for one without a photograph.
    """

    def __init__(self, folders: Sequence[str | Path]) -> None:
        self._folders = [sorted(p for p in Path(f).rglob("*") if p.suffix.lower() in SUFFIXES) for f in folders]
        for folder, found in zip(folders, self._folders):
            if not found:
                raise SpgvtonError(f"{folder} holds no photograph")
        self._read: dict[Path, UInt8] = {}

    @property
    def files(self) -> list[Path]:
        return [file for files in self._folders for file in files]

    def __bool__(self) -> bool:
        return bool(self._folders)

    def draw(self, rng: np.random.Generator) -> UInt8:
        """One of them, RGB uint8 (h, w, 3). Raises SpgvtonError."""
        files = self._folders[int(rng.integers(len(self._folders)))]
        file = files[int(rng.integers(len(files)))]
        if file not in self._read:
            picture = im.read(file)
            scale = min(1.0, PHOTOGRAPH_SIDE / max(picture.shape[:2]))
            size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
            self._read[file] = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        return self._read[file]


def _with_rare(items: list[Item]) -> list[Item]:
    """Those of ITEMS whose maps hold one of RARE. Raises SpgvtonError."""
    bar = tqdm(items, desc="look for rare labels", unit="map", leave=False)
    return [item for item in bar if np.isin(RARE, read_labels(item.labels, item.label_set)).any()]


class ParserData(Dataset[ParserBatch]):
    """Endless samples; the same for the same (seed, index), whatever worker makes them.

    roots: folders (sources.find); shares: how often each is drawn, default: by the square root of its size. photographs:
    folders of pictures without people. rare: share of the samples whose picture holds one of RARE; all pictures are looked through
    for those first. Raises SpgvtonError for a folder without labelled pictures.
    """

    def __init__(
        self, roots: Sequence[str | Path], size: tuple[int, int], *, label_set: str = "cihp",
        shares: Sequence[float] = (), photographs: Sequence[str | Path] = (), seed: int = 0,
        rendered: SceneConfig = RENDERED, photos: SceneConfig = PHOTOS, rare: float = 0.0,
    ) -> None:  # fmt: skip
        if shares and len(shares) != len(roots):
            raise UsageError(f"--shares has {len(shares)} numbers for {len(roots)} folders of --data")
        self.size, self.seed = size, seed
        self.roots = [find(root, label_set) for root in roots]
        self.scenes = [rendered if (Path(root) / "parse_cihp").is_dir() else photos for root in roots]
        weights = np.array(shares or [len(items) ** 0.5 for items in self.roots], float)
        if (weights < 0).any() or weights.sum() <= 0:
            raise UsageError(f"--shares must be positive, got {list(shares)}")
        self.shares = weights / weights.sum()
        self.photographs = Photographs(photographs)
        self.rare = rare
        self._with_rare = [_with_rare(items) if rare else [] for items in self.roots]

    @property
    def items(self) -> list[Item]:
        return [item for items in self.roots for item in items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> ParserBatch:
        return pack(self.sample(index))

    def sample(self, index: int) -> Labelled:
        """Sample INDEX, framed and changed."""
        rng = np.random.default_rng((self.seed, index))
        root = self._root(rng)
        config = self.scenes[root]
        if rng.random() < config.empty:
            room = scene.room(rng, self.size, self._photograph(rng))
            person = Labelled(room, np.zeros(self.size, np.uint8), np.zeros((kp.NUM_KEYPOINTS, 3), np.float32))
        elif rng.random() < config.nobody:
            person = scene.nobody(self._person(root, rng, far=rng.random() < 0.5))
        else:
            person = self._person(root, rng)
            if rng.random() < config.thing:
                person = scene.add_thing(person, rng, self._photograph(rng))
        lit = appearance.light(person.picture.astype(np.float32), rng)
        keypoints = appearance.worse_keypoints(person.keypoints, rng, self.size[0] / 256)
        return Labelled(appearance.camera(lit, rng), person.labels, keypoints)

    def _person(self, root: int, rng: np.random.Generator, *, far: bool = False) -> Labelled:
        """Somebody of folder ROOT in other clothes, in a room, with or without others. far: small, anywhere."""
        person, outside = self._framed(root, rng, far)
        return self._placed(self._dressed(person, self.scenes[root], rng), outside, self.scenes[root], rng, far)

    def _root(self, rng: np.random.Generator) -> int:
        return int(rng.choice(len(self.roots), p=self.shares))

    def _framed(self, root: int, rng: np.random.Generator, far: bool = False) -> tuple[Labelled, NDArray[np.bool_]]:
        """A person of folder ROOT, and where the frame lies outside of the picture."""
        items = self._with_rare[root] if rng.random() < self.rare else []
        items = items or self.roots[root]
        person = items[int(rng.integers(len(items)))].read(int(rng.integers(2)))
        matrix = draw_matrix(rng, person.keypoints, person.labels.shape, self.size, far=far)
        framed, outside = warp(person, matrix, self.size)
        if rng.random() < 0.5:
            framed, outside = flipped(framed), outside[:, ::-1]
        return framed, outside

    def _cloth(self, rng: np.random.Generator) -> UInt8:
        """The middle of a photograph, which shows a garment most of the time, or a pattern."""
        if not self.photographs or rng.random() < 0.4:
            return appearance.pattern(rng)
        picture = self.photographs.draw(rng)
        h, w = picture.shape[:2]
        half = rng.uniform(0.1, 0.35)
        y, x = (0.5 + rng.uniform(-0.1, 0.1, 2)) * (h, w)
        return picture[int(y - half * h) : int(y + half * h) + 1, int(x - half * w) : int(x + half * w) + 1]

    def _photograph(self, rng: np.random.Generator) -> scene.Photograph | None:
        return (lambda: self.photographs.draw(rng)) if self.photographs else None

    def _dressed(self, person: Labelled, config: SceneConfig, rng: np.random.Generator) -> Labelled:
        picture, labels, keypoints = person
        if rng.random() < config.tucked:
            picture, labels = appearance.tucked(picture, labels, keypoints, rng)
        if rng.random() < config.recolour:
            picture = appearance.recolour(picture, labels, rng, rng.uniform(0.3, 1))
        if rng.random() < config.long_hair:
            picture, labels, keypoints = scene.add_hair(Labelled(picture, labels, keypoints), rng)
        if rng.random() < config.dark_hair:
            picture = appearance.dark_hair(picture, labels, rng)
        for ids, chance in ((appearance.UPPER, config.upper_cloth), (appearance.LOWER, config.lower_cloth)):
            if rng.random() < chance:
                picture = appearance.clothe(picture, np.isin(labels, ids), self._cloth(rng), rng)
        if rng.random() < config.coat:
            picture, labels = appearance.open_coat(picture, labels, keypoints, self._cloth(rng), rng)
        person = Labelled(picture, labels, keypoints)
        return scene.add_scarf(person, self._cloth(rng), rng) if rng.random() < config.scarf else person

    def _placed(
        self, person: Labelled, outside: NDArray[np.bool_], config: SceneConfig, rng: np.random.Generator, far: bool
    ) -> Labelled:  # fmt: skip
        changed = far or rng.random() < config.room
        if changed or outside.any():
            share = 1.0 if rng.random() < 0.8 else float(rng.uniform(0.3, 1))
            background = scene.room(rng, self.size, self._photograph(rng)).copy()
            if rng.random() < config.like_hair:
                background = scene.like_hair(background, person, rng)
            if not far and rng.random() < 0.5:
                background[outside] = BORDER
            person = scene.put_before(person, background, outside, share if changed else 0.0)
        if rng.random() < config.bystander:
            root = self._root(rng)
            other, beyond = self._framed(root, rng, far)
            other = self._dressed(other, self.scenes[root], rng)
            labels = np.where(beyond | (other.labels == UNKNOWN), np.uint8(lb.BACKGROUND), other.labels)
            person = scene.add_bystander(person, other._replace(labels=labels), rng)
        return person
