"""Live mode held against the truth: rows whose source and target show one person in one pose, in two garments.

The source is the camera frame; the runtime's own live path (network, compositor) puts the garment on, and the target's
picture says what should have come out. Beside it stand three baselines: the frame as it is, the paper's pose mode with
the frame as source picture and its pose as target pose, and the network's picture alone, enlarged to the camera's size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from spgvton import image as im
from spgvton import labels as lb
from spgvton.errors import SpgvtonError
from spgvton.image import Letterbox
from spgvton.live import mixture
from spgvton.live.arms import forget_arms
from spgvton.live.compositor import composite
from spgvton.live.framing import LiveFraming, is_long
from spgvton.live.garment import LiveGarment
from spgvton.live.layers import Answer
from spgvton.live.network import LiveOutput
from spgvton.live.regions import decide
from spgvton.perception.parse import Parse, framed
from spgvton.perception.parsing import Parser
from spgvton.person import Garment, place
from spgvton.session import TryOn
from spgvton.video import cv2
from spgvton_training.data.layout import Triple
from spgvton_training.data.mpv import MPV, Cloth, Photo
from spgvton_training.live_scores import Truth, answer_scores, picture_scores, untouched
from spgvton_training.networks.joint import JointModel
from spgvton_training.networks.live import LiveInputs, live_stages, to_bytes

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

METHODS: Final = ("source", "pose", "network", "live")
PICTURE_KEYS: Final = ("ssim", "ssim_changed", "leakage")
LIVE_KEYS: Final = (
    *PICTURE_KEYS, "hem_error_px", "warp_error_px", "clothes_iou", "sleeve_on", "sleeve_off", "untouched_exact",
)  # fmt: skip


class Network(Protocol):
    """What spgvton.live.network.LiveNetwork and CheckpointNetwork have in common."""

    @property
    def size(self) -> tuple[int, int]: ...

    def set_garment(self, garment: Garment) -> None: ...

    def __call__(self, picture: UInt8, labels: UInt8, keypoints: Float) -> LiveOutput: ...


class CheckpointNetwork:
    """A checkpoint's joint model as a live network, in PyTorch: what its exported live graph would answer."""

    def __init__(self, model: JointModel) -> None:
        self.model = model.eval()
        self._garment: Garment | None = None

    @property
    def size(self) -> tuple[int, int]:
        return self.model.config.size

    def set_garment(self, garment: Garment) -> None:
        self._garment = garment

    @torch.no_grad()
    def __call__(self, picture: UInt8, labels: UInt8, keypoints: Float) -> LiveOutput:
        if self._garment is None:
            raise SpgvtonError("no garment is set")
        if self.model.config.forget_arms:
            labels = forget_arms(labels, keypoints)
        arrays = (picture, labels, keypoints, self._garment.image, self._garment.mask)
        stages = live_stages(self.model, LiveInputs(*(torch.from_numpy(np.ascontiguousarray(a))[None] for a in arrays)))
        made = (*to_bytes(self.model, stages), stages.theta, *([] if stages.residual is None else [stages.residual]))
        return LiveOutput(*(t[0].numpy() for t in made))


@dataclass(frozen=True)
class Exchange:
    """One row at the camera's size: the frame, the garment, and the frame's twin in that garment."""

    triple: Triple
    source: Photo
    target: Photo
    cloth: Cloth
    flow: Float | None

    @property
    def truth(self) -> Truth:
        return Truth(self.source.picture, self.source.labels, self.target.picture, self.target.labels)


def exchanges(data: MPV, limit: int | None) -> Iterator[Exchange]:
    """The first LIMIT rows of DATA, which has the task "live" and the size of its own pictures."""
    for triple in data.triples[:limit]:
        parts = data.photo(triple.source), data.photo(triple.target), data.cloth(triple.cloth)
        yield Exchange(triple, *parts, data.flow(triple.target))


def open_data(root: Path, split: str, triples: Sequence[Triple]) -> MPV:
    """The live rows among TRIPLES of the data set ROOT, at the size of its pictures."""
    probe = MPV(root, split, task="live", unpaired=True, triples=triples)
    height, width = im.read(root / "images" / probe.triples[0].source).shape[:2]
    return MPV(root, split, task="live", unpaired=True, triples=probe.triples, size=(height, width), cache_mb=200)


@dataclass
class LivePath:
    """The runtime's live path for one still picture at a time.

    parser: None = the true maps.
    """

    network: Network
    parser: Parser | None = None

    def answer(self, exchange: Exchange) -> Answer:
        """What perception and the network say about the frame of EXCHANGE."""
        frame, labels, keypoints = exchange.source
        garment = LiveGarment.of(exchange.cloth.picture, exchange.cloth.mask, self.network.size)
        source = (frame.shape[0], frame.shape[1])
        box = LiveFraming()(keypoints, source, self.network.size, long=is_long(garment.network))
        picture = np.asarray(box.apply(frame), np.uint8)
        if self.parser is None:
            parse = Parse.of(np.asarray(box.apply(labels, border=lb.BACKGROUND, nearest=True), np.uint8))
        else:
            parse = framed(self.parser, frame, keypoints, box)
        placed = place(keypoints, box)
        self.network.set_garment(garment.network)
        return Answer(garment, picture, keypoints, box, parse, self.network(picture, parse.labels, placed))


def network_picture(answer: Answer) -> UInt8:
    """What the network alone would show, at network size."""
    warped = mixture.warped(answer.output.positions, answer.garment.network)
    return mixture.network_picture(answer.output, warped)


def into_frame(picture: UInt8, box: Letterbox, frame: UInt8) -> UInt8:
    """PICTURE (H, W, 3) of the network's frame, enlarged into the camera's; where BOX does not reach, FRAME stays."""
    out = frame.copy()
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    size = frame.shape[1::-1]
    covered = cv2.warpAffine(np.ones(picture.shape[:2], np.uint8), box.matrix, size, flags=cv2.WARP_INVERSE_MAP) > 0
    enlarged = cv2.warpAffine(picture, box.matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    out[covered] = enlarged[covered]
    return out


def true_positions(exchange: Exchange, garment: LiveGarment, box: Letterbox, size: tuple[int, int]) -> Float | None:
    """The exact worn-to-flat map at network size, (H, W, 2), NaN where no garment is; None where the data has none.

    Onto the picture of GARMENT that the network was given, whose sleeves may have been turned.
    """
    if exchange.flow is None:
        return None
    flat = exchange.flow.copy()
    known = np.isfinite(flat).all(2)
    flat[known] = garment.points(flat[known])
    h, w = size
    y, x = np.mgrid[:h, :w].astype(np.float32)
    at = box.points_back(np.stack([x.ravel(), y.ravel()], 1)).reshape(h, w, 2)
    nowhere = (float("nan"), float("nan"), 0.0, 0.0)
    return cv2.remap(flat, at, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=nowhere)  # type: ignore[call-overload,no-any-return]


@dataclass(frozen=True)
class LiveEvaluation:
    """summary: keys of `evaluate --mode live`. rows: one dict per exchange. pictures: of the first ones, for the sheet."""

    summary: dict[str, Any]
    rows: list[dict[str, Any]]
    pictures: list[list[UInt8]]


def evaluate_live(
    live: LivePath, data: MPV, *, pose: TryOn | None = None, limit: int | None = None, shown: int = 8
) -> LiveEvaluation:
    """Score LIVE on the first LIMIT rows of DATA (open_data). pose: the paper's path; None leaves that baseline out."""
    rows: list[dict[str, Any]] = []
    pictures: list[list[UInt8]] = []
    count = len(data) if limit is None else min(limit, len(data))
    for exchange in tqdm(exchanges(data, limit), total=count, desc="evaluate", unit="picture"):
        answer = live.answer(exchange)
        made = {
            "source": exchange.source.picture,
            "network": into_frame(network_picture(answer), answer.box, exchange.source.picture),
        }
        if pose is not None:
            made["pose"] = _pose_picture(pose, exchange)
        made["live"] = composite(exchange.source.picture, answer)
        rows.append(_row(exchange, answer, made))
        if len(pictures) < shown:
            pictures.append(_shown(exchange, made))
    return LiveEvaluation(_summary(rows), rows, pictures)


def _shown(exchange: Exchange, made: dict[str, UInt8]) -> list[UInt8]:
    """A row of the contact sheet: frame, garment, network alone, live, truth."""
    cloth, frame = exchange.cloth.picture, exchange.source.picture
    box = Letterbox.fit((cloth.shape[0], cloth.shape[1]), (frame.shape[0], frame.shape[1]))
    return [frame, np.asarray(box.apply(cloth), np.uint8), made["network"], made["live"], exchange.target.picture]


def _pose_picture(session: TryOn, exchange: Exchange) -> UInt8:
    """The paper's path with P_s = P_t: the frame is source and target, its true map S_s."""
    frame, labels, keypoints = exchange.source
    session.set_person(frame, keypoints=keypoints, labels=labels)
    session.set_garment(exchange.cloth.picture, mask=exchange.cloth.mask)
    made = session(keypoints, (frame.shape[0], frame.shape[1]))
    return into_frame(made, session.box, frame)


def _row(exchange: Exchange, answer: Answer, made: dict[str, UInt8]) -> dict[str, Any]:
    """File names, and scores as "method.key"; shares as (hits, pixels)."""
    truth, box, output = exchange.truth, answer.box, answer.output
    row: dict[str, Any] = {
        "source": exchange.triple.source,
        "target": exchange.triple.target,
        "cloth": exchange.triple.cloth,
    }
    for method, picture in made.items():
        row |= {f"{method}.{key}": value for key, value in picture_scores(picture, truth).items()}
    old, new = (
        np.asarray(box.apply(labels, border=lb.BACKGROUND, nearest=True), np.uint8)
        for labels in (truth.labels, truth.new_labels)
    )
    size = (output.clothes_mask.shape[0], output.clothes_mask.shape[1])
    worn = decide(answer.parse.labels, output.semantic, answer.worn, place(answer.keypoints, box)).garment
    found = answer_scores(worn, old, new, output.positions, true_positions(exchange, answer.garment, box, size))
    row |= {f"live.{key}": value for key, value in found.items()}
    in_frame = into_frame(np.repeat(worn[..., None].astype(np.uint8) * 255, 3, 2), box, np.zeros_like(truth.frame))
    row["live.untouched_exact"] = untouched(made["live"], truth, in_frame[..., 0] > 0)
    return row


def _mean(rows: list[dict[str, Any]], key: str) -> float | None:
    """Mean of a score over ROWS; of shares, hits of all over pixels of all. None where no row has it."""
    values = [row[key] for row in rows if key in row]
    if values and isinstance(values[0], tuple):
        hits, pixels = (sum(column) for column in zip(*values))
        return round(hits / pixels, 4) if pixels else None
    known = [v for v in values if np.isfinite(v)]
    return round(float(np.mean(known)), 4) if known else None


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    methods = [m for m in METHODS if f"{m}.ssim" in rows[0]]
    return {
        **{key: _mean(rows, f"live.{key}") for key in LIVE_KEYS},
        "n": len(rows),
        "baselines": {m: {key: _mean(rows, f"{m}.{key}") for key in PICTURE_KEYS} for m in methods if m != "live"},
    }
