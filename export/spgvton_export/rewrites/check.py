"""A rewritten pair against the joint graph that it was made of, by ONNX Runtime on real inputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from spgvton.backends.onnxruntime import open_graph, session_options
from spgvton.bundle import PAIRS
from spgvton_export.parity import differences

Values = Mapping[str, NDArray[Any]]


def feed(session: ort.InferenceSession, values: Values) -> dict[str, NDArray[Any]]:
    """What SESSION takes of VALUES."""
    return {i.name: values[i.name] for i in session.get_inputs()}


def run_all(session: ort.InferenceSession, values: Values) -> dict[str, NDArray[Any]]:
    """SESSION's outputs by name."""
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, feed(session, values))))


def compare_split(folder: Path, joint: str, inputs: Values) -> dict[str, dict[str, float]]:
    """Differences of every output between graph JOINT of FOLDER and its pair, see parity.differences().

    inputs: of the joint graph, of any batch size. Raises SpgvtonError above the tolerance.
    """
    whole, once, each = (open_graph(folder / f"{n}.onnx", session_options(None)) for n in (joint, *PAIRS[joint]))
    expected = run_all(whole, inputs)
    found: list[dict[str, NDArray[Any]]] = []
    for i in range(len(next(iter(inputs.values())))):
        one = {name: value[i : i + 1] for name, value in inputs.items()}
        found.append(run_all(each, {**one, **run_all(once, one)}))
    together = {name: np.concatenate([f[name] for f in found]) for name in expected}
    return differences(together, expected, f"{PAIRS[joint][1]}.onnx differs from {joint}.onnx")
