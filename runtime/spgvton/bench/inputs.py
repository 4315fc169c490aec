"""Real inputs to measure on: the shipped person, garments and poses, as the joint graph and as its parts take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spgvton import image as im
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.backends.contract import KEYPOINTS, POSE, Backend, Mode
from spgvton.bundle import Bundle
from spgvton.demo_assets import GARMENTS, DemoAssets
from spgvton.person import Garment, PersonRepresentation, framing, place

Sample = dict[str, NDArray[Any]]  # a joint graph's inputs by name, each (N, ...)

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


def live_samples(size: tuple[int, int], label_set: str) -> list[Sample]:
    """The live graph's inputs: the shipped person at SIZE and her mirror image, in every garment in turn."""
    assets = DemoAssets.open()
    picture, labels = assets.person()
    keypoints = assets.keypoints()[0]
    box = framing(keypoints, (picture.shape[0], picture.shape[1]), size)
    fitted = np.asarray(box.apply(picture), np.uint8)
    found = np.asarray(box.apply(labels, border=lb.BACKGROUND, nearest=True), np.uint8)
    placed = place(keypoints, box)
    frames: list[Sample] = [
        {"picture": fitted[None], "labels": found[None], KEYPOINTS: placed[None]},
        {
            "picture": np.ascontiguousarray(fitted[None, :, ::-1]), "labels": lb.FLIP[found[None, :, ::-1]],
            KEYPOINTS: kp.flip(placed, size[1])[None],
        },
    ]  # fmt: skip
    samples = []
    for number in range(1, GARMENTS + 1):
        garment = Garment.of(*assets.garment(number), size=size)
        cloth = {"cloth": garment.image[None], "cloth_mask": garment.mask[None]}
        samples += [{**frame, **cloth} for frame in frames]
    return samples


def by_garment(samples: Sequence[Sample]) -> list[list[Sample]]:
    """SAMPLES of demo_samples() or live_samples() in one list for each garment."""
    found: dict[int, list[Sample]] = {}
    for sample in samples:
        found.setdefault(id(sample["cloth"]), []).append(sample)
    return list(found.values())


def batch_of(samples: Sequence[Sample]) -> Sample:
    """SAMPLES as one batch."""
    return {name: np.concatenate([s[name] for s in samples]) for name in samples[0]}


def dress(backend: Backend, sample: Sample, mode: Mode = POSE) -> None:
    """Give person and garment of SAMPLE, or in live mode the garment, to BACKEND."""
    for name in mode.static:
        backend.set_static(name, sample[name])


def frame_of(sample: Sample, mode: Mode = POSE) -> Sample:
    """What a frame brings, of SAMPLE: the input of Backend.infer()."""
    return {name: sample[name] for name in mode.frame}


def graph_inputs(bundle: Bundle, sample: Sample, live: Sample) -> dict[str, dict[str, NDArray[np.generic]]]:
    """What each graph of BUNDLE is fed for SAMPLE and LIVE: PARTS, both joint graphs and their pairs, those that it has.

    Every graph gets what those before it give in ONNX Runtime; the warped garment is taken out of the joint graph. Needs
    the package onnx. Raises SpgvtonError for graphs that cannot be loaded.
    """
    fed: dict[str, dict[str, NDArray[np.generic]]] = {}
    values: dict[str, NDArray[np.generic]] = dict(sample)
    for name in (part for part in PARTS if part in bundle.graphs):
        if name == "g3":
            values["warped"] = _warped(bundle, sample)
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
