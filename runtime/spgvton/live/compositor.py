"""The camera's frame with the new garment in it: everything else stays the camera's, bit for bit."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from spgvton.live.layers import FINE, SHADE_ONE, Answer, Layers
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Matrix = NDArray[np.float64]

WINDOW: Final = 9  # pixels of the fine masks that an edge is looked for in
EPSILON: Final = 40.0  # variance of the guide below which nothing counts as an edge, levels^2
STEEP: Final = 3.5  # contrast of the masks' edges
RIM: Final = 0.06  # how much farther the garment reaches on the old outline, whose pixels have some of the old colour
FAINT: Final = 0.04  # what is less is nothing
ENLARGED: Final = 1.25  # times that a layer must be enlarged for two steps to be quicker than one


class Guided:
    """Masks whose edges move to those of one guide (h, w) [He, Sun, Tang 2013, guided image filtering]."""

    def __init__(self, guide: Float) -> None:
        self._guide, self._mean = guide, _mean(guide)
        self._spread = _mean(guide * guide) - self._mean**2 + EPSILON

    def __call__(self, mask: Float) -> Float:
        mean_mask = _mean(mask)
        slope = (_mean(self._guide * mask) - self._mean * mean_mask) / self._spread
        return _mean(slope) * self._guide + _mean(mean_mask - slope * self._mean)


def _mean(x: Float) -> Float:
    return cv2.blur(x, (WINDOW, WINDOW))  # type: ignore[return-value]


def steepen(mask: Float) -> UInt8:
    """MASK, 0 to 1, with steeper edges, 0 to 255."""
    out = cv2.convertScaleAbs(np.maximum(mask + (0.5 / STEEP - 0.5), 0), alpha=255 * STEEP)  # saturates at 255
    out[out < 255 * FAINT] = 0
    return out  # type: ignore[return-value]


class Place(NamedTuple):
    """part: the pixels of the picture under some of the network's frame, a view. corner: (x, y) of it in the picture. here: 3x3,
    network pixels -> pixels of PART."""

    part: UInt8
    corner: tuple[int, int]
    here: Matrix

    @staticmethod
    def of(out: UInt8, to_camera: Matrix, bounds: tuple[int, int, int, int]) -> Place | None:
        """Of BOUNDS (left, top, right, bottom) in network pixels; None where that is beside OUT."""
        left, top, right, bottom = bounds
        corners = np.array([[left, top, 1], [right, top, 1], [left, bottom, 1], [right, bottom, 1.0]]) @ to_camera[:2].T
        x0, y0 = np.maximum(np.floor(corners.min(0)), 0).astype(int)
        x1, y1 = np.minimum(np.ceil(corners.max(0)) + 1, out.shape[1::-1]).astype(int)
        if x1 <= x0 or y1 <= y0:
            return None
        here = np.array([[1.0, 0, -x0], [0, 1, -y0], [0, 0, 1]]) @ to_camera
        return Place(out[y0:y1, x0:x1], (int(x0), int(y0)), here)

    def grid(self, per_pixel: float = 1.0) -> tuple[tuple[int, int], Matrix]:
        """(width, height) of a straight grid over the part with PER_PIXEL pixels on a network pixel, and 3x3, network pixels -> its own.

        A layer is turned into it at about its own resolution and then enlarged straight: at a camera's that takes a quarter of
        the time. It is the part's own grid where a layer would hardly be enlarged.
        """
        height, width = self.part.shape[:2]
        scale = float(np.sqrt(abs(np.linalg.det(self.here[:2, :2])))) / per_pixel
        grid = max(1, round(width / scale)), max(1, round(height / scale))
        if scale < ENLARGED:
            grid = width, height
        shrink = np.array([grid[0] / width, grid[1] / height])
        to_grid = np.diag([*shrink, 1.0])
        to_grid[:2, 2] = shrink / 2 - 0.5
        return grid, to_grid @ self.here

    def turned(self, layer: NDArray[Any], to_network: Matrix, per_pixel: float = 1.0) -> NDArray[Any]:
        """LAYER in the grid of PER_PIXEL. TO_NETWORK: 3x3, from its pixels.

        OpenCV 5 turns pictures of one and of three channels exactly, those of two to the 32nd of a pixel.
        """
        if layer.ndim == 3 and layer.shape[2] == 2:
            return cv2.merge([self.turned(channel, to_network, per_pixel) for channel in cv2.split(layer)])
        grid, to_grid = self.grid(per_pixel)
        return cv2.warpAffine(
            layer, (to_grid @ to_network)[:2], grid, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )

    def up(self, turned: NDArray[Any]) -> NDArray[Any]:
        """A TURNED layer at the part's size."""
        height, width = self.part.shape[:2]
        if turned.shape[:2] == (height, width):
            return turned
        return cv2.resize(turned, (width, height), interpolation=cv2.INTER_LINEAR)

    def down(self, layers: Layers, fine: Matrix) -> Float:
        """What the camera shows, in LAYERS' guiding mix of colours, at the size of their masks."""
        height, width = layers.garment.shape
        grid = min(self.part.shape[1], width), min(self.part.shape[0], height)
        small = cv2.resize(self.part, grid, interpolation=cv2.INTER_LINEAR)
        shrink = np.array([grid[0] / self.part.shape[1], grid[1] / self.part.shape[0]])
        to_grid = np.diag([*shrink, 1.0])
        to_grid[:2, 2] = shrink / 2 - 0.5
        return cv2.warpAffine(  # type: ignore[return-value]
            cv2.transform(small, layers.guide).astype(np.float32), (to_grid @ self.here @ fine)[:2], (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip

    def blend(self, over: UInt8, weight: UInt8) -> None:
        """Lay OVER, of the part's size, on the part; WEIGHT (h, w), 0 leaves a pixel as it is."""
        weights = cv2.cvtColor(weight, cv2.COLOR_GRAY2RGB)
        over = cv2.multiply(over, weights, scale=1 / 255)  # type: ignore[assignment]
        cv2.bitwise_not(weights, dst=weights)
        cv2.multiply(self.part, weights, dst=weights, scale=1 / 255)
        cv2.add(over, weights, dst=self.part)


class Uncovered(NamedTuple):
    """COLOURS that are laid on PLACE by WEIGHT, where old clothes were: uint8 (h, w, 3) and (h, w), turned; see Place."""

    place: Place
    colours: UInt8
    weight: UInt8


class Worn(NamedTuple):
    """The garment's texture that is laid on PLACE by WEIGHT, uint8, turned; SHADE, uint8, turned, as Layers has it.

    cut: 3x3, from the pixels of the answer's layers to the network's.
    """

    place: Place
    weight: UInt8
    shade: UInt8
    cut: Matrix


class Work(NamedTuple):
    """What changes in a picture, in this order; None where that is nowhere."""

    uncovered: Uncovered | None
    worn: Worn | None


def _plan(out: UInt8, layers: Layers, to_camera: Matrix) -> Work:
    """What is to be done on OUT, which is only read. to_camera: 3x3, network pixels -> pixels of OUT."""
    whole = Place.of(out, to_camera, layers.bounds)
    if whole is None:
        return Work(None, None)
    left, top = layers.bounds[:2]
    half = (FINE - 1) / (2 * FINE)
    cut = np.array([[1.0, 0, left], [0, 1, top], [0, 0, 1]])
    fine = np.array([[1 / FINE, 0, left - half], [0, 1 / FINE, top - half], [0, 0, 1]])  # fine pixels -> network pixels

    def place(mask: UInt8) -> Place | None:
        x, y, width, height = cv2.boundingRect(mask)
        bounds = (
            left + x // FINE - 1,
            top + y // FINE - 1,
            left + (x + width) // FINE + 2,
            top + (y + height) // FINE + 2,
        )
        return Place.of(out, to_camera, bounds) if width else None

    uncovered: Uncovered | None = None
    worn: Worn | None = None
    snap = Guided(whole.down(layers, fine))
    edged = layers.garment + layers.snap * (snap(layers.garment) - layers.garment + RIM * (layers.garment > 0))
    garment = steepen(edged) * layers.allowed
    if layers.cover is not None and layers.fill is not None:
        cover = steepen(np.maximum(snap(layers.cover), layers.cover)) * layers.allowed
        here = place(cover)
        if here:
            uncovered = Uncovered(here, here.turned(layers.fill, cut), here.turned(cover, fine, FINE))
    here = place(garment)
    if here:
        worn = Worn(here, here.turned(garment, fine, FINE), here.turned(layers.shade, cut), cut)
    return Work(uncovered, worn)


class OnCpu:
    """The compositor of OpenCV. See Compositor."""

    def __call__(self, out: UInt8, work: Work, answer: Answer) -> None:
        if work.uncovered:
            here = work.uncovered.place
            here.blend(here.up(work.uncovered.colours), here.up(work.uncovered.weight))
        if work.worn:
            here, positions = work.worn.place, self._positions(work.worn, answer)
            cloth = cv2.remap(
                answer.garment.texture, positions, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
            shade = cv2.cvtColor(here.up(work.worn.shade), cv2.COLOR_GRAY2RGB)
            here.blend(cv2.multiply(cloth, shade, scale=1 / SHADE_ONE), here.up(work.worn.weight))  # type: ignore[arg-type]

    def _positions(self, worn: Worn, answer: Answer) -> Float:
        """Where each pixel of WORN's place finds its cloth: (h, w, 2), in texture pixels."""
        assert answer.layers is not None
        return worn.place.up(worn.place.turned(answer.layers.positions, worn.cut))

    def sibling(self) -> OnCpu:
        return OnCpu()

    def forget(self) -> None:
        """Nothing to do: it holds no picture."""

    def close(self) -> None:
        """Nothing to do: it holds nothing."""


class Compositor(Protocol):
    """Lays what changes on a picture. Used by one thread at a time."""

    def __call__(self, out: UInt8, work: Work, answer: Answer) -> None:
        """Change OUT, RGB uint8 (h, w, 3), in place. Raises SpgvtonError."""

    def sibling(self) -> Compositor:
        """One of the same kind for another mirror; each may have a thread of its own."""

    def forget(self) -> None:
        """Overwrite what is held of the last picture."""

    def close(self) -> None:
        """Give everything back; calling it again does nothing."""


def composite(frame: UInt8, answer: Answer, moved: Matrix | None = None, by: Compositor | None = None) -> UInt8:
    """FRAME, RGB uint8 (h, w, 3), a new array, with the garment worn as ANSWER says.

    moved: 2x3 affine matrix from the pixels of the answer's frame to those of FRAME; None = the same frame.
    by: who does the work at the camera's resolution; None = OnCpu, which is what every other one is compared with.
    """
    out = frame.copy()
    if answer.layers is not None:
        to_camera = np.linalg.inv(np.vstack([answer.box.matrix, [0, 0, 1]]))
        if moved is not None:
            to_camera = np.vstack([moved, [0, 0, 1]]) @ to_camera
        (by or OnCpu())(out, _plan(out, answer.layers, to_camera), answer)
    return out
