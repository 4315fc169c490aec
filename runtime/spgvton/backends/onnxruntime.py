"""ONNX Runtime on the CPU: the default back end."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from spgvton.backends.contract import IMAGE, KEYPOINTS, Backend, check_all_set, check_inputs, check_static_name
from spgvton.backends.sharing import Turns
from spgvton.bundle import Bundle
from spgvton.errors import SpgvtonError
from spgvton.machine import has_vnni


def session_options(threads: int | None) -> ort.SessionOptions:
    """Options for THREADS intra-op threads (default: all cores that this process may use)."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin take the cores of the other stages: 0.63 of the processor time and 0.69 of the wall time without, two
    # threads on two busy cores (docs/bench.md).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The Q/DQ of INT8 bundles as written: 1.32 would quantise biases to int32 by the product of two float16 scales,
    # which underflows
    # (21 instead of 43 dB against float), and fuses little of TensorRT's form anyway.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return options


def open_graph(path: Path, options: ort.SessionOptions) -> ort.InferenceSession:
    """Raises SpgvtonError when ONNX Runtime cannot load the graph."""
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as e:  # ONNX Runtime's exceptions share no base class of its own
        raise SpgvtonError(f"ONNX Runtime cannot load {path}: {str(e).splitlines()[0]}") from e


class OnnxRuntimeBackend:
    """See Backend. Raises SpgvtonError when the graph cannot be loaded or is not an spgvton joint graph.

    A bundle with a session graph has what depends on person and garment alone computed when they change, at the first
    frame after; each frame runs the frame graph. Other bundles, and more than one pose at a time (batch), run the joint
    graph. So do INT8 bundles on processors without VNNI: there ONNX Runtime's products of their frame graph saturate in 16
    bits, which spoils the picture.
    """

    def __init__(self, bundle: Bundle, *, threads: int | None = None, batch: int = 1) -> None:
        options = session_options(threads)
        options.add_free_dimension_override_by_name("N", batch)  # lets the TPS basis be folded: 5 instead of 9 ms
        self._threads, self._batch, self._turns = options.intra_op_num_threads, batch, Turns()
        split = bundle.is_split and batch == 1 and (bundle.precision != "int8" or has_vnni())
        self._prepare = open_graph(bundle.graph("session"), options) if split else None
        path = bundle.graph("frame" if split else "tryon")
        self._session = open_graph(path, options)
        self._prepare_inputs = [i.name for i in self._prepare.get_inputs()] if self._prepare else []
        self._prepare_outputs = [o.name for o in self._prepare.get_outputs()] if self._prepare else []
        self._inputs = [i.name for i in self._session.get_inputs()]
        needed = {*self._prepare_inputs, *self._inputs} - set(self._prepare_outputs)
        check_inputs(sorted(needed), str(path))
        self._static_inputs = needed - {KEYPOINTS}
        self._static: dict[str, NDArray[np.float32]] = {}
        self._prepared: dict[str, NDArray[np.float32]] | None = None  # what the session graph gave

    def sibling(self) -> Backend:
        """See Shareable: the same sessions; person and garment of its own."""
        made = copy.copy(self)
        made._static, made._prepared = {}, None
        return made

    def set_static(self, name: str, value: NDArray[np.float32]) -> None:
        check_static_name(name)
        if name in self._static_inputs:  # a network without `align_source` does not take the source keypoints
            self._static[name] = np.ascontiguousarray(value, dtype=np.float32)
            self._prepared = None

    def run(self, keypoints: NDArray[np.float32]) -> NDArray[np.uint8]:
        if keypoints.shape != (self._batch, 18, 3):
            raise ValueError(f"expected keypoints ({self._batch}, 18, 3), got {keypoints.shape}")
        check_all_set(self._static_inputs - set(self._static))
        with self._turns:
            if self._prepared is None:
                self._prepared = self._run_session_graph()
            values = {**self._static, **self._prepared, KEYPOINTS: np.ascontiguousarray(keypoints, dtype=np.float32)}
            (image,) = self._session.run([IMAGE], {name: values[name] for name in self._inputs})
        return np.asarray(image, np.uint8)

    def _run_session_graph(self) -> dict[str, NDArray[np.float32]]:
        if self._prepare is None:
            return {}
        made = self._prepare.run(self._prepare_outputs, {name: self._static[name] for name in self._prepare_inputs})
        return dict(zip(self._prepare_outputs, made))

    def describe(self) -> dict[str, str]:
        return {
            "backend": "onnxruntime", "version": ort.__version__, "device": "CPUExecutionProvider",
            "threads": str(self._threads), "graphs": "session, frame" if self._prepare else "tryon",
        }  # fmt: skip

    def close(self) -> None:
        """Nothing to do: ONNX Runtime frees its memory with the object."""
