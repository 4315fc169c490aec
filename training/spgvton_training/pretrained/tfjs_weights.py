"""Weights of TensorFlow.js models: a manifest (JSON) that lists the tensors, and binary shards beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError

Array = NDArray[Any]
STORED_TYPES: Final = {"float32": "<f4", "int32": "<i4", "bool": "?"}
QUANTISED_TYPES: Final = {"float16": "<f2", "uint8": "u1", "uint16": "<u2"}


def read_manifest(path: Path) -> tuple[list[dict[str, Any]], list[Path]]:
    """The groups of a weights manifest (a JSON list), and the shard files that they name, in order.

    Raises SpgvtonError for a file that is not a manifest.
    """
    try:
        groups = json.loads(path.read_bytes())
        shards = [path.parent / name for group in groups for name in group["paths"]]
    except OSError as e:
        raise SpgvtonError(f"cannot read {path}: {e.strerror or e}") from e
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise SpgvtonError(f"{path} is not a TensorFlow.js weights manifest ({type(e).__name__})") from e
    return groups, shards


def load_weights(model: Path, manifest: list[dict[str, Any]]) -> dict[str, Array]:
    """The weights named in MANIFEST by name; FP16 and affine-quantised ones are expanded to float32.

    model: the JSON file beside which the shards lie. Raises SpgvtonError when a shard is missing or too short, and for
    an entry that cannot be understood.
    """
    out: dict[str, Array] = {}
    for group in manifest:
        try:
            data = b"".join((model.parent / shard).read_bytes() for shard in group["paths"])
            offset = 0
            for entry in group["weights"]:
                out[entry["name"]], offset = _tensor(entry, data, offset)
        except OSError as e:
            raise SpgvtonError(f"{model}: cannot read weight shard {e.filename}: {e.strerror}") from e
        except EOFError as e:
            raise SpgvtonError(f"{model}: weight file {', '.join(group['paths'])} is truncated at {e}") from e
        except (KeyError, TypeError, ValueError, OverflowError) as e:
            raise SpgvtonError(f"{model}: the weights manifest is damaged ({type(e).__name__}: {e})") from e
    return out


def _tensor(entry: dict[str, Any], data: bytes, offset: int) -> tuple[Array, int]:
    """One tensor of DATA from OFFSET on, and the offset behind it. Raises EOFError when DATA is too short."""
    shape = [int(n) for n in entry["shape"]]
    if any(n < 0 for n in shape):
        raise ValueError(f"shape {shape}")
    quantisation = entry.get("quantization")
    dtype = np.dtype(QUANTISED_TYPES[quantisation["dtype"]] if quantisation else STORED_TYPES[entry["dtype"]])
    count = 1
    for n in shape:  # exact integers, where numpy's product would wrap around
        count *= n
    end = offset + count * dtype.itemsize
    if end > len(data):
        raise EOFError(entry["name"])
    a: Array = np.frombuffer(data, dtype, count, offset)
    if quantisation:
        a = a.astype(np.float32)
        if quantisation["dtype"] != "float16":
            a = a * np.float32(quantisation["scale"]) + np.float32(quantisation["min"])
    return a.reshape(shape).copy(), end
