"""The live loop: capture, perception, synthesis and presentation, each in its own thread, one frame between any two.

    capture --slot--> pose --slot--> synthesis --slot--> compose + sinks (the calling thread, for windows and Ctrl-C)

The stages are callables, so the loop knows neither models nor files. A slot holds one frame (slot.py), so memory is
bounded and latency cannot creep up. The first error of any stage stops all and is raised in the calling thread. Ctrl-C
and SIGTERM end the source; frames under way are still presented and files finished. A second Ctrl-C aborts at once.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError
from spgvton.stream.report import Report
from spgvton.stream.sinks import Sink
from spgvton.stream.slot import Closed, Policy, Slot
from spgvton.stream.sources import Frame, Source

UInt8 = NDArray[np.uint8]
Keypoints = NDArray[np.float32]

POLL_S: Final = 0.02  # how often the calling thread looks after windows, Ctrl-C and stalls while no frame comes
JOIN_S: Final = 2.0
CAPTURE, POSE, SYNTHESIS, COMPOSE, PRESENT = "capture", "pose", "synthesis", "compose", "present"


class Perception(NamedTuple):
    """What perception says about a frame: keypoints (18, 3), and why they cannot be dressed (None where they can)."""

    keypoints: Keypoints
    unusable: str | None = None


class Unusable(Exception):
    """Raised by a synthesis stage for a frame that cannot be dressed after all; its text is the reason."""


@dataclass
class View:
    """One frame on its way through the loop; what compose gets.

    result: uint8 RGB of the try-on; of an unusable frame the last good one; None before the first good one.
    stages_s: seconds per stage so far.
    """

    frame: Frame
    perception: Perception | None = None
    result: UInt8 | None = None
    stages_s: dict[str, float] = field(default_factory=dict)


Perceive = Callable[[Frame], Perception]
Synthesise = Callable[[Frame, Keypoints], UInt8]
Compose = Callable[[View], UInt8]


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """While inside, Ctrl-C and SIGTERM set STOP; a second one raises KeyboardInterrupt. Main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    old = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for s, handler in old.items():
            signal.signal(s, handler)


class _Loop:
    """State of one run; see run_loop()."""

    def __init__(self, source: Source, sinks: Sequence[Sink], policy: Policy, max_frames: int | None) -> None:
        self.source, self.sinks, self.max_frames = source, sinks, max_frames
        self.slots: dict[str, Slot[View]] = {name: Slot(policy) for name in (CAPTURE, POSE, SYNTHESIS)}
        self.report = Report(policy=policy)
        self.reading_since: float | None = None
        self._errors: list[BaseException] = []
        self._last_good: UInt8 | None = None

    def fail(self, error: BaseException) -> None:
        """Note ERROR (the first one counts) and stop every stage."""
        self._errors.append(error)
        for slot in self.slots.values():
            slot.close(discard=True)

    def raise_first_error(self) -> None:
        if self._errors:
            raise self._errors[0]

    def capture(self) -> None:
        """Thread body of the source."""
        out = self.slots[CAPTURE]
        try:
            while self.max_frames is None or self.report.frames_in < self.max_frames:
                self.reading_since = time.monotonic()
                frame = self.source.read()
                self.reading_since = None
                if frame is None:
                    break
                self.report.frames_in += 1
                out.put(View(frame, stages_s={CAPTURE: time.monotonic() - frame.captured}))
        except Closed:
            pass
        except BaseException as e:  # noqa: BLE001 - raised again in the calling thread
            self.fail(e)
        finally:
            self.reading_since = None
            out.close()

    def work(self, name: str, inbox: Slot[View], stage: Callable[[View], None]) -> None:
        """Thread body of a middle stage."""
        out = self.slots[name]
        try:
            while True:
                view = inbox.get()
                assert view is not None  # no timeout was given
                start = time.monotonic()
                stage(view)
                view.stages_s[name] = time.monotonic() - start
                out.put(view)
        except Closed:
            pass
        except BaseException as e:  # noqa: BLE001 - raised again in the calling thread
            self.fail(e)
        finally:
            out.close()

    def synthesise(self, view: View, function: Synthesise) -> None:
        assert view.perception is not None
        if view.perception.unusable is None:
            try:
                self._last_good = function(view.frame, view.perception.keypoints)
            except Unusable as e:
                view.perception = view.perception._replace(unusable=str(e))
        view.result = self._last_good

    def present(self, view: View, compose: Compose) -> None:
        """Compose and write one frame, and count it."""
        start = time.monotonic()
        image = compose(view)
        composed = time.monotonic()
        for sink in self.sinks:
            sink.write(image, view.frame.timestamp)
        now = time.monotonic()
        view.stages_s |= {COMPOSE: composed - start, PRESENT: now - composed}
        report = self.report
        report.latency.add(now - view.frame.captured, view.stages_s)
        report.frames_out += 1
        if view.perception and view.perception.unusable:
            reason = view.perception.unusable
            report.unusable[reason] = report.unusable.get(reason, 0) + 1

    def check_stall(self, limit_s: float) -> None:
        since = self.reading_since
        if since is not None and time.monotonic() - since > limit_s:
            raise SpgvtonError(f"{self.source.name} delivered no frame for {limit_s:.0f} s: check it and start again")

    def close(self, threads: list[threading.Thread]) -> None:
        """Release the source, wait for the stages, finish the sinks; an earlier error outranks those found here."""
        closers: list[Callable[[], None]] = [self.source.close]
        # A thread that is stuck in a driver's call cannot be ended; it is a daemon and must not keep the service up.
        closers += [lambda t=t: t.join(JOIN_S) for t in threads]  # type: ignore[misc]
        closers += [sink.close for sink in self.sinks]
        for close in closers:
            try:
                close()
            except Exception as e:  # noqa: BLE001 - raised again by run_loop; the others must be closed first
                self._errors.append(e)


def run_loop(
    source: Source,
    perceive: Perceive,
    synthesise: Synthesise,
    compose: Compose,
    sinks: Sequence[Sink],
    *,
    policy: Policy | None = None,
    max_frames: int | None = None,
    on_view: Callable[[View], None] | None = None,
    stop: threading.Event | None = None,
    stall_s: float = 30.0,
) -> Report:
    """Run SOURCE through the stages into SINKS until it ends, a sink wants to stop, or a signal comes; then close all.

    perceive: Frame -> Perception. synthesise: (Frame, keypoints (18, 3)) -> RGB uint8; called for usable poses only,
    and may raise Unusable.
    compose: View -> RGB uint8 of the sinks' size. policy: by default "latest" for a live source, else "wait".
    max_frames: captured at most. on_view: called after each presented frame, in the calling thread. stop: set it to end
    the stream from elsewhere. stall_s: a read() that takes longer is an error.
    Returns the Report; report.problem tells when the source ended otherwise than it should. Raises the first error of
    any stage, source or sink, after everything was closed; frames presented until then are in the file.
    """
    stop = stop or threading.Event()
    loop = _Loop(source, sinks, policy or ("latest" if source.live else "wait"), max_frames)

    def pose_stage(view: View) -> None:
        view.perception = perceive(view.frame)

    bodies: list[Callable[[], None]] = [
        loop.capture,
        lambda: loop.work(POSE, loop.slots[CAPTURE], pose_stage),
        lambda: loop.work(SYNTHESIS, loop.slots[POSE], lambda view: loop.synthesise(view, synthesise)),
    ]
    threads = [threading.Thread(target=body, name=f"spgvton-{i}", daemon=True) for i, body in enumerate(bodies)]
    start = last = time.monotonic()
    with _signals(stop):
        try:
            for thread in threads:
                thread.start()
            while True:
                if stop.is_set() or any(sink.wants_stop for sink in sinks):
                    loop.report.interrupted = loop.report.interrupted or stop.is_set()
                    loop.slots[CAPTURE].close()
                try:
                    view = loop.slots[SYNTHESIS].get(POLL_S)
                except Closed:
                    break
                if view is None:
                    for sink in sinks:
                        sink.idle()
                    loop.check_stall(stall_s)
                    continue
                loop.present(view, compose)
                last = time.monotonic()
                if on_view:
                    on_view(view)
        except BaseException as e:  # noqa: BLE001 - raised again below; also KeyboardInterrupt, the second Ctrl-C
            loop.fail(e)
        finally:
            loop.close(threads)
    loop.report.seconds = last - start
    loop.report.dropped_at = {name: slot.dropped for name, slot in loop.slots.items() if slot.dropped}
    loop.report.problem = source.problem
    loop.raise_first_error()
    return loop.report
