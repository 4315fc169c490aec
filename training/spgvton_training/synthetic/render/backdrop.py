"""What is behind people outside of studios: rooms with furniture, and parks and streets, painted small and out of focus."""

from __future__ import annotations

from typing import Final

import numpy as np

from spgvton.video import cv2
from spgvton_training.synthetic.drawing.arrays import Float
from spgvton_training.synthetic.drawing.texture import noise

_ROWS: Final = 160  # of the painting
_Box = tuple[float, float, float, float]  # left, top, right, bottom, shares of the picture


def paint_room(rng: np.random.Generator, size: tuple[int, int]) -> Float:
    """A room (H, W, 3) in [0, 255] of SIZE (height, width): wall, floor, and some of window, door, shelves, picture, sofa, plant."""
    picture = _canvas(size)
    dark = rng.random() < 0.2
    wall = rng.uniform(60, 130) if dark else rng.uniform(150, 240)
    picture[:] = wall * rng.uniform(0.88, 1.06, 3)
    floor = rng.uniform(0.72, 1.05)
    _fill(picture, (0, floor, 1, 1), rng.uniform(50, 190) * np.sort(rng.uniform(0.7, 1.1, 3))[::-1])
    _fill(picture, (0, floor - 0.02, 1, floor), picture[0, 0] * rng.choice([0.75, 1.12]))
    things = [_window, _door, _shelves, _frame, _frame, _sofa, _plant]
    for i in rng.permutation(len(things))[: rng.integers(1, 5)]:
        things[i](rng, picture, min(floor, 1.0))
    return _finish(rng, picture, size)


def paint_outdoors(rng: np.random.Generator, size: tuple[int, int]) -> Float:
    """A park or a street (H, W, 3) in [0, 255]: sky, what stands at its edge, and the ground."""
    picture = _canvas(size)
    rows = picture.shape[0]
    horizon = rng.uniform(0.35, 0.75)
    sky = np.array([rng.uniform(170, 235), rng.uniform(195, 240), rng.uniform(215, 252)])
    picture[:] = sky
    green = rng.random() < 0.65
    ground = np.array([90, 130, 60]) if green and rng.random() < 0.6 else np.full(3, rng.uniform(110, 175))
    _fill(picture, (0, horizon, 1, 1), ground * rng.uniform(0.75, 1.2))
    if green:
        for _ in range(rng.integers(14, 30)):
            x, radius = rng.uniform(-0.1, 1.1), rng.uniform(0.04, 0.2)
            colour = np.array([70, 105, 50]) * rng.uniform(0.45, 1.5) + rng.uniform(0, 20, 3)
            centre = (round(x * picture.shape[1]), round((horizon - rng.uniform(0.0, 0.35)) * rows))
            cv2.circle(picture, centre, round(radius * rows), colour.tolist(), -1)
    else:
        x = -0.1
        while x < 1:
            width, top = rng.uniform(0.15, 0.45), horizon - rng.uniform(0.15, 0.7)
            house = rng.uniform(80, 210) * rng.uniform(0.85, 1.1, 3)
            _fill(picture, (x, top, x + width, horizon), house)
            for y in np.arange(top + 0.04, horizon - 0.05, 0.09):
                for column in np.arange(x + 0.03, x + width - 0.05, 0.08):
                    _fill(picture, (column, y, column + 0.04, y + 0.05), house * rng.choice([0.5, 0.6, 1.2]))
            x += width
    leaves = noise(rng, rows, picture.shape[1], rng.uniform(5, 16), 3)
    picture *= (1 + (0.24 if green else 0.05) * leaves)[..., None]
    return _finish(rng, picture, size)


# ------------------------------------------------------------------ things in a room
def _window(rng: np.random.Generator, picture: Float, floor: float) -> None:
    left, top, width = rng.uniform(-0.1, 0.7), rng.uniform(-0.1, 0.15), rng.uniform(0.25, 0.5)
    bottom = top + rng.uniform(0.3, 0.55)
    _fill(picture, (left - 0.02, top - 0.02, left + width + 0.02, bottom + 0.02), np.full(3, rng.uniform(180, 245)))
    _fill(picture, (left, top, left + width, bottom), np.array([235, 244, 252]) * rng.uniform(0.75, 1.02))
    _fill(picture, (left + width / 2 - 0.008, top, left + width / 2 + 0.008, bottom), np.full(3, 215.0))
    if rng.random() < 0.5:  # curtains
        colour = rng.uniform(110, 235, 3)
        for x in (left - 0.06, left + width - 0.04):
            for k in range(4):
                _fill(picture, (x + 0.025 * k, top - 0.05, x + 0.025 * (k + 1), floor), colour * rng.uniform(0.8, 1.1))


def _door(rng: np.random.Generator, picture: Float, floor: float) -> None:
    left, colour = rng.uniform(-0.1, 0.85), rng.uniform(90, 235) * rng.uniform(0.85, 1.08, 3)
    _fill(picture, (left - 0.02, 0.04, left + 0.32, floor), colour * 0.85)
    _fill(picture, (left, 0.06, left + 0.30, floor), colour)
    for y in (0.12, 0.5):
        _fill(picture, (left + 0.05, y, left + 0.25, y + 0.3), colour * rng.uniform(0.9, 0.97))


def _shelves(rng: np.random.Generator, picture: Float, floor: float) -> None:
    left, width, top = rng.uniform(-0.1, 0.75), rng.uniform(0.25, 0.5), rng.uniform(0.0, 0.35)
    wood = np.array([150, 110, 75]) * rng.uniform(0.4, 1.5)
    _fill(picture, (left, top, left + width, floor), wood * 0.6)
    for y in np.arange(top, floor, 0.13):
        x = left + 0.02
        while x < left + width - 0.03:
            thick, high = rng.uniform(0.012, 0.035), rng.uniform(0.06, 0.11)
            if rng.random() < 0.85:
                _fill(picture, (x, y + 0.12 - high, x + thick, y + 0.12), rng.uniform(30, 230, 3))
            x += thick
        _fill(picture, (left, y + 0.12, left + width, y + 0.13), wood)


def _frame(rng: np.random.Generator, picture: Float, floor: float) -> None:
    left, top, width = rng.uniform(0, 0.85), rng.uniform(0.03, 0.3), rng.uniform(0.1, 0.25)
    high = width * rng.uniform(0.6, 1.3) * picture.shape[1] / picture.shape[0]
    _fill(picture, (left, top, left + width, top + high), np.full(3, rng.choice([30.0, 90.0, 225.0])))
    inside = (left + 0.012, top + 0.012, left + width - 0.012, top + high - 0.012)
    _fill(picture, inside, rng.uniform(60, 235, 3))
    _fill(picture, (inside[0], (inside[1] + inside[3]) / 2, inside[2], inside[3]), rng.uniform(40, 220, 3))


def _sofa(rng: np.random.Generator, picture: Float, floor: float) -> None:
    left, top, width = rng.uniform(-0.3, 0.7), rng.uniform(0.55, 0.72), rng.uniform(0.4, 0.9)
    colour = rng.uniform(50, 215) * rng.uniform(0.8, 1.1, 3)
    _fill(picture, (left, top, left + width, 1), colour)
    _fill(picture, (left, top + 0.16, left + width, 1), colour * 0.82)
    for x in (left + width * 0.1, left + width * 0.62):
        _fill(picture, (x, top + 0.03, x + 0.14, top + 0.16), rng.uniform(60, 230, 3))


def _plant(rng: np.random.Generator, picture: Float, floor: float) -> None:
    x, y = rng.uniform(0, 1), rng.uniform(0.45, 0.8)
    height, width = picture.shape[:2]
    for _ in range(26):
        centre = (round((x + rng.normal(0, 0.07)) * width), round((y - abs(rng.normal(0, 0.13))) * height))
        green = np.array([66, 104, 60]) * rng.uniform(0.5, 1.5)
        axes = (round(rng.uniform(2, 4)), round(rng.uniform(6, 13)))
        cv2.ellipse(picture, centre, axes, rng.uniform(-70, 70), 0, 360, green.tolist(), -1)
    _fill(picture, (x - 0.05, y, x + 0.05, y + 0.12), rng.uniform(90, 230) * rng.uniform(0.8, 1.1, 3))


# ------------------------------------------------------------------ painting
def _canvas(size: tuple[int, int]) -> Float:
    return np.zeros((_ROWS, max(8, round(_ROWS * size[1] / size[0])), 3), np.float32)


def _fill(picture: Float, box: _Box, colour: Float) -> None:
    """A rectangle, as far as it is in the picture."""
    height, width = picture.shape[:2]
    left, right = (min(max(round(v * width), 0), width) for v in box[::2])
    top, bottom = (min(max(round(v * height), 0), height) for v in box[1::2])
    picture[top:bottom, left:right] = colour


def _finish(rng: np.random.Generator, picture: Float, size: tuple[int, int]) -> Float:
    """Light from one side, the lens out of focus, and enlarged to SIZE."""
    height, width = picture.shape[:2]
    x, y = np.linspace(-1, 1, width)[None], np.linspace(-1, 1, height)[:, None]
    angle, fall = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.22)
    picture *= (1 + fall * (np.cos(angle) * x + np.sin(angle) * y))[..., None].astype(np.float32)
    picture *= rng.uniform(0.85, 1.05)
    soft = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 2.6))
    large = cv2.resize(soft, size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(large, 4, 252).astype(np.float32)
