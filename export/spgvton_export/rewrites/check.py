"""Session and frame graph against the joint graph that they were made of, by ONNX Runtime on real inputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from spgvton.backends.onnxruntime import open_graph, session_options
from spgvton.errors import SpgvtonError

Values = Mapping[str, NDArray[Any]]


def feed(session: ort.InferenceSession, values: Values) -> dict[str, NDArray[Any]]:
    """What SESSION takes of VALUES."""
    return {i.name: values[i.name] for i in session.get_inputs()}


def run_all(session: ort.InferenceSession, values: Values) -> dict[str, NDArray[Any]]:
    """SESSION's outputs by name."""
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, feed(session, values))))


def compare_split(folder: Path, inputs: Values, tolerance: float) -> dict[str, float]:
    """Largest and mean absolute difference, of 255, between FOLDER's session and frame graph and its tryon.onnx.

    inputs: of the joint graph, of any batch size. Raises SpgvtonError above TOLERANCE.
    """
    tryon, session, frame = (
        open_graph(folder / f"{n}.onnx", session_options(None)) for n in ("tryon", "session", "frame")
    )
    expected = run_all(tryon, inputs)["image"]
    found = []
    for i in range(len(expected)):
        one = {name: value[i : i + 1] for name, value in inputs.items()}
        found.append(run_all(frame, {**one, **run_all(session, one)})["image"])
    difference = np.abs(np.concatenate(found).astype(np.float64) - expected)
    if not difference.max() <= tolerance:
        raise SpgvtonError(f"frame.onnx differs from tryon.onnx by {difference.max():.3g} of 255 (limit {tolerance:g})")
    return {"max": float(difference.max()), "mean": float(difference.mean())}
