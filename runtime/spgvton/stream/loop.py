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
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton.economy import OVERLOAD, STILL, EarlyExit
from spgvton.errors import SpgvtonError
from spgvton.nvtx_ranges import ranged
from spgvton.stream.frames import Frame, Source
from spgvton.stream.report import Report
from spgvton.stream.sinks import Sink
from spgvton.stream.slot import Closed, Policy, Slot

UInt8 = NDArray[np.uint8]
Keypoints = NDArray[np.float32]

POLL_S: Final = 0.02  # how often the calling thread looks after windows, Ctrl-C and stalls while no frame comes
JOIN_S: Final = 2.0
EARLY: Final = 0.75  # of the interval between two shown frames, from which on the next one will do: cameras jitter
CAPTURE, POSE, PARSE, SYNTHESIS, COMPOSE, PRESENT = "capture", "pose", "parse", "synthesis", "compose", "present"


class Perception(NamedTuple):
    """What perception says about a frame: keypoints (18, 3), and why they cannot be dressed (None where they can).

    keep_last: an unusable frame shows the last good image; False where that is not to be seen any more (another person's).
    """

    keypoints: Keypoints
    unusable: str | None = None
    keep_last: bool = True


class Unusable(Exception):
    """Raised by a synthesis stage for a frame that cannot be dressed after all; its text is the reason."""


@dataclass
class View:
    """One frame on its way through the loop; what compose gets.

    result: uint8 RGB of the try-on; of an unusable frame the last good one; None before the first good one.
    stages_s: seconds per stage so far. waits_s: stage -> seconds that the frame lay before it, hand-over included.
    inside_s: seconds of the parts of synthesis, where the stage tells them (live mode): parse, synthesis, compose.
    finished: time.monotonic() at the end of its last stage; minus frame.captured it is the sum of the two.
    again: why a usable frame shows the last picture again ("still", "overload"); None where it was made for this frame.
    """

    frame: Frame
    perception: Perception | None = None
    result: UInt8 | None = None
    stages_s: dict[str, float] = field(default_factory=dict)
    waits_s: dict[str, float] = field(default_factory=dict)
    inside_s: dict[str, float] = field(default_factory=dict)
    finished: float = 0.0
    again: str | None = None

    @property
    def is_new(self) -> bool:
        """Whether the result was made for this very frame."""
        return self.perception is not None and self.perception.unusable is None and self.again is None


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


class Loop:
    """The threads and slots of one run, and what they counted so far; see run_loop(), which has the arguments."""

    def __init__(
        self,
        source: Source,
        perceive: Perceive,
        synthesise: Synthesise,
        compose: Compose,
        sinks: Sequence[Sink],
        *,
        policy: Policy | None = None,
        max_frames: int | None = None,
        on_view: Callable[[View], None] | None = None,
        on_idle: Callable[[], UInt8 | None] | None = None,
        on_sink_error: Callable[[Sink, SpgvtonError], None] | None = None,
        stop: threading.Event | None = None,
        stall_s: float = 30.0,
        max_age_s: float | None = None,
    ) -> None:
        self.source, self.sinks, self.max_frames, self.stall_s = source, list(sinks), max_frames, stall_s
        self._synthesis, self._stop = synthesise, stop or threading.Event()
        self._read, self._compose = ranged(CAPTURE, source.read), ranged(COMPOSE, compose)
        self._write = ranged(PRESENT, self._write_all)
        perceive, called = ranged(POSE, perceive), ranged(SYNTHESIS, synthesise)
        self._on_view, self._on_idle, self._on_sink_error = on_view, on_idle, on_sink_error
        policy = policy or ("latest" if source.live else "wait")
        self.slots: dict[str, Slot[View]] = {name: Slot(policy) for name in (CAPTURE, POSE, SYNTHESIS)}
        self.report = Report(policy=policy)
        self.reading_since: float | None = None
        self._errors: list[BaseException] = []
        self._last_good: UInt8 | None = None
        self._taken = float("-inf")  # when the last frame that was not left out had been captured
        self._early_exit = EarlyExit(max_age_s)

        def pose_stage(view: View) -> None:
            view.perception = perceive(view.frame)

        bodies: list[Callable[[], None]] = [
            self._capture,
            lambda: self._work(POSE, self.slots[CAPTURE], pose_stage, self._comes_too_soon),
            lambda: self._work(SYNTHESIS, self.slots[POSE], lambda view: self._synthesise(view, called)),
        ]
        self._threads = [
            threading.Thread(target=body, name=f"spgvton-{i}", daemon=True) for i, body in enumerate(bodies)
        ]

    @property
    def dropped_at(self) -> dict[str, int]:
        """Stage -> frames it had finished and nobody took, so far."""
        return {name: slot.dropped for name, slot in self.slots.items() if slot.dropped}

    @property
    def missed(self) -> dict[str, int]:
        """Sink -> frames it was too slow for, so far."""
        return {sink.name: sink.dropped for sink in self.sinks if sink.dropped}

    def forget(self) -> None:
        """Drop the last good image now; Perception.keep_last does so with the next frame. From any thread."""
        self._last_good = None

    def _fail(self, error: BaseException) -> None:
        """Note ERROR (the first one counts) and stop every stage."""
        self._errors.append(error)
        for slot in self.slots.values():
            slot.close(discard=True)

    def _raise_first_error(self) -> None:
        if self._errors:
            raise self._errors[0]

    def _capture(self) -> None:
        """Thread body of the source."""
        out = self.slots[CAPTURE]
        try:
            while self.max_frames is None or self.report.frames_in < self.max_frames:
                self.reading_since = time.monotonic()
                frame = self._read()
                self.reading_since = None
                if frame is None:
                    break
                self.report.frames_in += 1
                now = time.monotonic()
                out.put(View(frame, stages_s={CAPTURE: now - frame.captured}, finished=now))
        except Closed:
            pass
        except BaseException as e:  # noqa: BLE001 - raised again in the calling thread
            self._fail(e)
        finally:
            self.reading_since = None
            out.close()

    def _comes_too_soon(self, view: View) -> bool:
        """Whether synthesis wants fewer frames than there are (spgvton.stream.pace); VIEW is then left out."""
        if self.report.policy == "wait":
            return False
        interval = getattr(self._synthesis, "interval_s", 0.0)
        if view.frame.captured - self._taken < EARLY * interval:
            return True
        self._taken = view.frame.captured
        return False

    def _work(
        self, name: str, inbox: Slot[View], stage: Callable[[View], None], skip: Callable[[View], bool] | None = None
    ) -> None:
        """Thread body of a middle stage. skip: which frames it leaves out; they count as dropped before it."""
        out = self.slots[name]
        try:
            while True:
                view = inbox.get()
                assert view is not None  # no timeout was given
                if skip is not None and skip(view):
                    inbox.dropped += 1
                    continue
                start = time.monotonic()
                view.waits_s[name] = start - view.finished
                stage(view)
                view.finished = time.monotonic()
                view.stages_s[name] = view.finished - start
                out.put(view)
        except Closed:
            pass
        except BaseException as e:  # noqa: BLE001 - raised again in the calling thread
            self._fail(e)
        finally:
            out.close()

    def _synthesise(self, view: View, function: Synthesise) -> None:
        assert view.perception is not None
        last = self._last_good
        if view.perception.unusable is None:
            if last is not None and self._early_exit(time.monotonic() - view.frame.captured):
                view.again, view.result = OVERLOAD, last
                return
            try:
                self._last_good = function(view.frame, view.perception.keypoints)
                view.inside_s = getattr(self._synthesis, "times_s", {})
                view.again = STILL if self._last_good is last else None
            except Unusable as e:
                view.perception = view.perception._replace(unusable=str(e))
                if not view.perception.keep_last:
                    self._last_good = None
        elif not view.perception.keep_last:
            self._last_good = None
        view.result = self._last_good

    def _present(self, view: View) -> None:
        """Compose and write one frame, and count it."""
        start = time.monotonic()
        view.waits_s[COMPOSE] = start - view.finished
        image = self._compose(view)
        composed = time.monotonic()
        self._write(image, view.frame.timestamp)
        view.finished = time.monotonic()
        view.stages_s |= {COMPOSE: composed - start, PRESENT: view.finished - composed}
        if view.inside_s:
            inside = view.inside_s
            view.stages_s |= {**inside, COMPOSE: inside[COMPOSE] + composed - start}
        report = self.report
        report.latency.add(view.finished - view.frame.captured, view.stages_s)
        report.frames_out += 1
        report.frames_synthesised += view.is_new
        if view.perception and view.perception.unusable:
            reason = view.perception.unusable
            report.unusable[reason] = report.unusable.get(reason, 0) + 1
        elif view.again:
            report.again[view.again] = report.again.get(view.again, 0) + 1
        if self._on_view:
            self._on_view(view)

    def _write_all(self, image: UInt8, timestamp: float) -> None:
        for sink in list(self.sinks):
            try:
                sink.write(image, timestamp)
            except SpgvtonError as e:
                if self._on_sink_error is None:
                    raise
                self.sinks.remove(sink)
                self._on_sink_error(sink, e)
                with suppress(SpgvtonError):  # it has said why
                    sink.close()

    def _idle(self) -> None:
        for sink in self.sinks:
            sink.idle()
        self._check_stall()
        image = self._on_idle() if self._on_idle else None
        if image is not None:
            self._write(image, time.monotonic())

    def _check_stall(self) -> None:
        since = self.reading_since
        if since is not None and time.monotonic() - since > self.stall_s:
            raise SpgvtonError(
                f"{self.source.name} delivered no frame for {self.stall_s:.0f} s: check it and start again"
            )

    def _close(self) -> None:
        """Release the source, wait for the stages, finish the sinks; an earlier error outranks those found here."""
        closers: list[Callable[[], None]] = [self.source.close]
        # A thread that is stuck in a driver's call cannot be ended; it is a daemon and must not keep the service up.
        closers += [lambda t=t: t.join(JOIN_S) for t in self._threads]  # type: ignore[misc]
        closers += [sink.close for sink in self.sinks]
        for close in closers:
            try:
                close()
            except Exception as e:  # noqa: BLE001 - raised again by run_loop; the others must be closed first
                self._errors.append(e)

    def run(self) -> Report:
        """See run_loop(). Once only."""
        start = last = time.monotonic()
        with _signals(self._stop):
            try:
                for thread in self._threads:
                    thread.start()
                while True:
                    if self._stop.is_set() or any(sink.wants_stop for sink in self.sinks):
                        self.report.interrupted = self.report.interrupted or self._stop.is_set()
                        self.slots[CAPTURE].close()
                    try:
                        view = self.slots[SYNTHESIS].get(POLL_S)
                    except Closed:
                        break
                    if view is None:
                        self._idle()
                        continue
                    self._present(view)
                    last = time.monotonic()
            except BaseException as e:  # noqa: BLE001 - raised again below; also KeyboardInterrupt, the second Ctrl-C
                self._fail(e)
            finally:
                self._close()
        self.report.seconds = last - start
        self.report.dropped_at, self.report.missed = self.dropped_at, self.missed
        self.report.answers = getattr(self._synthesis, "answers", None)
        self.report.problem = self.source.problem
        self._raise_first_error()
        return self.report


def run_loop(
    source: Source, perceive: Perceive, synthesise: Synthesise, compose: Compose, sinks: Sequence[Sink], **options: Any
) -> Report:
    """Run SOURCE through the stages into SINKS until it ends, a sink wants to stop, or a signal comes; then close all.

    perceive: Frame -> Perception. synthesise: (Frame, keypoints (18, 3)) -> RGB uint8; called for usable poses only,
    and may raise Unusable; its interval_s, where it has one, is the least time between two frames of a stream. The very
    object that it returned before means that this frame needed no new picture.
    compose: View -> RGB uint8 of the sinks' size. Options, all optional:
    policy: by default "latest" for a live source, else "wait". max_frames: captured at most. stop: an Event; set it to
    end the stream from elsewhere. stall_s: a read() that takes longer is an error.
    max_age_s: a frame that reaches synthesis older than that shows the last picture again (spgvton.economy.EarlyExit).
    on_view: called after each presented frame, in the calling thread. on_idle: called there some fifty times a second
    while no frame comes; a picture that it returns is written to the sinks. on_sink_error: told which sink failed and
    why; the loop then goes on without that sink. Otherwise a sink's error ends the loop as any other does.
    Returns the Report; report.problem tells when the source ended otherwise than it should. Raises the first error of
    any stage, source or sink, after everything was closed; frames presented until then are in the file.

    Examples:
        >>> import numpy as np
        >>> from spgvton import DemoAssets, open_source
        >>> from spgvton.stream.loop import Perception
        >>> from spgvton.stream.sinks import NullSink
        >>> source = open_source(str(DemoAssets.open().clip))
        >>> report = run_loop(
        ...     source,
        ...     lambda frame: Perception(np.zeros((18, 3), np.float32)),  # who is there
        ...     lambda frame, keypoints: frame.image,  # what they wear
        ...     lambda view: view.result,  # what is shown
        ...     [NullSink()],
        ...     max_frames=3,
        ... )
        >>> report.frames_in, report.frames_out
        (3, 3)
    """
    return Loop(source, perceive, synthesise, compose, sinks, **options).run()
