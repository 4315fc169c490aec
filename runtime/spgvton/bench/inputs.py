"""What every graph of a bundle is fed when the joint graphs are given real inputs; to measure graph by graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.backends.samples import Sample
from spgvton.bundle import Bundle

PARTS: Final = ("g1", "g2", "gmm1", "residual", "g3")  # of the joint graph, in order of computation


def graph_inputs(bundle: Bundle, sample: Sample, live: Sample) -> dict[str, dict[str, NDArray[np.generic]]]:
    """What each graph of BUNDLE is fed for SAMPLE and LIVE: PARTS, both joint graphs and their pairs, those that it has.

    Every graph gets what those before it give in ONNX Runtime; the warped garment is taken out of the joint graph. Needs
    the package onnx. Raises SpgvtonError for graphs that cannot be loaded.
    """
    fed: dict[str, dict[str, NDArray[np.generic]]] = {}
    values: dict[str, NDArray[np.generic]] = dict(sample)
    for name in (part for part in PARTS if part in bundle.graphs):
        if name == "gmm1":
            values["splined"] = values["warped"] = _warped(bundle, sample)
        fed[name], made = _run(bundle, name, values)
        values |= made
        values["body"] = values.get("aligned_body", values["body"])
    for joint, given in (("tryon", sample), ("live", live)):
        pair = bundle.pair(joint)
        if pair:
            fed[pair[0]], made = _run(bundle, pair[0], given)
            fed[pair[1]], _ = _run(bundle, pair[1], {**given, **made})
        if joint in bundle.graphs:
            fed[joint], _ = _run(bundle, joint, given)
    return fed


def _run(
    bundle: Bundle, name: str, known: Mapping[str, NDArray[np.generic]]
) -> tuple[dict[str, NDArray[np.generic]], dict[str, NDArray[np.generic]]]:
    """(what graph NAME takes of KNOWN, what it gives for that)."""
    from spgvton.backends.onnxruntime import open_graph, session_options

    session = open_graph(bundle.graph(name), session_options(None))
    given = {i.name: known[i.name] for i in session.get_inputs()}
    outputs = [o.name for o in session.get_outputs()]
    return given, dict(zip(outputs, session.run(outputs, given)))


def _warped(bundle: Bundle, sample: Sample) -> NDArray[np.generic]:
    """The garment behind the joint graph's warp, (1, 3, H, W)."""
    import onnx
    import onnxruntime as ort

    from spgvton.backends.onnxruntime import session_options
    from spgvton.engine.graph import OPERATOR, load_weights

    model = onnx.load(str(bundle.graph("tryon")), load_external_data=False)
    load_weights(model, bundle.folder)
    (warp,) = (n.output[0] for n in model.graph.node if (n.domain, n.op_type) == OPERATOR)
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(warp))
    session = ort.InferenceSession(model.SerializeToString(), session_options(None), providers=["CPUExecutionProvider"])
    (made,) = session.run([warp], {i.name: sample[i.name] for i in session.get_inputs()})
    return np.asarray(made)
