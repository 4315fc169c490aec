"""A camera or stream that may be lost, stall or lie, as one source that goes on: it is opened again, with growing pauses.

Every connection is read by a thread of its own, so a driver's call that never returns holds up nobody: after
max(2 frame intervals, 2 s) without a frame the connection is given up and left to its thread, and a new one is made. A
camera of one frame in ten seconds is given up a few times, each time later, until its rate is known.
Threads that never come back are counted: after MAX_STUCK of them only a new process can free what they hold.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from spgvton.errors import SpgvtonError, UsageError
from spgvton.stream.frames import Frame, Source, frame_of
from spgvton.stream.latency import RateMeter
from spgvton.stream.slot import Closed, Slot

LOG: Final = logging.getLogger(__name__)

STALL_S: Final = 2.0
STALL_INTERVALS: Final = 2.0
MAX_STALL_S: Final = 30.0
STOPPED_S: Final = 2.0
CONNECT_S: Final = 15.0  # a connection that has not brought its first frame by then is given up
PAUSE_S: Final = (0.25, 8.0)  # before the first and the later attempts to open it again; doubles
HEALTHY_S: Final = 5.0  # a connection that lived this long starts the pauses anew
PATIENCE_S: Final = 15.0
MAX_STUCK: Final = 8  # connections that never returned from their driver
RATE_FRAMES: Final = 30


class _Connection:
    """One opened source and the thread that opens, reads and closes it."""

    def __init__(self, connect: Callable[[], Source], first: Source | None) -> None:
        self.slot: Slot[Frame] = Slot("latest")
        self.error: BaseException | None = None
        self.source = first
        self.frames = 0
        self.started = time.monotonic()
        self._connect = connect
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spgvton-source", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            source = self.source = self.source or self._connect()
            try:
                while not self._abandoned.is_set() and (frame := source.read()) is not None:
                    self.frames += 1
                    self.slot.put(frame)
            finally:
                source.close()
        except Closed:
            pass
        except BaseException as e:  # noqa: BLE001 - told to the reader
            self.error = e
        finally:
            self.slot.close()

    @property
    def stuck(self) -> bool:
        """Its thread is still inside; after abandon() that is in a call that does not return."""
        return self._thread.is_alive()

    def abandon(self) -> None:
        """End it, without waiting for longer than close() does: the thread may be stuck in a driver."""
        self._abandoned.set()
        self.slot.close(discard=True)
        if self.source is not None:
            self.source.close()
        self._thread.join(0.5)


class SupervisedSource(Source):
    """What CONNECT opens, opened again whenever it ends, fails or stalls.

    name: for messages. first: a connection that is open already; without it the first read() connects, and `size` and
    `fps` are those of the first frame's connection. patience_s: how long to go without a frame before read() raises
    SpgvtonError. replay: CONNECT opens something with an end (a file); it then plays again from its start.
    on_loss: told why a connection was lost, in the reader's thread.

    restarts: connections lost so far. ok: False from the loss to the next frame. last_error: why it was lost last.
    Time stamps are time.monotonic() at capture and strictly increasing across connections; so are the indices.
    """

    live = True

    def __init__(
        self, connect: Callable[[], Source], name: str, *, first: Source | None = None, patience_s: float = PATIENCE_S,
        replay: bool = False, on_loss: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self.name, self.patience_s, self._replay, self._on_loss = name, patience_s, replay, on_loss
        self.fps, self.size = (first.fps, first.size) if first else (30.0, (0, 0))
        self.restarts, self.ok, self.last_error = 0, first is not None, ""
        self._connect = connect
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._pause = PAUSE_S[0]
        self._index = 0
        self._rate = RateMeter(RATE_FRAMES)
        self._stall_s = (
            STALL_S  # grows while connections that did bring frames are given up: a slow camera, not a lost one
        )
        self._last_frame = time.monotonic()
        self._timestamp = float("-inf")
        self._current: _Connection | None = _Connection(connect, first) if first else None
        self._left: list[_Connection] = []  # given up, and their threads may be stuck

    @property
    def measured_fps(self) -> float:
        """Frames per second over the last second or so, 0.0 before the second frame."""
        return self._rate.rate()

    @property
    def frame_age_s(self) -> float:
        """Seconds since the last frame was captured (before the first one: since the start)."""
        return time.monotonic() - self._last_frame

    def _limit(self, connection: _Connection) -> float:
        """How long to wait for this connection's next frame."""
        if not connection.frames:
            return CONNECT_S
        rate = self.measured_fps
        return max(self._stall_s, STALL_INTERVALS / rate if rate else 0.0)

    def read(self) -> Frame | None:
        """The latest frame, as soon as there is a new one; None after close().

        Raises SpgvtonError when none came for patience_s or MAX_STUCK connections are stuck, UsageError as CONNECT does.
        """
        while not self._closing.is_set():
            connection = self._open()
            if connection is None:
                continue
            began, limit = time.monotonic(), self._limit(connection)
            try:
                frame = connection.slot.get(limit)
            except Closed:
                frame = None
            stopped = time.monotonic() - began - limit
            if stopped > STOPPED_S:  # the whole process was (SIGSTOP, suspend): that is not the source's absence
                self._last_frame += stopped
            if frame is not None:
                return self._deliver(frame, connection)
            if not self._closing.is_set():
                self._lose(connection)
        return None

    def _open(self) -> _Connection | None:
        """The current connection, or a new one; None when closed meanwhile."""
        with self._lock:
            if self._current is None and not self._closing.is_set():
                self._current = _Connection(self._connect, None)
            return self._current

    def _deliver(self, frame: Frame, connection: _Connection) -> Frame:
        if not self.ok:
            assert connection.source is not None
            self.ok, self.fps, self.size = True, connection.source.fps, connection.source.size
            if self.restarts:
                LOG.warning("%s is back after %.1f s", self.name, self.frame_age_s)
        self._last_frame = frame.captured
        self._rate.add(frame.captured)
        if connection.frames >= RATE_FRAMES and self.measured_fps > 1 / STALL_S:
            self._stall_s = STALL_S
        self._timestamp = max(frame.captured, self._timestamp + 1e-6)
        self._index += 1
        return frame_of(frame.image, self._index - 1, self._timestamp, frame.captured)

    def _lose(self, connection: _Connection) -> None:
        """Give CONNECTION up, tell why, and pause before the next one. Raises as read() does."""
        ended = connection.slot.closed
        connection.abandon()
        if not ended and connection.frames:
            self._stall_s = min(2 * self._stall_s, MAX_STALL_S)
        self._left = [left for left in (*self._left, connection) if left.stuck]
        self._rate.clear()
        self._current = None
        error, source = connection.error, connection.source
        if isinstance(error, UsageError) or (error is not None and not isinstance(error, SpgvtonError)):
            raise error
        if self._replay and ended and error is None and connection.frames and source and not source.problem:
            self._closing.wait(1 / source.fps)
            return
        if error is not None:
            reason = str(error)
        elif source is not None and source.problem:
            reason = source.problem
        elif ended:
            reason = f"{self.name} ended"
        else:
            reason = f"{self.name} delivered no frame for {time.monotonic() - self._last_frame:.1f} s"
        if time.monotonic() - self._last_frame > self.patience_s:
            raise SpgvtonError(
                f"{self.name} was lost and did not come back within {self.patience_s:.0f} s: check its cable or network "
                f"(last: {reason})"
            )
        if len(self._left) >= MAX_STUCK:
            raise SpgvtonError(
                f"{len(self._left)} connections to {self.name} are stuck in its driver: start again, or unplug and replug "
                f"it (last: {reason})"
            )
        self.ok, self.last_error = False, reason
        self.restarts += 1
        if self._on_loss:
            self._on_loss(reason)
        if time.monotonic() - connection.started > HEALTHY_S:
            self._pause = PAUSE_S[0]
        LOG.warning("%s; opening it again in %.2f s (restart %d)", reason, self._pause, self.restarts)
        self._closing.wait(self._pause)
        self._pause = min(2 * self._pause, PAUSE_S[1])

    def close(self) -> None:
        self._closing.set()
        with self._lock:
            connection, self._current = self._current, None
        if connection is not None:
            connection.abandon()
