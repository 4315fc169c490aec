"""The room behind the demo's person: a painted wall with a window's light on it, a print, a plant and a clothes rail, out of focus."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.video import cv2
from spgvton_training.synthetic.drawing.arrays import Float
from spgvton_training.synthetic.drawing.texture import noise

_SCALE: Final = 1000  # units of the drawing: its height
_WALL: Final = (214, 204, 190)
_PANEL: Final = (168, 158, 140)
_CLOTHES: Final = ((96, 112, 122), (196, 150, 110), (226, 214, 196), (122, 74, 62), (72, 84, 74), (206, 186, 156))


def room(size: tuple[int, int], seed: int = 0) -> Float:
    """The room (H, W, 3), RGB in [0, 255], drawn for a picture three quarters as wide as high; SEED moves its leaves."""
    height, width = size
    rng = np.random.default_rng([seed, 4])
    shape = (_SCALE, round(_SCALE * width / height))
    wall = np.empty((*shape, 3), np.float32)
    wall[:] = _WALL
    _panelling(wall)
    wall *= (1 + 0.010 * noise(rng, *shape, 30, 2))[..., None]
    wall *= _window_light(shape)[..., None]
    _print(wall, (585, 150, 105, 145))
    _rail(wall, 618, 520)
    _plant(rng, wall, (62, 840))
    picture = cv2.GaussianBlur(wall, (0, 0), 4.5)  # the lens is focused on the person
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _panelling(wall: Float) -> None:
    """Darker boards on the lower half, with a rail on top."""
    height, width = wall.shape[:2]
    top = round(0.63 * height)
    wall[top:] = _PANEL
    for x in range(-20, width, 118):
        wall[top + 24 :, max(0, x) : x + 5] *= 0.86
        wall[top + 24 :, max(0, x + 5) : x + 8] *= 1.07
    wall[top : top + 22] *= 1.12
    wall[top + 22 : top + 28] *= 0.80


def _window_light(shape: tuple[int, int]) -> Float:
    """Brightness (H, W): the panes of a window thrown on the wall from the left, and a soft fall-off."""
    height, width = shape
    light = np.zeros(shape, np.float32)
    for column in range(2):
        for row in range(3):
            x, y = 150 + column * 165, 90 + row * 165
            pane = np.array([[x, y], [x + 145, y + 40], [x + 145, y + 185], [x, y + 145]], np.int32)
            cv2.fillConvexPoly(light, pane, 1.0, cv2.LINE_AA)
    light = cv2.GaussianBlur(light, (0, 0), 9)
    fall = (
        np.linspace(1.06, 0.86, width, dtype=np.float32)[None]
        * np.linspace(1.03, 0.93, height, dtype=np.float32)[:, None]
    )
    return np.asarray(fall * (1 + 0.12 * light), np.float32)


def _print(wall: Float, box: tuple[int, int, int, int]) -> None:
    """A framed print of hills and a sun at BOX (x, y, width, height)."""
    x, y, w, h = box
    cv2.rectangle(wall, (x + 7, y + 9), (x + w + 7, y + h + 9), tuple(0.8 * c for c in _WALL), -1)
    cv2.rectangle(wall, (x, y), (x + w, y + h), (74, 56, 44), -1)
    cv2.rectangle(wall, (x + 6, y + 6), (x + w - 6, y + h - 6), (242, 238, 228), -1)
    inner = wall[y + 20 : y + h - 20, x + 18 : x + w - 18]
    inner[:] = (226, 196, 164)
    cv2.circle(inner, (round(inner.shape[1] * 0.62), round(inner.shape[0] * 0.34)), 15, (206, 104, 72), -1, cv2.LINE_AA)
    for level, colour in ((0.58, (150, 146, 120)), (0.74, (96, 112, 98)), (0.88, (58, 78, 76))):
        xs = np.arange(inner.shape[1])
        ridge = inner.shape[0] * (level + 0.06 * np.sin(xs / 13 + 9 * level))
        inner[np.arange(inner.shape[0])[:, None] > ridge] = colour


def _rail(wall: Float, left: int, top: int) -> None:
    """A clothes rail that runs out of the picture to the right, from LEFT at the height TOP."""
    width = wall.shape[1]
    for i, x in enumerate(range(left + 14, width + 40, 27)):
        colour = np.array(_CLOTHES[i % len(_CLOTHES)], np.float64)
        length = 250 + 46 * (i * 7 % 5)
        body = np.array(
            [[x, top + 26], [x + 26, top + 40], [x + 30, top + length], [x - 8, top + length], [x - 6, top + 40]]
        )
        cv2.fillConvexPoly(wall, body.astype(np.int32), tuple(colour), cv2.LINE_AA)
        cv2.line(wall, (x + 21, top + 44), (x + 24, top + length), tuple(0.84 * colour), 6, cv2.LINE_AA)
        cv2.line(wall, (x + 4, top), (x + 4, top + 28), (60, 54, 50), 3, cv2.LINE_AA)
    cv2.line(wall, (left, top), (width, top), (58, 50, 46), 8, cv2.LINE_AA)
    cv2.line(wall, (left + 4, top), (left + 4, wall.shape[0]), (58, 50, 46), 9, cv2.LINE_AA)


def _plant(rng: np.random.Generator, wall: Float, foot: tuple[int, int]) -> None:
    """A pot plant whose stems leave the pot at FOOT (x, y)."""
    for _ in range(17):
        lean = rng.uniform(-1.0, 1.0)
        reach = rng.uniform(170, 330) * (1 - 0.35 * abs(lean))
        tip = (foot[0] + lean * 170, foot[1] - reach)
        green = np.array([66, 98, 66], np.float64) * rng.uniform(0.7, 1.35) + rng.uniform(0, 14, 3)
        _leaf(wall, foot, tip, 0.16 * reach * rng.uniform(0.7, 1.1), tuple(green))
    x, y = foot
    pot = np.array([[x - 66, y - 14], [x + 66, y - 14], [x + 50, y + 170], [x - 50, y + 170]], np.int32)
    cv2.fillConvexPoly(wall, pot, (176, 104, 76), cv2.LINE_AA)
    cv2.rectangle(wall, (x - 72, y - 22), (x + 72, y + 12), (190, 118, 88), -1)


def _leaf(
    wall: Float, foot: tuple[int, int], tip: tuple[float, float], girth: float, colour: tuple[float, ...]
) -> None:
    """A pointed leaf from FOOT to TIP, widest a little above the middle."""
    t = np.linspace(0, 1, 24)
    start, end = np.array(foot, np.float64), np.array(tip, np.float64)
    bow = np.array([0.0, -60.0]) * (t * (1 - t))[:, None] * 4
    spine = start + (end - start) * t[:, None] + bow
    across = np.array([-(end - start)[1], (end - start)[0]]) / (np.linalg.norm(end - start) + 1e-6)
    half = (girth * np.clip(np.sin(np.pi * np.clip((t - 0.25) / 0.75, 0, 1)), 0.06, None))[:, None] * across
    outline: NDArray[np.float64] = np.concatenate([spine + half, (spine - half)[::-1]])
    cv2.fillPoly(wall, [np.rint(outline).astype(np.int32)], colour, cv2.LINE_AA)
    cv2.polylines(wall, [np.rint(spine).astype(np.int32)], False, tuple(1.25 * c for c in colour), 2, cv2.LINE_AA)
