"""Live mode measured as it is used: a source at its own pace, the newest frame always shown, the networks as often as they can.

What counts is how old the camera frame on the screen is (capture to present), how many frames are shown, how often the networks
answer, and what compositing costs in processor time. The last is measured after the loop, on frames and answers of it, where
nothing else of this process runs: every thread of OpenCV counts, and no other stage does.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spgvton.bench.statistics import describe
from spgvton.live.garment import LiveGarment
from spgvton.live.layers import Answer
from spgvton.live.tryon import LiveTryOn
from spgvton.stream.compose import Composer
from spgvton.stream.frames import Frame, Source, Wrapped
from spgvton.stream.live_stage import LiveStage
from spgvton.stream.loop import CAPTURE, COMPOSE, PARSE, POSE, PRESENT, SYNTHESIS, Loop, View
from spgvton.stream.report import Report
from spgvton.stream.sinks import NullSink
from spgvton.stream.stages import PoseStage
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Keypoints = NDArray[np.float32]

STAGES: Final = (CAPTURE, POSE, PARSE, SYNTHESIS, COMPOSE, PRESENT)
WARM_UP: Final = 10  # frames that are not counted
KEPT: Final = 4  # moments whose compositing is measured again
REPEATS: Final = 8
EVERY: Final = 12  # frames from one of them to the next
# Pixels of a frame -> processor time, in ms, that its compositing may take.
TARGETS_MS: Final = {1280 * 720: 12.0, 1920 * 1080: 25.0}
MIN_FPS: Final = 10.0
MAX_AGE_MS: Final = 120.0  # at the 95th percentile


class Fitted(Wrapped):
    """SOURCE, its frames scaled to lie whole in frames of SIZE (height, width), as if the camera gave that."""

    def __init__(self, source: Source, size: tuple[int, int]) -> None:
        super().__init__(source)
        self.size = size

    def read(self) -> Frame | None:
        """The next frame; what is beside it takes the colour of its corner."""
        frame = self._source.read()
        if frame is None or frame.image.shape[:2] == self.size:
            return frame
        (height, width), (h, w) = self.size, frame.image.shape[:2]
        scale = min(height / h, width / w)
        inner = min(width, round(w * scale)), min(height, round(h * scale))
        y, x = (height - inner[1]) // 2, (width - inner[0]) // 2
        out = np.empty((height, width, 3), np.uint8)
        out[:] = frame.image[0, 0]
        cv2.resize(frame.image, inner, dst=out[y : y + inner[1], x : x + inner[0]], interpolation=cv2.INTER_LINEAR)
        return replace(frame, image=out)


class Watched(LiveTryOn):
    """A LiveTryOn that keeps a few moments of the stream, to composite them again afterwards."""

    def __init__(self, live: LiveTryOn) -> None:
        super().__init__(live.network, parser=live._parser, economy=live._economy)
        self._calls = 0
        self._moments: list[tuple[UInt8, Answer, Keypoints | None]] = []

    def compose(self, frame: UInt8, answer: Answer, keypoints: Keypoints | None = None) -> UInt8:
        self._calls += 1
        if self._calls % EVERY == 0:
            self._moments = [*self._moments, (frame, answer, keypoints)][-KEPT:]
        return super().compose(frame, answer, keypoints)

    def compositing_cpu_ms(self) -> dict[str, float]:
        """{p50, max} of the processor time of one frame, all threads; not while a stream is running."""
        spent = []
        for moment in self._moments:
            super().compose(*moment)  # what is made once an answer is not a frame's
            for _ in range(REPEATS):
                start = time.process_time()
                super().compose(*moment)
                spent.append(1e3 * (time.process_time() - start))
        if not spent:
            return {}
        return {"p50": round(float(np.median(spent)), 2), "max": round(max(spent), 2)}


@dataclass
class Measured:
    """report: the loop's. rows: of dressed frames; ages, finished: of all that were presented."""

    report: Report
    size: tuple[int, int]
    compositing_cpu_ms: dict[str, float] = field(default_factory=dict)
    rows: list[list[float]] = field(default_factory=list)  # seconds of STAGES
    ages: list[float] = field(default_factory=list)  # seconds from capture to present
    finished: list[float] = field(default_factory=list)

    def add(self, view: View) -> None:
        """Count a presented frame."""
        self.ages.append(view.finished - view.frame.captured)
        self.finished.append(view.finished)
        if view.is_new and set(STAGES) <= view.stages_s.keys() and len(self.ages) > WARM_UP:
            self.rows.append([view.stages_s[name] for name in STAGES])

    @property
    def counted(self) -> int:
        return max(0, len(self.ages) - WARM_UP)

    def as_dict(self) -> dict[str, Any]:
        """JSON types. fps: frames presented per second. latency_ms: age of the camera frame that is shown. dressed: frames counted that
        show the garment; the others show the camera as it is, while no answer is there that is young enough.
        """
        seconds = self.finished[-1] - self.finished[WARM_UP]
        fps, latency = (self.counted - 1) / seconds, describe(1e3 * np.asarray(self.ages[WARM_UP:]))
        stages = {name: describe(1e3 * column) for name, column in zip(STAGES, np.array(self.rows).T)}
        limit = TARGETS_MS.get(self.size[0] * self.size[1])
        return {
            **self.report.as_dict(),
            "mode": "live", "size": list(self.size), "frames_counted": self.counted, "dressed": len(self.rows), "fps": round(fps, 2),
            "latency_ms": latency, "stages_ms": stages, "compositing_cpu_ms": self.compositing_cpu_ms,
            "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "targets": {
                "fps": [MIN_FPS, fps >= MIN_FPS], "latency_p95_ms": [MAX_AGE_MS, latency["p95"] <= MAX_AGE_MS],
                **({"compositing_cpu_ms": [limit, self.compositing_cpu_ms.get("p50", 0) <= limit]} if limit else {}),
            },
        }  # fmt: skip


def measure(
    source: Source,
    live: LiveTryOn,
    garment: LiveGarment,
    *,
    frames: int,
    max_age_s: float | None = None,
    on_view: Callable[[View], None] | None = None,
) -> Measured:
    """Run FRAMES of SOURCE, which is closed, through live mode into a null sink. max_age_s: see LiveStage. Raises as run_loop() does."""
    watched = Watched(live)
    watched.use_garment(garment)
    stage = LiveStage(watched, latest=True, max_age_s=max_age_s)
    composer = Composer(source.size, layout="result", live=True)

    def presented(view: View) -> None:
        measured.add(view)
        if on_view:
            on_view(view)

    loop = Loop(source, PoseStage(live=True), stage, composer, [NullSink()], policy="latest", max_frames=frames,
                on_view=presented)  # fmt: skip
    measured = Measured(loop.report, composer.size)
    try:
        loop.run()
    finally:
        stage.close()
    measured.compositing_cpu_ms = watched.compositing_cpu_ms()
    return measured
