"""OpenVINO on the CPU (extra `openvino`): float32 as ONNX Runtime computes it, INT8 bundles in real int8, or bfloat16.

A bundle with a session graph is run as by ONNX Runtime: what depends on person and garment alone is computed when they
change. In bfloat16 the joint graph is faster (docs/bench.md has both), so that one is run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final

import numpy as np
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
from spgvton.backends.openvino_graph import Settings, compile_graph, load
from spgvton.backends.sharing import Turns
from spgvton.bundle import Bundle
from spgvton.errors import SpgvtonError

Float = NDArray[np.float32]

NAMES: Final = ("openvino", "openvino-bf16")


class Engine:
    """The compiled graphs, and whose turn it is. Raises SpgvtonError as OpenVinoBackend does."""

    def __init__(self, bundle: Bundle, mode: Mode, form: str, settings: Settings, say: Callable[[str], None]) -> None:
        self.settings, self.turns, self.mode, self.size = settings, Turns(), mode, bundle.size
        bundle.graph(mode.joint)  # a bundle without the mode says so
        whole = settings.bf16 or bundle.precision == "int8"  # of INT8 bundles the pair has ONNX Runtime's own operators
        pair = bundle.pair(mode.joint) if form == "pair" and settings.batch == 1 and not whole else None
        self.graphs = ", ".join(pair or (mode.joint,))
        self.prepare = compile_graph(bundle, pair[0], settings, say) if pair else None
        self.frame = compile_graph(bundle, pair[1] if pair else mode.joint, settings, say)
        made = {name for port in self.prepare.outputs for name in port.names} if self.prepare else set()
        ports = {port.any_name: port for m in (self.prepare, self.frame) if m for port in m.inputs}
        self.shapes = {name: tuple(port.shape) for name, port in ports.items() if not port.names & made}
        check_inputs(sorted(self.shapes), mode, str(bundle.folder))
        self.outputs = given_outputs([port.any_name for port in self.frame.outputs], mode, str(bundle.folder))

    @cached_property
    def arithmetic(self) -> str:
        """How many convolutions compute in what, as OpenVINO's executed graph says: "f32 8, i8 78"."""
        count = Counter(
            str(node.get_rt_info()["runtimePrecision"].astype(str))
            for node in self.frame.get_runtime_model().get_ops()
            if node.get_rt_info()["layerType"].astype(str) == "Convolution"
        )
        return ", ".join(f"{name} {n}" for name, n in sorted(count.items()))


class OpenVinoBackend(RunsPoses):
    """See Backend.

    bf16: products of convolutions in bfloat16; raises SpgvtonError where the processor has no instructions for it. batch:
    how many frames infer() takes, the joint graph for more than one. form: as OnnxRuntimeBackend's. Raises SpgvtonError where openvino
    is missing, or a graph cannot be compiled or is no joint graph.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        mode: Mode = POSE,
        threads: int | None = None,
        bf16: bool = False,
        batch: int = 1,
        form: str = "pair",
        say: Callable[[str], None],
    ) -> None:
        self._version = str(load().__version__).split("-")[0]
        engine = Engine(bundle, mode, form, Settings.of(bundle, threads, bf16=bf16, batch=batch), say)
        if engine.settings.halve_weights:
            say(
                "this processor has no VNNI: the INT8 weights are cut to 7 bits, which costs some picture (docs/openvino.md)"
            )
        if bundle.precision == "int8" and not {"i8", "u8"} & set(engine.arithmetic.split()):
            say("OpenVINO computes this INT8 bundle in float: use the float bundle, it is as fast and more exact")
        self._attach(engine)

    def _attach(self, engine: Engine) -> None:
        self._engine: Engine | None = engine
        self._frame: Any = engine.frame.create_infer_request()
        self._prepare: Any = engine.prepare.create_infer_request() if engine.prepare else None
        self._static: dict[str, Float] = {}  # the requests refer to these arrays
        self._changed = True
        if self._prepare:  # the frame graph reads what the session graph writes, without a copy
            taken = {name for port in engine.frame.inputs for name in port.names}
            for port in self._prepare.model_outputs:
                for name in port.names & taken:
                    self._frame.set_tensor(name, self._prepare.get_tensor(port))

    def sibling(self) -> Backend:
        """See Shareable: the same compiled graphs, requests and memory of its own."""
        made = object.__new__(OpenVinoBackend)
        made._version = self._version
        made._attach(self._opened())
        return made

    def _opened(self) -> Engine:
        if self._engine is None:
            raise SpgvtonError("this session is closed: open a new one")
        return self._engine

    def set_static(self, name: str, value: Float) -> None:
        check_static_name(name, self._opened().mode)
        expected = self._opened().shapes.get(name)
        if expected is None:  # a network without `align_source` does not take the source keypoints
            return
        if value.shape != expected:
            raise ValueError(f"{name}: expected {expected}, got {value.shape}")
        ov, array = load(), np.array(value, np.float32, order="C")
        self._static[name] = array
        for request in (self._prepare, self._frame):
            if request and any(name in port.names for port in request.model_inputs):
                request.set_tensor(name, ov.Tensor(array, shared_memory=True))
        self._drop_prepared()

    def _drop_prepared(self) -> None:
        """Nothing made of an earlier person or garment may stay."""
        if self._prepare and not self._changed:
            for port in self._prepare.model_outputs:
                self._prepare.get_tensor(port).data.fill(0)
        self._changed = True

    def forget(self) -> None:
        """What the requests hold is overwritten; OpenVINO's own working memory keeps what the last frame left until the next one."""
        if self._engine is None:
            return
        held = [self._static.pop(name) for name in PERSON if name in self._static]
        for array in held:
            array.fill(0)
        if held:
            self._drop_prepared()
        for name in self._engine.mode.typed:
            self._frame.get_tensor(name).data.fill(0)

    def infer(self, frame: Mapping[str, Array]) -> dict[str, Array]:
        engine = self._opened()
        given = check_frame(frame, engine.mode, engine.size, engine.settings.batch)
        check_all_set(set(engine.shapes) - set(engine.mode.frame) - set(self._static))
        with engine.turns:
            if self._prepare and self._changed:
                self._prepare.infer()
            self._changed = False
            for name, value in given.items():
                self._frame.get_tensor(name).data[:] = value
            self._frame.infer()
            return {name: np.array(self._frame.get_tensor(name).data) for name in engine.outputs}

    def describe(self) -> dict[str, str]:
        engine = self._opened()
        return {
            "backend": NAMES[engine.settings.bf16], "version": self._version, "device": "CPU",
            "threads": str(engine.settings.threads), "graphs": engine.graphs, "convolutions": engine.arithmetic,
            **({"int8_weights": "7 bits (this processor has no VNNI)"} if engine.settings.halve_weights else {}),
        }  # fmt: skip

    def close(self) -> None:
        self._engine = self._frame = self._prepare = None
        self._static = {}
