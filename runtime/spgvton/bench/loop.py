"""The live loop measured end to end: where the time of a frame goes, and what the loop itself costs.

Two passes over the same source. At *full rate* all stages overlap, as in use; frames wait for each other, so the time
between stages is mostly queueing. *One at a time* the next frame is read when the last one was presented: nothing queues
and nothing competes, so whatever is neither capture, perception nor synthesis is the loop's own overhead: handing over
between threads, compose, present, bookkeeping. It is given as wall time and as processor time: on a busy machine the former
is mostly the system waking threads late, the latter is what the loop does whoever else is there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from spgvton.bench.statistics import describe
from spgvton.stream.frames import Frame, Source, Wrapped
from spgvton.stream.loop import CAPTURE, COMPOSE, POSE, PRESENT, SYNTHESIS, Compose, Loop, Perceive, Synthesise, View
from spgvton.stream.report import Report
from spgvton.stream.sinks import NullSink
from spgvton.stream.slot import Policy

Float = NDArray[np.float64]
T = TypeVar("T")

WARM_UP: Final = 10  # frames at the start that are not counted
STAGES: Final = (CAPTURE, f"wait for {POSE}", POSE, f"wait for {SYNTHESIS}", SYNTHESIS, f"wait for {COMPOSE}", COMPOSE,
                 PRESENT)  # fmt: skip
NOT_OVERHEAD: Final = (CAPTURE, POSE, SYNTHESIS)
MAX_MS: Final = 1.5  # per frame: what the loop may cost
MAX_PERCENT: Final = 3.0  # of the time of a frame at full rate


class CpuClock:
    """Processor time of the whole process, all its threads, by stage. Right where one stage runs at a time."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}  # seconds so far

    def timed(self, stage: str, function: Callable[..., T]) -> Callable[..., T]:
        """FUNCTION, whose processor time counts for STAGE."""

        def call(*arguments: Any) -> T:
            start = time.process_time()
            try:
                return function(*arguments)
            finally:
                self.stages[stage] = self.stages.get(stage, 0.0) + time.process_time() - start

        return call

    def read(self) -> dict[str, float]:
        """Seconds by stage so far, and "all" of the process."""
        return {**self.stages, "all": time.process_time()}


class OneAtATime(Wrapped):
    """SOURCE, whose next frame is read when done() was called for the last one."""

    def __init__(self, source: Source, clock: CpuClock) -> None:
        super().__init__(source)
        self._free = threading.Semaphore(1)
        self._read = clock.timed(CAPTURE, source.read)

    def done(self) -> None:
        """The last frame was presented."""
        self._free.release()

    def read(self) -> Frame | None:
        self._free.acquire()
        return self._read()

    def close(self) -> None:
        super().close()
        self._free.release()


@dataclass
class Pass:
    """One run of the loop."""

    report: Report
    clock: CpuClock = field(default_factory=CpuClock)
    _rows: list[list[float]] = field(default_factory=list)
    _finished: list[float] = field(default_factory=list)
    _cpu: list[dict[str, float]] = field(default_factory=list)

    def add(self, view: View) -> None:
        """Count a presented frame."""
        spans = {**view.stages_s, **{f"wait for {stage}": seconds for stage, seconds in view.waits_s.items()}}
        self._rows.append([1e3 * spans[name] for name in STAGES])
        self._finished.append(view.finished)
        self._cpu.append(self.clock.read())

    @property
    def counted(self) -> int:
        """How many frames the figures are made of."""
        return max(0, len(self._rows) - WARM_UP)

    @property
    def rows(self) -> Float:
        """(counted, stages) in ms, without the warm-up; a row's sum is that frame's time from capture to present."""
        return np.array(self._rows[WARM_UP:])

    @property
    def finished(self) -> list[float]:
        """time.monotonic() when each of the rows' frames had been presented."""
        return self._finished[WARM_UP:]

    @property
    def frame_ms(self) -> float:
        """Milliseconds from one presented frame to the next."""
        return 1e3 * (self._finished[-1] - self._finished[WARM_UP]) / (self.counted - 1)

    def cpu_ms(self) -> dict[str, float]:
        """Mean processor time of a frame by stage, and "all" of the process. Of a pass one at a time only."""
        first, last = self._cpu[WARM_UP], self._cpu[-1]
        return {name: 1e3 * (last[name] - first[name]) / (self.counted - 1) for name in last}

    def latency_ms(self) -> dict[str, float]:
        """{p50, p90, p95, p99, max, mean} from capture to present."""
        return describe(self.rows.sum(axis=1), (50, 90, 95, 99))

    def stages_ms(self) -> dict[str, dict[str, float]]:
        """{stage: {p50, p99, max, mean}}; the means add up to the mean of latency_ms()."""
        return {name: describe(column, (50, 99)) for name, column in zip(STAGES, self.rows.T)}


def measure(
    source: Source, perceive: Perceive, synthesise: Synthesise, compose: Compose, *, frames: int,
    one_at_a_time: bool = False, policy: Policy | None = None, on_view: Callable[[View], None] | None = None,
) -> Pass:  # fmt: skip
    """Run FRAMES of SOURCE, which is closed, through the loop into a null sink. Raises as run_loop() does."""
    clock = CpuClock()
    gate = OneAtATime(source, clock) if one_at_a_time else None
    if gate:
        perceive, synthesise = clock.timed(POSE, perceive), clock.timed(SYNTHESIS, synthesise)

    def presented(view: View) -> None:
        result.add(view)
        if on_view:
            on_view(view)
        if gate:
            gate.done()

    loop = Loop(gate or source, perceive, synthesise, compose, [NullSink()], policy=policy, max_frames=frames,
                on_view=presented)  # fmt: skip
    result = Pass(loop.report, clock)
    loop.run()
    return result


def overhead(full: Pass, single: Pass) -> dict[str, Any]:
    """The loop's own cost, of SINGLE: what is neither capture, perception nor synthesis.

    wall: median over the frames, and its part of the time of a frame of FULL; parts_ms: medians by part. cpu: mean processor
    time, and its part of that of the slowest stage, which sets the pace where there are cores enough. within_limits: whether
    MAX_MS and MAX_PERCENT both hold.
    """
    own = [i for i, name in enumerate(STAGES) if name not in NOT_OVERHEAD]
    spent = single.cpu_ms()
    cpu_ms = spent["all"] - sum(spent[name] for name in NOT_OVERHEAD)
    slowest = max(spent[name] for name in NOT_OVERHEAD)
    wall_ms = float(np.median(single.rows[:, own].sum(axis=1)))
    return {
        "wall": _judge(wall_ms, full.frame_ms),
        "cpu": _judge(cpu_ms, slowest),
        "parts_ms": {STAGES[i]: round(float(np.median(single.rows[:, i])), 3) for i in own},
        "cpu_stages_ms": {name: round(ms, 3) for name, ms in spent.items()},
        "limits": {"ms": MAX_MS, "percent_of_frame": MAX_PERCENT},
    }


def _judge(ms: float, frame_ms: float) -> dict[str, Any]:
    percent = 100 * ms / frame_ms
    return {
        "ms": round(ms, 3), "percent_of_frame": round(percent, 2), "frame_ms": round(frame_ms, 3),
        "within_limits": ms <= MAX_MS and percent <= MAX_PERCENT,
    }  # fmt: skip
