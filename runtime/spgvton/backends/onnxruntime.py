"""ONNX Runtime on the CPU: the default back end."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from spgvton.backends.contract import (
    PERSON,
    POSE,
    Array,
    Backend,
    Mode,
    RunsPoses,
    check_all_set,
    check_frame,
    check_inputs,
    check_static_name,
    given_outputs,
)  # fmt: skip
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


PICTURES: Final = ("picture", "cloth", "cloth_mask", "body", "head", "reference_map")  # inputs of the network's size


def check_size(session: ort.InferenceSession, name: str, size: tuple[int, int]) -> None:
    """Raise SpgvtonError where an input that is a picture is not of SIZE (height, width), which the manifest tells."""
    for given in session.get_inputs():
        sides = given.shape[1:3] if given.name == "picture" else given.shape[2:]
        if (
            given.name in PICTURES
            and len(given.shape) == 4
            and all(isinstance(side, int) for side in sides)
            and tuple(sides) != size
        ):
            raise SpgvtonError(
                f"{name} takes {given.name} of {sides[1]}x{sides[0]} pixels, bundle.json says {size[1]}x{size[0]}: export the "
                "bundle again"
            )


class OnnxRuntimeBackend(RunsPoses):
    """See Backend. Raises SpgvtonError when the graph cannot be loaded or is not an spgvton joint graph.

    A bundle that has MODE's pair has what depends on person and garment alone computed when they change, at the first frame
    after; each frame runs the other graph. Other bundles, and more than one frame at a time (batch), run the joint graph. So
    do INT8 bundles on processors without VNNI: there ONNX Runtime's products of their frame graph saturate in 16 bits, which
    spoils the picture.
    form: "pair" or "joint" instead of that default; which is faster depends on the machine, `--backend auto` measures it.
    """

    def __init__(
        self, bundle: Bundle, *, mode: Mode = POSE, threads: int | None = None, batch: int = 1, form: str = "pair"
    ) -> None:
        options = session_options(threads)
        options.add_free_dimension_override_by_name("N", batch)  # lets the TPS basis be folded: 5 instead of 9 ms
        self._mode, self._size = mode, bundle.size
        self._threads, self._batch, self._turns = options.intra_op_num_threads, batch, Turns()
        path = bundle.graph(mode.joint)
        fits = form == "pair" and batch == 1 and (bundle.precision != "int8" or has_vnni())
        pair = bundle.pair(mode.joint) if fits else None
        if pair:
            path = bundle.graph(pair[1])
        self._graphs = pair or (mode.joint,)
        self._prepare = open_graph(bundle.graph(pair[0]), options) if pair else None
        self._session = open_graph(path, options)
        for session, name in ((self._prepare, pair[0] if pair else ""), (self._session, path.stem)):
            if session:
                check_size(session, f"{bundle.folder}/{name}.onnx", bundle.size)
        self._prepare_inputs = [i.name for i in self._prepare.get_inputs()] if self._prepare else []
        self._prepare_outputs = [o.name for o in self._prepare.get_outputs()] if self._prepare else []
        self._inputs = [i.name for i in self._session.get_inputs()]
        self._outputs = given_outputs([o.name for o in self._session.get_outputs()], mode, str(path))
        needed = {*self._prepare_inputs, *self._inputs} - set(self._prepare_outputs)
        check_inputs(sorted(needed), mode, str(path))
        self._static_inputs = needed - set(mode.frame)
        self._static: dict[str, NDArray[np.float32]] = {}
        self._prepared: dict[str, NDArray[np.float32]] | None = None  # what the pair's first graph gave

    def sibling(self) -> Backend:
        """See Shareable: the same sessions; person and garment of its own."""
        made = copy.copy(self)
        made._static, made._prepared = {}, None
        return made

    def set_static(self, name: str, value: NDArray[np.float32]) -> None:
        check_static_name(name, self._mode)
        if name in self._static_inputs:  # a network without `align_source` does not take the source keypoints
            self._static[name] = np.ascontiguousarray(value, dtype=np.float32)
            self._prepared = None

    def infer(self, frame: Mapping[str, Array]) -> dict[str, Array]:
        given = check_frame(frame, self._mode, self._size, self._batch)
        check_all_set(self._static_inputs - set(self._static))
        with self._turns:
            if self._prepared is None:
                self._prepared = self._run_session_graph()
            values = {**self._static, **self._prepared, **given}
            made = self._session.run(self._outputs, {name: values[name] for name in self._inputs})
        return dict(zip(self._outputs, made))

    def _run_session_graph(self) -> dict[str, NDArray[np.float32]]:
        if self._prepare is None:
            return {}
        made = self._prepare.run(self._prepare_outputs, {name: self._static[name] for name in self._prepare_inputs})
        return dict(zip(self._prepare_outputs, made))

    def forget(self) -> None:
        """The arrays are dropped. ONNX Runtime's own working memory keeps what the last frame left in it until the next one."""
        if any(self._static.pop(name, None) is not None for name in PERSON):
            self._prepared = None

    def describe(self) -> dict[str, str]:
        return {
            "backend": "onnxruntime", "version": ort.__version__, "device": "CPUExecutionProvider",
            "threads": str(self._threads), "graphs": ", ".join(self._graphs),
        }  # fmt: skip

    def close(self) -> None:
        """Nothing to do: ONNX Runtime frees its memory with the object."""
