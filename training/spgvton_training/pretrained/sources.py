"""Read a weights file by what it holds, not by its name, and without running any code from it.

.pth, .pt         state_dict of PyTorch, both the zip and the old format (torch.load with weights_only)
.safetensors
.h5               weights of Keras; needs the package h5py
.json             weights manifest of TensorFlow.js, its shards beside it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from spgvton.bundle import sha256
from spgvton.errors import SpgvtonError
from spgvton_training.pretrained.tfjs_weights import load_weights, read_manifest

HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"
TORCH_MAGICS: Final = (b"PK\x03\x04", b"\x80")  # zip archive; pickle protocol 2 or newer, where torch < 1.6 began
SAFETENSORS_MAX_HEADER: Final = 100_000_000  # bytes, the format's own limit


@dataclass(frozen=True)
class WeightFile:
    """Tensors as the file names them (unused ones included) and the SHA-256 of the file's bytes.

    For TensorFlow.js the hash goes over the manifest, which holds the scales, followed by its shards.
    """

    path: Path
    tensors: dict[str, Tensor]
    sha256: str

    def holds(self, shapes: Mapping[str, Sequence[int]]) -> bool:
        """True when all of these tensors are there with these shapes."""
        return all(name in self.tensors and self.tensors[name].shape == tuple(s) for name, s in shapes.items())


def read_weights(path: str | Path) -> WeightFile:
    """Raises SpgvtonError, in one line, for a file that is missing, damaged, or of no known format."""
    path = Path(path)
    try:
        with path.open("rb") as f:
            head = f.read(16)
        files = [path]
        # First safetensors, whose first byte can be any: the length of the JSON header that follows.
        if int.from_bytes(head[:8], "little") <= SAFETENSORS_MAX_HEADER and head[8:9] == b"{":
            tensors = load_file(path)
        elif head.startswith(HDF5_MAGIC):
            tensors = _read_hdf5(path)
        elif head.startswith(TORCH_MAGICS):
            tensors = _read_torch(path)
        elif head.lstrip()[:1] in (b"[", b"{"):
            manifest, shards = read_manifest(path)
            tensors = {name: torch.from_numpy(a) for name, a in load_weights(path, manifest).items()}
            files += shards
        else:
            raise SpgvtonError(
                f"{path} is not a weights file: give a .pth, .safetensors, .h5 or TF.js manifest (.json)"
            )
        return WeightFile(path, tensors, sha256(*files))
    except OSError as e:
        raise SpgvtonError(f"cannot read weights {path}: {e.strerror or e}") from e
    except SafetensorError as e:
        raise SpgvtonError(f"weights {path} are damaged: {e}; fetch the file again") from e


def load_into(network: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Put WEIGHTS as float32 in the place of NETWORK's own, which may be on the device "meta", and freeze it.

    Raises SpgvtonError, which names PATH, for NaN and infinity.
    """
    bad = [name for name, w in weights.items() if not w.isfinite().all()]
    if bad:
        raise SpgvtonError(
            f"weights {path} are damaged: {bad[0]} holds values that are not finite; fetch the file again"
        )
    network.load_state_dict({name: w.float().contiguous() for name, w in weights.items()}, assign=True)
    network.requires_grad_(False).eval()


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as e:  # torch raises many kinds for a damaged file
        raise SpgvtonError(
            f"cannot read weights {path}: it is damaged or holds more than tensors ({type(e).__name__}); give a state_dict"
        ) from e
    if not isinstance(state, Mapping):
        raise SpgvtonError(f"weights {path} hold a {type(state).__name__} instead of a state_dict")
    return {str(name): value for name, value in state.items() if isinstance(value, Tensor)}


def _read_hdf5(path: Path) -> dict[str, Tensor]:
    try:
        import h5py
    except ImportError as e:
        raise SpgvtonError(f"weights {path} are in Keras' HDF5 format: pip install h5py") from e
    tensors: dict[str, Tensor] = {}

    def collect(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            tensors[name] = torch.from_numpy(np.array(item, np.float32))

    try:
        with h5py.File(path, "r") as f:
            f.visititems(collect)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as e:  # h5py raises each of them for damaged files
        raise SpgvtonError(f"weights {path} are damaged ({str(e).splitlines()[0]}); fetch the file again") from e
    return tensors
