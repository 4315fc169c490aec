"""Whether TensorRT-RTX computes the layers of a bundle in INT8, from its builder's verbose log. Needs no GPU.

  python -m spgvton_calibration.fusion bundles/mini bundles/mini-int8

Prints, per bundle, the plan's size, the bytes of its constants (also against those of the first bundle), and the data types
that the convolutions of tryon.onnx compute in.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from spgvton.bundle import Bundle
from spgvton.engine import flavour
from spgvton.engine.graph import prepare
from spgvton.errors import SpgvtonError


class Plan(NamedTuple):
    """bytes: of the plan. weights: bytes of its constants. convolutions: how many compute in which type."""

    bytes: int
    weights: int
    convolutions: dict[str, int]


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
    text = "\n".join(lines)
    weights = sum(int(n) for n in re.findall(r"^Total Weights Memory: (\d+) bytes", text, re.MULTILINE))
    inputs = re.findall(r"^Name: \S+, LayerType: correlation, Inputs: \[ \{(.*?)\}", text, re.MULTILINE)
    kinds = Counter(found.group(1) for i in inputs if (found := re.search(r"Datatype: (\w+)", i)))
    return Plan(memoryview(plan).nbytes, weights, dict(sorted(kinds.items())))


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
                f"({plan.weights / plans[0].weights:.3f}), convolutions: {plan.convolutions}"
            )
    except SpgvtonError as e:
        print(f"fusion: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
