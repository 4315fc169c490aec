"""Whether TensorRT-RTX computes the layers of a bundle in INT8, from its builder's verbose log. Needs no GPU.

  python -m spgvton_calibration.fusion bundles/realtime bundles/realtime-int8

Prints, per bundle, the plan's size, the bytes of its constants (also against those of the first bundle) and of its
activations, the data types that the convolutions of tryon.onnx read and write, how many of them have what follows (bias, sum,
ReLU, rounding to int8) in the same kernel, and how many other kernels there are.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final, NamedTuple

from spgvton.bundle import Bundle
from spgvton.engine import flavour
from spgvton.engine.graph import prepare
from spgvton.errors import SpgvtonError

# One layer of the builder's verbose log, without the lists inside its lists: name, kind, inputs, outputs.
LAYER: Final = re.compile(
    r"^Name: (\S+), LayerType: (\w+), Inputs: \[(.*?)\](?:, Constants: \[.*?\])?, Outputs: \[(.*?)\],", re.MULTILINE
)


class Plan(NamedTuple):
    """What a plan holds.

    bytes: of the plan. weights, activations: bytes of its constants, and of what it keeps between layers. convolutions: how
    many compute in which type. written: how many, by the types that they read and write, "Half -> Half". fused: of all
    convolutions, those with what follows in the same kernel. layers: of all kinds. generated: elementwise kernels.
    """

    bytes: int
    weights: int
    activations: int
    convolutions: dict[str, int]
    written: dict[str, int]
    fused: int
    layers: int
    generated: int


def _collector(trt: Any, lines: list[str]) -> Any:
    """A logger of module TRT that appends every message to LINES."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            lines.append(message)

    return Logger()


def build(path: Path, sm: str = "89") -> Plan:
    """Build the graph at PATH for GPUs of compute capability SM, warp as a function, batch 1. Raises SpgvtonError."""
    trt = flavour.load("tensorrt-rtx").trt
    lines: list[str] = []
    logger = _collector(trt, lines)
    model, _ = prepare(path, "function")
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model.SerializeToString()):
        raise SpgvtonError(f"TensorRT cannot read {path}: {' '.join(str(parser.get_error(0)).split())[:300]}")
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    for i in range(network.num_inputs):
        shape = [1, *list(network.get_input(i).shape)[1:]]
        profile.set_shape(network.get_input(i).name, shape, shape, shape)
    config.add_optimization_profile(profile)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # lists the layers
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{sm}"), 0)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise SpgvtonError(f"TensorRT cannot build {path}: {lines[-1] if lines else 'no reason given'}")
    return _described(memoryview(plan).nbytes, "\n".join(lines))


def _described(size: int, log: str) -> Plan:
    """A plan of SIZE bytes, whose builder wrote LOG."""

    def total(what: str) -> int:
        return sum(int(n) for n in re.findall(rf"^Total {what} Memory: (\d+) bytes", log, re.MULTILINE))

    def types(tensors: str) -> list[str]:
        return re.findall(r"Datatype: (\w+)", tensors)

    tidy = re.sub(r"(Dimensions|Strides|StrideOrder): \[[^]]*\]", "", log)  # lists inside the lists of tensors
    layers = LAYER.findall(tidy)
    fused = [(i, o) for name, kind, i, o in layers if kind == "runtime_fusion" and "Corr" in name]
    plain = [(i, o) for _, kind, i, o in layers if kind == "correlation"]
    ends = [(types(i)[0], types(o)[0]) for i, o in (*fused, *plain)]
    return Plan(
        size, total("Weights"), total("Activation"), dict(sorted(Counter(read for read, _ in ends).items())),
        dict(sorted(Counter(f"{read} -> {wrote}" for read, wrote in ends).items())), len(fused), len(layers),
        sum(kind == "kgen" for _, kind, _, _ in layers),
    )  # fmt: skip


def main(folders: list[str]) -> int:
    if not folders:
        print(__doc__, file=sys.stderr)
        return 2
    plans = []
    try:
        for folder in folders:
            plan = build(Bundle.open(folder).graph("tryon"))
            plans.append(plan)
            print(
                f"{folder}: plan {plan.bytes / 1e6:.1f} MB, constants {plan.weights / 1e6:.2f} MB "
                f"({plan.weights / plans[0].weights:.3f}), activations {plan.activations / 1e6:.1f} MB; convolutions "
                f"{plan.written}, {plan.fused} with what follows; {plan.layers} layers, {plan.generated} of them generated"
            )
    except SpgvtonError as e:
        print(f"fusion: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
