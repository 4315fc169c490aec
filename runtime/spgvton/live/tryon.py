"""Live try-on: the camera's own frame, with the customer in another garment."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.backends import Backend
from spgvton.bundle import Bundle
from spgvton.economy import Economy, StillRule
from spgvton.errors import SpgvtonError
from spgvton.hints import Hint
from spgvton.image import Letterbox
from spgvton.live.compositor import Compositor, OnCpu, composite
from spgvton.live.framing import LiveFraming, is_long
from spgvton.live.garment import LiveGarment
from spgvton.live.layers import Answer
from spgvton.live.network import LiveNetwork
from spgvton.live.parse_stream import ParseStream
from spgvton.live.plate import CleanPlate
from spgvton.live.regions import torso_of
from spgvton.live.sleeves import SleeveLength, sleeve_end
from spgvton.live.steady import Steady
from spgvton.live.timewarp import similarity
from spgvton.machine import cores
from spgvton.nvtx_ranges import ranged
from spgvton.perception.garment_mask import garment_mask
from spgvton.perception.parser_options import FOR_STREAMS, SHIPPED
from spgvton.perception.parsing import Parser
from spgvton.perception.pose import PoseEstimator, seen_from_behind, why_unusable
from spgvton.perception.skeleton import torso_axis
from spgvton.person import place

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

MIN_CLOTHES: Final = 0.01  # of the network's frame: less than that, and nobody is there to be dressed
BEHIND: Final = "seen from behind"
LYING: Final = "the person lies on their side: turn the picture upright"
UPRIGHT: Final = 0.5  # cosine of the largest angle between a torso and the vertical
ONLY_TOP: Final = "a dress over trousers or a skirt is shown as a top"
MISREAD: Final = "the parser does not see you, please turn to the light"
MIN_PERSON: Final = 0.5  # of the torso between the keypoints, which the parser must find somebody on
BELOW_HIPS: Final = 0.35  # of the torso: a garment that goes on so far below is worn as the dress that it is


class Undressable(SpgvtonError):
    """A customer who cannot be dressed as they stand there; nothing is broken."""


def why_not_live(keypoints: Float, size: tuple[int, int]) -> str | None:
    """Why a frame of SIZE (height, width) with these KEYPOINTS (18, 3) is shown as it is, in a few words; None if it is not."""
    if reason := why_unusable(keypoints, size):
        return reason
    if (keypoints[[kp.R_HIP, kp.L_HIP], 2] > 0).all() and torso_axis(keypoints)[1] < UPRIGHT:
        return LYING
    return BEHIND if seen_from_behind(keypoints) else None


def _ends_at_hips(worn: NDArray[np.bool_], keypoints: Float) -> bool:
    """Whether the clothes WORN (H, W) by the customer of KEYPOINTS (18, 3) end there; False where no hip is seen."""
    hips = [keypoints[i, 1] for i in (kp.R_HIP, kp.L_HIP) if keypoints[i, 2] > 0]
    if not hips:
        return False
    below = round(float(np.mean(hips)) + BELOW_HIPS * kp.torso_length(keypoints))
    return below < worn.shape[0] and not worn[max(0, below) :].any()


class LiveTryOn:
    """The customer of the frame itself in one garment, at the camera's size.

    A stream calls answer() as often as it can and compose() for every frame. bundle: a model bundle, its folder, or a network
    opened before; None = the shipped one. backend, threads: see LiveNetwork. parser: None = the shipped one. economy: see
    spgvton.economy; in live mode it spares the network, never the compositing. compositor: None = OnCpu; close() closes it. Not
    thread-safe, but answer() and
    compose() may run in two threads.

    Examples:
        >>> from spgvton import LiveTryOn, image
        >>> live = LiveTryOn()  # shipped weights, ONNX Runtime
        >>> live.set_garment(image.read("shirt.jpg"))  # RGB or RGBA uint8, any size
        >>> frame = image.read("me.jpg")
        >>> live(frame).shape == frame.shape  # RGB uint8
        True
    """

    def __init__(
        self, bundle: str | Path | Bundle | LiveNetwork | None = None, *, backend: str | Backend = "onnxruntime",
        threads: int | None = None, parser: Parser | None = None, economy: Economy | None = None,
        compositor: Compositor | None = None,
    ) -> None:  # fmt: skip
        self._compositor: Compositor = compositor or OnCpu()
        self.network = (
            bundle if isinstance(bundle, LiveNetwork) else LiveNetwork(bundle, backend=backend, threads=threads)
        )
        self._parser = parser or SHIPPED[FOR_STREAMS](threads or cores())
        if self._parser.label_set != self.network.label_set:
            raise SpgvtonError(
                f"the parser gives {self._parser.label_set} labels, the bundle was trained on {self.network.label_set}"
            )
        economy = economy or Economy()
        self._parse = ParseStream(self._parser)
        self._parsed, self._networked = ranged("parse", self._parse), ranged("network", self.network)
        self._economy = economy
        self._still = StillRule[Answer](economy.still_threshold)
        self._steady = Steady() if economy.steady else None
        self._framing = LiveFraming()
        self._sleeves = SleeveLength()
        self._pose: PoseEstimator | None = None
        self._garment: LiveGarment | None = None
        self._long = False
        self.plate = CleanPlate()
        self.times_s = (0.0, 0.0)  # of the last answer: parser, network
        self.note: str | None = None  # what the last answer could not do, in a few words

    @property
    def bundle(self) -> Bundle:
        return self.network.bundle

    def sibling(self) -> LiveTryOn:
        """For another customer and garment on the same opened engine; each may have a thread of its own."""
        return LiveTryOn(
            self.network.sibling(), parser=self._parser, economy=self._economy, compositor=self._compositor.sibling()
        )

    def describe(self) -> dict[str, str]:
        """Back end, version, device, threads."""
        return self.network.describe()

    def close(self) -> None:
        """Give the memory of back end and compositor back; calling it again does nothing."""
        self._compositor.close()
        self.network.close()

    def forget(self) -> None:
        """Drop all that is held of the customer and of the room; not while answer() or compose() are under way."""
        self.forget_pictures()
        self._compositor.forget()
        self.network.forget()
        self._still.reset()
        self._framing.reset()
        self._sleeves.reset()
        self._parse.reset()
        if self._steady:
            self._steady.reset()
        if self._pose:
            self._pose.reset()

    def forget_pictures(self) -> None:
        """Drop the clean plate; answer() may be under way."""
        self.plate.forget()

    def set_garment(self, picture: UInt8, *, mask: UInt8 | None = None) -> None:
        """The garment, from a photograph of it RGB or RGBA (h, w, 3 or 4), lying or hanging, of any background.

        mask (h, w), 255 = garment, is found where it is not given. Raises SpgvtonError when no garment is found.
        """
        mask = garment_mask(picture) if mask is None else mask
        self.use_garment(LiveGarment.of(np.ascontiguousarray(picture[..., :3]), mask, self.network.size))

    def use_garment(self, garment: LiveGarment, *, dress: bool = False) -> None:
        """The garment, prepared before for this network's size. dress: it is known to be one; otherwise its shape decides."""
        self.network.set_garment(garment.network)
        self._garment, self._long = garment, dress or is_long(garment.network)
        self._still.reset()
        self._sleeves.reset()
        self._parse.reset()
        if self._steady:
            self._steady.reset()

    def answer(self, frame: UInt8, keypoints: Float) -> Answer:
        """What parser and network say about FRAME, RGB uint8 (h, w, 3), whose customer has KEYPOINTS (18, 3).

        The very answer given before where the customer stands still (economy). Raises SpgvtonError when no garment is set, when
        the parser finds nobody at the keypoints, or cannot tell the customer from somebody in touch with them, or when the customer is
        so close that the frame cuts their clothes at the sides.
        """
        garment = self._garment
        if garment is None:
            raise SpgvtonError("no garment is set yet")
        box = self._frame(frame, keypoints)
        placed = place(keypoints, box)
        known = self._still.same(placed)
        if known is not None and known.garment is garment and known.box == box:
            return known
        start = time.monotonic()
        picture = np.asarray(box.apply(frame), np.uint8)
        parse = self._parsed(frame, keypoints, box, picture)
        if self._framing.widen(parse.labels):
            box = self._frame(frame, keypoints)
            placed, picture = place(keypoints, box), np.asarray(box.apply(frame), np.uint8)
            parse = self._parsed(frame, keypoints, box, picture)
        if parse.crowded:
            raise Undressable(Hint.CROWDED)
        if self._framing.too_close(parse.labels):
            raise Undressable(Hint.TOO_CLOSE)
        if (parse.labels != lb.BACKGROUND)[torso_of(placed, self.network.size)].mean() < MIN_PERSON:
            raise Undressable(MISREAD)
        parsed = time.monotonic()
        output = self._networked(picture, parse.labels, placed)
        if not np.isfinite(output.theta).all() or (
            output.residual is not None and not np.isfinite(output.residual).all()
        ):
            raise SpgvtonError("the network gave NaN: the bundle is damaged, export it again")
        if (output.clothes_mask >= 128).mean() < MIN_CLOTHES:
            raise Undressable("no clothes could be put on")
        answer = Answer(garment, picture, keypoints, box, parse, output, self.plate.framed(box))
        if self._steady:
            answer = self._steady(answer)
        answer = replace(answer, sleeves=self._sleeves(sleeve_end(answer.worn, parse.labels, placed)))
        self.note = ONLY_TOP if self._long and _ends_at_hips(answer.worn, placed) else None
        answer.layers  # noqa: B018 - made here, so that compose() finds them ready
        self.times_s = (parsed - start, time.monotonic() - parsed)
        self._still.made(placed, answer)
        return answer

    def _frame(self, frame: UInt8, keypoints: Float) -> Letterbox:
        return self._framing(keypoints, (frame.shape[0], frame.shape[1]), self.network.size, long=self._long)

    def learn_room(self, frame: UInt8, answer: Answer) -> None:
        """Take what FRAME, that of ANSWER, shows of the room into the clean plate."""
        self.plate.learn_framed(frame, answer.parse.free, answer.box)

    def learn_empty_room(self, frame: UInt8) -> None:
        """Take FRAME, in which no customer was found, into the clean plate where the parser sees nobody either.

        Only shipped parsers can tell; with another one nothing is learnt. Raises SpgvtonError.
        """
        free = getattr(self._parser, "free", None)
        if free is not None:
            self.plate.learn(frame, free(frame))

    def compose(self, frame: UInt8, answer: Answer, keypoints: Float | None = None) -> UInt8:
        """FRAME, RGB uint8 (h, w, 3), dressed by ANSWER, which may be of an earlier frame; a new array.

        keypoints (18, 3): of FRAME, where that is another one than the answer's. The frame itself where the customer cannot have
        moved from there to here, or the camera's size changed.
        """
        if answer.box.source != frame.shape[:2]:
            return frame
        moved = None
        if keypoints is not None and keypoints is not answer.keypoints:
            moved = similarity(answer.keypoints, keypoints)
            if moved is None:
                return frame
        return composite(frame, answer, moved, self._compositor)

    def __call__(self, frame: UInt8) -> UInt8:
        """FRAME, RGB uint8 (h, w, 3), with the customer in the garment. Raises SpgvtonError where nobody can be dressed."""
        if self._pose is None:
            self._pose = PoseEstimator(smooth=False)
        self._pose.reset()
        keypoints = self._pose(frame)
        reason = why_not_live(keypoints, (frame.shape[0], frame.shape[1]))
        if reason:
            raise SpgvtonError(f"no usable pose in the frame: {reason}")
        self._still.reset()
        self._sleeves.reset()
        self._parse.reset()
        return self.compose(frame, self.answer(frame, keypoints))
