"""What is printed on a garment: stripes, checks, dots, flowers, colour blocks, prints, real cloth, and a logo on the chest."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from spgvton.video import cv2
from spgvton_training.synthetic.clothes.fabric import draw_fabric
from spgvton_training.synthetic.drawing.arrays import Float
from spgvton_training.synthetic.drawing.texture import blotches, noise

PATTERNS: Final = (
    "plain", "plain", "plain", "stripe_h", "stripe_v", "check", "dots", "photo", "block", "floral", "heather", "band",
)  # fmt: skip
FABRIC: Final = "fabric"  # the pattern of a garment that is made of a photographed cloth
# decimetres of a patch, and what each of PERIOD adds: 2.5 to 4.8, mostly its own size
_FABRIC_WIDTH: Final = (1.6, 3.6)
LOGOS: Final = ("none", "text", "circle", "star", "picture")
WORDS: Final = ("NOVA", "URBAN", "1984", "WAVE", "LUX", "HELLO", "RUN", "MUSE")
_FONTS: Final = (0, 2, 3, 4)
_LOGO_HEIGHT: Final = 3.9  # flat y of the logo's middle: the chest


@dataclass(frozen=True)
class Print:
    """The print of a garment; colours (3, 3) are base, pattern, logo in [0, 255]; PERIOD is in decimetres."""

    pattern: str
    colours: Float
    period: float
    block: float  # flat y of the border of a colour block
    logo: str
    word: str
    font: int
    seed: int
    fabric: Path | None = None  # the photograph of the cloth that it is made of

    def of(self, fabric: Path | None) -> Print:
        """This print on FABRIC, whose own print takes the pattern's place; without a fabric as it is."""
        return self if fabric is None else replace(self, pattern=FABRIC, fabric=fabric, logo="none")


def sample_print(
    rng: np.random.Generator, *, logos: bool = True, patterns: tuple[str, ...] = PATTERNS
) -> Print:  # fmt: skip
    """A random print of PATTERNS. A logo appears only on plain or two-coloured garments, and only where LOGOS are allowed."""
    pattern = str(rng.choice(patterns))
    colours = np.stack([_sample_colour(rng) for _ in range(3)])
    if rng.random() < 0.35:  # shops are full of white, black and grey
        colours[0] = float(rng.choice([245, 28, 70]))
    for i in (1, 2):
        if np.abs(colours[i] - colours[0]).max() < 60:  # too close to be seen: mirror it away
            colours[i] = np.where(colours[0] > 128, colours[i] - 100, colours[i] + 100).clip(10, 245)
    logo = str(rng.choice(LOGOS))
    return Print(
        pattern=pattern,
        colours=colours,
        period=rng.uniform(0.25, 0.9),
        block=rng.uniform(2.4, 3.6),
        logo=logo if logos and pattern in ("plain", "block") else "none",
        word=str(rng.choice(WORDS)),
        font=int(rng.choice(_FONTS)),
        seed=int(rng.integers(1 << 30)),
    )


def _sample_colour(rng: np.random.Generator) -> Float:
    """A colour (3,): two of three are muted, as most clothes are."""
    vivid = rng.random() < 0.33
    hue, saturation = rng.random(), rng.uniform(0.55, 1) if vivid else rng.beta(1.6, 2.6)
    value = rng.uniform(40, 245)
    wheel = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return np.asarray(np.clip(value * (1 - saturation * (1 - wheel)), 12, 245), np.float32)


def draw_print(design: Print, x: Float, y: Float, scale: float) -> tuple[Float, Float]:
    """Front and back print (H, W, 3) in [0, 255] on flat coordinates x (1, W) and y (H, 1), SCALE pixels each."""
    back = _draw_pattern(design, x, y)
    front = _draw_logo(design, back, x, y, scale) if design.logo != "none" else back.copy()
    return front, back


def _draw_pattern(design: Print, x: Float, y: Float) -> Float:
    height, width = len(y), x.shape[1]
    base, other, third = design.colours
    rng = np.random.default_rng([design.seed, 0])
    out = np.empty((height, width, 3), np.float32)
    out[:] = base
    u, v = x / design.period, y / design.period
    if design.fabric is not None:
        return draw_fabric(design.fabric, x, y, _FABRIC_WIDTH[0] + _FABRIC_WIDTH[1] * design.period, rng)
    if design.pattern == "stripe_h":
        out[(v % 1 < 0.45)[:, 0]] = other
    elif design.pattern == "stripe_v":
        out[:, (u % 1 < 0.35)[0]] = other
    elif design.pattern == "check":
        k = (((u % 1 < 0.5).astype(np.float32) + (v % 1 < 0.5)) / 2)[..., None]
        out = base * (1 - k) + other * k
    elif design.pattern == "dots":
        radius = np.hypot(u % 1 - 0.5, (v + 0.5 * (np.floor(u) % 2)) % 1 - 0.5)
        out[radius < 0.26] = other
    elif design.pattern == "photo":
        picture = blotches(rng)
        out = np.clip(cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC), 0, 255)
    elif design.pattern == "heather":
        fibres = noise(rng, height, width, 5 * height / 768, 2)[..., None]
        out = np.clip(base * (1 + 0.08 * fibres) + 4 * fibres, 0, 255)
    elif design.pattern == "band":
        for middle, half, colour in ((design.block + 0.9, 0.55, other), (design.block + 0.1, 0.16, third)):
            out[(np.abs(y - middle) < half)[:, 0]] = colour
    elif design.pattern == "block":
        out[(y < design.block)[:, 0]] = other
    elif design.pattern == "floral":
        out = _draw_flowers(rng, out, other, third)
    return out


def _draw_flowers(rng: np.random.Generator, out: Float, petal: Float, other: Float) -> Float:
    height, width = out.shape[:2]
    unit = height / 768
    for _ in range(70):
        cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        colour = (petal if rng.random() < 0.6 else other).tolist()
        turn, radius = rng.uniform(0, 6), rng.uniform(9, 17) * unit
        for k in range(5):
            angle = turn + k * 2 * math.pi / 5
            centre = (round(cx + radius * math.cos(angle)), round(cy + radius * math.sin(angle)))
            cv2.circle(out, centre, round(radius * 0.62), colour, -1, cv2.LINE_AA)
        cv2.circle(out, (round(cx), round(cy)), round(radius * 0.45), (240, 210, 90), -1, cv2.LINE_AA)
    return out


def _draw_logo(design: Print, pattern: Float, x: Float, y: Float, scale: float) -> Float:
    # drawn at 8 bits: OpenCV's text and polygons want that
    out = np.clip(pattern, 0, 255).astype(np.uint8)
    cx, cy = out.shape[1] // 2, int(np.argmin(np.abs(y[:, 0] - _LOGO_HEIGHT)))
    inner, colour = design.colours[1].tolist(), design.colours[2].tolist()
    if design.logo == "text":
        size, thickness = scale / 34, max(1, round(scale * 0.085))
        (width, height), _ = cv2.getTextSize(design.word, design.font, size, thickness)
        size *= min(1.0, 2.5 * scale / width)  # keep long words on the chest
        (width, height), _ = cv2.getTextSize(design.word, design.font, size, thickness)
        origin = (cx - width // 2, cy + height // 2)
        cv2.putText(out, design.word, origin, design.font, size, colour, thickness, cv2.LINE_AA)
    elif design.logo == "circle":
        cv2.circle(out, (cx, cy), round(0.75 * scale), colour, -1, cv2.LINE_AA)
        cv2.circle(out, (cx, cy), round(0.42 * scale), inner, -1, cv2.LINE_AA)
    elif design.logo == "star":
        angle = np.arange(10) * np.pi / 5 - np.pi / 2
        radius = np.where(np.arange(10) % 2, 0.36, 0.9) * scale
        star = np.rint(np.stack([cx + radius * np.cos(angle), cy + radius * np.sin(angle)], 1)).astype(np.int32)
        cv2.fillPoly(out, [star], colour, cv2.LINE_AA)
    elif design.logo == "picture":
        width, height = int(1.7 * scale), int(1.9 * scale)
        picture = cv2.resize(blotches(np.random.default_rng([design.seed, 1]), 128), (width, height))
        top, left = cy - int(0.8 * scale), cx - width // 2
        out[top : top + height, left : left + width] = np.clip(picture, 0, 255)
    return out.astype(np.float32)


def fold_shading(seed: int, size: tuple[int, int]) -> tuple[Float, Float]:
    """Slopes (H, W) along x and y of soft folds, for the in-shop picture; the same at every resolution."""
    height, width = size
    folds = noise(np.random.default_rng([seed, 2]), height, width, 90 * height / 768, 3) * (14 * height / 768)
    gy, gx = np.gradient(folds)
    return gx, gy
