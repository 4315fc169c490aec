"""ONNX Runtime on the CPU: the default back end."""

from __future__ import annotations

import os

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from spgvton.backends.contract import IMAGE, KEYPOINTS, check_all_set, check_inputs, check_static_name
from spgvton.bundle import Bundle
from spgvton.errors import SpgvtonError


def session_options(threads: int | None) -> ort.SessionOptions:
    """Options for THREADS intra-op threads (default: all cores that this process may use)."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options


class OnnxRuntimeBackend:
    """See Backend. Raises SpgvtonError when the graph cannot be loaded or is not an spgvton joint graph."""

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        path = bundle.graph("tryon")
        options = session_options(threads)
        options.add_free_dimension_override_by_name("N", 1)  # lets the TPS basis be folded: 5 instead of 9 ms
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as e:  # ONNX Runtime's exceptions share no base class of its own
            raise SpgvtonError(f"ONNX Runtime cannot load {path}: {str(e).splitlines()[0]}") from e
        self._threads = options.intra_op_num_threads
        self._inputs = [i.name for i in self._session.get_inputs()]
        check_inputs(self._inputs, str(path))
        self._static: dict[str, NDArray[np.float32]] = {}

    def set_static(self, name: str, value: NDArray[np.float32]) -> None:
        check_static_name(name)
        if name in self._inputs:  # a network without `align_source` does not take the source keypoints
            self._static[name] = np.ascontiguousarray(value, dtype=np.float32)

    def run(self, keypoints: NDArray[np.float32]) -> NDArray[np.uint8]:
        if keypoints.shape != (1, 18, 3):
            raise ValueError(f"one pose at a time: expected keypoints (1, 18, 3), got {keypoints.shape}")
        feed = {**self._static, KEYPOINTS: np.ascontiguousarray(keypoints, dtype=np.float32)}
        check_all_set(set(self._inputs) - set(feed))
        (image,) = self._session.run([IMAGE], feed)
        return np.asarray(image, np.uint8)

    def describe(self) -> dict[str, str]:
        return {
            "backend": "onnxruntime", "version": ort.__version__, "device": "CPUExecutionProvider",
            "threads": str(self._threads),
        }  # fmt: skip

    def close(self) -> None:
        """Nothing to do: ONNX Runtime frees its memory with the object."""
