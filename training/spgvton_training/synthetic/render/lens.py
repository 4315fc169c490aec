"""What a camera does to the light it gets: white balance, exposure, uneven light, blur, noise and JPEG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.video import cv2
from spgvton_training.synthetic.drawing.arrays import Float

GRAIN: Final = 1.3  # of a studio's camera, in levels of 255
_STUDIO: Final = 0.25  # share of the photos that a studio's camera took


@dataclass(frozen=True)
class Lens:
    """One camera in one light. The default is a studio's: grain alone."""

    balance: tuple[float, float, float] = (1.0, 1.0, 1.0)  # of red, green, blue
    gamma: float = 1.0
    uneven: tuple[float, float] = (0.0, 0.0)  # brightness at the right and at the lower edge, more than in the middle
    blur: float = 0.0  # pixels of a picture 256 high
    noise: float = GRAIN  # levels of 255
    quality: int = 0  # of JPEG; 0: none


def sample_lens(rng: np.random.Generator) -> Lens:
    """A random camera: now and then a studio's, mostly a phone's or a webcam's."""
    warm, green = rng.normal(0, 0.035, 2)
    light = rng.uniform(0.86, 1.08)
    lens = Lens(
        balance=(light * (1 + warm), light * (1 + 0.4 * green), light * (1 - warm)),
        gamma=rng.uniform(0.82, 1.22),
        uneven=(rng.normal(0, 0.06), rng.normal(0, 0.05)),
        blur=rng.uniform(0, 0.8) if rng.random() < 0.5 else 0.0,
        noise=rng.uniform(0.8, 5.0),
        quality=int(rng.integers(55, 96)) if rng.random() < 0.6 else 0,
    )
    return lens if rng.random() >= _STUDIO else Lens()


def expose(light: Float, lens: Lens, seed: int) -> NDArray[np.uint8]:
    """The photo (H, W, 3) of LIGHT (H, W, 3) in [0, 255]; SEED gives the noise."""
    height, width = light.shape[:2]
    out = light
    if lens != Lens():
        x, y = np.linspace(-1, 1, width, dtype=np.float32)[None], np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        level = (1 + np.float32(lens.uneven[0]) * x + np.float32(lens.uneven[1]) * y)[..., None]
        out = np.clip(light * level * np.array(lens.balance, np.float32) / 255, 0, 1) ** np.float32(lens.gamma) * 255
    if lens.blur:
        out = cv2.GaussianBlur(out, (0, 0), lens.blur * height / 256)
    grain = np.random.default_rng([seed, 9]).standard_normal(light.shape, dtype=np.float32)
    photo = np.clip(np.rint(out + grain * np.float32(lens.noise)), 0, 255).astype(np.uint8)
    if lens.quality:
        _, code = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, lens.quality])
        photo = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    return photo
