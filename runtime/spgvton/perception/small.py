"""The project's own human parser: one small network that is told by the keypoints whom to parse (docs/parsing.md).

`spgvton train-parser` trains it, `spgvton export --parser` writes its graph. Unlike multiclass it needs no rules behind it: it gives
soft maps of all 20 labels of the customer, and one of everybody else.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.bundle import PARSER, PARSER_INTEGER
from spgvton.errors import SpgvtonError
from spgvton.image import Letterbox
from spgvton.machine import has_vnni
from spgvton.perception import crops
from spgvton.perception.human_parsing import NOBODY
from spgvton.perception.multiclass import MulticlassParser
from spgvton.perception.onnx_session import open_session, shipped_model
from spgvton.perception.parse import Parse
from spgvton.perception.soft_maps import NUM_MAPS, check_maps, parse_of
from spgvton.person import place
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Corners = tuple[Float, Float]

INPUTS: Final = ("picture", "keypoints")
BLANK: Final = 2.0  # levels of 255: a picture of less deviation shows nothing (a covered lens)
WORK: Final = 2  # times the network's size: where a whole picture's person is labelled
SECOND_LOOK: Final = 1.25  # a head-to-hips crop that shows less than so much more is not worth its pass


class SmallParser:
    """Parser (see parsing.Parser) of one person in a picture, bystanders or not; CIHP labels.

    path: a graph of `spgvton export --parser`; None = the shipped one. threads: ONNX Runtime threads; None = 1. Several threads
    may call it. size: (height, width) of the network. Raises SpgvtonError where the file is none.
    """

    label_set: str = "cihp"

    def __init__(self, path: str | Path | None = None, threads: int | None = None) -> None:
        self.path = Path(path) if path is not None else shipped()
        self._threads = threads or 1
        self._session = open_session(self.path, self._threads)
        shapes = {i.name: list(i.shape) for i in self._session.get_inputs()}
        if set(shapes) != set(INPUTS) or len(shapes["picture"]) != 4:
            raise SpgvtonError(f"{self.path} is no graph of spgvton export --parser: it takes {', '.join(shapes)}")
        self.size = int(shapes["picture"][1]), int(shapes["picture"][2])

    def __call__(self, image: UInt8, keypoints: Float) -> UInt8:
        """Label ids (H, W) uint8 of IMAGE, RGB uint8 (H, W, 3), whose customer has KEYPOINTS (18, 3) in its pixels.

        The network looks at the whole person and, where the legs are seen too, at head to hips once more. Raises SpgvtonError when
        there is nobody at the keypoints.
        """
        image, k = crops.check_picture(image), crops.check_person(keypoints)
        h, w = image.shape[:2]
        whole, upper = (
            self._around((h, w), corners) for corners in (crops.whole_person((h, w), k), crops.head_to_hips(k))
        )
        canvas = _scaled(whole, (WORK * self.size[0], WORK * self.size[1]))
        maps = _brought(self._look(image, k, whole), whole, canvas)
        if upper.scale > SECOND_LOOK * whole.scale:
            zoom = canvas.scale / upper.scale
            origin = tuple(pad - zoom * own for pad, own in zip(canvas.pad, upper.pad))
            weight = crops.feathered((origin[0], origin[1]), (zoom * self.size[1], zoom * self.size[0]), canvas)
            closer = _brought(self._look(image, k, upper), upper, canvas)
            maps = np.rint(maps + weight * (closer.astype(np.float32) - maps)).astype(np.uint8)
        labels = parse_of(maps, canvas.target).labels
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(labels, canvas.matrix, (w, h), flags=flags, borderValue=(0,)), np.uint8)

    def framed(self, picture: UInt8, keypoints: Float, box: Letterbox) -> Parse:
        """What BOX shows of PICTURE, RGB uint8 (H, W, 3), whose customer has KEYPOINTS (18, 3) in its pixels.

        For streams: one pass of the network, nothing at the picture's size. Raises SpgvtonError when there is nobody at the
        keypoints.
        """
        return parse_of(self.maps(picture, keypoints, box), box.target)

    def maps(self, picture: UInt8, keypoints: Float, box: Letterbox) -> UInt8:
        """How likely each label is in BOX's frame: uint8 (21, h, w), of 255, at the network's own resolution. See framed()."""
        picture, k = crops.check_picture(picture), crops.check_person(keypoints)
        own = _scaled(box, self.size)
        maps = self._look(picture, k, own)
        rows, columns = box.target
        if rows * self.size[1] == columns * self.size[0]:
            return maps
        stride = self.size[0] / maps.shape[1] / (own.scale / box.scale)  # pixels of BOX's frame
        return _brought(maps, own, _scaled(box, (round(rows / stride), round(columns / stride))))

    def free(self, picture: UInt8) -> UInt8:
        """Where in PICTURE, RGB uint8 (H, W, 3), surely nobody is; see MulticlassParser.free(), which answers.

        It sees small people in a whole picture better, and nobody waits for an empty room. Raises SpgvtonError.
        """
        return self._room.free(picture)

    @cached_property
    def _room(self) -> MulticlassParser:
        return MulticlassParser(self._threads)

    def _around(self, size: tuple[int, int], corners: Corners) -> Letterbox:
        """The part between CORNERS of a picture of SIZE (height, width) in the network's frame."""
        (rows, columns), (low, high) = self.size, corners
        width, height = np.maximum(high - low, 1.0)
        x, y = (low + high) / 2
        scale = float(min(rows / height, columns / width))
        return Letterbox.around(size, scale, (float(x), float(y)), ((columns - 1) / 2, (rows - 1) / 2), self.size)

    def _look(self, picture: UInt8, k: Float, box: Letterbox) -> UInt8:
        """The network's maps, uint8 (21, h, w), of what BOX, of the network's size, shows of PICTURE.

        Raises SpgvtonError for a blank one: told where somebody stands, the network would see them there all the same.
        """
        seen = np.asarray(box.apply(picture), np.uint8)
        if (k[:, 2] > 0).any() and _deviation(seen, box) < BLANK:
            raise SpgvtonError(NOBODY)
        try:
            (maps,) = self._session.run(None, {"picture": seen[None], "keypoints": place(k, box)[None]})
        except Exception as e:  # ONNX Runtime's own classes
            raise SpgvtonError(f"{self.path} failed on a picture: {str(e).strip().splitlines()[0]}") from e
        if maps.ndim != 4 or maps.shape[1] != NUM_MAPS or maps.dtype != np.uint8:
            raise SpgvtonError(f"{self.path} gave {maps.dtype} {maps.shape}: export the parser again")
        return check_maps(maps[0], str(self.path))


def _deviation(seen: UInt8, box: Letterbox) -> float:
    """Standard deviation of the picture in SEEN (h, w, 3), which BOX put there, without what lies beside it."""
    inside = []
    for pad, extent, room in zip(box.pad[::-1], box.source, box.target):
        start, stop = max(0, int(np.ceil(pad))), min(room, int(pad + extent * box.scale))
        inside.append(slice(start, max(stop, start + 1)))
    return float(cv2.meanStdDev(seen[inside[0], inside[1]])[1].max())


def shipped() -> Path:
    """The shipped graph that is faster here: without VNNI the sums of the one in integers would saturate. Raises SpgvtonError."""
    return shipped_model(f"{PARSER_INTEGER if has_vnni() else PARSER}.onnx")


def _scaled(box: Letterbox, size: tuple[int, int]) -> Letterbox:
    """What BOX shows in the middle of a frame of SIZE (height, width), as large as it fits."""
    factor = min(size[0] / box.target[0], size[1] / box.target[1])
    spare = size[1] - factor * box.target[1], size[0] - factor * box.target[0]
    pad = (factor * box.pad[0] + spare[0] / 2, factor * box.pad[1] + spare[1] / 2)
    return Letterbox(box.source, size, factor * box.scale, pad)


def _brought(maps: UInt8, own: Letterbox, box: Letterbox) -> UInt8:
    """MAPS (C, h, w) over OWN's frame brought into BOX's: (C, H, W); beyond OWN's is background."""
    zoom = box.scale / own.scale
    steps = (
        zoom * own.target[1] / maps.shape[2],
        zoom * own.target[0] / maps.shape[1],
    )  # frame pixels for each of a map's
    shifts = [pad - zoom * mine for pad, mine in zip(box.pad, own.pad)]
    matrix = np.array([[step if i == j else 0.0 for j in range(2)] + [0.5 * step - 0.5 + shift]
                       for i, (step, shift) in enumerate(zip(steps, shifts))])  # fmt: skip
    out = np.empty((len(maps), *box.target), np.uint8)
    for i, (source, target) in enumerate(zip(maps, out)):
        border = 0 if i else 255
        cv2.warpAffine(source, matrix, box.target[::-1], dst=target, flags=cv2.INTER_LINEAR, borderValue=(border,))
    return out
