"""Float bundle + ranges -> INT8 bundle: every graph with Q/DQ at the same layers, one weights file for all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.numpy import save

from spgvton.bundle import MANIFEST, MODES, PAIRS, WEIGHTS, Bundle, derived_manifest, write_manifest
from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import make_folder, write_bytes
from spgvton_calibration.execution import Pair
from spgvton_calibration.network import Layer, Network
from spgvton_calibration.norm_folding import fold_norms_behind_relu
from spgvton_calibration.qdq import OPSET, Int8Weight, insert
from spgvton_export.shared_weights import refer, safetensors_index, stored_name

_SMALL: Final = 1024  # bytes; what is smaller stays in the graph
NO_LIVE: Final = "INT8 bundles hold the graphs of pose mode only: use the float bundle that it was made of"
NOTE: Final = "INT8 for inference: training continues from the float bundle that it was made of"


def module_graph(
    network: Network, joint: Network, chosen: Collection[str], amax: Mapping[str, float],
    weights: Mapping[str, Int8Weight],
) -> onnx.ModelProto:  # fmt: skip
    """The graph of one module quantised as it is inside the JOINT graph: same layers, ranges and weights.

    Tensors have other names in the module's graph, so ranges are found by the layer that reads them.
    """
    ranges: dict[str, float] = {}
    inside = {layer.name: layer for layer in joint.layers}
    layers = [layer for layer in network.layers if layer.name in chosen]
    for layer in layers:
        twin = inside[layer.name]
        if len(twin.tensors) != len(layer.tensors):
            raise SpgvtonError(f"{network.path.name}: {layer.name} is not as in tryon.onnx: export the bundle again")
        ranges.update((own, amax[theirs]) for own, theirs in zip(layer.tensors, twin.tensors))
    return fold_norms_behind_relu(insert(network, layers, ranges, weights)) if layers else network.model


def share(models: Mapping[str, onnx.ModelProto], file: Path) -> None:
    """Move the tensors of MODELS (by graph name, changed in place) into the safetensors FILE, each once."""
    stored: dict[str, NDArray[Any]] = {}
    moved: list[tuple[onnx.TensorProto, str]] = []
    for graph, model in models.items():
        for tensor in model.graph.initializer:
            array = numpy_helper.to_array(tensor)
            if array.nbytes < _SMALL:
                continue
            key = stored_name(tensor.name)
            if key in stored and not (stored[key].dtype == array.dtype and np.array_equal(stored[key], array)):
                key = f"{graph}.{key}"  # a folded constant; the graphs number these alike
            stored[key] = np.ascontiguousarray(array)
            moved.append((tensor, key))
    write_bytes(file, save(stored, {"note": NOTE}))
    index = safetensors_index(file)
    for tensor, key in moved:
        _, _, offset, size = index[key]
        refer(tensor, file, offset, size)


def check_folder(source: Bundle, out: Path) -> None:
    """Raise UsageError when OUT is SOURCE or holds anything that is no bundle, SpgvtonError when it cannot be made."""
    if out.resolve() == source.folder.resolve():
        raise UsageError(f"--out {out} is the bundle itself: name another folder")
    if out.exists() and not (out / MANIFEST).exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} is not a bundle and not empty: name another folder")
    make_folder(out.resolve().parent)


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of OUT when all went well, and vanishes otherwise.

    What a run that was killed left beside OUT goes, too: so one run at a time for each OUT.
    """
    parent = make_folder(out.resolve().parent)
    for left in parent.glob(f".{out.name}.*.part"):
        shutil.rmtree(left, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=parent))
    try:
        yield work
        work.chmod(0o755)
        if out.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".old", dir=parent))
            os.replace(out, old / "bundle")
            os.replace(work, out)
            shutil.rmtree(old)
        else:
            os.replace(work, out)
    except OSError as e:
        raise SpgvtonError(f"cannot write {out}: {e.strerror or e}") from e
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write_int8(
    source: Bundle, joint: Network, chosen: Collection[Layer], amax: Mapping[str, float],
    weights: Mapping[str, Int8Weight], pair: Pair | None, out: Path, facts: dict[str, Any],
    extra: Callable[[Path], None],
) -> Bundle:  # fmt: skip
    """Write the INT8 bundle of SOURCE into folder OUT. FACTS: for bundle.json. EXTRA writes more files into the folder.

    pair: its session and frame graph, if it gets any.

    OUT has passed check_folder(). Raises SpgvtonError when it cannot be written. A run that fails or is interrupted leaves
    OUT as it was.
    """
    names = {layer.name for layer in chosen}
    with staged(out) as work:
        models: dict[str, onnx.ModelProto] = {}
        for name in (g for g in source.graphs if g != MODES["live"]):
            if name == "tryon":
                models[name] = fold_norms_behind_relu(insert(joint, chosen, amax, weights))
            else:
                models[name] = module_graph(Network(source.graph(name)), joint, names, amax, weights)
        converted = [WEIGHTS, *(f"{name}.onnx" for name in models)]
        if pair is not None:
            models |= dict(zip(PAIRS["tryon"], pair))
        share(models, work / WEIGHTS)
        for name, model in models.items():
            write_bytes(work / f"{name}.onnx", model.SerializeToString(deterministic=True))
        extra(work)
        files = [WEIGHTS, *(f"{name}.onnx" for name in models)]
        manifest = derived_manifest(source, converted) | {
            "precision": "int8", "float_precision": source.precision, "weights_storage": "int8",
            "opset": OPSET, "int8": facts, "modes": ["pose"], "no_live": NO_LIVE,
        }  # fmt: skip
        write_manifest(work, manifest, files)
    return Bundle.open(out)
