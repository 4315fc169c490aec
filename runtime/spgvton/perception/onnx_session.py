"""Loading of the small perception networks with ONNX Runtime on the CPU."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import onnxruntime as ort

from spgvton.errors import SpgvtonError
from spgvton.files import read_file
from spgvton.image_header import LFS_POINTER


def open_session(path: str | Path, threads: int = 1) -> ort.InferenceSession:
    """An ONNX Runtime CPU session with THREADS threads. Raises SpgvtonError when PATH is missing or not ONNX."""
    file = Path(path)
    if not file.is_file():
        raise SpgvtonError(f"{file} is missing or not a file: give the path of an ONNX model")
    if read_file(file, len(LFS_POINTER), head=True) == LFS_POINTER:
        raise SpgvtonError(f"{file} is a pointer of Git LFS, not the model: run git lfs pull")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only: load-time warnings are not for the user
    # Idle worker threads sleep instead of spinning: perception shares the cores with the try-on network.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as e:  # ONNX Runtime raises half a dozen classes of its own for a bad file
        reason = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
        raise SpgvtonError(f"{file} is not an ONNX model that can be loaded: {reason}") from e


def input_names(path: str | Path) -> tuple[str, ...]:
    """Names of the inputs of the ONNX model at PATH. Raises SpgvtonError as open_session() does."""
    return tuple(i.name for i in open_session(path).get_inputs())


def shipped_model(name: str) -> Path:
    """Path of a model under spgvton/assets/models. Raises SpgvtonError when the installation lacks it."""
    with as_file(files("spgvton") / "assets" / "models" / name) as path:  # a real path: wheels are unpacked
        if not path.is_file():
            raise SpgvtonError(f"{path} is missing: install spgvton again")
        return Path(path)
