"""Real inputs to measure on: the shipped person, garments and poses, as the joint graph and as its parts take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import image as im
from spgvton.backends.contract import KEYPOINTS, PERSON_AND_GARMENT, Backend
from spgvton.bundle import SESSION_AND_FRAME, Bundle
from spgvton.demo_assets import GARMENTS, DemoAssets
from spgvton.person import Garment, PersonRepresentation

Sample = dict[str, NDArray[np.float32]]  # the joint graph's inputs by name, each (N, ...)

PARTS: Final = ("g1", "g2", "gmm1", "g3")  # of the joint graph, in order of computation


def demo_samples(size: tuple[int, int], label_set: str, poses: int = 3) -> list[Sample]:
    """The shipped person at SIZE (height, width), in three garments and POSES poses of the clip: 3 * POSES samples."""
    assets = DemoAssets.open()
    picture, labels = assets.person()
    keypoints = assets.keypoints()
    person = PersonRepresentation.of(picture, labels, keypoints[0], label_set=label_set, size=size)
    box = im.Letterbox.fit((picture.shape[0], picture.shape[1]), size)
    samples = []
    for number in range(1, GARMENTS + 1):
        garment = Garment.of(*assets.garment(number), size=size)
        static = {
            "reference_map": person.reference_map[None], "head": person.head[None], "body": person.body[None],
            "source_keypoints": person.keypoints[None], "cloth": garment.image[None], "cloth_mask": garment.mask[None],
        }  # fmt: skip
        for share in range(1, poses + 1):
            pose = box.points(keypoints[len(keypoints) * share // (poses + 1)])[None]
            samples.append({**static, KEYPOINTS: pose})
    return samples


def by_garment(samples: Sequence[Sample]) -> list[list[Sample]]:
    """SAMPLES of demo_samples() in one list for each garment."""
    found: dict[int, list[Sample]] = {}
    for sample in samples:
        found.setdefault(id(sample["cloth"]), []).append(sample)
    return list(found.values())


def batch_of(samples: Sequence[Sample]) -> Sample:
    """SAMPLES as one batch."""
    return {name: np.concatenate([s[name] for s in samples]) for name in samples[0]}


def dress(backend: Backend, sample: Sample) -> None:
    """Give person and garment of SAMPLE to BACKEND."""
    for name in PERSON_AND_GARMENT:
        backend.set_static(name, sample[name])


def graph_inputs(bundle: Bundle, sample: Sample) -> dict[str, dict[str, NDArray[np.generic]]]:
    """What each graph of BUNDLE is fed for SAMPLE: those of PARTS, session, frame and tryon that it has.

    Every graph gets what those before it give in ONNX Runtime; the warped garment is taken out of the joint graph. Needs
    the package onnx. Raises SpgvtonError for graphs that cannot be loaded.
    """
    from spgvton.backends.onnxruntime import open_graph, session_options

    options = session_options(None)
    values: dict[str, NDArray[np.generic]] = dict(sample)
    fed: dict[str, dict[str, NDArray[np.generic]]] = {}
    has = [name for name in (*PARTS, *SESSION_AND_FRAME, "tryon") if f"{name}.onnx" in bundle.manifest["files"]]
    for name in has:
        if name == "g3":
            values["warped"] = _warped(bundle, sample)
        session = open_graph(bundle.graph(name), options)
        # session and frame are fed what the joint graph is fed, the parts what the parts before them gave
        known = values if name in PARTS else {**values, **sample}
        fed[name] = {i.name: known[i.name] for i in session.get_inputs()}
        if name in (*PARTS[:-1], "session"):
            outputs = [o.name for o in session.get_outputs()]
            values |= dict(zip(outputs, session.run(outputs, fed[name])))
            values["body"] = values.get("aligned_body", values["body"])
    return fed


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
