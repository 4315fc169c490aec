"""A model bundle: a folder with `bundle.json`, the ONNX graphs, and one weights file that all graphs share.

    bundle.json           format, network, precision, file hashes, provenance
    tryon.onnx            the joint graph: a person, once, in the pose of every frame
    live.onnx             the joint graph of live mode: the camera frame itself is the person
    session frame .onnx, live_garment live_frame .onnx
                          optional: the two joint graphs in two each, rewritten for ONNX Runtime on a CPU
                          (docs/graph-passes.md; of INT8 bundles docs/int8.md)
    g1 g2 gmm1 gmm2 g3 .onnx   the modules one by one, as the paper has them
    weights.safetensors   every weight, once; the graphs refer to it as ONNX external data

The bundle of a human parser holds one graph, with its weights inside, and no mode:

    human_parser.onnx     framed picture and keypoints -> soft maps of the labels (spgvton.perception.small)
    human_parser_integer.onnx   of INT8 bundles: the same for ONNX Runtime on processors with VNNI

Every later stage reads a bundle and nothing else. Hashes are checked whenever a bundle is opened.
"""

from __future__ import annotations

import hashlib
import json
import stat
import struct
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np

from spgvton.errors import SpgvtonError
from spgvton.files import read_file, write_text
from spgvton.labels import check_label_set
from spgvton.version import __version__

FORMAT: Final = "spgvton-bundle-1"
MANIFEST: Final = "bundle.json"
WEIGHTS: Final = "weights.safetensors"
PRECISIONS: Final = ("fp32", "fp16", "int8")  # what the graphs compute in
GRAPHS: Final = ("g1", "g2", "gmm1", "gmm2", "g3", "tryon", "live")
RESIDUAL: Final = "residual"  # the graph that a network with `residual_flow` has besides
PARSER: Final = "human_parser"  # the graph of a parser's bundle
PARSER_INTEGER: Final = "human_parser_integer"  # its INT8 form for ONNX Runtime on processors with VNNI
MODES: Final = {"live": "live", "pose": "tryon"}  # mode -> its joint graph
# Joint graph -> what it is in two: computed when person or garment change, and for every frame. Optional.
PAIRS: Final = {"tryon": ("session", "frame"), "live": ("live_garment", "live_frame")}
FLOATS: Final = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}  # safetensors' names
MAX_MANIFEST: Final = 16 * 2**20  # bytes
MIN_SIDE: Final = 8  # pixels of the network
MAX_SIDE: Final = 4096
SHIPPED: Final = {
    "live": "live",
    "pose": "realtime",
}  # mode -> the one of assets/bundles that every verb takes by default


def shipped(mode: str = "pose") -> Path:
    """Folder of the bundle that comes with the package and is the default of MODE, one of MODES."""
    return Path(str(resources.files("spgvton") / "assets" / "bundles" / SHIPPED[mode]))


def locate(folder: str | Path) -> Path:
    """FOLDER itself, or that of the shipped bundle of this name ("realtime") where there is no such folder."""
    path = Path(folder)
    named = shipped().parent / path
    return named if len(path.parts) == 1 and not path.exists() and named.is_dir() else path


def sha256(*paths: Path) -> str:
    """Hex digest of a file, or of several one after the other. Raises SpgvtonError when one cannot be read."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise SpgvtonError(f"cannot read {path}: it is no ordinary file (a folder, device, pipe or socket)")
            with path.open("rb") as f:
                for block in iter(partial(f.read, 1 << 20), b""):
                    digest.update(block)
        except OSError as e:
            raise SpgvtonError(f"cannot read {path}: {e.strerror or e}") from e
    return digest.hexdigest()


def check_weights(file: Path) -> None:
    """Raise SpgvtonError where a floating-point weight of the safetensors FILE is NaN or infinite."""
    try:
        with file.open("rb") as f:
            (length,) = struct.unpack("<Q", f.read(8))
            header = json.loads(f.read(length))
            for name, entry in header.items():
                kind = FLOATS.get(entry["dtype"]) if name != "__metadata__" else None
                if kind is not None:
                    begin, end = entry["data_offsets"]
                    f.seek(8 + length + begin)
                    if not np.isfinite(np.frombuffer(f.read(end - begin), kind)).all():
                        raise SpgvtonError(f"{file} holds NaN or infinity in {name}: train or convert it again")
    except (OSError, ValueError, KeyError, TypeError, struct.error, MemoryError, OverflowError) as e:
        raise SpgvtonError(f"{file} is damaged ({e}): copy or export the bundle again") from e


@dataclass(frozen=True)
class Bundle:
    """An opened bundle whose files are the ones that its manifest names."""

    folder: Path
    manifest: dict[str, Any]

    @staticmethod
    def open(folder: str | Path | None = None, *, mode: str = "pose") -> Bundle:
        """Open FOLDER, or the shipped bundle of that name (default: SHIPPED of MODE), and check every file's hash.

        Raises SpgvtonError for a missing folder or file, a foreign or newer manifest, or a hash that differs.

        Examples:
            >>> from spgvton import Bundle
            >>> bundle = Bundle.open("realtime")  # a shipped one by name, or a folder
            >>> bundle.size, bundle.precision, bundle.modes
            ((256, 192), 'fp32', ('live', 'pose'))
        """
        path = shipped(mode) if folder is None else locate(folder)
        file = path / MANIFEST
        try:
            manifest = json.loads(read_file(file, MAX_MANIFEST, "a manifest").decode())
        except SpgvtonError as e:
            raise SpgvtonError(f"{path} is not a model bundle ({e}): make one by spgvton export") from e
        except (ValueError, RecursionError) as e:
            raise SpgvtonError(f"{file} is damaged: {e}; export the bundle again") from e
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
            raise SpgvtonError(f"{file} has format {found!r}, this version reads {FORMAT!r}: export the bundle again")
        try:
            check_label_set(manifest["network"]["label_set"])
            files = {str(name): str(entry["sha256"]) for name, entry in manifest["files"].items()}
            size = int(manifest["network"]["height"]), int(manifest["network"]["width"])
            precision = manifest.get("precision", "fp32")
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as e:
            raise SpgvtonError(f"{file} lacks {e}: export the bundle again") from e
        if not all(MIN_SIDE <= side <= MAX_SIDE for side in size):
            raise SpgvtonError(f"{file} has pictures of {size[1]}x{size[0]} pixels: export the bundle again")
        if precision not in PRECISIONS:
            raise SpgvtonError(f"{file} has precision {precision!r}, this version knows {', '.join(PRECISIONS)}")
        for name, expected in files.items():
            if Path(name).name != name or not name.isprintable():
                raise SpgvtonError(f"{file} names a file outside the bundle: {name}")
            if sha256(path / name) != expected:
                raise SpgvtonError(f"{path / name} is not the file that {MANIFEST} names (hash differs): copy it again")
        if WEIGHTS in files:
            check_weights(path / WEIGHTS)
        elif any(WEIGHTS.encode() in (path / name).read_bytes() for name in files if name.endswith(".onnx")):
            raise SpgvtonError(f"{file} does not list {WEIGHTS}, which its graphs refer to: export the bundle again")
        return Bundle(path, manifest)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the network in pixels."""
        return int(self.manifest["network"]["height"]), int(self.manifest["network"]["width"])

    @property
    def label_set(self) -> str:
        return str(self.manifest["network"]["label_set"])

    @property
    def forget_arms(self) -> bool:
        """Whether live mode's network was trained on maps whose bare arms are forgotten (spgvton.live.arms)."""
        return bool(self.manifest["network"].get("forget_arms", False))

    @property
    def precision(self) -> str:
        """What the graphs compute in, one of PRECISIONS. Inputs and outputs are the same in all of them."""
        return str(self.manifest.get("precision", "fp32"))

    @property
    def graphs(self) -> tuple[str, ...]:
        """Those of GRAPHS and RESIDUAL that the bundle has. One that was exported before live mode, or that cannot do it, has no `live`."""
        return tuple(name for name in (*GRAPHS, RESIDUAL) if f"{name}.onnx" in self.manifest["files"])

    @property
    def is_parser(self) -> bool:
        """Whether this is the bundle of a human parser."""
        return f"{PARSER}.onnx" in self.manifest["files"]

    @property
    def modes(self) -> tuple[str, ...]:
        """Those of MODES that the bundle has the graph for."""
        return tuple(mode for mode, joint in MODES.items() if joint in self.graphs)

    def pair(self, joint: str) -> tuple[str, str] | None:
        """The names of PAIRS for graph JOINT, or None where the bundle does not have them."""
        names = PAIRS[joint]
        return names if all(f"{name}.onnx" in self.manifest["files"] for name in names) else None

    def graph(self, name: str) -> Path:
        """Path of graph NAME, one of GRAPHS or of PAIRS, RESIDUAL or PARSER. Raises SpgvtonError when the bundle has none.

        Examples:
            >>> Bundle.open("realtime").graph("g1").name
            'g1.onnx'
        """
        file = f"{name}.onnx"
        if file in self.manifest["files"]:
            return self.folder / file
        if name == MODES["live"] and "no_live" in self.manifest:
            raise SpgvtonError(f"{self.folder} has no live mode: {self.manifest['no_live']}")
        if name == MODES["live"]:
            raise SpgvtonError(
                f"{self.folder} has no live mode: export the bundle again (spgvton export --checkpoint "
                f"{self.folder / WEIGHTS} --out NEW)"
            )
        have = ", ".join(sorted(self.manifest["files"]))
        raise SpgvtonError(f"{self.folder} has no graph {name} (it has {have})")


def derived_manifest(source: Bundle, names: list[str]) -> dict[str, Any]:
    """What the manifest of a bundle made from SOURCE starts with; NAMES: its files, each of which SOURCE has too.

    Not what belongs to SOURCE's own files: their hashes, and the rewrites, whose graphs a conversion leaves out.
    """
    own = ("format", "files", "rewrites")
    return {
        **{key: value for key, value in source.manifest.items() if key not in own},
        "spgvton": __version__,
        "converted_from": {
            "manifest_sha256": sha256(source.folder / MANIFEST),
            "bytes": sum((source.folder / name).stat().st_size for name in names),
        },
    }


def write_manifest(folder: Path, manifest: dict[str, Any], names: list[str]) -> Bundle:
    """Hash the files NAMES of FOLDER into MANIFEST, write it last and atomically, and open the result."""
    files = {n: {"sha256": sha256(folder / n), "bytes": (folder / n).stat().st_size} for n in names}
    write_text(folder / MANIFEST, json.dumps({"format": FORMAT, **manifest, "files": files}, indent=2) + "\n")
    return Bundle.open(folder)
