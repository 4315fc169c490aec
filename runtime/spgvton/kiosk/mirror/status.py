"""What a mirror tells of itself: how things are now, and what each frame said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton.kiosk.mirror.lifecycle import State

Float = NDArray[np.float32]
Mode = Literal["live", "pose"]


@dataclass(frozen=True)
class MirrorStatus:
    """A moment of a mirror. Times in seconds unless the name says otherwise; rates are of the last second or so.

    mode: of Mirror. hint: what the customer is told, in English; hint_code: see spgvton.hints. answers, answers_per_s: of the networks
    in live mode, of which there may be fewer than frames.
    frames_synthesised: of frames_out, those whose picture was made for them. frames_again: reason -> those that show the last
    picture again although they could be dressed (spgvton.economy).
    dropped: stage -> frames it had finished and nobody took; "sink NAME" -> frames a sink was too slow for.
    latency_s: stage -> frames per bucket since the start, not cumulative; the upper ends are LATENCY_BUCKETS_S, and the
    last entry counts what is longer. latency_sum_s: stage -> sum of seconds. stages_ms: stage -> {p50, p90, p95, p99} over
    the last minute. Stage "total" is capture to present. frame_age_s: since the newest frame was captured; None before
    run(). dark: the newest frame shows nothing (a covered lens, black frames). restarts: how often source or back end were opened again.
    garment: its name.
    """

    mode: Mode = "live"
    state: State = "nobody"
    hint: str = ""
    hint_code: str = ""
    garment: str | None = None
    fps_in: float = 0.0
    fps_out: float = 0.0
    frames_in: int = 0
    frames_out: int = 0
    answers: int = 0
    answers_per_s: float = 0.0
    frames_synthesised: int = 0
    frames_again: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    latency_s: dict[str, list[int]] = field(default_factory=dict)
    latency_sum_s: dict[str, float] = field(default_factory=dict)
    stages_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    frame_age_s: float | None = None
    source: str = ""
    source_ok: bool = False
    dark: bool = False
    restarts: int = 0
    backend: dict[str, str] = field(default_factory=dict)
    privacy: bool = False
    recording: bool = False
    last_error: str = ""


class Seen(NamedTuple):
    """What one frame said, before it is dressed. customer: keypoints (18, 3) of the locked customer, in pixels of a frame of SIZE
    (height, width); None where the frame's are not hers, or she is not live. captured: monotonic seconds.
    """

    state: State
    hint: str
    customer: Float | None
    size: tuple[int, int]
    captured: float
