"""The colour of hair: strands or curls, shine, the parting, and an edge that thins out into skin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spgvton import labels
from spgvton_training.synthetic.drawing.arrays import Float
from spgvton_training.synthetic.drawing.texture import lookup, noise
from spgvton_training.synthetic.people.hairstyle import Hairstyle, above_hairline

_EDGE = {"buzz": 0.22, "crop": 0.16, "side": 0.14, "quiff": 0.16, "afro": 0.10}  # width of the thinning edge


def paint_hair(style: Hairstyle, skin: Float, q: Float, *, cap: bool) -> tuple[Float, NDArray[np.uint8]]:
    """Colours (n, 3) and labels (n,) at rest-pose points Q (n, 3); the CAP's edge shows SKIN between its strands."""
    rng = np.random.default_rng([style.seed, 2])
    x, y, z = q.T
    across = _across(style, q)
    if style.curly:
        grain = noise(rng, 256, 256, 6, 2)
        s = lookup(grain, np.mod(x * 45 + z * 32, 255), np.mod(y * 45 - z * 28, 255)) * 2.0
    else:
        fine = rng.standard_normal(720)
        coarse = np.convolve(rng.standard_normal(720), np.ones(9) / 3, "same")
        fine = np.convolve(fine, np.ones(3) / 3, "same") + 0.7 * coarse
        bent = across * 115 + (4 + 8 * style.wave) * np.sin(y * (2 + 3 * style.wave) + 3 * x)
        s = np.interp(np.mod(bent, 719), np.arange(720), fine)
    shine = np.exp(-(((y - 7.98 - 0.12 * z) / 0.20) ** 2)) * (0.10 if style.curly else 0.28)
    root = 1 - 0.12 * np.clip((y - 8.1) / 0.4, 0, 1) * (style.strands == "parted")
    level = np.clip((1 + 0.17 * s + shine * (1 + 0.6 * s)) * root, 0.45, 1.9)
    out = style.colour * level[:, None].astype(np.float32)
    label = np.full(len(q), labels.HAIR, np.uint8)
    if not cap:
        return out, label
    if style.strands == "parted":
        part = np.exp(-(((x - style.parting) / 0.022) ** 2)) * (z > 0.35) * (y > 7.8)
        out += (skin * 0.72 - out) * (0.75 * part)[:, None]
    # strands end at different heights, and the skin shows between them
    line = above_hairline(style, q)
    width = _EDGE.get(style.kind, 0.10)
    dense = np.clip((line + 0.03 + 0.035 * s) / width, 0, 1)
    if style.kind in ("buzz", "bald"):
        speck = lookup(noise(rng, 256, 256, 3, 1), np.mod(x * 90, 255), np.mod((y + z) * 70, 255))
        dense = np.clip(dense * (0.80 + 0.12 * speck), 0, 1) if style.kind == "buzz" else 0 * dense
    out += (skin * 0.96 - out) * (1 - dense)[:, None]
    label[dense < 0.45] = labels.FACE
    return out.astype(np.float32), label


def _across(style: Hairstyle, q: Float) -> Float:
    """A coordinate (n,) across the strands, about a decimetre per unit."""
    x, y, z = q.T
    if style.strands == "back":  # from the forehead over the head
        return np.asarray(0.9 * np.arctan2(x, y - 7.1))
    if style.strands == "parted":  # from the parting down both sides
        return np.asarray(z + 3 * np.sign(x - style.parting) + 0.25 * y * (z - 0.4))
    return np.asarray(0.9 * np.arctan2(x, z - 0.35))
