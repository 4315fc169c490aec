"""A bundle's graph as OpenVINO compiles it, and the cache of what it compiled.

The warp's function body is inlined; weights stored as float16 become what the graph computes in (engine/graph.py does both).
Changes are made to the arithmetic only where they are asked for:

bf16: the products of the convolutions, but for the GMM's, are bfloat16 (sums float32), everything else stays float32. OpenVINO's own hint
    (INFERENCE_PRECISION_HINT bf16) also rounds coordinates: 19.6 dB against float32 instead of 42 and more.
unsigned: int8 activations become uint8 around 128, the same numbers. On x86 without AMX, OpenVINO's kernels take unsigned
    activations only, and what it makes of signed ones itself is 25 dB from the same graph in ONNX Runtime instead of 50.
halve_weights: int8 weights lose their lowest bit. Without VNNI two products of 8 bits are added in 16 bits and saturate;
    with 7-bit weights they cannot (NNCF calls this `overflow_fix`).
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from spgvton import machine
from spgvton.bundle import Bundle
from spgvton.errors import SpgvtonError
from spgvton.files import make_folder, user_cache, write_bytes

VERSION: Final = 2  # of the changes that are made here: old blobs are then not found
KEPT: Final = 8  # blobs in the cache; 32 to 76 MB each for `mini`
DIGEST: Final = 32  # bytes of SHA-256 before each blob
BF16_FLAGS: Final = {"avx512_bf16", "amx_bf16"}
AMX_FLAGS: Final = {"amx_int8"}
VNNI_FLAGS: Final = {*machine.VNNI_FLAGS, *AMX_FLAGS}


@dataclass(frozen=True)
class Settings:
    """How graphs are compiled. batch: of every input."""

    threads: int
    batch: int = 1
    bf16: bool = False
    unsigned: bool = False
    halve_weights: bool = False

    @staticmethod
    def of(bundle: Bundle, threads: int | None, *, bf16: bool = False, batch: int = 1) -> Settings:
        """What this processor needs for BUNDLE. threads: None = all cores. Raises SpgvtonError where it cannot do bf16."""
        flags = machine.cpu_flags()
        if bf16 and not flags & BF16_FLAGS:
            raise SpgvtonError("this processor has no bfloat16 instructions: use back end openvino")
        if bf16 and bundle.precision == "int8":
            raise SpgvtonError(
                f"{bundle.folder} is INT8 already: use back end openvino, or bfloat16 of the float bundle"
            )
        x86_int8 = bundle.precision == "int8" and machine.is_x86()  # ARM's dot products are signed and sum in 32 bits
        return Settings(
            threads or machine.cores(), batch, bf16,
            unsigned=x86_int8 and not flags & AMX_FLAGS, halve_weights=x86_int8 and not flags & VNNI_FLAGS,
        )  # fmt: skip

    def properties(self) -> dict[str, Any]:
        """OpenVINO's. float32 unless the graph itself says otherwise: on CPUs with AMX the default would be bfloat16."""
        return {
            "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": self.threads, "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
        }  # fmt: skip


def load() -> Any:
    """The module openvino. Raises SpgvtonError that names the extra."""
    try:
        return importlib.import_module("openvino")
    except ModuleNotFoundError as e:
        raise SpgvtonError(f"{e.name} is missing: pip install 'spgvton[openvino]'") from e
    except (ImportError, OSError) as e:
        raise SpgvtonError(f"openvino is installed but cannot be loaded: {str(e).splitlines()[0]}") from e


def read(path: Path, settings: Settings) -> Any:
    """The graph at PATH as an openvino.Model. Raises SpgvtonError."""
    try:
        from spgvton.engine.graph import prepare
    except ModuleNotFoundError as e:  # onnx
        raise SpgvtonError(f"{e.name} is missing: pip install 'spgvton[openvino]'") from e
    return convert(prepare(path, "function")[0], settings, path)


def convert(model: Any, settings: Settings, path: Path) -> Any:
    """MODEL (an onnx.ModelProto that holds its weights, changed here) as an openvino.Model. Raises SpgvtonError."""
    ov = load()
    if settings.unsigned:
        make_unsigned(model)
    if settings.halve_weights:
        halve_weights(model)
    try:
        made = ov.Core().read_model(model.SerializeToString())
        made.reshape({i.any_name: [settings.batch, *list(i.partial_shape)[1:]] for i in made.inputs})
        if settings.bf16:
            convolutions_in_bf16(ov, made)
    except RuntimeError as e:
        raise SpgvtonError(f"OpenVINO cannot read {path}: {_last_line(e)}") from e
    return made


def make_unsigned(model: Any) -> int:
    """Let every QuantizeLinear of MODEL (an onnx.ModelProto) give uint8 around 128; how many that were."""
    from onnx import numpy_helper

    name = "spgvton/zero_point_128"
    quantised = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    made = {n.output[0] for n in quantised}
    readers = [n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in made]
    for node in (*quantised, *readers):
        del node.input[2:]  # the zero point, 0 in symmetric INT8, may be left out
        node.input.append(name)
    model.graph.initializer.append(numpy_helper.from_array(np.array(128, np.uint8), name))
    return len(quantised)


def halve_weights(model: Any) -> int:
    """Round the int8 weights of MODEL (an onnx.ModelProto) to even steps of twice the size; how many tensors that were."""
    from onnx import numpy_helper

    stored = {t.name: t for t in model.graph.initializer}
    weights = {
        n.input[0]: n.input[1]
        for n in model.graph.node
        if n.op_type == "DequantizeLinear" and n.input[0] in stored and n.input[1] in stored
    }
    for scale in set(weights.values()):
        stored[scale].CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(stored[scale]), scale))
    for name in weights:
        value = numpy_helper.to_array(stored[name])
        stored[name].CopyFrom(numpy_helper.from_array(np.rint(value / 2).astype(value.dtype), name))
    return len(weights)


def convolutions_in_bf16(ov: Any, model: Any) -> None:
    """Put casts to bfloat16 before the inputs of the convolutions of MODEL, and back to float32 behind them.

    Not in the GMM, which is small and gives the warp's coordinates; and PyTorch's oneDNN makes NaN of its smallest maps
    in bfloat16 on AMX.
    """
    from openvino import opset13 as ops
    from openvino._offline_transformations import apply_moc_transformations

    apply_moc_transformations(model, False)  # folds batch norm, which would stand in the way afterwards
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Convolution" or node.get_friendly_name().startswith("gmm"):
            continue
        given = node.get_attributes()
        narrow = [ops.convert(node.input_value(i), "bf16") for i in (0, 1)]
        made = ops.convolution(
            *narrow, given["strides"], given["pads_begin"], given["pads_end"], given["dilations"], given["auto_pad"]
        )
        made.set_friendly_name(node.get_friendly_name())
        wide = ops.convert(made, "f32")
        for reader in list(node.output(0).get_target_inputs()):
            reader.replace_source_output(wide.output(0))
    model.validate_nodes_and_infer_types()


def cache_folder() -> Path:
    return user_cache() / "openvino"


def compile_graph(bundle: Bundle, name: str, settings: Settings, say: Callable[[str], None]) -> Any:
    """Graph NAME of BUNDLE as an openvino.CompiledModel for the CPU, from the cache if it was compiled here before.

    The cache's key is all that decides what is compiled: graph, weights, settings, OpenVINO's version, the processor and
    its instructions. A damaged blob, or a folder that cannot be written, is told and costs only time. Raises SpgvtonError.
    """
    ov = load()
    core = ov.Core()
    files = bundle.manifest["files"]  # whose hashes were compared when the bundle was opened
    key = {
        "format": VERSION, "graph": files[f"{name}.onnx"]["sha256"],
        "weights": sorted(e["sha256"] for f, e in files.items() if not f.endswith(".onnx")),
        "settings": asdict(settings), "openvino": ov.__version__, "cpu": machine.cpu_model(),
        "instructions": sorted(machine.cpu_flags()),
    }  # fmt: skip
    blob = cache_folder() / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.blob"
    stored = _stored(blob, say)
    try:
        if stored is not None:
            return core.import_model(stored, "CPU", settings.properties())
        compiled = core.compile_model(read(bundle.graph(name), settings), "CPU", settings.properties())
    except RuntimeError as e:
        if stored is not None:
            blob.unlink(missing_ok=True)
            say(f"{blob} cannot be used ({_last_line(e)}): compiling anew")
            return compile_graph(bundle, name, settings, say)
        raise SpgvtonError(f"OpenVINO cannot compile {bundle.graph(name)}: {_last_line(e)}") from e
    _keep(blob, compiled, say)
    return compiled


def _stored(blob: Path, say: Callable[[str], None]) -> bytes | None:
    """What is in the file, None where there is none, or where it is not what was written."""
    try:
        data = blob.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data[DIGEST:]).digest() != data[:DIGEST]:
        say(f"{blob} is damaged: compiling anew")
        return None
    with suppress(OSError):
        os.utime(blob)  # the oldest are removed
    return data[DIGEST:]


def _keep(blob: Path, compiled: Any, say: Callable[[str], None]) -> None:
    data = compiled.export_model()
    data = data if isinstance(data, bytes) else data.getvalue()
    try:
        make_folder(blob.parent)
        write_bytes(blob, hashlib.sha256(data).digest() + data)
        others = sorted(blob.parent.glob("*.blob"), key=lambda p: p.stat().st_mtime, reverse=True)
        for old in others[KEPT:]:
            old.unlink(missing_ok=True)
    except (SpgvtonError, OSError) as e:
        say(f"the compiled graph is not kept, so the next start is slow too: {e}")


def _last_line(error: Exception) -> str:
    """OpenVINO's exceptions are many lines of file names; the last one says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
