"""Body shape and skinning: blend the shape targets, find the joints, move vertices with the bones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from spgvton_training.synthetic.drawing.arrays import Float, Int
from spgvton_training.synthetic.people.assets import load


def macro_weights(
    *,
    female: bool,
    ancestry: Sequence[float] = (1, 0, 0),
    muscle: float = 0.0,
    weight: float = 0.0,
    height: float = 0.0,
    proportions: float = 0.0,
    cup: float = 0.0,
    local: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Target weights of an adult body. Parameters are in [-1, 1]; 0 is the average. LOCAL adds named detail targets."""
    sex = "female" if female else "male"
    share = np.asarray(ancestry, float) / sum(ancestry)
    out = {f"{name}-{sex}": float(k) for name, k in zip(("caucasian", "african", "asian"), share)}

    def hat(x: float) -> dict[str, float]:
        return {"min": max(0.0, -x), "average": 1 - abs(x), "max": max(0.0, x)}

    for m, a in hat(muscle).items():
        for w, b in hat(weight).items():
            out[f"u-{sex}-{m}-{w}"] = a * b
    out[f"h-{sex}-min"], out[f"h-{sex}-max"] = max(0.0, -height), max(0.0, height)
    out[f"p-{sex}-ideal"], out[f"p-{sex}-uncommon"] = max(0.0, proportions), max(0.0, -proportions)
    if female:
        out["cup-min"], out["cup-max"] = max(0.0, -cup), max(0.0, cup)
    return out | dict(local or {})


def morph(weights: Mapping[str, float]) -> Float:
    """Base mesh plus the weighted targets: vertices (V, 3) in the rest pose."""
    assets = load()
    vertices = assets.vertices.copy()
    for name, k in weights.items():
        if abs(k) > 1e-6 and name in assets.targets:
            index, offset = assets.targets[name]
            vertices[index] += np.float32(k) * offset
    return vertices


def joints(vertices: Float) -> tuple[Float, Float]:
    """Heads and tails (B, 3) of the driven bones of a morphed mesh in the rest pose."""
    points = vertices[load().joints].mean(2)
    return points[:, 0], points[:, 1]


def skin(vertices: Float, bones: Float, weights: Float) -> Float:
    """Linear blend skinning. vertices (n, 3), bones (B, 3, 4) as [R | t], weights (n, B) -> (n, 3)."""
    m = bones.reshape(len(bones), 12).T @ weights.T  # by columns: several times faster than rows of 3x4
    x, y, z = vertices.T
    return np.stack([m[i] * x + m[i + 1] * y + m[i + 2] * z + m[i + 3] for i in (0, 4, 8)], 1)


def normals(vertices: Float, triangles: Int) -> Float:
    """Area-weighted unit vertex normals (n, 3); zero where no triangle touches a vertex."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    u, v = b - a, c - a
    out = np.empty_like(vertices)
    corners = triangles.T.ravel()
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        face = u[:, j] * v[:, k] - u[:, k] * v[:, j]
        out[:, i] = np.bincount(corners, np.tile(face, 3), len(vertices))
    return unit(out)


def unit(v: Float) -> Float:
    """Rows of V (n, 3) scaled to length 1."""
    return v / (np.sqrt(np.einsum("ni,ni->n", v, v))[:, None] + 1e-9)
